//! What the kernel does with a device as a whole, as the command asks for it and as it is recorded:
//! a driver binds and goes, resets, power states, firmware.

use crate::PciFunction;

/// Argument of [`LIFECYCLE`](crate::LIFECYCLE): record when the kernel binds a driver to this PCI
/// device and takes it away, resets the device, changes its power state, and loads firmware for it,
/// from now on until the session stops; once for each device, up to [`MAX_LIFECYCLE_DEVICES`].
///
/// The functions of [`LIFECYCLE_FUNCTIONS`] are followed, each call at its beginning and at its
/// end. Firmware for a device that is no PCI device is its next PCI ancestor's. Devices are told
/// apart by their numbers: what comes to sit there later is followed too.
///
/// `ENOENT` if there is no such device; `E2BIG` if there are too many; `EEXIST` if the session has
/// it already; `EINVAL` if what must be zero is not; `ENOMEM`; `ENOSYS` if the kernel has none of
/// the functions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifecycleWatch {
    /// In: which device.
    pub device: PciFunction,
    /// Zero.
    pub reserved: u64,
    /// Out: a bit for each of [`LIFECYCLE_FUNCTIONS`] that is followed.
    pub followed: u64,
    /// Out: a bit for each of [`LIFECYCLE_FUNCTIONS`] that is not, and should be: it is there, and
    /// can't be probed.
    pub refused: u64,
}

/// What [`LIFECYCLE_COUNTS`](crate::LIFECYCLE_COUNTS) tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifecycleCounts {
    /// Calls, for whatever device, that the kernel could not deliver: inside of another probe's
    /// handler, or with too many under way.
    pub missed: u64,
}

/// Devices whose lifecycle a session may record.
pub const MAX_LIFECYCLE_DEVICES: usize = 64;

/// Bytes of a driver's or a firmware's name that are recorded.
pub const MAX_LIFECYCLE_NAME: usize = 64;

/// Return addresses that a call is recorded with, at most.
pub const MAX_LIFECYCLE_FRAMES: usize = 4;

/// The kernel's functions that are followed, with what a call of each is (drivers/pci/pci-driver.c,
/// drivers/pci/pci.c, drivers/base/firmware_loader/main.c). `__pci_set_power_state` and
/// `_request_firmware` do the work of those behind them, which are followed where the compiler left
/// none of that name.
pub const LIFECYCLE_FUNCTIONS: [(&str, LifecycleOp); 34] = {
    use LifecycleOp as Op;
    [
        ("pci_device_probe", Op::Bind),
        ("pci_device_remove", Op::Unbind),
        ("pci_device_shutdown", Op::Shutdown),
        ("__pci_reset_function_locked", Op::Reset),
        ("__pci_set_power_state", Op::Power),
        ("pci_set_power_state", Op::Power),
        ("pci_set_power_state_locked", Op::Power),
        ("pci_power_up", Op::PowerUp),
        ("pci_pm_prepare", Op::Prepare),
        ("pci_pm_complete", Op::Complete),
        ("pci_pm_suspend", Op::Suspend),
        ("pci_pm_suspend_late", Op::SuspendLate),
        ("pci_pm_suspend_noirq", Op::SuspendNoirq),
        ("pci_pm_resume", Op::Resume),
        ("pci_pm_resume_early", Op::ResumeEarly),
        ("pci_pm_resume_noirq", Op::ResumeNoirq),
        ("pci_pm_freeze", Op::Freeze),
        ("pci_pm_freeze_noirq", Op::FreezeNoirq),
        ("pci_pm_thaw", Op::Thaw),
        ("pci_pm_thaw_noirq", Op::ThawNoirq),
        ("pci_pm_poweroff", Op::Poweroff),
        ("pci_pm_poweroff_late", Op::PoweroffLate),
        ("pci_pm_poweroff_noirq", Op::PoweroffNoirq),
        ("pci_pm_restore", Op::Restore),
        ("pci_pm_restore_noirq", Op::RestoreNoirq),
        ("pci_pm_runtime_suspend", Op::RuntimeSuspend),
        ("pci_pm_runtime_resume", Op::RuntimeResume),
        ("pci_pm_runtime_idle", Op::RuntimeIdle),
        ("_request_firmware", Op::Firmware),
        ("request_firmware", Op::Firmware),
        ("firmware_request_nowarn", Op::Firmware),
        ("request_firmware_direct", Op::Firmware),
        ("firmware_request_platform", Op::Firmware),
        ("request_firmware_into_buf", Op::Firmware),
    ]
};

