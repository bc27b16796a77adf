//! The study of page faults, as the command asks for it.

/// Argument of [`FAULTS`](crate::FAULTS): record the page faults that pass this filter, from now on
/// until the session stops.
///
/// `EINVAL` for unknown flags, neither user nor kernel faults, or an empty range of addresses;
/// `EBUSY` if this session had a watch already, or another has one; `ENOMEM`; `EOPNOTSUPP` if the
/// kernel has no tracepoints of page faults.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultWatch {
    /// In: `FAULTS_*`.
    pub flags: u32,
    /// In: where faults are seen: a [`Gate`].
    pub gate: u32,
    /// Out, when it failed for want of the gate: [`GateError`] code, else 0.
    pub error: u32,
    /// In: only faults in this process (thread group id), or [`ANY`](crate::ANY).
    pub process: u32,
    /// In: only faults on addresses from here on.
    pub first: u64,
    /// In: up to this one; `u64::MAX` for all.
    pub last: u64,
    /// In: only faults whose error code has these bits set, …
    pub error_set: u32,
    /// In: … and these clear.
    pub error_clear: u32,
    /// In: only tasks with this name (`comm`), zero-padded; all zeros for every task.
    pub comm: [u8; 16],
    /// Out, when a session had a watch already: thread group id of its process, else 0.
    pub owner: u32,
    /// Zero.
    pub reserved: u32,
}

/// Faults in user mode.
pub const FAULTS_USER: u32 = 1;
/// Faults in kernel mode.
pub const FAULTS_KERNEL: u32 = 2;
/// Faults are counted but not recorded.
pub const FAULTS_COUNT_ONLY: u32 = 4;

/// What the kernel's memory management has done about each recorded fault is recorded too, when it
/// has ([`Kind::Served`](crate::Kind::Served)); not with [`FAULTS_COUNT_ONLY`].
pub const FAULTS_LATENCY: u32 = 8;

/// Where page faults are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Gate {
    /// The kernel's own tracepoints of page faults.
    #[default]
    Hook = 0,
    /// A page-fault gate of our own, in an interrupt descriptor table of our own, before the
    /// kernel's entry.
    Idt = 1,
}

impl Gate {
    /// The gate with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Hook,
            1 => Self::Idt,
            _ => return None,
        })
    }
}

/// Why [`Gate::Idt`] was refused; `ioctl` itself returns the `errno` given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GateError {
    /// Page-table isolation is on: a table of ours would not be mapped in user mode (`EOPNOTSUPP`).
    PageTableIsolation = 1,
    /// The CPU delivers exceptions by FRED, without the table (`EOPNOTSUPP`).
    Fred = 2,
    /// This CPU's entry into the kernel must do what ours does not: guard returns against
    /// predictions that user mode has trained, or do without `WRGSBASE`. Or the kernel's gate is
    /// one that ours does not know (`EOPNOTSUPP`).
    Entry = 3,
    /// A CPU's table is not the kernel's: somebody else replaced it (`EBUSY`).
    ForeignTable = 4,
}

impl GateError {
    /// The error with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::PageTableIsolation,
            2 => Self::Fred,
            3 => Self::Entry,
            4 => Self::ForeignTable,
            _ => return None,
        })
    }
}

/// `payload` of [`Kind::Fault`](crate::Kind::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPayload {
    /// The linear address that was accessed (CR2).
    pub address: u64,
    /// The instruction that faulted.
    pub ip: u64,
    /// As the CPU pushed it (Intel SDM volume 3, 4.7).
    pub error_code: u32,
    /// Thread group id of the task.
    pub process: u32,
    /// The interrupted stack pointer.
    pub stack: u64,
}

impl FaultPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        [self.address, self.ip, self.error_code as u64 | (self.process as u64) << 32, self.stack]
    }

    /// From a record of kind [`Kind::Fault`](crate::Kind::Fault).
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self {
            address: words[0],
            ip: words[1],
            error_code: words[2] as u32,
            process: (words[2] >> 32) as u32,
            stack: words[3],
        }
    }
}

/// `payload` of [`Kind::Served`](crate::Kind::Served): a call of the kernel's `handle_mm_fault()`
/// for a fault of the same thread, which has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedPayload {
    /// The linear address of the fault.
    pub address: u64,
    /// What it returned: `vm_fault_t` (include/linux/mm_types.h).
    pub result: u32,
}

impl ServedPayload {
    /// `VM_FAULT_RETRY`: it is called again for the same fault, unless the task was killed
    /// meanwhile.
    pub const RETRY: u32 = 0x400;

    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        [self.address, self.result as u64, 0, 0]
    }

    /// From a record of kind [`Kind::Served`](crate::Kind::Served).
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { address: words[0], result: words[1] as u32 }
    }
}

/// What the watch of faults has counted; the answer to [`FAULT_COUNTS`](crate::FAULT_COUNTS).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Faults in user mode that were seen, before any filter.
    pub user: u64,
    /// Faults in kernel mode that were seen, before any filter.
    pub kernel: u64,
    /// Faults that passed the filter.
    pub passed: u64,
    /// Faults that a handler claimed which other modules registered for all faults.
    pub claimed: u64,
    /// Claims that were not honoured, since the same fault came again and again without progress.
    pub looping: u64,
    /// CPUs whose table somebody else had replaced by the time the watch ended, so that faults
    /// there were not seen; 0 while it runs, and without [`Gate::Idt`].
    pub bypassed: u64,
    /// With [`FAULTS_LATENCY`]: faults whose end may be missing, since more were being served at
    /// once than can be followed; 0 while it runs.
    pub unfollowed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_way_through_a_record() {
        let fault = FaultPayload { address: 1, ip: 2, error_code: 0x8000_0003, process: 4, stack: 5 };
        assert_eq!(FaultPayload::from_words(fault.to_words()), fault);
        let served = ServedPayload { address: 1, result: ServedPayload::RETRY };
        assert_eq!(ServedPayload::from_words(served.to_words()), served);
    }

    #[test]
    fn every_code_names_one_gate_and_one_error() {
        for code in 0..64 {
            if let Some(gate) = Gate::from_code(code) {
                assert_eq!(gate as u32, code);
            }
            if let Some(error) = GateError::from_code(code) {
                assert_eq!(error as u32, code);
            }
        }
        assert_eq!((0..64).filter_map(Gate::from_code).count(), 2);
        assert_eq!((0..64).filter_map(GateError::from_code).count(), 4);
    }
}
