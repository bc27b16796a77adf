//! Reading one CPU's ring in shared memory: the one unsafe place of this crate.
//!
//! The writer reserves positions, fills the slot of each, and stores the slot's stamp last with release order (see `trapline_abi::Record`). So a slot
//! is complete exactly when an acquire load of its first word gives [`stamp`] of the position the reader waits for. The reader copies the slot
//! word by word and hands it back by storing `tail` with release order.
//!
//! Rejected: looking at `head` to know what is complete. A writer interrupted between reserving and finishing (by an NMI that traps as well)
//! leaves an unfinished slot below `head`.
#![allow(unsafe_code, reason = "the crate's one place that reads mapped memory")]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use trapline_abi::{ABI_VERSION, RECORD_SIZE, Record, RingControl, stamp};

/// Words of a record.
const WORDS: usize = RECORD_SIZE / size_of::<u64>();

/// A record as the reader sees it in shared memory. The first word is the stamp.
type Slot = [AtomicU64; WORDS];

const _: () = assert!(size_of::<Slot>() == RECORD_SIZE && align_of::<Record>() >= align_of::<Slot>());

/// The consuming end of one CPU's ring.
///
/// # Invariants
/// `slots` points to `mask + 1` slots, shared with the writer, that stay mapped for `'a`; `mask + 1` is a power of two.
#[derive(Debug)]
pub struct RingReader<'a> {
    control: &'a RingControl,
    slots: NonNull<Slot>,
    mask: u64,
    tail: u64,
    mapped: PhantomData<&'a [Slot]>,
}

// SAFETY: the reader owns the consuming end and touches shared memory through atomics only; nothing in it belongs to one thread.
unsafe impl Send for RingReader<'_> {}

/// Why a ring can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RingError {
    /// The module speaks another version.
    #[error(
        "the ring has ABI version {found}, this command has {ABI_VERSION}: load the module that was built with this command"
    )]
    Version {
        /// The ring's version.
        found: u32,
    },
    /// The capacity is not the one the mapping was made for.
    #[error("the ring of CPU {cpu} holds {found} records, expected {expected}, a power of two")]
    Capacity {
        /// Whose ring.
        cpu: u32,
        /// What its control page says.
        found: u64,
        /// What the session's geometry says.
        expected: u64,
    },
}

impl<'a> RingReader<'a> {
    /// The reader of the ring with `control`, whose `capacity` records start at `records`.
    ///
    /// # Errors
    /// If the control page disagrees about version or capacity.
    ///
    /// # Safety
    /// `records` must point to `capacity` records in memory that stays mapped, readable, for `'a`, and that is written only by the one writer of
    /// this ring. There must be no other reader of it.
    pub unsafe fn new(
        control: &'a RingControl,
        records: NonNull<Record>,
        capacity: u64,
    ) -> Result<Self, RingError> {
        let found = control.version.load(Ordering::Relaxed);
        if found != ABI_VERSION {
            return Err(RingError::Version { found });
        }
        let found = control.capacity.load(Ordering::Relaxed);
        if found != capacity || !capacity.is_power_of_two() {
            let cpu = control.cpu.load(Ordering::Relaxed);
            return Err(RingError::Capacity { cpu, found, expected: capacity });
        }
        let tail = control.tail.load(Ordering::Relaxed);
        // INVARIANT: the caller vouches for `capacity` records at `records`; capacity is a power of two by the check above.
        Ok(Self { control, slots: records.cast(), mask: capacity - 1, tail, mapped: PhantomData })
    }

    /// CPU whose ring this is.
    pub fn cpu(&self) -> u32 {
        self.control.cpu.load(Ordering::Relaxed)
    }

    /// Records that found the ring full so far.
    pub fn dropped(&self) -> u64 {
        self.control.dropped.load(Ordering::Relaxed)
    }

    /// Whether the writer is past the reader: there are records, or one is being written just now.
    pub fn is_behind(&self) -> bool {
        self.control.head.load(Ordering::Relaxed) != self.tail
    }

    /// Moves up to `max` complete records to the end of `out`; how many. Fewer than `max` means that the next one is not complete.
    pub fn drain(&mut self, max: usize, out: &mut Vec<Record>) -> usize {
        let mut count = 0;
        while count < max {
            let Some(record) = self.read(self.tail) else { break };
            out.push(record);
            self.tail = self.tail.wrapping_add(1);
            count += 1;
        }
        if count > 0 {
            // Release: the copies above happen before the writer, which acquires `tail`, may fill those slots again.
            self.control.tail.store(self.tail, Ordering::Release);
        }
        count
    }

    /// The record at `position` if it is complete.
    fn read(&self, position: u64) -> Option<Record> {
        let index = (position & self.mask) as usize;
        // SAFETY: `index <= mask`, so this is one of the `mask + 1` slots that the invariant says are mapped for 'a. They are only accessed
        // as atomics here, and the writer's side is another address space or, in tests, atomics as well.
        let slot = unsafe { self.slots.add(index).as_ref() };
        // Acquire: pairs with the writer's release store of the stamp, so the other words below are those of this position.
        if slot[0].load(Ordering::Acquire) != stamp(position) {
            return None;
        }
        let word = |n: usize| slot[n].load(Ordering::Relaxed);
        let (what, whose) = (word(2), word(3));
        let [kind, flags, width, way, cpu_low, cpu_high, more, reserved] = what.to_le_bytes();
        Some(Record {
            stamp: stamp(position),
            time: word(1),
            kind,
            flags,
            width,
            way,
            cpu: u16::from_le_bytes([cpu_low, cpu_high]),
            more,
            reserved,
            task: whose as u32,
            mapping: (whose >> 32) as u32,
            payload: [word(4), word(5), word(6), word(7)],
        })
    }
}

#[cfg(test)]
mod tests;
