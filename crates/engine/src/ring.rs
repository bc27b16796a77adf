//! The writing end of one CPU's ring.
//!
//! Writers are the trap path of that CPU and whatever interrupts it: a trap in an NMI may write in the middle of another write. So a slot is
//! reserved by one compare-exchange and completed by storing its stamp last (see [`trapline_abi::Record`]); nobody waits for anybody. The reader's tail is
//! only a claim: whatever it says, the writer stays inside the ring.

use crate::local;
use crate::primitive::RingMemory;
use crate::primitive::atomic::{AtomicU64, Ordering};
use trapline_abi::{Kind, Record, stamp};

#[cfg(not(loom))]
use core::ptr::NonNull;
#[cfg(not(loom))]
use trapline_abi::RingControl;

/// More records than an access or a marker can need: itself, the mark that records were lost, and 64 bytes of value or 120 of text. A ring has room for that.
const FEWEST: u64 = 8;

/// Words that one record holds that follows another.
const PART: usize = 4;
/// Words of a hit in its first record: the last ones of its payload.
const FIRST: usize = 2;
/// Records that can follow another: [`Record::more`] is a byte.
const MOST_PARTS: usize = u8::MAX as usize;
const _: () = assert!(FIRST + PART * MOST_PARTS == trapline_abi::MAX_WORDS);

/// How often a reservation is tried again. It fails only when a deeper trap on this CPU got in between, so twice would do.
const RESERVE_ATTEMPTS: usize = 16;

/// The writing end.
///
/// # Invariants
/// `memory` holds `mask + 1` records, a power of two, at least [`FEWEST`].
#[derive(Debug)]
pub struct RingWriter {
    memory: RingMemory,
    mask: u64,
    /// Positions reserved. Ours: what the reader can see of it is a copy.
    head: AtomicU64,
    /// Records dropped since the last [`Kind::Lost`] record.
    lost: AtomicU64,
}

impl RingWriter {
    /// The writing end of a ring whose memory is all zeros but for its control page's constants.
    ///
    /// Returns `None` if `capacity` is not a power of two or too small to be of use.
    ///
    /// # Safety
    /// `control` and `capacity` records from `records` on are valid for reads and writes while the value lives, and only readers (of the records)
    /// and the reader (of `tail`) use them otherwise.
    #[cfg(not(loom))]
    pub unsafe fn new(
        control: NonNull<RingControl>,
        records: NonNull<Record>,
        capacity: u64,
    ) -> Option<Self> {
        // SAFETY: as the caller vouches.
        Self::on(unsafe { RingMemory::new(control, records) }, capacity)
    }

    /// The writing end of `memory`, of that many records.
    #[cfg_attr(all(loom, not(test)), allow(dead_code, reason = "only the tests make one"))]
    pub(crate) fn on(memory: RingMemory, capacity: u64) -> Option<Self> {
        if !capacity.is_power_of_two() || capacity < FEWEST {
            return None;
        }
        // INVARIANT: checked above; that there are so many is the caller's.
        Some(Self { memory, mask: capacity - 1, head: AtomicU64::new(0), lost: AtomicU64::new(0) })
    }

    /// Writes `record` and, right after it, `more`; stamps and `more` counts are filled in here. Returns whether there was room: if not, all of
    /// them are dropped and counted.
    ///
    /// Runs on the ring's own CPU with interrupts off, or nested in such a call. Bounded, lock-free, allocates nothing.
    #[inline(always)]
    pub fn push(&self, record: Record, more: &[Record]) -> bool {
        if more.is_empty()
            && self.lost.load(Ordering::Relaxed) == 0
            && let Some(at) = self.reserve_positions(1)
        {
            self.complete(at, record);
            return true;
        }
        self.push_rarely(&record, more)
    }

    /// What [`RingWriter::push`] rarely comes to: parts, lost records to tell of, a full ring.
    #[cold]
    #[inline(never)]
    fn push_rarely(&self, record: &Record, more: &[Record]) -> bool {
        self.push_parts(record, more.iter().take(MOST_PARTS).copied())
    }

