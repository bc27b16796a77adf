//! Physical ranges that are watched: every mapping of them is armed, those that are there and those
//! that come to be.

use crate::glue;
use crate::injection;
use alloc::vec::Vec;
use trapline_abi::{WATCH_READS, WATCH_WRITES, Watch, WatchError};
use trapline_engine::{Handlers, Linear, Physical, Probe};

/// Longest range of one watch: 1 GiB.
const LONGEST: u64 = 1 << 30;

/// A physical range that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchedRange {
    first: Physical,
    last: Physical,
    reads: bool,
    writes: bool,
    /// Whether rules of injection are asked about its accesses.
    inject: bool,
}

impl WatchedRange {
    /// What `watch` asks for, if it may be watched. With `inject` rules are asked about each
    /// access, reads and writes alike: a rule about reads may wait for a write.
    pub(crate) fn new(watch: &Watch, inject: bool) -> Result<Self, WatchError> {
        let first = Physical(watch.physical);
        let last = watch.length.checked_sub(1).and_then(|rest| first.checked_plus(rest));
        let (reads, writes) = (watch.flags & WATCH_READS != 0, watch.flags & WATCH_WRITES != 0);
        if inject && !(reads && writes) {
            return Err(WatchError::BadRange);
        }
        let last = last.filter(|_| reads || writes).ok_or(WatchError::BadRange)?;
        if watch.flags & !(WATCH_READS | WATCH_WRITES) != 0 {
            return Err(WatchError::BadRange);
        }
        if watch.length > LONGEST {
            return Err(WatchError::TooLong);
        }
        if glue::glue_is_ram(first, watch.length) {
            return Err(WatchError::Ram);
        }
        Ok(Self { first, last, reads, writes, inject })
    }

    /// The probe on what a mapping of `length` bytes from `physical` on, at `start`, has of this
    /// range.
    pub(crate) fn probe(&self, start: Linear, physical: Physical, length: u64) -> Option<Probe> {
        let (first, last) = (self.first.max(physical), self.last.min(physical.plus(length - 1)));
        (first <= last).then(|| Probe {
            start: start.plus(first.since(physical)),
            length: last.since(first) + 1,
            reads: self.reads,
            writes: self.writes,
            record: true,
            handlers: if self.inject { injection::handlers(start, physical) } else { Handlers::NONE },
        })
    }
}

/// The ranges, and whose they are. One owner at a time, since the engine has one sink.
pub(crate) struct Watched {
    /// Thread group id of the process whose session watches; 0 if none does.
    pub owner: u32,
    pub ranges: Vec<WatchedRange>,
}

impl Watched {
    /// Nobody's.
    pub(crate) const fn new() -> Self {
        Self { owner: 0, ranges: Vec::new() }
    }
}
