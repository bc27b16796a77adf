//! What each lane has for itself.

use crate::cache::{Cache, Site};
use crate::counters::CpuCounters;
use crate::step::StepState;
use crate::{Open, OutOfMemory, Platform, Trap};
use core::cell::UnsafeCell;
use trapline_ring::local;
use trapline_ring::primitive::atomic::AtomicU64;

/// One lane's state.
///
/// # Invariants
/// `cache` is touched only by the outermost trap on this lane: the one whose level is 0.
// A cache line pair of its own, so that lanes that trap at once do not slow each other.
#[repr(align(128))]
pub(crate) struct PerLane {
    pub counters: CpuCounters,
    pub step: StepState,
    /// Traps that this lane is inside of.
    depth: AtomicU64,
    cache: UnsafeCell<Cache>,
}

// SAFETY: everything but `cache` is atomic or guards itself; `cache` is used by one trap at a time,
// by the invariant.
unsafe impl Sync for PerLane {}

impl PerLane {
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            counters: CpuCounters::default(),
            step: StepState::new(),
            depth: AtomicU64::new(0),
            cache: UnsafeCell::new(Cache::new()?),
        })
    }

    /// Enters a trapped access on this lane, which `_trap` is on.
    pub(crate) fn enter<'a>(&'a self, _trap: &'a Trap) -> Level<'a> {
        // Only this lane counts here, and what nests undoes its own count before it returns, so
        // each level is given out to one trap at a time.
        Level { own: self, level: local::add(&self.depth, 1) as usize }
    }

    /// Bytes of memory it takes.
    pub(crate) fn memory(&mut self) -> usize {
        size_of::<Self>() + self.cache.get_mut().memory()
    }
}

impl Open for PerLane {
    type Part = CpuCounters;

    fn open(&self) -> &CpuCounters {
        &self.counters
    }
}

/// How deep inside of trapped accesses of this lane we are: 0 for the outermost.
pub(crate) struct Level<'a> {
    own: &'a PerLane,
    level: usize,
}

impl Level<'_> {
    pub(crate) fn number(&self) -> usize {
        self.level
    }

    /// The instruction at `ip`; `None` if it can't be read or is none we know. `own` is room for it
    /// where the cache is not ours.
    #[inline(always)]
    pub(crate) fn site<'s>(
        &'s self,
        platform: &impl Platform,
        ip: u64,
        own: &'s mut Option<Site>,
    ) -> Option<&'s Site> {
        let code = platform.fetch(ip);
        if self.level == 0 {
            // SAFETY: the outermost trap is the only one that touches the cache, it runs on one
            // lane, and the borrow ends with its level; it asks once.
            return unsafe { (*self.own.cache.get()).site(ip, code) }.ok();
        }
        *own = Site::decode(code).ok();
        own.as_ref()
    }
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        local::add(&self.own.depth, u64::MAX);
    }
}
