//! The memory of one ring, and the only code that touches it: what both ends do to it, and in which
//! order.
//!
//! It is a control page and then the records. Words that both ends use at any time are atomics. The
//! content of a record is not: it belongs to the writer until its stamp is there, then to the
//! reader until the tail has passed it. Loom checks that. With atomic words instead it could not
//! see a slot that is written while it is still read, since loom never lets a load see a store that
//! comes after it.

use crate::RingError;
use crate::local;
use crate::primitive::UnsafeCell;
use crate::primitive::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::writer::FEWEST;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ptr::NonNull;
use trapline_abi::{ABI_VERSION, RECORD_SIZE, RING_CONTROL_SIZE, Record, stamp};

/// Words of a record after its stamp.
const REST: usize = RECORD_SIZE / size_of::<u64>() - 1;

/// The first page of a ring.
#[repr(C)]
#[derive(Debug)]
struct ControlPage {
    /// [`ABI_VERSION`], written once.
    version: AtomicU32,
    /// CPU whose ring this is, written once.
    cpu: AtomicU32,
    /// Records that the ring holds, a power of two, written once.
    capacity: AtomicU64,
    /// Positions reserved, as far as the reader was shown.
    head: AtomicU64,
    /// Records that found the ring full and were not written.
    dropped: AtomicU64,
    /// Keeps the reader's word off the writer's cache line.
    padding: [u64; 4],
    /// First position that the reader has not handed back; written by the reader alone.
    tail: AtomicU64,
}

impl ControlPage {
    fn new() -> Self {
        Self {
            version: AtomicU32::new(0),
            cpu: AtomicU32::new(0),
            capacity: AtomicU64::new(0),
            head: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            padding: [0; 4],
            tail: AtomicU64::new(0),
        }
    }
}

/// The place of a record.
#[repr(C, align(64))]
#[derive(Debug)]
struct Slot {
    /// [`stamp`] of the position whose record is complete here.
    stamp: AtomicU64,
    rest: UnsafeCell<[u64; REST]>,
}

impl Slot {
    fn new() -> Self {
        Self { stamp: AtomicU64::new(0), rest: UnsafeCell::new([0; REST]) }
    }
}

// SAFETY: the content of a slot is touched by the one end it belongs to, as `RingMemory::fill` and
// `RingMemory::read` ask of their callers.
unsafe impl Sync for Slot {}

// What a reader of another build, or in another language, relies on.
#[cfg(not(loom))]
const _: () = {
    assert!(core::mem::offset_of!(ControlPage, tail) == 64, "the reader's word has a cache line of its own");
    assert!(size_of::<Slot>() == RECORD_SIZE && align_of::<Slot>() <= RECORD_SIZE);
};
const _: () = assert!(size_of::<ControlPage>() <= RING_CONTROL_SIZE);

/// A ring's memory outside of the kernel.
#[derive(Debug)]
struct OwnMemory {
    control: ControlPage,
    slots: Box<[Slot]>,
}

/// The memory of one ring.
///
/// # Invariants
/// `control`, and `mask + 1` slots from `slots` on, are valid for as long as the value lives; `mask
/// + 1` is a power of two, at least [`FEWEST`].
#[derive(Clone, Debug)]
pub struct RingMemory {
    control: NonNull<ControlPage>,
    slots: NonNull<Slot>,
    mask: u64,
    /// Keeps the memory alive, if it is not somebody else's.
    _owned: Option<Arc<OwnMemory>>,
}

