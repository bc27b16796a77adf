//! A fault as plain data, and what was decided about it.

/// Bits of a page fault's error code (Intel SDM volume 3, 4.7, figure 4-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// P: the page was present, the access was not allowed; clear: no present translation.
    pub const PRESENT: u32 = 1 << 0;
    /// W/R: the access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// U/S: the access was made in user mode.
    pub const USER: u32 = 1 << 2;
    /// RSVD: a reserved bit was set in a paging-structure entry.
    pub const RESERVED: u32 = 1 << 3;
    /// I/D: the access was an instruction fetch.
    pub const FETCH: u32 = 1 << 4;

    /// Whether `bit` is set.
    pub const fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// Whether this can be the fault of an armed page: data, in kernel mode, no present translation. Everything else is
    /// somebody else's whatever its address.
    pub const fn is_armed_page(self) -> bool {
        self.0 & (Self::PRESENT | Self::USER | Self::RESERVED | Self::FETCH) == 0
    }
}

/// A page fault, as the CPU reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub error_code: ErrorCode,
    /// The linear address that was accessed.
    pub address: u64,
}

/// What the engine decided about a fault; the platform applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nobody claims it: the system goes on as if Trapline were not there.
    NotOurs,
    /// It is dealt with: return to the interrupted context with the registers as they are now.
    Resume,
    /// The trapped instruction also touches memory that Trapline does not own, and that access faulted: the system must deal with this fault as if the
    /// instruction had raised it. The device was not accessed by the part that is still to do.
    Instead(Fault),
}
