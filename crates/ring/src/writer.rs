//! The writing end of one CPU's ring.
//!
//! Writers are the trap path of that CPU and whatever interrupts it: a trap in an NMI may write in
//! the middle of another write. So a slot is reserved by one compare-exchange and completed by
//! storing its stamp last; nobody waits for anybody. The reader's tail is only a claim: whatever it
//! says, the writer stays inside the ring.

use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::{RingMemory, local};
use trapline_abi::{Kind, Record};

/// More records than an access or a marker can need: itself, the mark that records were lost, and
/// 64 bytes of value or 120 of text. A ring has room for that.
pub(crate) const FEWEST: u64 = 8;

/// Words that one record holds that follows another.
const PART: usize = 4;
/// Words of a hit in its first record: the last ones of its payload.
const FIRST: usize = 2;
/// Records that can follow another: [`Record::more`] is a byte.
const MOST_PARTS: usize = u8::MAX as usize;
const _: () = assert!(FIRST + PART * MOST_PARTS == trapline_abi::MAX_WORDS);

/// How often a reservation is tried again. It fails only when a deeper trap on this CPU got in
/// between, so twice would do.
const RESERVE_ATTEMPTS: usize = 16;

/// The writing end.
///
/// # Invariants
/// It is the only writer of `memory`; `head` is ahead of every position that it has filled.
#[derive(Debug)]
pub struct RingWriter {
    memory: RingMemory,
    /// Positions reserved. Ours: what the reader can see of it is a copy.
    head: AtomicU64,
    /// Records dropped since the last [`Kind::Lost`] record.
    lost: AtomicU64,
}

impl RingWriter {
    /// The writing end of `memory`.
    ///
    /// # Safety
    /// `memory` has and had no other writer.
    pub unsafe fn new(memory: RingMemory) -> Self {
        // INVARIANT: `new` asks for there being no other writer; nothing is filled.
        Self { memory, head: AtomicU64::new(0), lost: AtomicU64::new(0) }
    }

    /// Writes `record` and, right after it, `more`; stamps and `more` counts are filled in here.
    /// Returns whether there was room: if not, all of them are dropped and counted.
    ///
    /// Bounded, lock-free, allocates nothing.
    ///
    /// # Safety
    /// The caller runs on the ring's own CPU with interrupts off, or nested in such a call.
    #[inline(always)]
    pub unsafe fn push(&self, record: Record, more: &[Record]) -> bool {
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

    /// Writes a hit: `record`, whose payload ends with the first of `words`, and the records that
    /// hold the rest of them, [`MAX_WORDS`](trapline_abi::MAX_WORDS) words at most. Otherwise as
    /// [`RingWriter::push`].
    ///
    /// # Safety
    /// As for [`RingWriter::push`].
    #[inline(always)]
    pub unsafe fn push_words(&self, record: Record, words: &[u64]) -> bool {
        let (first, rest) = words.split_at_checked(FIRST).unwrap_or((words, &[]));
        let mut record = record;
        let [_, _, places @ ..] = &mut record.payload;
        for (place, word) in places.iter_mut().zip(first) {
            *place = *word;
        }
        if rest.is_empty() {
            // SAFETY: on the ring's own CPU with interrupts off: `push_words` asks for what `push`
            // asks for.
            return unsafe { self.push(record, &[]) };
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

    /// Writes `record` and the parts that follow it, no more than [`MOST_PARTS`], or counts them as
    /// dropped.
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
                // The parts that follow are completed first: whoever sees the head record complete
                // can count on them.
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

    /// Reserves `wanted` positions, and one more if there are lost records to tell of; returns the
    /// first, and how many were lost.
    fn reserve(&self, wanted: u64) -> Option<(u64, u64)> {
        // Taken before the positions are: a deeper trap on this CPU that gets in between must not
        // tell of the same ones.
        let lost = self.take_lost();
        let first = self.reserve_positions(wanted + u64::from(lost > 0));
        if first.is_none() {
            local::add(&self.lost, lost);
        }
        first.map(|first| (first, lost))
    }

    /// Takes what there is to tell of. Fails over to "nothing" only if deeper traps got in between
    /// each time, and they tell of it.
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
    pub(crate) fn reserve_positions(&self, need: u64) -> Option<u64> {
        for _ in 0..RESERVE_ATTEMPTS {
            let head = self.head.load(Ordering::Relaxed);
            let used = head.wrapping_sub(self.memory.tail());
            // A tail beyond the head makes `used` huge, and a tail too far behind makes it larger
            // than the ring: both read as full.
            if self.memory.capacity().checked_sub(used).is_none_or(|free| free < need) {
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
        // SAFETY: every caller has reserved `position` by moving `head` past it, which no other
        // does for the same one; it did so after the tail had come to within a capacity of it, so
        // what the slot held before is handed back. A reader that lied about that reads from its
        // own mapping whatever it finds there.
        unsafe { self.memory.fill(position, record) };
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.memory.dropped()
    }
}
