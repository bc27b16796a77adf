//! When the kernel has served a page fault: the return of its `handle_mm_fault()`, which does what
//! is to be done about nearly all of them.
//!
//! Its return is followed by a return probe like any other, so it costs nothing unless it is asked
//! for, and `trapline list` shows it. Faults that do not come to it (those of vmalloc, those that
//! end in a signal before, those that an exception table fixes) are not told of. Rejected: the way
//! out of the exception itself, which no exported place lies on.

use crate::code::{At, Registration, Registry};
use crate::errno::Errno;
use crate::glue;
use crate::locks::PatchingLock;
use crate::names::text;
use crate::state::ENGINE;
use core::ptr::null_mut;
use trapline_abi::ServedPayload;
use trapline_engine::Trap;
use trapline_engine::code::CodeHandlers;
use trapline_insn::Registers;

/// Calls that may be under way at once: threads that wait for a page from a disk, say. More are
/// counted.
const ACTIVE: u32 = 1024;
/// `FAULT_FLAG_USER` (include/linux/mm_types.h).
const USER: u64 = 1 << 6;

/// What is carried from a call to its return.
#[repr(C)]
struct Carried {
    address: u64,
    flags: u64,
    /// The frame of the exception; 0 if there is none: the kernel brings pages in for other reasons
    /// too.
    registers: u64,
}

/// A probe of the return, until [`Serving::end`].
pub(super) struct Serving {
    id: u64,
}

impl Serving {
    /// Follows the calls from now on; `id` is the probe's number, `owner` the process that asked.
    pub(super) fn begin(patching: &mut PatchingLock<'_>, id: u64, owner: u32) -> Result<Self, Errno> {
        let registration = Registration {
            id,
            address: glue::glue_handle_mm_fault(),
            at: At::Return { carried: size_of::<Carried>(), active: ACTIVE },
            handlers: CodeHandlers::Trusted { pre: Some(called), post: Some(returned) },
            data: null_mut(),
            limit: 0,
            owner,
            name: text(b"faults served"),
            flags: 0,
        };
        // SAFETY: the handlers use no data of theirs, and do not fault: they read registers and
        // what is carried.
        unsafe { Registry::of(patching).add(&registration) }.map_err(|refused| refused.errno)?;
        Ok(Self { id })
    }

    /// Follows them no more; how many calls were not followed.
    pub(super) fn end(self, patching: &mut PatchingLock<'_>) -> u64 {
        let registry = Registry::of(patching);
        let listed = registry.list(self.id).filter(|entry| entry.id == self.id);
        registry.remove(|id| id == self.id);
        listed.map_or(0, |entry| entry.counts.missed)
    }
}

/// `vm_fault_t handle_mm_fault(vma, address, flags, registers)` was called.
///
/// # Safety
/// `carried` is room for a [`Carried`].
unsafe fn called(_data: *mut (), _trap: &Trap, registers: &Registers, carried: *mut ()) {
    let [address, flags, frame] = [registers.rsi, registers.rdx, registers.rcx];
    // SAFETY: room for a `Carried`: `called` asks for that; the kernel aligns what is carried as
    // pointers are.
    unsafe { carried.cast::<Carried>().write(Carried { address, flags, registers: frame }) };
}

/// It has returned.
///
/// # Safety
/// `carried` is what [`called`] left.
unsafe fn returned(_data: *mut (), trap: &Trap, registers: &Registers, carried: *mut ()) {
    // SAFETY: what `called` left: `returned` asks for that.
    let call = unsafe { carried.cast::<Carried>().read() };
    if call.registers == 0 {
        return;
    }
    if let Some(engine) = ENGINE.get() {
        let served = ServedPayload { address: call.address, result: registers.rax as u32 };
        engine.served(trap, call.flags & USER != 0, served);
    }
}
