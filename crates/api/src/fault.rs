//! Page-fault handlers: the newest is asked first, and the first that claims a fault ends the
//! search.

use core::ffi::{CStr, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::attached::NOTHING;
use crate::twin::{Half, Twin, handler_of};
use crate::{Counts, PageFault, Registers, functions, raw};

/// What is asked about page faults.
///
/// # Safety
/// Code of it that may raise an exception has nothing to drop in its frames. The registers of a
/// fault that it claims are what the interrupted code may go on with.
pub unsafe trait FaultHandler: Sync + 'static {
    /// Returns whether it claims the fault: the interrupted code then goes on with `registers` as
    /// they are now, at the same instruction unless `rip` was changed.
    fn handle(&self, fault: &PageFault, registers: &mut Registers) -> bool;
}

/// A page-fault handler.
pub type PageFaultHandler<H> = Twin<raw::PageFaultHandler, H>;

impl<H: FaultHandler> PageFaultHandler<H> {
    /// For faults in kernel mode that nobody has resolved.
    pub const fn new(handler: H) -> Self {
        let raw = raw::PageFaultHandler {
            reserved: [0; 3],
            flags: 0,
            handle: Some(handle::<H>),
            data: null_mut(),
            name: null(),
            faults: AtomicU64::new(0),
        };
        Self::of(raw, handler)
    }

    /// For every page fault, in user mode too, before anybody deals with it.
    pub const fn of_all_faults(mut self) -> Self {
        self.raw_mut().flags |= raw::TRAPLINE_ALL_FAULTS;
        self
    }

    /// What `trapline list` calls it.
    pub const fn named(mut self, name: &'static CStr) -> Self {
        self.raw_mut().name = name.as_ptr();
        self
    }
}

impl Half for raw::PageFaultHandler {
    unsafe fn data(this: *mut Self) -> *mut *mut c_void {
        // SAFETY: `this` is valid: `Half::data` asks for that.
        unsafe { &raw mut (*this).data }
    }

    unsafe fn add(this: *mut Self) -> i32 {
        // SAFETY: `this` is valid, stays, is not registered, and has its `data` (`Half::add`).
        unsafe { functions::trapline_register_page_fault_handler(this) }
    }

    unsafe fn remove(this: *mut Self) {
        // SAFETY: `this` is registered: `Half::remove` asks for that. Every other registered
        // handler is valid, since each was registered by `Half::add`.
        let status = unsafe { functions::trapline_unregister_page_fault_handler(this) };
        debug_assert_eq!(status, 0, "it is registered");
        functions::trapline_synchronize();
    }

    unsafe fn counts(this: *mut Self) -> Counts {
        // SAFETY: valid, and atomic.
        let faults = unsafe { &(*this).faults };
        Counts { pre_faults: faults.load(Ordering::Relaxed), ..NOTHING }
    }
}

unsafe extern "C" fn handle<H: FaultHandler>(
    handler: *mut raw::PageFaultHandler,
    fault: *const PageFault,
    registers: *mut Registers,
) -> bool {
    // SAFETY: called by the module, with a registered handler; the registers are a copy that nobody
    // else uses.
    unsafe { handler_of::<raw::PageFaultHandler, H>((*handler).data).handle(&*fault, &mut *registers) }
}
