//! A fault as plain data, and what was decided about it.

use crate::Linear;
use trapline_abi::ErrorCode;

/// A page fault, as the CPU reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub error_code: ErrorCode,
    /// What was accessed.
    pub address: Linear,
}

/// What the engine decided about a fault; the platform applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nobody claims it: the system goes on as if Trapline were not there.
    NotOurs,
    /// It is dealt with: return to the interrupted context with the registers as they are now.
    Resume,
    /// The trapped instruction also touches memory that Trapline does not own, and that access
    /// faulted: the system must deal with this fault as if the instruction had raised it. The
    /// device was not accessed by the part that is still to do.
    Instead(Fault),
}

/// What becomes of a fault that handlers of all faults were asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Claim {
    /// Nobody claims it: the system goes on as if Trapline were not there.
    None,
    /// A handler has dealt with it: return to the interrupted context with the registers as they
    /// are now.
    Resume,
    /// A handler claims it as it did all the time, and nothing comes of it: the system goes on as
    /// if nobody claimed it, and is told.
    Looping,
}
