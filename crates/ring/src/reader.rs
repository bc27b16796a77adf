//! The reading end of one CPU's ring.

use crate::{RingError, RingMemory};
use core::iter;
use core::marker::PhantomData;
use trapline_abi::Record;

/// The reading end, of memory that is there for `'a`.
///
/// # Invariants
/// It is the only reader of `memory`, and has handed back exactly the positions before `tail`, or
/// is about to.
#[derive(Debug)]
pub struct RingReader<'a> {
    memory: RingMemory,
    tail: u64,
    mapped: PhantomData<&'a RingMemory>,
}

impl RingReader<'_> {
    /// The reading end of `memory`.
    ///
    /// # Errors
    /// If the control page tells of another version or capacity.
    ///
    /// # Safety
    /// `memory` has no other reader, and is valid for `'a`.
    pub unsafe fn new(memory: RingMemory) -> Result<Self, RingError> {
        memory.check()?;
        // INVARIANT: `new` asks for there being no other reader; what one before it has
        // handed back stays so.
        Ok(Self { tail: memory.tail(), memory, mapped: PhantomData })
    }

    /// CPU whose ring this is.
    pub fn cpu(&self) -> u32 {
        self.memory.cpu()
    }

    /// Records that found the ring full so far.
    pub fn dropped(&self) -> u64 {
        self.memory.dropped()
    }

    /// Whether the writer is past the reader: there are records, or one is being written just now.
    ///
    /// The shown head may lie behind what is reserved, and even behind the reader: a trap shows its
    /// own after a nested trap has shown more. What it hides then are records of nested traps,
    /// which were complete before. So a reader at or past the shown head has seen all. It must not
    /// ask whether the two are equal: a head behind it would stay so until the CPU's next record.
    pub fn is_behind(&self) -> bool {
        self.memory.shown_head().wrapping_sub(self.tail).cast_signed() > 0
    }

    /// Moves up to `max` complete records to the end of `out`; how many. Fewer than `max` means
    /// that the next one is not complete.
    pub fn drain(&mut self, max: usize, out: &mut impl Extend<Record>) -> usize {
        let first = self.tail;
        out.extend(iter::from_fn(|| self.next()).take(max));
        if self.tail != first {
            self.memory.hand_back(self.tail);
        }
        self.tail.wrapping_sub(first) as usize
    }

    fn next(&mut self) -> Option<Record> {
        // SAFETY: the only reader, and `tail` is not handed back, both by the invariant.
        let record = unsafe { self.memory.read(self.tail) }?;
        // INVARIANT: handed back by `drain`, which called this.
        self.tail = self.tail.wrapping_add(1);
        Some(record)
    }
}
