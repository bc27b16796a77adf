//! Which ports' accesses are recorded, and where to.

use crate::errno::Errno;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use trapline_abi::{MAX_PORT_RANGES, PortRange};
use trapline_engine::{Lanes, OutOfMemory, Sink};

/// Ports that there are.
const PORTS: u32 = 1 << 16;

/// The watch of a session.
///
/// # Invariants
/// `sink` is the session's, which outlives this. Of `ranges` the first `count` are not changed any
/// more.
pub(super) struct Watch {
    pub sink: NonNull<Sink>,
    /// Of each lane, where the memory of its last string instruction began: RDI of one that reads
    /// from a port, RSI of one that writes.
    pub before: Lanes<AtomicU64>,
    /// Accesses of string instructions that were too many to record.
    pub missed: AtomicU64,
    count: AtomicUsize,
    /// First port, and the last one in the upper half.
    ranges: [AtomicU64; MAX_PORT_RANGES],
}

// SAFETY: a sink is made to be shared by the traps of all CPUs.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl Watch {
    /// A watch of no ports, on so many lanes.
    pub(super) fn new(sink: NonNull<Sink>, lanes: usize) -> Result<Self, OutOfMemory> {
        let before = Lanes::new(lanes, || Ok(AtomicU64::new(0)))?;
        let ranges = [const { AtomicU64::new(0) }; MAX_PORT_RANGES];
        Ok(Self { sink, before, missed: AtomicU64::new(0), count: AtomicUsize::new(0), ranges })
    }

    fn known(&self) -> &[AtomicU64] {
        // Acquire pairs with the release in `add`: who sees the count sees the ranges.
        self.ranges.get(..self.count.load(Ordering::Acquire)).unwrap_or(&[])
    }

    /// Whether accesses of so many bytes at a port are recorded. Bounded by the number of ranges.
    pub(super) fn has(&self, port: u16, width: u8) -> bool {
        let (first, last) = (u64::from(port), u64::from(port) + u64::from(width.max(1)) - 1);
        self.known().iter().any(|range| {
            let range = range.load(Ordering::Relaxed);
            first <= range >> 32 && last >= range & 0xffff_ffff
        })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    /// Records accesses to these ports too. Called with the sessions lock held, by nobody else.
    pub(super) fn add(&self, &PortRange { first, count, reserved }: &PortRange) -> Result<(), Errno> {
        if reserved != 0 || count == 0 || first >= PORTS || count > PORTS - first {
            return Err(Errno::INVALID);
        }
        let range = u64::from(first) | u64::from(first + count - 1) << 32;
        if self.known().iter().any(|known| known.load(Ordering::Relaxed) == range) {
            return Err(Errno::EXISTS);
        }
        let count = self.count.load(Ordering::Relaxed);
        self.ranges.get(count).ok_or(Errno::TOO_BIG)?.store(range, Ordering::Relaxed);
        // INVARIANT: written before it is counted.
        self.count.store(count + 1, Ordering::Release);
        Ok(())
    }
}
