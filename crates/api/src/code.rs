//! Code probes: an instruction, and what is called before and after it.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::ptr::{null, null_mut};

use crate::attached::{Attach, NOTHING, Slot};
use crate::{Attached, Counts, Error, Exception, Registers, functions, raw, register_all};

/// What is called when a code probe is hit.
///
/// # Safety
/// Code of it that may raise an exception has nothing to drop in its frames, and what [`fault`](Self::fault) leaves in the registers is what the handler may go on with.
pub unsafe trait CodeHandler: Sync + 'static {
    /// Whether [`pre`](Self::pre) is called.
    const PRE: bool = true;
    /// Whether [`post`](Self::post) is called: the kernel then can't replace the breakpoint by a jump.
    const POST: bool = false;
    /// Whether [`fault`](Self::fault) is called.
    const FAULT: bool = false;

    /// Called before the instruction. The registers are those of the probed code; `rip` is past the breakpoint, as kprobes have it.
    fn pre(&self, registers: &Registers) {
        let _ = registers;
    }

    /// Called after the instruction.
    fn post(&self, registers: &Registers) {
        let _ = registers;
    }

    /// Called when one of the two has raised an exception, with the registers of the handler there. Returns whether it has dealt with that: the handler then goes on with the
    /// registers as they are now. May raise one itself: both are abandoned then.
    fn fault(&self, registers: &mut Registers, exception: &Exception) -> bool {
        let _ = (registers, exception);
        false
    }
}

/// A code probe: any number of them may be at an instruction, each with a life of its own.
pub struct CodeProbe<H> {
    raw: UnsafeCell<raw::CodeProbe>,
    slot: Slot,
    handler: H,
}

// SAFETY: the C half is used by whoever has the slot, and by the module, whose business it is to do so from all CPUs; the handler is shared as its type allows.
unsafe impl<H: Sync> Sync for CodeProbe<H> {}

impl<H: CodeHandler> CodeProbe<H> {
    /// On the instruction `offset` bytes behind a function of the kernel or of a module.
    pub const fn at_symbol(symbol: &'static CStr, offset: u32, handler: H) -> Self {
        let mut probe = Self::at_address(0, handler);
        let raw = probe.raw.get_mut();
        raw.symbol = symbol.as_ptr();
        raw.offset = offset;
        probe
    }

    /// On the instruction at an address.
    pub const fn at_address(address: u64, handler: H) -> Self {
        let raw = raw::CodeProbe {
            address,
            symbol: null(),
            offset: 0,
            reserved: 0,
            pre: if H::PRE { Some(pre::<H>) } else { None },
            post: if H::POST { Some(post::<H>) } else { None },
            fault: if H::FAULT { Some(fault::<H>) } else { None },
            limit: 0,
            data: null_mut(),
            name: null(),
            id: 0,
        };
        Self { raw: UnsafeCell::new(raw), slot: Slot::new(), handler }
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

    /// Registers it: when it returns, every execution of its instruction comes to its handler, on all CPUs.
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

impl<H: CodeHandler> Attach for CodeProbe<H> {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn add(&'static self) -> Result<(), Error> {
        let data = (&raw const *self).cast_mut().cast::<c_void>();
        // SAFETY: whoever has the slot has the C half, and it is not registered, so nobody else uses it. It stays where it is for ever; its handlers are the trait's, which is sound but
        // for exceptions.
        Error::check(unsafe {
            (&raw mut (*self.raw.get()).data).write(data);
            functions::trapline_register_code_probe(self.raw.get())
        })
    }

    fn remove(&self) {
        // SAFETY: registered, as whoever has the slot vouches.
        unsafe { functions::trapline_unregister_code_probe(self.raw.get()) }
    }

    fn set_enabled(&self, enabled: bool) {
        // SAFETY: registered, since an `Attached` asks.
        unsafe {
            match enabled {
                true => functions::trapline_enable_code_probe(self.raw.get()),
                false => functions::trapline_disable_code_probe(self.raw.get()),
            }
        }
    }

    fn read_counts(&self) -> Counts {
        let mut counts = NOTHING;
        // SAFETY: registered, since an `Attached` asks; a place to write to.
        unsafe { functions::trapline_code_probe_counts(self.raw.get(), &mut counts) };
        counts
    }
}

/// The probe that C calls with its own half of it.
///
/// # Safety
/// `probe` is the C half of a registered `CodeProbe<H>`.
unsafe fn of<'a, H>(probe: *mut raw::CodeProbe) -> &'a H {
    // SAFETY: `data` was set before it was registered, and is not changed while it is; it points to a `static`.
    unsafe { &(*(*probe).data.cast::<CodeProbe<H>>()).handler }
}

unsafe extern "C" fn pre<H: CodeHandler>(probe: *mut raw::CodeProbe, registers: *const Registers) {
    // SAFETY: called by the module, with a registered probe and valid registers.
    unsafe { of::<H>(probe).pre(&*registers) }
}

unsafe extern "C" fn post<H: CodeHandler>(probe: *mut raw::CodeProbe, registers: *const Registers) {
    // SAFETY: as above.
    unsafe { of::<H>(probe).post(&*registers) }
}

unsafe extern "C" fn fault<H: CodeHandler>(
    probe: *mut raw::CodeProbe,
    registers: *mut Registers,
    exception: *const Exception,
) -> bool {
    // SAFETY: as above; the registers are a copy that nobody else uses.
    unsafe { of::<H>(probe).fault(&mut *registers, &*exception) }
}
