//! Where traps run, and the evidence that this code runs in one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::OutOfMemory;

/// Number of a lane: of what traps run on one after the other, and never two at once.
///
/// In a kernel it is a CPU with interrupts off; in a process it would be a thread. A trap may
/// interrupt another on its lane (an NMI does, a handler that faults does), and then ends before
/// that one goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(usize);

impl Lane {
    /// Lane `number`, counted from 0.
    #[inline(always)]
    pub const fn new(number: usize) -> Self {
        Self(number)
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(self) -> usize {
        self.0
    }
}

/// Proof that this code runs in a trap, on a lane, and that
/// [`PageTables::synchronize`](crate::PageTables::synchronize) waits for this trap to end: what is
/// read from a [`Published`](crate::published::Published) pointer lives as long as this value, and
/// so does what the lane has for itself ([`Lanes::of`]).
///
/// # Invariants
/// Exists only between the entry of a trap and its end, on one lane (hence not `Send`).
#[derive(Debug)]
pub struct Trap {
    lane: Lane,
    here: PhantomData<*mut ()>,
}

impl Trap {
    /// Begins a trap on `lane`.
    ///
    /// # Safety
    /// The caller runs on `lane`, and nothing else does until the value is dropped, but for traps
    /// that interrupt it and end first. `synchronize` waits for the value to be dropped.
    #[inline(always)]
    pub unsafe fn begin(lane: Lane) -> Self {
        Self { lane, here: PhantomData }
    }

    /// The lane this is on.
    #[inline(always)]
    pub fn lane(&self) -> Lane {
        self.lane
    }
}

/// What each lane has for itself.
///
/// A lane's own is reached by a trap on it and in no other way. What of it others may look at at
/// any time, as counters are, its type says ([`Open`]).
#[derive(Debug)]
pub struct Lanes<T>(Box<[T]>);

/// State of a lane, a part of which is open to everybody at any time.
pub trait Open {
    /// That part.
    type Part: Sync;

    /// That part.
    fn open(&self) -> &Self::Part;
}

impl<T> Lanes<T> {
    /// For lanes `0..count`, each with what `make` makes.
    ///
    /// # Errors
    /// If memory lacks, here or in `make`.
    pub fn new(count: usize, make: impl Fn() -> Result<T, OutOfMemory>) -> Result<Self, OutOfMemory> {
        let mut all = Vec::new();
        all.try_reserve_exact(count)?;
        for _ in 0..count {
            all.push(make()?);
        }
        Ok(Self(all.into_boxed_slice()))
    }

    /// What the lane of `trap` has, if it is one of these.
    #[inline(always)]
    pub fn of<'t>(&'t self, trap: &'t Trap) -> Option<&'t T> {
        self.0.get(trap.lane.0)
    }

    /// All of them, while nobody else has any.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

impl<T> From<Box<[T]>> for Lanes<T> {
    /// Of each lane, in order of their numbers.
    fn from(all: Box<[T]>) -> Self {
        Self(all)
    }
}

impl<T: Open> Lanes<T> {
    /// What is open of each, in order of their numbers.
    pub fn open(&self) -> impl Iterator<Item = &T::Part> {
        self.0.iter().map(T::open)
    }
}
