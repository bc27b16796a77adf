//! Access probes: a range of bytes, and what is called when one of them is accessed.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::ops::Range;
use core::ptr::{null, null_mut};
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::attached::{Attach, NOTHING, Slot};
use crate::{Attached, Counts, Error, Registers, functions, raw, register_all};

/// One access to memory that a probe covers.
pub struct Access<'a>(&'a raw::Access);

impl Access<'_> {
    /// Linear address of the first byte.
    pub fn address(&self) -> u64 {
        self.0.address
    }

    /// Address of the accessing instruction.
    pub fn ip(&self) -> u64 {
        self.0.ip
    }

    /// Bytes accessed.
    pub fn width(&self) -> u16 {
        self.0.width
    }

    /// Whether it writes.
    pub fn is_write(&self) -> bool {
        self.0.write
    }

    /// The registers as they were at the fault.
    pub fn registers(&self) -> &Registers {
        // SAFETY: valid until the handler returns.
        unsafe { &*self.0.registers }
    }

    /// The bytes that will be or were written, or were read, lowest address first; none before a read and for an access that the CPU makes by itself.
    pub fn value(&self) -> &[u8] {
        match self.0.value_length {
            0 => &[],
            // SAFETY: so many are valid until the handler returns.
            length => unsafe { slice::from_raw_parts(self.0.value, length as usize) },
        }
    }
}

/// What is decided about an access before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it happen.
    Pass,
    /// A read gets this value, and the device is not read; or it is written instead of the instruction's.
    Supply(u64),
    /// A write does not happen; a read gets 0, and the device is not read.
    Drop,
}

/// What is called when memory that an access probe covers is accessed. Code of it that may raise an exception has nothing to drop in its frames.
pub trait AccessHandler: Sync + 'static {
    /// Whether [`pre`](Self::pre) is called.
    const PRE: bool = false;
    /// Whether [`post`](Self::post) is called.
    const POST: bool = true;

    /// Called before the access.
    fn pre(&self, access: &Access<'_>) -> Decision {
        let _ = access;
        Decision::Pass
    }

    /// Called after it.
    fn post(&self, access: &Access<'_>) {
        let _ = access;
    }
}

/// An access probe: any number of them may cover a byte. Of the pre handlers the first that does not let the access pass decides.
pub struct AccessProbe<H> {
    raw: UnsafeCell<raw::AccessProbe>,
    slot: Slot,
    handler: H,
    start: AtomicU64,
    length: AtomicU64,
}

// SAFETY: as for `CodeProbe`.
unsafe impl<H: Sync> Sync for AccessProbe<H> {}

impl<H: AccessHandler> AccessProbe<H> {
    /// For reads and writes of what [`covering`](Self::covering) says.
    pub const fn new(handler: H) -> Self {
        let raw = raw::AccessProbe {
            start: 0,
            length: 0,
            flags: raw::TRAPLINE_READS | raw::TRAPLINE_WRITES,
            mapping: 0,
            pre: if H::PRE { Some(pre::<H>) } else { None },
            post: if H::POST { Some(post::<H>) } else { None },
            data: null_mut(),
            name: null(),
            id: 0,
            pre_faults: AtomicU64::new(0),
            post_faults: AtomicU64::new(0),
        };
        let (start, length) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { raw: UnsafeCell::new(raw), slot: Slot::new(), handler, start, length }
    }

    /// Called for reads only.
    pub const fn of_reads(mut self) -> Self {
        let raw = self.raw.get_mut();
        raw.flags &= !raw::TRAPLINE_WRITES;
        self
    }

    /// Called for writes only.
    pub const fn of_writes(mut self) -> Self {
        let raw = self.raw.get_mut();
        raw.flags &= !raw::TRAPLINE_READS;
        self
    }

    /// Has the accesses put into the trace of the session that is open, if one is.
    pub const fn recorded(mut self) -> Self {
        self.raw.get_mut().flags |= raw::TRAPLINE_RECORD;
        self
    }

    /// What `trapline list` calls it.
    pub const fn named(mut self, name: &'static CStr) -> Self {
        self.raw.get_mut().name = name.as_ptr();
        self
    }

    /// Covers these linear addresses from its next registration on.
    ///
    /// # Safety
    /// They are memory that the caller got from `ioremap` or `vmalloc`, and keeps until the probe is taken away.
    pub unsafe fn covering(&'static self, bytes: Range<u64>) -> &'static Self {
        // Relaxed: the slot, taken when it is registered, orders what its owner did before.
        self.start.store(bytes.start, Ordering::Relaxed);
        self.length.store(bytes.end.saturating_sub(bytes.start), Ordering::Relaxed);
        self
    }

    /// Registers it: when it returns, every access to its bytes is trapped, on all CPUs.
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

impl<H: AccessHandler> Attach for AccessProbe<H> {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn add(&'static self) -> Result<(), Error> {
        let data = (&raw const *self).cast_mut().cast::<c_void>();
        let raw = self.raw.get();
        // SAFETY: as for a code probe.
        Error::check(unsafe {
            (&raw mut (*raw).data).write(data);
            (&raw mut (*raw).start).write(self.start.load(Ordering::Relaxed));
            (&raw mut (*raw).length).write(self.length.load(Ordering::Relaxed));
            functions::trapline_register_access_probe(raw)
        })
    }

    fn remove(&self) {
        // SAFETY: registered, as whoever has the slot vouches.
        unsafe { functions::trapline_unregister_access_probe(self.raw.get()) }
    }

    fn read_counts(&self) -> Counts {
        let raw = self.raw.get();
        // SAFETY: valid, and atomic.
        let (pre, post) = unsafe { (&(*raw).pre_faults, &(*raw).post_faults) };
        let [pre_faults, post_faults] = [pre, post].map(|faults| faults.load(Ordering::Relaxed));
        Counts { pre_faults, post_faults, ..NOTHING }
    }
}

/// As for a code probe.
///
/// # Safety
/// `probe` is the C half of a registered `AccessProbe<H>`.
unsafe fn of<'a, H>(probe: *mut raw::AccessProbe) -> &'a H {
    // SAFETY: as for a code probe.
    unsafe { &(*(*probe).data.cast::<AccessProbe<H>>()).handler }
}

unsafe extern "C" fn pre<H: AccessHandler>(
    probe: *mut raw::AccessProbe,
    access: *const raw::Access,
    value: *mut u64,
) -> raw::Decision {
    // SAFETY: called by the module, with a registered probe and a valid access.
    match unsafe { of::<H>(probe).pre(&Access(&*access)) } {
        Decision::Pass => raw::Decision::Pass,
        Decision::Drop => raw::Decision::Drop,
        Decision::Supply(supplied) => {
            // SAFETY: a place to write to.
            unsafe { value.write(supplied) };
            raw::Decision::Supply
        }
    }
}

unsafe extern "C" fn post<H: AccessHandler>(probe: *mut raw::AccessProbe, access: *const raw::Access) {
    // SAFETY: as above.
    unsafe { of::<H>(probe).post(&Access(&*access)) }
}
