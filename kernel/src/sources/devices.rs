//! The devices that a source records something of, known by their numbers.

use crate::errno::Errno;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use trapline_abi::PciFunction;

/// Up to `N` devices. Traps of all CPUs look here while one is added.
///
/// # Invariants
/// Of `numbers` the first `count` are not changed any more.
pub(super) struct Devices<const N: usize> {
    count: AtomicUsize,
    numbers: [AtomicU64; N],
}

impl<const N: usize> Devices<N> {
    /// None.
    pub(super) fn new() -> Self {
        Self { count: AtomicUsize::new(0), numbers: [const { AtomicU64::new(0) }; N] }
    }

    fn known(&self) -> &[AtomicU64] {
        // Acquire pairs with the release in `add`: who sees the count sees the devices.
        self.numbers.get(..self.count.load(Ordering::Acquire)).unwrap_or(&[])
    }

    /// Whether this is one of them. Bounded by their number; for traps.
    pub(super) fn has(&self, device: PciFunction) -> bool {
        self.known().iter().any(|known| known.load(Ordering::Relaxed) == device.0)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    /// Adds one. Called with the sessions lock held, by nobody else.
    pub(super) fn add(&self, device: PciFunction) -> Result<(), Errno> {
        if self.has(device) {
            return Err(Errno::EXISTS);
        }
        let count = self.count.load(Ordering::Relaxed);
        self.numbers.get(count).ok_or(Errno::TOO_BIG)?.store(device.0, Ordering::Relaxed);
        // INVARIANT: written before it is counted.
        self.count.store(count + 1, Ordering::Release);
        Ok(())
    }
}