/// What was done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum LifecycleOp {
    /// A driver was tried: its `probe` ran.
    Bind = 0,
    /// The driver was taken away.
    Unbind = 1,
    /// The driver was told that the machine goes down.
    Shutdown = 2,
    /// The device was reset, in whichever way it can be.
    Reset = 3,
    /// It was asked to be in another power state.
    Power = 4,
    /// It was switched on.
    PowerUp = 5,
    /// The system is about to sleep.
    Prepare = 6,
    /// It has slept.
    Complete = 7,
    /// The device was put to sleep with the system.
    Suspend = 8,
    /// The same, with runtime power management off.
    SuspendLate = 9,
    /// The same, with interrupts' handlers off.
    SuspendNoirq = 10,
    /// The device was woken with the system.
    Resume = 11,
    /// The same, with runtime power management off.
    ResumeEarly = 12,
    /// The same, with interrupts' handlers off.
    ResumeNoirq = 13,
    /// It was halted for an image of memory to be made.
    Freeze = 14,
    /// The same, with interrupts' handlers off.
    FreezeNoirq = 15,
    /// It goes on after that.
    Thaw = 16,
    /// The same, with interrupts' handlers off.
    ThawNoirq = 17,
    /// It was switched off, the image being saved.
    Poweroff = 18,
    /// The same, with runtime power management off.
    PoweroffLate = 19,
    /// The same, with interrupts' handlers off.
    PoweroffNoirq = 20,
    /// It goes on with what the image has.
    Restore = 21,
    /// The same, with interrupts' handlers off.
    RestoreNoirq = 22,
    /// It was put to sleep alone, since nobody uses it.
    RuntimeSuspend = 23,
    /// It was woken alone.
    RuntimeResume = 24,
    /// Nobody uses it: may it be put to sleep?
    RuntimeIdle = 25,
    /// Firmware was loaded for it.
    Firmware = 26,
}

impl LifecycleOp {
    /// How many there are.
    pub const COUNT: u8 = 27;

    /// The one with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        use LifecycleOp as Op;
        const ALL: [LifecycleOp; LifecycleOp::COUNT as usize] = [
            Op::Bind,
            Op::Unbind,
            Op::Shutdown,
            Op::Reset,
            Op::Power,
            Op::PowerUp,
            Op::Prepare,
            Op::Complete,
            Op::Suspend,
            Op::SuspendLate,
            Op::SuspendNoirq,
            Op::Resume,
            Op::ResumeEarly,
            Op::ResumeNoirq,
            Op::Freeze,
            Op::FreezeNoirq,
            Op::Thaw,
            Op::ThawNoirq,
            Op::Poweroff,
            Op::PoweroffLate,
            Op::PoweroffNoirq,
            Op::Restore,
            Op::RestoreNoirq,
            Op::RuntimeSuspend,
            Op::RuntimeResume,
            Op::RuntimeIdle,
            Op::Firmware,
        ];
        if code < Self::COUNT { Some(ALL[code as usize]) } else { None }
    }
}

/// A power state of a PCI device as the kernel numbers it (`pci_power_t`, include/linux/pci.h): D0
/// to D3hot are 0 to 3, D3cold is 4, and 5 is one that is not known.
pub const POWER_UNKNOWN: u8 = 5;

/// [`LifecyclePayload::wanted`] of what asks for no power state.
pub const NO_POWER: u8 = 0xf;

/// `payload` of [`Kind::Lifecycle`](crate::Kind::Lifecycle): a call has begun, or has ended.
///
/// Up to [`MAX_LIFECYCLE_FRAMES`] return addresses follow in a record of kind
/// [`Kind::More`](crate::Kind::More), and zeros, then `width` bytes of a name in as many records as
/// they take: the driver's, or the firmware's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecyclePayload {
    /// Which device.
    pub device: PciFunction,
    /// A [`LifecycleOp`].
    pub op: u8,
    /// Whether the call has ended.
    pub ended: bool,
    /// The power state that the device is in, as far as the kernel knows; 4 bits.
    pub power: u8,
    /// The power state that is asked for, [`NO_POWER`] if none is; 4 bits.
    pub wanted: u8,
    /// What it returned, 0 of a function that returns nothing, and at the beginning.
    pub result: i32,
    /// Nanoseconds since the beginning; 0 at the beginning.
    pub took: u64,
}

/// A device's number.
const DEVICE: u64 = (1 << 48) - 1;

impl LifecyclePayload {
    /// As it lies in a record. The device's number has 48 bits.
    pub const fn to_words(self) -> [u64; 4] {
        let Self { device, op, ended, power, wanted, result, took } = self;
        let whose = device.0 & DEVICE
            | (op as u64 & 0x7f) << 48
            | (ended as u64) << 55
            | (power as u64 & 0xf) << 56
            | (wanted as u64 & 0xf) << 60;
        [whose, result as u32 as u64, took, 0]
    }

    /// From a record of kind [`Kind::Lifecycle`](crate::Kind::Lifecycle).
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [whose, result, took, _] = words;
        Self {
            device: PciFunction(whose & DEVICE),
            op: (whose >> 48) as u8 & 0x7f,
            ended: whose >> 55 & 1 != 0,
            power: (whose >> 56) as u8 & 0xf,
            wanted: (whose >> 60) as u8,
            result: result as i32,
            took,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_survives_the_way_through_a_record() {
        for ended in [false, true] {
            let call = LifecyclePayload {
                device: PciFunction::new(0xffff_ffff, 0xff, 0x1f, 7),
                op: LifecycleOp::Firmware as u8,
                ended,
                power: POWER_UNKNOWN,
                wanted: NO_POWER,
                result: -110,
                took: u64::MAX - 1,
            };
            assert_eq!(LifecyclePayload::from_words(call.to_words()), call);
        }
    }

    #[test]
    fn every_code_names_one_operation_and_each_is_some_functions() {
        let all: Vec<_> = (0..=u8::MAX).filter_map(LifecycleOp::from_code).collect();
        assert_eq!(all.len(), usize::from(LifecycleOp::COUNT));
        assert!(all.iter().zip(0..).all(|(op, code)| *op as u8 == code));
        assert!(all.iter().all(|op| LIFECYCLE_FUNCTIONS.iter().any(|(_, of)| of == op)));
    }
}
