//! A value in a static that is set once, before anybody can look, and taken out after the last who could.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// Empty until it is set.
///
/// # Invariants
/// While `set` is true `value` is `Some` and is not written.
pub(crate) struct Fixed<T> {
    set: AtomicBool,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: shared references are handed out only while nothing is written, by the invariant.
unsafe impl<T: Send + Sync> Sync for Fixed<T> {}

impl<T> Fixed<T> {
    pub(crate) const fn empty() -> Self {
        Self { set: AtomicBool::new(false), value: UnsafeCell::new(None) }
    }

    /// The value, if it is set. Any context.
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire pairs with the release in `set`: whoever sees the flag sees the value.
        if !self.set.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: set, so not written while it can be seen.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// Sets it.
    ///
    /// # Safety
    /// It is empty, and nobody else sets or takes it meanwhile.
    pub(crate) unsafe fn set(&self, value: T) {
        // SAFETY: empty, so nobody looks; the caller excludes other writers.
        unsafe { *self.value.get() = Some(value) };
        self.set.store(true, Ordering::Release);
    }

    /// Takes it out.
    ///
    /// # Safety
    /// Nobody holds a reference that [`Fixed::get`] returned, nor calls it meanwhile.
    pub(crate) unsafe fn take(&self) -> Option<T> {
        self.set.store(false, Ordering::Relaxed);
        // SAFETY: the caller vouches that nobody else looks.
        unsafe { (*self.value.get()).take() }
    }
}
