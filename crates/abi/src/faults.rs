//! The study of page faults, as the command asks for it.

/// Argument of [`FAULTS`](crate::FAULTS): record the page faults that pass this filter, from now on until the session stops.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultWatch {
    /// In: `FAULTS_*`.
    pub flags: u32,
    /// In: where faults are seen: a [`Gate`].
    pub gate: u32,
    /// In: only faults in this process (thread group id), or [`ANY`](crate::ANY).
    pub process: u32,
    /// Out, when it failed: [`FaultWatchError`] code.
    pub error: u32,
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
}

/// Faults in user mode.
pub const FAULTS_USER: u32 = 1;
/// Faults in kernel mode.
pub const FAULTS_KERNEL: u32 = 2;
/// How long each took is recorded too.
pub const FAULTS_LATENCY: u32 = 4;
/// Faults are counted but not recorded: `trapline faults --top` asks for the counts only.
pub const FAULTS_COUNT_ONLY: u32 = 8;

/// Where page faults are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Gate {
    /// The hook on `kmmio_handler`, which the kernel asks before anything else of its own.
    Hook = 1,
    /// A page-fault gate of our own, in an interrupt descriptor table of our own.
    Idt = 2,
}

impl Gate {
    /// The gate with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Hook,
            2 => Self::Idt,
            _ => return None,
        })
    }
}

/// Why a [`FAULTS`](crate::FAULTS) was refused; `ioctl` itself returns the `errno` given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FaultWatchError {
    /// Unknown flags, neither user nor kernel faults, an unknown gate, or an empty range of addresses (`EINVAL`).
    Bad = 1,
    /// The hook can't be installed: the kernel lacks `kmmio_handler` (CONFIG_MMIOTRACE), or somebody else redirects it (`EBUSY`, `EOPNOTSUPP`).
    Hook = 2,
    /// Page-table isolation is on: a table of ours would not be mapped in user mode (`EOPNOTSUPP`).
    PageTableIsolation = 3,
    /// The CPU delivers exceptions by FRED, without the table (`EOPNOTSUPP`).
    Fred = 4,
    /// A CPU's table is not the kernel's: somebody else replaced it (`EBUSY`).
    ForeignTable = 5,
    /// No memory (`ENOMEM`).
    NoMemory = 6,
    /// Another session has the gate (`EBUSY`).
    Taken = 7,
    /// This CPU's or kernel's exception entry is one that ours does not know (`EOPNOTSUPP`).
    Entry = 8,
}

impl FaultWatchError {
    /// The error with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Bad,
            2 => Self::Hook,
            3 => Self::PageTableIsolation,
            4 => Self::Fred,
            5 => Self::ForeignTable,
            6 => Self::NoMemory,
            7 => Self::Taken,
            8 => Self::Entry,
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
    /// Nanoseconds that the kernel took to deal with it; 0 if that was not asked for or its end was not seen.
    pub latency: u64,
}

impl FaultPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        [self.address, self.ip, self.error_code as u64 | (self.process as u64) << 32, self.latency]
    }

    /// From a record of kind [`Kind::Fault`](crate::Kind::Fault).
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self {
            address: words[0],
            ip: words[1],
            error_code: words[2] as u32,
            process: (words[2] >> 32) as u32,
            latency: words[3],
        }
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
    /// Faults that a registered handler claimed.
    pub claimed: u64,
    /// Claims taken back, since the same fault came again and again.
    pub looping: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_way_through_a_record() {
        let fault = FaultPayload { address: 1, ip: 2, error_code: 0x8000_0003, process: 4, latency: 5 };
        assert_eq!(FaultPayload::from_words(fault.to_words()), fault);
    }

    #[test]
    fn every_code_names_one_gate_and_one_error() {
        for code in 0..64 {
            if let Some(gate) = Gate::from_code(code) {
                assert_eq!(gate as u32, code);
            }
            if let Some(error) = FaultWatchError::from_code(code) {
                assert_eq!(error as u32, code);
            }
        }
        assert_eq!((0..64).filter_map(Gate::from_code).count(), 2);
        assert_eq!((0..64).filter_map(FaultWatchError::from_code).count(), 8);
    }
}