    /// Writes a hit: `record`, whose payload ends with the first of `words`, and the records that hold the rest of them, [`MAX_WORDS`](trapline_abi::MAX_WORDS) words at
    /// most. Otherwise as [`RingWriter::push`].
    #[inline(always)]
    pub fn push_words(&self, record: Record, words: &[u64]) -> bool {
        let (first, rest) = words.split_at_checked(FIRST).unwrap_or((words, &[]));
        let mut record = record;
        let [_, _, places @ ..] = &mut record.payload;
        for (place, word) in places.iter_mut().zip(first) {
            *place = *word;
        }
        if rest.is_empty() {
            return self.push(record, &[]);
        }
        let part = |words: &[u64]| {
            let mut part = Record::EMPTY;
            for (place, word) in part.payload.iter_mut().zip(words) {
                *place = *word;
            }
            part
        };
        self.push_parts(&record, rest.chunks(PART).take(MOST_PARTS).map(part))
    }

    /// Writes `record` and the parts that follow it, no more than [`MOST_PARTS`], or counts them as dropped.
    #[inline(always)]
    fn push_parts(&self, record: &Record, more: impl ExactSizeIterator<Item = Record>) -> bool {
        let parts = more.len();
        let wanted = 1 + parts as u64;
        match self.reserve(wanted) {
            Some((at, lost)) => {
                let mut at = at;
                if lost > 0 {
                    let payload = [lost, 0, 0, 0];
                    let Record { time, cpu, task, .. } = *record;
                    let kind = Kind::Lost as u8;
                    self.complete(at, Record { kind, time, cpu, task, payload, ..Record::EMPTY });
                    at += 1;
                }
                // The parts that follow are completed first: whoever sees the head record complete can count on them.
                for (offset, part) in (1..).zip(more) {
                    self.complete(at + offset, Record { kind: Kind::More as u8, ..part });
                }
                self.complete(at, Record { more: parts as u8, ..*record });
                true
            }
            None => {
                local::add(&self.lost, wanted);
                self.memory.count_dropped(wanted);
                false
            }
        }
    }

    /// Reserves `wanted` positions, and one more if there are lost records to tell of; returns the first, and how many were lost.
    fn reserve(&self, wanted: u64) -> Option<(u64, u64)> {
        // Taken before the positions are: a deeper trap on this CPU that gets in between must not tell of the same ones.
        let lost = self.take_lost();
        let first = self.reserve_positions(wanted + u64::from(lost > 0));
        if first.is_none() {
            local::add(&self.lost, lost);
        }
        first.map(|first| (first, lost))
    }

    /// Takes what there is to tell of. Fails over to "nothing" only if deeper traps got in between each time, and they tell of it.
    fn take_lost(&self) -> u64 {
        for _ in 0..RESERVE_ATTEMPTS {
            let lost = self.lost.load(Ordering::Relaxed);
            if lost == 0 || local::replace(&self.lost, lost, 0) {
                return lost;
            }
        }
        0
    }

    #[inline(always)]
    fn reserve_positions(&self, need: u64) -> Option<u64> {
        for _ in 0..RESERVE_ATTEMPTS {
            let head = self.head.load(Ordering::Relaxed);
            // Acquire pairs with the reader's release: what lies before the tail has been read.
            let used = head.wrapping_sub(self.memory.tail());
            // A tail beyond the head makes `used` huge, and a tail too far behind makes it larger than the ring: both read as full.
            if used > self.mask + 1 || self.mask + 1 - used < need {
                return None;
            }
            let next = head.wrapping_add(need);
            if local::replace(&self.head, head, next) {
                self.memory.show_head(next);
                return Some(head);
            }
        }
        None
    }

    /// Fills a reserved slot; its stamp last.
    #[inline(always)]
    fn complete(&self, position: u64, record: Record) {
        let slot = (position & self.mask) as usize;
        // The position is reserved, so no other writer fills its slot, and the reader does not look past a stamp that is not that of the position it
        // waits for.
        // SAFETY: `slot` is below the capacity, and ours by the reservation.
        unsafe { self.memory.fill(slot, Record { stamp: stamp(position), ..record }) };
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.memory.dropped()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