// SAFETY: it stands for a `&ControlPage` and a `&[Slot]`, and those may be sent and shared: the one
// holds atomics only, the other is `Sync`.
unsafe impl Send for RingMemory {}
// SAFETY: as above.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// The ring of `capacity` records at `base`, the start of its control page.
    ///
    /// # Errors
    /// If `capacity` is not one that a ring can have.
    ///
    /// # Safety
    /// `base` is page-aligned. The control page and `capacity` records after it are valid for reads
    /// and writes for as long as the value or a clone of it lives, were zeros at first, and are
    /// used by nothing but this crate, in whichever address space.
    pub unsafe fn at(base: NonNull<u8>, capacity: u64) -> Result<Self, RingError> {
        let mask = mask(capacity)?;
        // SAFETY: the records follow the control page, inside of what the caller says is valid.
        let slots = unsafe { base.add(RING_CONTROL_SIZE) }.cast();
        // INVARIANT: `at` asks for the control page and `capacity` records to be there; zeros and
        // whatever this crate writes are valid for their types. The mask is checked.
        Ok(Self { control: base.cast(), slots, mask, _owned: None })
    }

    /// A ring in memory of its own.
    pub(crate) fn owned(capacity: u64) -> Result<Self, RingError> {
        let mask = mask(capacity)?;
        let slots = (0..capacity).map(|_| Slot::new()).collect();
        let owned = Arc::new(OwnMemory { control: ControlPage::new(), slots });
        let slots = NonNull::from(&*owned.slots).cast();
        // INVARIANT: both are in `owned`, which is never moved and lives as long; so many were
        // made, and the mask is checked.
        Ok(Self { control: NonNull::from(&owned.control), slots, mask, _owned: Some(owned) })
    }

    /// Writes what is constant of the ring of CPU `cpu`, before anybody reads it.
    pub fn set_up(&self, cpu: u32) {
        let control = self.control();
        control.version.store(ABI_VERSION, Ordering::Relaxed);
        control.cpu.store(cpu, Ordering::Relaxed);
        control.capacity.store(self.capacity(), Ordering::Relaxed);
    }

    /// Whether this is a ring as [`RingMemory::set_up`] makes it.
    pub(crate) fn check(&self) -> Result<(), RingError> {
        let found = self.control().version.load(Ordering::Relaxed);
        if found != ABI_VERSION {
            return Err(RingError::Version { found });
        }
        let (found, expected) = (self.control().capacity.load(Ordering::Relaxed), self.capacity());
        if found != expected {
            return Err(RingError::Capacity { cpu: self.cpu(), found, expected });
        }
        Ok(())
    }

    #[inline(always)]
    fn control(&self) -> &ControlPage {
        // SAFETY: valid by the invariant; what changes in it are atomics.
        unsafe { self.control.as_ref() }
    }

    #[inline(always)]
    fn slot(&self, position: u64) -> &Slot {
        // SAFETY: the index is at most `mask`, so a slot is there by the invariant; what changes in
        // it is an atomic and a cell.
        unsafe { self.slots.add((position & self.mask) as usize).as_ref() }
    }

    /// CPU whose ring this is.
    pub(crate) fn cpu(&self) -> u32 {
        self.control().cpu.load(Ordering::Relaxed)
    }

    /// Records that the ring holds.
    #[inline(always)]
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// First position that the reader says it has not handed back. Acquire pairs with the release
    /// in [`RingMemory::hand_back`]: what lies before it has been read.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u64 {
        self.control().tail.load(Ordering::Acquire)
    }

    /// Gives the writer the slots of all positions before `tail`. Release: what was read of them
    /// was read before.
    pub(crate) fn hand_back(&self, tail: u64) {
        self.control().tail.store(tail, Ordering::Release);
    }

    /// Shows the reader that all positions before `head` are reserved.
    ///
    /// A plain store, so what is shown goes back when a trap that nests into this one has shown
    /// more since this one reserved. See [`RingReader::is_behind`](crate::RingReader::is_behind).
    #[inline(always)]
    pub(crate) fn show_head(&self, head: u64) {
        self.control().head.store(head, Ordering::Relaxed);
    }

    /// The head that was shown last.
    pub(crate) fn shown_head(&self) -> u64 {
        self.control().head.load(Ordering::Relaxed)
    }

    /// Counts records that found no room. Only the traps of the ring's CPU do (see [`local`]).
    pub(crate) fn count_dropped(&self, records: u64) {
        local::add(&self.control().dropped, records);
    }

    /// Records that found no room so far.
    pub fn dropped(&self) -> u64 {
        self.control().dropped.load(Ordering::Relaxed)
    }

    /// Fills the slot of `position`; its stamp last, with release order, so that whoever sees the
    /// stamp sees the record.
    ///
    /// # Safety
    /// The position is reserved for the caller, and the reader has handed back what its slot held
    /// before.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, position: u64, record: Record) {
        let [_, rest @ ..] = record.to_words();
        let slot = self.slot(position);
        // SAFETY: reserved for the caller, so no other writer is here; handed back, so the reader
        // is not, and it does not come before it sees the stamp.
        slot.rest.with_mut(|to| unsafe { *to = rest });
        slot.stamp.store(stamp(position), Ordering::Release);
    }

    /// The record of `position` if it is complete. Acquire pairs with the release in
    /// [`RingMemory::fill`].
    ///
    /// # Safety
    /// The caller is the reader, and has not handed back the position.
    #[inline(always)]
    pub(crate) unsafe fn read(&self, position: u64) -> Option<Record> {
        let slot = self.slot(position);
        if slot.stamp.load(Ordering::Acquire) != stamp(position) {
            return None;
        }
        // SAFETY: complete, as its stamp says; the writer does not touch it again before it is
        // handed back, and only the caller does that.
        let [a, b, c, d, e, f, g] = slot.rest.with(|rest| unsafe { *rest });
        Some(Record::from_words([stamp(position), a, b, c, d, e, f, g]))
    }
}

/// The mask that makes a slot's index of a position, for a ring of that capacity.
fn mask(capacity: u64) -> Result<u64, RingError> {
    if !capacity.is_power_of_two() || capacity < FEWEST {
        return Err(RingError::Size { capacity });
    }
    Ok(capacity - 1)
}
