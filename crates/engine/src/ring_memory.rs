//! The memory of one ring, shared with its reader: what the writer does to it, and in which order. Its twin for loom is `ring_memory_loom.rs`.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{RECORD_SIZE, Record, RingControl};

/// Words of a record; the first is its stamp.
const WORDS: usize = RECORD_SIZE / 8;

/// The memory.
///
/// # Invariants
/// `control`, and the records of the ring from `records` on, are valid for as long as the value lives.
#[derive(Debug)]
pub(crate) struct RingMemory {
    control: NonNull<RingControl>,
    records: NonNull<Record>,
}

// SAFETY: all access is through atomics or to slots that the writer has reserved for itself.
unsafe impl Sync for RingMemory {}
// SAFETY: as above; nothing is tied to a thread.
unsafe impl Send for RingMemory {}

impl RingMemory {
    /// # Safety
    /// Both are valid for reads and writes while the value lives, and used otherwise only by readers (the records) and the reader (`tail`).
    pub(crate) unsafe fn new(control: NonNull<RingControl>, records: NonNull<Record>) -> Self {
        // INVARIANT: as the caller vouches.
        Self { control, records }
    }

    fn control(&self) -> &RingControl {
        // SAFETY: valid by the invariant; all its fields that change are atomics.
        unsafe { self.control.as_ref() }
    }

    /// Where the reader says that it is. Acquire pairs with the reader's release: what lies before the tail has been read.
    pub(crate) fn tail(&self) -> u64 {
        self.control().tail.load(Ordering::Acquire)
    }

    /// Tells the reader how much is reserved, for information.
    pub(crate) fn show_head(&self, head: u64) {
        self.control().head.store(head, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self, records: u64) {
        // Only this CPU's traps count here (see `local`), and the reader may read it at any time.
        crate::local::add(&self.control().dropped, records);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.control().dropped.load(Ordering::Relaxed)
    }

    /// Fills slot number `slot`; its stamp last, with release order, so that who sees the stamp sees the record.
    ///
    /// # Safety
    /// `slot` is below the capacity, and the caller's alone until the stamp is there.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, slot: usize, record: Record) {
        // SAFETY: a record is eight words without padding (asserted in the ABI).
        let [stamp, rest @ ..]: [u64; WORDS] = unsafe { core::mem::transmute(record) };
        // SAFETY: valid by the invariant and ours, as the caller vouches; the stamp is only ever accessed as an atomic.
        unsafe {
            let first = self.records.add(slot).cast::<u64>();
            for (offset, word) in (1..).zip(rest) {
                first.add(offset).write(word);
            }
            first.cast::<AtomicU64>().as_ref().store(stamp, Ordering::Release);
        }
    }
}
