//! A pointer to an immutable snapshot that traps read without waiting, as RCU does
//! (Documentation/RCU/whatisRCU.rst).
//!
//! The writer builds a whole new snapshot, publishes it, waits until no trap can hold the old one,
//! and frees that. Rejected: changing one shared structure in place, since every intermediate state
//! then had to be proved harmless; a snapshot has none.

use crate::{OutOfMemory, Trap};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;
use core::ptr::NonNull;
use trapline_ring::primitive::atomic::{AtomicPtr, Ordering};

/// A snapshot in memory of its own, not yet or no longer published.
pub struct Owned<T>(Box<[T]>);

impl<T> Owned<T> {
    /// Moves `value` to the heap; unlike `Box::new` this can fail.
    pub fn new(value: T) -> Result<Self, OutOfMemory> {
        let mut one = Vec::new();
        one.try_reserve_exact(1)?;
        one.push(value);
        // Capacity equals length, so this does not reallocate.
        Ok(Self(one.into_boxed_slice()))
    }

    fn into_raw(self) -> *mut T {
        Box::into_raw(self.0).cast()
    }

    /// Hands the memory over, for [`Owned::reclaim`].
    pub fn leak(self) -> NonNull<T> {
        // SAFETY: a box is never null.
        unsafe { NonNull::new_unchecked(self.into_raw()) }
    }

    /// Undoes [`Owned::leak`].
    ///
    /// # Safety
    /// `pointer` came from there and is not used again.
    pub unsafe fn reclaim(pointer: NonNull<T>) -> Self {
        // SAFETY: `pointer` came from `into_raw` and is not used again: `reclaim` asks for that.
        unsafe { Self::from_raw(pointer.as_ptr()) }
    }

    /// # Safety
    /// `pointer` came from [`Owned::into_raw`] and is not used again.
    unsafe fn from_raw(pointer: *mut T) -> Self {
        // SAFETY: the slice that `into_raw` took apart had length 1.
        Self(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(pointer, 1)) })
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the slice has length 1: `new` and `from_raw` are all that makes one.
        unsafe { self.0.get_unchecked(0) }
    }
}

/// The published pointer. One writer at a time.
///
/// # Invariants
/// Null, or from [`Owned::into_raw`] and not freed while a trap that began before it was replaced
/// is running.
pub(crate) struct Published<T>(AtomicPtr<T>);

impl<T> Published<T> {
    /// Nothing published.
    pub(crate) fn empty() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// The snapshot that is current now, for as long as the trap lasts.
    pub(crate) fn read<'t>(&self, _trap: &'t Trap) -> Option<&'t T> {
        // Acquire pairs with the release in `replace`: whoever sees the pointer sees the snapshot
        // as built. No lock, no retry: one load.
        let pointer = self.0.load(Ordering::Acquire);
        // SAFETY: by the invariant, and since `retire` frees only after `synchronize`, the snapshot
        // outlives the trap.
        unsafe { pointer.as_ref() }
    }

    /// The snapshot that is current now, as its writer sees it.
    ///
    /// # Safety
    /// Called by the one writer, who does not free what it replaces while the result is in use.
    pub(crate) unsafe fn current(&self) -> Option<&T> {
        // SAFETY: by the invariant, and since only the caller could replace and free it. Relaxed:
        // it was this writer that stored it, or one whose lock this one took over.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }

    /// Publishes `new` and returns what was published before, which traps may still be reading.
    pub(crate) fn replace(&self, new: Option<Owned<T>>) -> Retired<T> {
        let new = new.map_or(core::ptr::null_mut(), Owned::into_raw);
        // AcqRel: release for the readers of `new`; acquire so that the old one's content is ours
        // to drop.
        Retired(self.0.swap(new, Ordering::AcqRel))
    }

    /// Publishes again what was published before, which traps may never have stopped reading.
    pub(crate) fn restore(&self, old: Retired<T>) -> Retired<T> {
        // As in `replace`.
        Retired(self.0.swap(old.0, Ordering::AcqRel))
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: nobody publishes or reads any more.
        unsafe { self.replace(None).free() }
    }
}

/// A snapshot that is no longer published. Leaks if it is not freed.
#[must_use]
pub struct Retired<T>(*mut T);

impl<T> Retired<T> {
    /// It, which traps may still be reading too.
    pub fn get(&self) -> Option<&T> {
        // SAFETY: null, or from `Owned::into_raw` and not freed: freeing takes the value.
        unsafe { self.0.as_ref() }
    }

    /// Frees it.
    ///
    /// # Safety
    /// Every trap that began before it was replaced has ended.
    pub unsafe fn free(self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from `Owned::into_raw` by the invariant of `Published`;
            // `free` asks for every trap that may read it to have ended.
            drop(unsafe { Owned::from_raw(self.0) });
        }
    }
}
