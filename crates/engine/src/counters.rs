//! What each CPU counts.

use trapline_abi::{Counters, Way};
use trapline_ring::local;
use trapline_ring::primitive::atomic::{AtomicU64, Ordering};

/// One CPU's counts. Atomic, since an NMI's trap may count in the middle of another's; relaxed,
/// since nothing hangs on their order.
#[derive(Debug, Default)]
pub(crate) struct CpuCounters {
    pub faults: AtomicU64,
    pub accesses: [AtomicU64; Way::COUNT],
    pub beside: AtomicU64,
    pub windows: AtomicU64,
    pub stale: AtomicU64,
    pub nested: AtomicU64,
    /// Claims of handlers of all faults that were honoured.
    pub claimed: AtomicU64,
    /// … and that were not, since they led nowhere.
    pub looping: AtomicU64,
}

/// Adds one, to a counter of the CPU this runs on.
#[inline(always)]
pub(crate) fn count(counter: &AtomicU64) {
    local::add(counter, 1);
}

impl CpuCounters {
    /// Adds these counts to `sum`. `dropped` is the rings' to tell.
    pub(crate) fn add_to(&self, sum: &mut Counters) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sum.faults += get(&self.faults);
        for (total, way) in sum.accesses.iter_mut().zip(&self.accesses) {
            *total += get(way);
        }
        sum.beside += get(&self.beside);
        sum.windows += get(&self.windows);
        sum.stale += get(&self.stale);
        sum.nested += get(&self.nested);
    }
}
