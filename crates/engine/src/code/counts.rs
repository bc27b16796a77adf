//! What a probe counts, on each CPU.

use crate::Open;
use trapline_abi::ProbeCounts;
use trapline_ring::local;
use trapline_ring::primitive::atomic::{AtomicU64, Ordering};

/// One CPU's counts of one probe; changed by that CPU's traps alone.
// A cache line of its own: CPUs that hit the same probe do not slow each other.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct CpuCounts {
    pub hits: AtomicU64,
    pub missed: AtomicU64,
    pub pre_faults: AtomicU64,
    pub post_faults: AtomicU64,
    pub fixed: AtomicU64,
    /// Number of the last hit (the CPU counts them) whose pre handler ran to its end: its post
    /// handler is due. So a pre handler that was abandoned, and a probe that came between the two,
    /// are told apart without a list.
    pub entered: AtomicU64,
}

impl Open for CpuCounts {
    type Part = Self;

    fn open(&self) -> &Self {
        self
    }
}

impl CpuCounts {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            hits: zero(),
            missed: zero(),
            pre_faults: zero(),
            post_faults: zero(),
            fixed: zero(),
            entered: zero(),
        }
    }

    /// Adds these counts to `sum`.
    pub(crate) fn add_to(&self, sum: &mut ProbeCounts) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sum.hits += get(&self.hits);
        sum.missed += get(&self.missed);
        sum.pre_faults += get(&self.pre_faults);
        sum.post_faults += get(&self.post_faults);
        sum.fixed += get(&self.fixed);
    }
}

/// Adds one, to a counter of the CPU this runs on.
#[inline(always)]
pub(crate) fn count(counter: &AtomicU64) {
    local::add(counter, 1);
}
