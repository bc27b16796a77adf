//! A value in a static that is set once, before anybody can look, and taken out after the last who
//! could.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Empty until it is set.
///
/// # Invariants
/// `set` is null, or points to what `value` holds, which is then not written.
pub(crate) struct Fixed<T> {
    set: AtomicPtr<T>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: shared references are handed out only while nothing is written, by the invariant.
unsafe impl<T: Send + Sync> Sync for Fixed<T> {}

impl<T> Fixed<T> {
    pub(crate) const fn empty() -> Self {
        Self { set: AtomicPtr::new(ptr::null_mut()), value: UnsafeCell::new(None) }
    }

    /// The value, if it is set. Any context.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire pairs with the release in `set`: whoever sees the pointer sees the value.
        // SAFETY: null or valid, and not written while it can be seen.
        unsafe { self.set.load(Ordering::Acquire).as_ref() }
    }

    /// Sets it. It stays where it is from now on.
    ///
    /// # Safety
    /// It is empty, and nobody else sets or takes it meanwhile.
    pub(crate) unsafe fn set(&'static self, value: T) {
        // SAFETY: empty, so nobody looks; the caller excludes other writers.
        let value = unsafe { (*self.value.get()).insert(value) };
        self.set.store(value, Ordering::Release);
    }

    /// Takes it out.
    ///
    /// # Safety
    /// Nobody holds a reference that [`Fixed::get`] returned, nor calls it meanwhile.
    pub(crate) unsafe fn take(&self) -> Option<T> {
        self.set.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: nobody holds a reference or takes one meanwhile: `take` asks for that.
        unsafe { (*self.value.get()).take() }
    }
}
