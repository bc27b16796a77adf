//! A probe of any kind: the C object that the module is given, and the handler in Rust that it
//! calls.

use core::cell::UnsafeCell;
use core::ffi::c_void;

use crate::attached::{Attach, NOTHING, Slot};
use crate::{Attached, Counts, Error, register_all};

/// A C object, as `trapline.h` has it, and its functions there. Nobody else can name it.
///
/// Each is called by whoever has the twin's slot: `add` while it is not registered, the others
/// while it is.
pub trait Half: Sized + 'static {
    /// Where its `data` is.
    ///
    /// # Safety
    /// `this` is valid.
    unsafe fn data(this: *mut Self) -> *mut *mut c_void;

    /// Registers it; 0 or a negative errno.
    ///
    /// # Safety
    /// `this` is valid, stays where it is, and is not registered; `data` is set.
    unsafe fn add(this: *mut Self) -> i32;

    /// Takes it away: none of its handlers is running or will run when this returns.
    ///
    /// # Safety
    /// `this` is registered.
    unsafe fn remove(this: *mut Self);

    /// Has its handlers called, or no more.
    ///
    /// # Safety
    /// `this` is registered.
    unsafe fn set_enabled(_this: *mut Self, _enabled: bool) {}

    /// What it has counted.
    ///
    /// # Safety
    /// `this` is registered.
    unsafe fn counts(_this: *mut Self) -> Counts {
        NOTHING
    }
}

/// A probe: [`CodeProbe`](crate::CodeProbe), [`ReturnProbe`](crate::ReturnProbe),
/// [`AccessProbe`](crate::AccessProbe) or [`PageFaultHandler`](crate::PageFaultHandler).
pub struct Twin<R, H> {
    raw: UnsafeCell<R>,
    slot: Slot,
    handler: H,
}

// SAFETY: the C half is used by whoever has the slot, and by the module, whose business it is to do
// so from all CPUs; the handler is shared as its type allows.
unsafe impl<R, H: Sync> Sync for Twin<R, H> {}

impl<R, H> Twin<R, H> {
    pub(crate) const fn of(raw: R, handler: H) -> Self {
        Self { raw: UnsafeCell::new(raw), slot: Slot::new(), handler }
    }

    pub(crate) const fn raw_mut(&mut self) -> &mut R {
        self.raw.get_mut()
    }

    pub(crate) const fn raw(&self) -> *mut R {
        self.raw.get()
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }
}

impl<R: Half, H: Sync + 'static> Twin<R, H> {
    /// Registers it: when it returns, its handler is called for all that comes from then on, on all
    /// CPUs. A page-fault handler is asked before those that are registered already; a return probe
    /// does not follow calls that are under way.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn register(&'static self) -> Result<Attached<1>, Error> {
        register_all([self])
    }
}

impl<R: Half, H: Sync + 'static> Attach for Twin<R, H> {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn add(&'static self) -> Result<(), Error> {
        let this = (&raw const *self).cast_mut().cast::<c_void>();
        // SAFETY: whoever has the slot has the C half, and it is not registered, so nobody else
        // uses it. It stays where it is for ever; its handlers are the trait's, which is sound but
        // for exceptions.
        Error::check(unsafe {
            R::data(self.raw.get()).write(this);
            R::add(self.raw.get())
        })
    }

    fn remove(&self) {
        // SAFETY: registered: only the `Attached` that has the slot calls this, once, when it is
        // dropped.
        unsafe { R::remove(self.raw.get()) }
    }

    fn set_enabled(&self, enabled: bool) {
        // SAFETY: registered, since an `Attached` asks.
        unsafe { R::set_enabled(self.raw.get(), enabled) }
    }

    fn read_counts(&self) -> Counts {
        // SAFETY: registered, since an `Attached` asks.
        unsafe { R::counts(self.raw.get()) }
    }
}

/// The handler that a registered C half, whose `data` this is, belongs to.
///
/// # Safety
/// `data` is that of the registered half of a `Twin<R, H>`.
pub(crate) unsafe fn handler_of<'a, R: 'static, H: 'static>(data: *mut c_void) -> &'a H {
    // SAFETY: it was set before the half was registered, and is not changed while it is; it points
    // to a `static`.
    unsafe { &(*data.cast::<Twin<R, H>>()).handler }
}
