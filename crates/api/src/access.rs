//! Access probes: a range of bytes, and what is called when one of them is accessed.

use core::ffi::{CStr, c_void};
use core::ops::Range;
use core::ptr::{null, null_mut};
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::attached::NOTHING;
use crate::twin::{Half, Twin, handler_of};
use crate::{Counts, Registers, functions, raw};

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

    /// The bytes that will be or were written, or were read, lowest address first; none before a
    /// read and for an access that the CPU makes by itself.
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
    /// A read gets this value, and the device is not read; or it is written instead of the
    /// instruction's.
    Supply(u64),
    /// A write does not happen; a read gets 0, and the device is not read.
    Drop,
}

/// What is called when memory that an access probe covers is accessed. Code of it that may raise an
/// exception has nothing to drop in its frames.
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

/// An access probe: any number of them may cover a byte. Of the pre handlers the first that does
/// not let the access pass decides.
pub type AccessProbe<H> = Twin<Placed, H>;

/// The C half of an access probe, and what it is to cover from its next registration on.
pub struct Placed {
    raw: raw::AccessProbe,
    start: AtomicU64,
    length: AtomicU64,
}

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
        Self::of(Placed { raw, start: AtomicU64::new(0), length: AtomicU64::new(0) }, handler)
    }

    /// Called for reads only.
    pub const fn of_reads(mut self) -> Self {
        let raw = &mut self.raw_mut().raw;
        raw.flags &= !raw::TRAPLINE_WRITES;
        self
    }

    /// Called for writes only.
    pub const fn of_writes(mut self) -> Self {
        let raw = &mut self.raw_mut().raw;
        raw.flags &= !raw::TRAPLINE_READS;
        self
    }

    /// Has the accesses put into the trace of the session that is open, if one is.
    pub const fn recorded(mut self) -> Self {
        self.raw_mut().raw.flags |= raw::TRAPLINE_RECORD;
        self
    }

    /// What `trapline list` calls it.
    pub const fn named(mut self, name: &'static CStr) -> Self {
        self.raw_mut().raw.name = name.as_ptr();
        self
    }

    /// Covers these linear addresses from its next registration on.
    ///
    /// # Safety
    /// They are memory that the caller got from `ioremap` or `vmalloc`, and keeps until the probe
    /// is taken away.
    pub unsafe fn covering(&'static self, bytes: Range<u64>) -> &'static Self {
        // SAFETY: valid; nobody changes these but by atomics.
        let (start, length) = unsafe { (&(*self.raw()).start, &(*self.raw()).length) };
        // Relaxed: the slot, taken when it is registered, orders what its owner did before.
        start.store(bytes.start, Ordering::Relaxed);
        length.store(bytes.end.saturating_sub(bytes.start), Ordering::Relaxed);
        self
    }
}

impl Half for Placed {
    unsafe fn data(this: *mut Self) -> *mut *mut c_void {
        // SAFETY: `this` is valid: `Half::data` asks for that.
        unsafe { &raw mut (*this).raw.data }
    }

    unsafe fn add(this: *mut Self) -> i32 {
        // SAFETY: `this` is valid and not registered (`Half::add`), so nobody else uses the C half.
        unsafe {
            let raw = &raw mut (*this).raw;
            (&raw mut (*raw).start).write((*this).start.load(Ordering::Relaxed));
            (&raw mut (*raw).length).write((*this).length.load(Ordering::Relaxed));
            functions::trapline_register_access_probe(raw)
        }
    }

    unsafe fn remove(this: *mut Self) {
        // SAFETY: `this` is registered: `Half::remove` asks for that.
        unsafe { functions::trapline_unregister_access_probe(&raw mut (*this).raw) }
    }

    unsafe fn counts(this: *mut Self) -> Counts {
        // SAFETY: valid, and atomic.
        let (pre, post) = unsafe { (&(*this).raw.pre_faults, &(*this).raw.post_faults) };
        let [pre_faults, post_faults] = [pre, post].map(|faults| faults.load(Ordering::Relaxed));
        Counts { pre_faults, post_faults, ..NOTHING }
    }
}

/// As for a code probe.
///
/// # Safety
/// `probe` is the C half of a registered `AccessProbe<H>`.
unsafe fn of<'a, H: 'static>(probe: *mut raw::AccessProbe) -> &'a H {
    // SAFETY: `probe` is the C half of a registered probe with an `H`: `of` asks for that.
    unsafe { handler_of::<Placed, H>((*probe).data) }
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
