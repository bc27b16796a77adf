//! Page-fault handlers: the newest is asked first, and the first that claims a fault ends the search.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::attached::{Attach, NOTHING, Slot};
use crate::{Attached, Counts, Error, PageFault, Registers, functions, raw, register_all};

/// What is asked about page faults.
///
/// # Safety
/// Code of it that may raise an exception has nothing to drop in its frames. The registers of a fault that it claims are what the interrupted code may go on with.
pub unsafe trait FaultHandler: Sync + 'static {
    /// Returns whether it claims the fault: the interrupted code then goes on with `registers` as they are now, at the same instruction unless `rip` was changed.
    fn handle(&self, fault: &PageFault, registers: &mut Registers) -> bool;
}

/// A page-fault handler.
pub struct PageFaultHandler<H> {
    raw: UnsafeCell<raw::PageFaultHandler>,
    slot: Slot,
    handler: H,
}

// SAFETY: as for `CodeProbe`.
unsafe impl<H: Sync> Sync for PageFaultHandler<H> {}

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
        Self { raw: UnsafeCell::new(raw), slot: Slot::new(), handler }
    }

    /// For every page fault, in user mode too, before anybody deals with it.
    pub const fn of_all_faults(mut self) -> Self {
        self.raw.get_mut().flags |= raw::TRAPLINE_ALL_FAULTS;
        self
    }

    /// What `trapline list` calls it.
    pub const fn named(mut self, name: &'static CStr) -> Self {
        self.raw.get_mut().name = name.as_ptr();
        self
    }

    /// Puts it at the head of the list.
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

impl<H: FaultHandler> Attach for PageFaultHandler<H> {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn add(&'static self) -> Result<(), Error> {
        let data = (&raw const *self).cast_mut().cast::<c_void>();
        // SAFETY: as for a code probe.
        Error::check(unsafe {
            (&raw mut (*self.raw.get()).data).write(data);
            functions::trapline_register_page_fault_handler(self.raw.get())
        })
    }

    fn remove(&self) {
        // SAFETY: registered, as whoever has the slot vouches; every other registered handler is valid by the same.
        let status = unsafe { functions::trapline_unregister_page_fault_handler(self.raw.get()) };
        debug_assert_eq!(status, 0, "it is registered");
        functions::trapline_synchronize();
    }

    fn read_counts(&self) -> Counts {
        // SAFETY: valid, and atomic.
        let faults = unsafe { &(*self.raw.get()).faults };
        Counts { pre_faults: faults.load(Ordering::Relaxed), ..NOTHING }
    }
}

unsafe extern "C" fn handle<H: FaultHandler>(
    handler: *mut raw::PageFaultHandler,
    fault: *const PageFault,
    registers: *mut Registers,
) -> bool {
    // SAFETY: called by the module, with a registered handler, whose `data` points to a `static`; the registers are a copy that nobody else uses.
    unsafe {
        let this = &*(*handler).data.cast::<PageFaultHandler<H>>();
        this.handler.handle(&*fault, &mut *registers)
    }
}
