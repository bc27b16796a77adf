//! Memory in which large hits are put together: too large for the kernel's stack.
//!
//! Each CPU has room for two hits, since an NMI's may come in the middle of another's. A third
//! finds none and is dropped, and counted as such by its probe.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU64;
use trapline_abi::MAX_WORDS;
use trapline_engine::{Lanes, Open, OutOfMemory, Trap};
use trapline_ring::local;

/// Hits that one lane may be putting together at once.
const LEVELS: usize = 2;

/// The memory, of all lanes.
///
/// # Invariants
/// The words of a lane and level are used by one [`Room`] at a time: the one that was given out
/// while `depth` was that level.
pub(super) struct Scratch {
    depths: Lanes<Depth>,
    /// Of each lane [`LEVELS`] times [`MAX_WORDS`].
    words: Box<[UnsafeCell<u64>]>,
}

/// How many hits a lane is putting together; on a cache line of its own.
#[repr(align(64))]
struct Depth(AtomicU64);

impl Open for Depth {
    type Part = Self;

    fn open(&self) -> &Self {
        self
    }
}

// SAFETY: the words are each used by one trap at a time, by the invariant.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// For lanes `0..lanes`.
    pub(super) fn new(lanes: usize) -> Result<Self, OutOfMemory> {
        let depths = Lanes::new(lanes, || Ok(Depth(AtomicU64::new(0))))?;
        let count = lanes * LEVELS * MAX_WORDS;
        let mut words = Vec::new();
        words.try_reserve_exact(count)?;
        words.extend((0..count).map(|_| UnsafeCell::new(0)));
        Ok(Self { depths, words: words.into_boxed_slice() })
    }

    /// Bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.depths.open().map(size_of_val).sum::<usize>() + size_of_val(&*self.words)
    }

    /// Room for a hit on the lane of `trap`, if it is not in the middle of too many.
    pub(super) fn enter<'a>(&'a self, trap: &'a Trap) -> Option<Room<'a>> {
        let Depth(depth) = self.depths.of(trap)?;
        // Only this lane counts here, and what nests takes back its own before it returns: so each
        // level is given out to one trap at a time.
        let level = local::add(depth, 1) as usize;
        let mut given = Room { depth, words: &[] };
        if level >= LEVELS {
            return None;
        }
        let first = (trap.lane().number() * LEVELS + level) * MAX_WORDS;
        given.words = self.words.get(first..first + MAX_WORDS)?;
        Some(given)
    }
}

/// Room for one hit, given back when it is dropped.
pub(super) struct Room<'a> {
    depth: &'a AtomicU64,
    words: &'a [UnsafeCell<u64>],
}

impl Room<'_> {
    /// The room.
    pub(super) fn words(&mut self) -> &mut [u64] {
        let (first, length) = (self.words.as_ptr(), self.words.len());
        // SAFETY: ours alone while this lives, by the invariant of `Scratch`; a cell is laid
        // out as what it holds.
        unsafe { core::slice::from_raw_parts_mut(UnsafeCell::raw_get(first), length) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        local::add(self.depth, u64::MAX);
    }
}
