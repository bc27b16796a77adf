//! Code probes: an instruction, and what is called before and after it.

use core::ffi::{CStr, c_void};
use core::ptr::{null, null_mut};

use crate::attached::NOTHING;
use crate::twin::{Half, Twin, handler_of};
use crate::{Counts, Exception, Registers, functions, raw};

/// What is called when a code probe is hit.
///
/// # Safety
/// Code of it that may raise an exception has nothing to drop in its frames, and what
/// [`fault`](Self::fault) leaves in the registers is what the handler may go on with.
pub unsafe trait CodeHandler: Sync + 'static {
    /// Whether [`pre`](Self::pre) is called.
    const PRE: bool = true;
    /// Whether [`post`](Self::post) is called: the kernel then can't replace the breakpoint by a
    /// jump.
    const POST: bool = false;
    /// Whether [`fault`](Self::fault) is called.
    const FAULT: bool = false;

    /// Called before the instruction. The registers are those of the probed code; `rip` is past the
    /// breakpoint, as kprobes have it.
    fn pre(&self, registers: &Registers) {
        let _ = registers;
    }

    /// Called after the instruction.
    fn post(&self, registers: &Registers) {
        let _ = registers;
    }

    /// Called when one of the two has raised an exception, with the registers of the handler there.
    /// Returns whether it has dealt with that: the handler then goes on with the registers as they
    /// are now. May raise one itself: both are abandoned then.
    fn fault(&self, registers: &mut Registers, exception: &Exception) -> bool {
        let _ = (registers, exception);
        false
    }
}

/// A code probe: any number of them may be at an instruction, each with a life of its own.
pub type CodeProbe<H> = Twin<raw::CodeProbe, H>;

impl<H: CodeHandler> CodeProbe<H> {
    /// On the instruction `offset` bytes behind a function of the kernel or of a module.
    pub const fn at_symbol(symbol: &'static CStr, offset: u32, handler: H) -> Self {
        let mut probe = Self::at_address(0, handler);
        let raw = probe.raw_mut();
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
        Self::of(raw, handler)
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

impl Half for raw::CodeProbe {
    unsafe fn data(this: *mut Self) -> *mut *mut c_void {
        // SAFETY: `this` is valid: `Half::data` asks for that.
        unsafe { &raw mut (*this).data }
    }

    unsafe fn add(this: *mut Self) -> i32 {
        // SAFETY: `this` is valid, stays, is not registered, and has its `data` (`Half::add`).
        unsafe { functions::trapline_register_code_probe(this) }
    }

    unsafe fn remove(this: *mut Self) {
        // SAFETY: `this` is registered: `Half::remove` asks for that.
        unsafe { functions::trapline_unregister_code_probe(this) }
    }

    unsafe fn set_enabled(this: *mut Self, enabled: bool) {
        // SAFETY: `this` is registered: `Half::set_enabled` asks for that.
        unsafe {
            match enabled {
                true => functions::trapline_enable_code_probe(this),
                false => functions::trapline_disable_code_probe(this),
            }
        }
    }

    unsafe fn counts(this: *mut Self) -> Counts {
        let mut counts = NOTHING;
        // SAFETY: `this` is registered (`Half::counts`); a place to write to.
        unsafe { functions::trapline_code_probe_counts(this, &mut counts) };
        counts
    }
}

/// The handler of the probe that C calls with its own half of it.
///
/// # Safety
/// `probe` is the C half of a registered `CodeProbe<H>`.
unsafe fn of<'a, H: 'static>(probe: *mut raw::CodeProbe) -> &'a H {
    // SAFETY: `probe` is the C half of a registered probe with an `H`: `of` asks for that.
    unsafe { handler_of::<raw::CodeProbe, H>((*probe).data) }
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
