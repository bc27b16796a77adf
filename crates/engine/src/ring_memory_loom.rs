//! The twin of `ring_memory.rs` for loom: the same orders, on memory that loom watches, with the reading end beside it.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{Record, stamp};

#[derive(Debug)]
struct Slot {
    stamp: AtomicU64,
    record: UnsafeCell<Record>,
}

#[derive(Debug)]
struct Shared {
    tail: AtomicU64,
    dropped: AtomicU64,
    slots: Box<[Slot]>,
}

#[derive(Clone, Debug)]
pub(crate) struct RingMemory(Arc<Shared>);

impl RingMemory {
    pub(crate) fn new(capacity: usize) -> Self {
        let slot = |_| Slot { stamp: AtomicU64::new(0), record: UnsafeCell::new(Record::EMPTY) };
        let (tail, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { tail, dropped, slots: (0..capacity).map(slot).collect() }))
    }

    pub(crate) fn tail(&self) -> u64 {
        self.0.tail.load(Ordering::Acquire)
    }

    pub(crate) fn show_head(&self, _: u64) {}

    pub(crate) fn count_dropped(&self, records: u64) {
        self.0.dropped.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// # Safety
    /// As its twin; loom checks that the slot is the caller's.
    pub(crate) unsafe fn fill(&self, slot: usize, record: Record) {
        let slot = &self.0.slots[slot];
        // SAFETY: the caller's alone, which loom checks.
        slot.record.with_mut(|to| unsafe { *to = record });
        slot.stamp.store(record.stamp, Ordering::Release);
    }

    /// The reader takes the record at `position`, if it is complete.
    pub(crate) fn take(&self, position: u64) -> Option<Record> {
        let slot = &self.0.slots[position as usize % self.0.slots.len()];
        if slot.stamp.load(Ordering::Acquire) != stamp(position) {
            return None;
        }
        // SAFETY: complete, which loom checks.
        let record = slot.record.with(|record| unsafe { *record });
        self.0.tail.store(position + 1, Ordering::Release);
        Some(record)
    }
}
