//! Interrupts of devices, as the command asks for them and as they are recorded.

/// Argument of [`INTERRUPTS`](crate::INTERRUPTS): record the interrupts of this PCI device, from
/// now on until the session stops; once for each device, up to [`MAX_INTERRUPT_DEVICES`].
///
/// Those of the device are the vectors of its MSI and MSI-X, whenever they are requested, and its
/// interrupt line while it has neither. On a line that devices share the handlers of all of them
/// run, and are recorded.
///
/// `ENOENT` if there is no such device; `E2BIG` if there are too many; `EEXIST` if the session has
/// it already; `EINVAL` if what must be zero is not; `ENOMEM`; `EOPNOTSUPP` if the kernel has no
/// tracepoints of interrupts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterruptWatch {
    /// In: which device.
    pub device: PciFunction,
    /// Out: `INTERRUPT_*_FOLLOWED`.
    pub told: u32,
    /// Zero.
    pub reserved: u32,
}

/// What the threads of handlers run is recorded too.
pub const INTERRUPT_THREADS_FOLLOWED: u32 = 1;

/// Devices that a session may record the interrupts of.
pub const MAX_INTERRUPT_DEVICES: usize = 64;

/// Where a PCI function sits: `domain << 16 | bus << 8 | device << 3 | function`, as
/// `pci_dev_id()` has it (include/linux/pci.h), with the domain before it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciFunction(pub u64);

impl PciFunction {
    /// In this domain, on this bus.
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> Self {
        let devfn = (device as u64 & 0x1f) << 3 | function as u64 & 7;
        Self((domain as u64) << 16 | (bus as u64) << 8 | devfn)
    }

    /// Domain, bus, device and function.
    pub const fn parts(self) -> (u32, u8, u8, u8) {
        let [devfn, bus, ..] = self.0.to_le_bytes();
        ((self.0 >> 16) as u32, bus, devfn >> 3, devfn & 7)
    }
}

/// How an interrupt comes from its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Signal {
    /// By a line (INTx), which devices may share.
    Line = 0,
    /// By a message (MSI).
    Msi = 1,
    /// By a message of the device's table (MSI-X).
    MsiX = 2,
}

impl Signal {
    /// The signal with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Line,
            1 => Self::Msi,
            2 => Self::MsiX,
            _ => return None,
        })
    }
}

/// `payload` of [`Kind::Interrupt`](crate::Kind::Interrupt): a handler of a device's interrupt is
/// called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptPayload {
    /// Address of the handler's function.
    pub handler: u64,
    /// The interrupt's number, as in `/proc/interrupts`.
    pub irq: u32,
    /// Which of the device's messages it is; 0 of a line.
    pub index: u16,
    /// A [`Signal`].
    pub signal: u8,
    /// `INTERRUPT_*`.
    pub flags: u8,
    /// Whose interrupt it is; of a line that is shared, one of those asked for.
    pub device: PciFunction,
}

/// The first of the interrupt's handlers.
pub const INTERRUPT_FIRST: u8 = 1;
/// The last of them: both, if there is only one.
pub const INTERRUPT_LAST: u8 = 2;
/// The handler runs in a thread of the kernel's, which an earlier one has woken.
pub const INTERRUPT_THREAD: u8 = 4;

impl InterruptPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        let Self { handler, irq, index, signal, flags, device } = self;
        let what = irq as u64 | (index as u64) << 32 | (signal as u64) << 48 | (flags as u64) << 56;
        [handler, what, device.0, 0]
    }

    /// From a record of kind [`Kind::Interrupt`](crate::Kind::Interrupt).
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [handler, what, device, _] = words;
        Self {
            handler,
            irq: what as u32,
            index: (what >> 32) as u16,
            signal: (what >> 48) as u8,
            flags: (what >> 56) as u8,
            device: PciFunction(device),
        }
    }
}

/// `payload` of [`Kind::Handled`](crate::Kind::Handled): that handler has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandledPayload {
    /// Address of the handler's function.
    pub handler: u64,
    /// The interrupt's number.
    pub irq: u32,
    /// `INTERRUPT_*`.
    pub flags: u8,
    /// What it returned: `irqreturn_t` (include/linux/irqreturn.h).
    pub result: u32,
}

/// `IRQ_NONE`: the interrupt was not of the handler's device.
pub const IRQ_NONE: u32 = 0;
/// `IRQ_HANDLED`: it was handled.
pub const IRQ_HANDLED: u32 = 1;
/// `IRQ_WAKE_THREAD`: the handler's thread is woken, which does the rest.
pub const IRQ_WAKE_THREAD: u32 = 2;

impl HandledPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        let Self { handler, irq, flags, result } = self;
        [handler, irq as u64 | (flags as u64) << 56, result as u64, 0]
    }

    /// From a record of kind [`Kind::Handled`](crate::Kind::Handled).
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [handler, what, result, _] = words;
        Self { handler, irq: what as u32, flags: (what >> 56) as u8, result: result as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_survives_the_way_through_a_record() {
        let interrupt = InterruptPayload {
            handler: 0xffff_ffff_c000_1234,
            irq: 0x89ab_cdef,
            index: 2047,
            signal: Signal::MsiX as u8,
            flags: INTERRUPT_FIRST | INTERRUPT_LAST,
            device: PciFunction::new(0x1_0000, 0xff, 0x1f, 7),
        };
        assert_eq!(InterruptPayload::from_words(interrupt.to_words()), interrupt);
        let handled = HandledPayload { handler: 1, irq: u32::MAX, flags: INTERRUPT_THREAD, result: 2 };
        assert_eq!(HandledPayload::from_words(handled.to_words()), handled);
    }

    #[test]
    fn a_function_s_place_is_told_in_its_parts() {
        let function = PciFunction::new(0x1_0000, 0xff, 0x1f, 7);
        assert_eq!(function.parts(), (0x1_0000, 0xff, 0x1f, 7));
        assert_eq!(PciFunction::new(0, 0, 3, 0).0, 3 << 3);
    }

    #[test]
    fn every_code_names_one_signal() {
        for code in 0..=u8::MAX {
            if let Some(signal) = Signal::from_code(code) {
                assert_eq!(signal as u8, code);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(Signal::from_code).count(), 3);
    }
}
