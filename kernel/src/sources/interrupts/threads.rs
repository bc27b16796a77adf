//! What the threads of interrupts run: calls and returns of the kernel's `irq_thread_fn()` and
//! `irq_forced_thread_fn()`, one of which each such thread calls for each time that it is woken.
//!
//! Newer kernels (7.3 was looked at) have the second call the first, which is told once, as a call
//! of the second.
//!
//! The kernel has no tracepoint there. Both are followed by return probes like any other, and
//! `trapline list` shows them. A kernel without functions of these names does not tell what threads
//! do; then the command says so.

use super::super::returns::{Returns, address_of};
use crate::code::Registry;
use crate::errno::Errno;
use crate::glue;
use crate::locks::PatchingLock;
use core::ffi::{CStr, c_void};
use core::ops::Range;
use core::ptr::NonNull;
use trapline_abi::Kind;
use trapline_engine::{Owned, Trap};
use trapline_insn::Registers;

/// Calls of each that may be under way at once: as many threads, each of a vector of some device of
/// the machine. More are not told of.
const ACTIVE: u32 = 1024;

/// What threads call; the last may call the others.
const FUNCTIONS: [&CStr; 2] = [c"irq_thread_fn", c"irq_forced_thread_fn"];

/// What is carried from a call to its return.
#[repr(C)]
struct Carried {
    /// Its handler is 0 if it is of no device that is watched.
    interrupt: glue::Interrupt,
}

/// What a probe's handlers are given. One for each probe, since a registry tells an owner's probes
/// apart by what they are given.
struct Given {
    watch: NonNull<c_void>,
    /// Where the function lies whose calls of this one are not told.
    outer: Range<u64>,
}

/// Probes of the returns, until [`Threads::end`].
///
/// # Invariants
/// `given` is dropped only after the probes were removed.
pub(super) struct Threads {
    ids: [u64; 2],
    given: Owned<[Given; 2]>,
}

impl Threads {
    /// Follows them from now on, for `watch`; `ids` are the probes' numbers, `owner` the process
    /// that asked.
    ///
    /// # Safety
    /// `watch` is from `glue_interrupts_begin`, and ended only after [`Threads::end`].
    pub(super) unsafe fn begin(
        patching: &mut PatchingLock<'_>,
        watch: NonNull<c_void>,
        ids: [u64; 2],
        owner: u32,
    ) -> Result<Self, Errno> {
        let [inner, outer] = FUNCTIONS;
        let (inner, outer) = (address_of(patching, inner)?, address_of(patching, outer)?);
        let extent = outer..outer.saturating_add(glue::glue_function_size(outer));
        let given = Owned::new([Given { watch, outer: extent }, Given { watch, outer: 0..0 }])
            .map_err(|_| Errno::NO_MEMORY)?;
        // INVARIANT: `end` removes the probes, and whoever has this calls it.
        let threads = Self { ids, given };
        for ((address, id), given) in [inner, outer].into_iter().zip(ids).zip(&*threads.given) {
            // SAFETY: `begin` asks for the watch to stay; what is given stays where it is, on the
            // heap, until `end` has removed the probe. The handlers get what they expect. They do
            // not fault: they read registers, what is carried, and what the call was given, which
            // the kernel keeps while it lasts.
            if let Err(errno) = unsafe { RETURNS.add(patching, address, given, id, owner) } {
                threads.end(patching);
                return Err(errno);
            }
        }
        Ok(threads)
    }

    /// Follows them no more.
    pub(super) fn end(self, patching: &mut PatchingLock<'_>) {
        Registry::of(patching).remove(|id| self.ids.contains(&id));
    }
}

/// What the probes have in common.
const RETURNS: Returns = Returns {
    name: b"threads of interrupts",
    called,
    returned,
    carried: size_of::<Carried>(),
    active: ACTIVE,
};

/// `irqreturn_t irq_thread_fn(desc, action)` was called.
///
/// # Safety
/// `given` is a [`Given`] whose watch has not ended; `carried` is room for a [`Carried`];
/// `registers` are those of the call.
unsafe fn called(given: *mut (), _trap: &Trap, registers: &Registers, carried: *mut ()) {
    // SAFETY: `called` asks for that.
    let Given { watch, outer } = unsafe { &*given.cast::<Given>() };
    let watch = watch.as_ptr().cast_const();
    let mut caller = 0;
    // Not by what lies on top of the stack: another return probe puts its own there. The unwinder
    // knows those.
    // SAFETY: room for one; in a trap, on the CPU whose registers these are.
    unsafe { glue::glue_unwind(registers, &mut caller, 1) };
    let mut interrupt = glue::Interrupt { handler: 0, device: 0, irq: 0, index: 0, signal: 0, flags: 0 };
    // SAFETY: `called` asks for the watch; the function's arguments are a descriptor and an action,
    // which stay while it runs; `interrupt` is room for one. In a trap, interrupts are off.
    unsafe {
        if !outer.contains(&caller)
            && glue::glue_interrupt_of_thread(watch, registers.rdi, registers.rsi, &mut interrupt)
        {
            let sink = glue::glue_interrupts_sink(watch).cast();
            super::record(sink, Kind::Interrupt, super::called(&interrupt));
        } else {
            interrupt.handler = 0;
        }
    }
    // SAFETY: room for a `Carried`: `called` asks for that; the kernel aligns what is carried as
    // pointers are.
    unsafe { carried.cast::<Carried>().write(Carried { interrupt }) };
}

/// It has returned.
///
/// # Safety
/// `given` is a [`Given`] whose watch has not ended; `carried` is what [`called`] left.
unsafe fn returned(given: *mut (), _trap: &Trap, registers: &Registers, carried: *mut ()) {
    // SAFETY: what `called` left: `returned` asks for that.
    let Carried { interrupt } = unsafe { carried.cast::<Carried>().read() };
    if interrupt.handler == 0 {
        return;
    }
    // SAFETY: `returned` asks for the watch, whose sink is valid. In a trap, interrupts are off.
    unsafe {
        let watch = (*given.cast::<Given>()).watch.as_ptr();
        let sink = glue::glue_interrupts_sink(watch).cast();
        super::record(sink, Kind::Handled, super::returned(&interrupt, registers.rax as u32));
    }
}
