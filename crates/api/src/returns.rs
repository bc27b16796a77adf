//! Return probes: a function, and what is called when it is entered and when it returns.

use core::ffi::{CStr, c_void};
use core::marker::PhantomData;
use core::ptr::{null, null_mut};

use crate::attached::NOTHING;
use crate::twin::{Half, Twin, handler_of};
use crate::{Counts, Exception, Registers, functions, raw};

/// What is called when a probed function is entered and when it returns.
///
/// # Safety
/// As for [`CodeHandler`](crate::CodeHandler).
pub unsafe trait ReturnHandler: Sync + 'static {
    /// What is carried from the entry to the return of the same call: at most 4096 bytes, aligned
    /// no stricter than a pointer.
    type Carried: Copy + 'static;

    /// Whether [`fault`](Self::fault) is called.
    const FAULT: bool = false;

    /// Called when the function is entered. If it raises an exception, the return of this call is
    /// not told of.
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
pub type ReturnProbe<H> = Twin<raw::ReturnProbe, H>;

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
        probe.raw_mut().symbol = symbol.as_ptr();
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
        Self::of(raw, handler)
    }

    /// Follows so many calls at once, not as many as the kernel would.
    pub const fn active(mut self, calls: u32) -> Self {
        self.raw_mut().active = calls;
        self
    }

    /// What `trapline list` calls it.
    pub const fn named(mut self, name: &'static CStr) -> Self {
        self.raw_mut().name = name.as_ptr();
        self
    }

    /// Disables it after so many abandoned handlers.
    pub const fn limited(mut self, limit: u64) -> Self {
        self.raw_mut().limit = limit;
        self
    }
}

impl Half for raw::ReturnProbe {
    unsafe fn data(this: *mut Self) -> *mut *mut c_void {
        // SAFETY: `this` is valid: `Half::data` asks for that.
        unsafe { &raw mut (*this).data }
    }

    unsafe fn add(this: *mut Self) -> i32 {
        // SAFETY: `this` is valid, stays, is not registered, and has its `data` (`Half::add`).
        unsafe { functions::trapline_register_return_probe(this) }
    }

    unsafe fn remove(this: *mut Self) {
        // SAFETY: `this` is registered: `Half::remove` asks for that.
        unsafe { functions::trapline_unregister_return_probe(this) }
    }

    unsafe fn set_enabled(this: *mut Self, enabled: bool) {
        // SAFETY: `this` is registered: `Half::set_enabled` asks for that.
        unsafe {
            match enabled {
                true => functions::trapline_enable_return_probe(this),
                false => functions::trapline_disable_return_probe(this),
            }
        }
    }

    unsafe fn counts(this: *mut Self) -> Counts {
        let mut counts = NOTHING;
        // SAFETY: `this` is registered (`Half::counts`); a place to write to.
        unsafe { functions::trapline_return_probe_counts(this, &mut counts) };
        counts
    }
}

/// As for a code probe.
///
/// # Safety
/// `probe` is the C half of a registered `ReturnProbe<H>`.
unsafe fn of<'a, H: 'static>(probe: *mut raw::ReturnProbe) -> &'a H {
    // SAFETY: `probe` is the C half of a registered probe with an `H`: `of` asks for that.
    unsafe { handler_of::<raw::ReturnProbe, H>((*probe).data) }
}

unsafe extern "C" fn entry<H: ReturnHandler>(
    probe: *mut raw::ReturnProbe,
    registers: *const Registers,
    carried: *mut c_void,
) {
    // SAFETY: called by the module, with a registered probe, valid registers, and as much room as
    // was asked for, aligned as a pointer, which `Fits` holds to be enough.
    unsafe { carried.cast::<H::Carried>().write(of::<H>(probe).entry(&*registers)) }
}

unsafe extern "C" fn returned<H: ReturnHandler>(
    probe: *mut raw::ReturnProbe,
    registers: *const Registers,
    carried: *mut c_void,
) {
    // SAFETY: as above; the entry handler of this call has come to its end, else this is not
    // called.
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
