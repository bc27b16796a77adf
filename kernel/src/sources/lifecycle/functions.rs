//! The kernel's functions that do something with a device as a whole.

use super::super::functions::{Follows, Function, is_called, outer, plain};
use super::super::returns::Returns;
use super::calls::{Carried, called, returned};
use super::{Lifecycle, Watch};
use core::ffi::CStr;
use trapline_abi::{LIFECYCLE_FUNCTIONS, LifecycleOp};
use trapline_engine::code::TrustedHandler;

/// Calls of each that may be under way at once: as many devices whose drivers are bound, or that
/// are put to sleep, beside each other. More are counted as missed.
const ACTIVE: u32 = 128;

/// How many functions there are.
pub(super) const COUNT: usize = LIFECYCLE_FUNCTIONS.len();

/// What a function is called with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sources) enum Argument {
    /// A `struct device`.
    Device,
    /// A `struct pci_dev`.
    Pci,
    /// A `struct pci_dev` and a power state.
    Power,
    /// Where the firmware is put, its name, a `struct device`.
    Firmware,
}

/// What a call of a function is.
#[derive(Clone, Copy)]
pub(in crate::sources) struct Form {
    pub op: LifecycleOp,
    pub argument: Argument,
}

const fn device(name: &'static CStr, op: LifecycleOp) -> Function<Form> {
    plain(name, Form { op, argument: Argument::Device })
}

const fn pci(name: &'static CStr, op: LifecycleOp) -> Function<Form> {
    plain(name, Form { op, argument: Argument::Pci })
}

const POWER: Form = Form { op: LifecycleOp::Power, argument: Argument::Power };
const FIRMWARE: Form = Form { op: LifecycleOp::Firmware, argument: Argument::Firmware };

/// Places in the list.
const SET_POWER: usize = 4;
const REQUEST: usize = 28;

/// In the order of [`LIFECYCLE_FUNCTIONS`].
pub(super) static FUNCTIONS: [Function<Form>; COUNT] = {
    use LifecycleOp as Op;
    [
        device(c"pci_device_probe", Op::Bind),
        device(c"pci_device_remove", Op::Unbind),
        device(c"pci_device_shutdown", Op::Shutdown),
        pci(c"__pci_reset_function_locked", Op::Reset),
        plain(c"__pci_set_power_state", POWER),
        outer(c"pci_set_power_state", POWER, SET_POWER),
        outer(c"pci_set_power_state_locked", POWER, SET_POWER),
        pci(c"pci_power_up", Op::PowerUp),
        device(c"pci_pm_prepare", Op::Prepare),
        device(c"pci_pm_complete", Op::Complete),
        device(c"pci_pm_suspend", Op::Suspend),
        device(c"pci_pm_suspend_late", Op::SuspendLate),
        device(c"pci_pm_suspend_noirq", Op::SuspendNoirq),
        device(c"pci_pm_resume", Op::Resume),
        device(c"pci_pm_resume_early", Op::ResumeEarly),
        device(c"pci_pm_resume_noirq", Op::ResumeNoirq),
        device(c"pci_pm_freeze", Op::Freeze),
        device(c"pci_pm_freeze_noirq", Op::FreezeNoirq),
        device(c"pci_pm_thaw", Op::Thaw),
        device(c"pci_pm_thaw_noirq", Op::ThawNoirq),
        device(c"pci_pm_poweroff", Op::Poweroff),
        device(c"pci_pm_poweroff_late", Op::PoweroffLate),
        device(c"pci_pm_poweroff_noirq", Op::PoweroffNoirq),
        device(c"pci_pm_restore", Op::Restore),
        device(c"pci_pm_restore_noirq", Op::RestoreNoirq),
        device(c"pci_pm_runtime_suspend", Op::RuntimeSuspend),
        device(c"pci_pm_runtime_resume", Op::RuntimeResume),
        device(c"pci_pm_runtime_idle", Op::RuntimeIdle),
        plain(c"_request_firmware", FIRMWARE),
        outer(c"request_firmware", FIRMWARE, REQUEST),
        outer(c"firmware_request_nowarn", FIRMWARE, REQUEST),
        outer(c"request_firmware_direct", FIRMWARE, REQUEST),
        outer(c"firmware_request_platform", FIRMWARE, REQUEST),
        outer(c"request_firmware_into_buf", FIRMWARE, REQUEST),
    ]
};

const _: () = {
    // A bit for each.
    assert!(COUNT <= 64);
    let mut at = 0;
    while at < COUNT {
        assert!(is_called(FUNCTIONS[at].name, LIFECYCLE_FUNCTIONS[at].0));
        assert!(FUNCTIONS[at].form.op as u8 == LIFECYCLE_FUNCTIONS[at].1 as u8);
        at += 1;
    }
    assert!(FUNCTIONS[SET_POWER].inner.is_none() && FUNCTIONS[REQUEST].inner.is_none());
};

// SAFETY: `called` and `returned` ask for just that, and read all that they are told of with care.
unsafe impl Follows for Lifecycle {
    type Watch = Watch;
    type Form = Form;

    const RETURNS: Returns =
        Returns { name: b"lifecycle", called, returned, carried: size_of::<Carried>(), active: ACTIVE };

    fn begins(_: Form) -> Option<TrustedHandler> {
        None
    }
}
