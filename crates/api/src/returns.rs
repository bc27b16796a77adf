//! Return probes: a function, and what is called when it is entered and when it returns.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::marker::PhantomData;
use core::ptr::{null, null_mut};

use crate::attached::{Attach, NOTHING, Slot};
use crate::{Attached, Counts, Error, Exception, Registers, functions, raw, register_all};

/// What is called when a probed function is entered and when it returns.
///
/// # Safety
/// As for [`CodeHandler`](crate::CodeHandler).
pub unsafe trait ReturnHandler: Sync + 'static {
    /// What is carried from the entry to the return of the same call: at most 4096 bytes, aligned no stricter than a pointer.
    type Carried: Copy + 'static;

    /// Whether [`fault`](Self::fault) is called.
    const FAULT: bool = false;

    /// Called when the function is entered. If it raises an exception, the return of this call is not told of.
    fn entry(&self, registers: &Registers) -> Self::Carried;

    /// Called when the function has returned, its result in `rax`.
    fn returned(&self, registers: &Registers, carried: &Self::Carried);

    /// As for a code probe.
    fn fault(&self, registers: &mut Registers, exception: &Exception) -> bool {
        let _ = (registers, exception);
        false
    }
}

/// A return probe.
pub struct ReturnProbe<H> {
    raw: UnsafeCell<raw::ReturnProbe>,
    slot: Slot,
    handler: H,
}

// SAFETY: as for `CodeProbe`.
unsafe impl<H: Sync> Sync for ReturnProbe<H> {}

/// What C could not hold to.
struct Fits<T>(PhantomData<T>);

impl<T> Fits<T> {
    const CHECKED: usize = {
        assert!(size_of::<T>() <= 4096, "more is carried than a call has room for");
        assert!(align_of::<T>() <= align_of::<*const ()>(), "what is carried is aligned as a pointer");
        size_of::<T>()
    };
}

impl<H: ReturnHandler> ReturnProbe<H> {
    /// Of a function of the kernel or of a module.
    pub const fn of_symbol(symbol: &'static CStr, handler: H) -> Self {
        let mut probe = Self::of_address(0, handler);
        probe.raw.get_mut().symbol = symbol.as_ptr();
        probe
    }

    /// Of the function at an address.
    pub const fn of_address(address: u64, handler: H) -> Self {
        let raw = raw::ReturnProbe {
            address,
            symbol: null(),
            entry: Some(entry::<H>),
            returned: Some(returned::<H>),
            fault: if H::FAULT { Some(fault::<H>) } else { None },
            carried: Fits::<H::Carried>::CHECKED,
            active: 0,
            reserved: 0,
            limit: 0,
            data: null_mut(),
            name: null(),
            id: 0,
        };
        Self { raw: UnsafeCell::new(raw), slot: Slot::new(), handler }
    }

    /// Follows so many calls at once, not as many as the kernel would.
    pub const fn active(mut self, calls: u32) -> Self {
        self.raw.get_mut().active = calls;
        self
    }

    /// What `trapline list` calls it.
    pub const fn named(mut self, name: &'static CStr) -> Self {
        self.raw.get_mut().name = name.as_ptr();
        self
    }

    /// Disables it after so many abandoned handlers.
    pub const fn limited(mut self, limit: u64) -> Self {
        self.raw.get_mut().limit = limit;
        self
    }

    /// Registers it. Calls that are under way are not followed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn register(&'static self) -> Result<Attached<1>, Error> {
        register_all([self])
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }
}

impl<H: ReturnHandler> Attach for ReturnProbe<H> {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn add(&'static self) -> Result<(), Error> {
        let data = (&raw const *self).cast_mut().cast::<c_void>();
        // SAFETY: as for a code probe.
        Error::check(unsafe {
            (&raw mut (*self.raw.get()).data).write(data);
            functions::trapline_register_return_probe(self.raw.get())
        })
    }

    fn remove(&self) {
        // SAFETY: registered, as whoever has the slot vouches.
        unsafe { functions::trapline_unregister_return_probe(self.raw.get()) }
    }

    fn set_enabled(&self, enabled: bool) {
        // SAFETY: registered, since an `Attached` asks.
        unsafe {
            match enabled {
                true => functions::trapline_enable_return_probe(self.raw.get()),
                false => functions::trapline_disable_return_probe(self.raw.get()),
            }
        }
    }

    fn read_counts(&self) -> Counts {
        let mut counts = NOTHING;
        // SAFETY: registered, since an `Attached` asks; a place to write to.
        unsafe { functions::trapline_return_probe_counts(self.raw.get(), &mut counts) };
        counts
    }
}

/// As for a code probe.
///
/// # Safety
/// `probe` is the C half of a registered `ReturnProbe<H>`.
unsafe fn of<'a, H>(probe: *mut raw::ReturnProbe) -> &'a H {
    // SAFETY: as for a code probe.
    unsafe { &(*(*probe).data.cast::<ReturnProbe<H>>()).handler }
}

unsafe extern "C" fn entry<H: ReturnHandler>(
    probe: *mut raw::ReturnProbe,
    registers: *const Registers,
    carried: *mut c_void,
) {
    // SAFETY: called by the module, with a registered probe, valid registers, and as much room as was asked for, aligned as a pointer, which `Fits` holds to be enough.
    unsafe { carried.cast::<H::Carried>().write(of::<H>(probe).entry(&*registers)) }
}

unsafe extern "C" fn returned<H: ReturnHandler>(
    probe: *mut raw::ReturnProbe,
    registers: *const Registers,
    carried: *mut c_void,
) {
    // SAFETY: as above; the entry handler of this call has come to its end, else this is not called.
    unsafe { of::<H>(probe).returned(&*registers, &*carried.cast::<H::Carried>()) }
}

unsafe extern "C" fn fault<H: ReturnHandler>(
    probe: *mut raw::ReturnProbe,
    registers: *mut Registers,
    exception: *const Exception,
) -> bool {
    // SAFETY: as for a code probe.
    unsafe { of::<H>(probe).fault(&mut *registers, &*exception) }
}
