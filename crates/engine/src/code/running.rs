//! Calls that may fault: what the platform does for one, and the chain of those that are running on a CPU.
//!
//! The platform notes the context once for all calls of a hit (a [`Calls::Guard`]), and for each call, which goes through a trampoline of the platform's, how to get back
//! (a [`Calls::Frame`]). The calls of a CPU form a chain, newest first, in the stack frames of those who call: nothing is allocated, and what nests (a fault handler, an
//! NMI's handlers) links itself in and out again before the other goes on.

use super::{CodeProbe, Exception};
use trapline_insn::Registers;

/// A function of the C calling convention and what it is called with.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The function.
    pub function: *const (),
    /// Its first three arguments; one that takes fewer ignores the rest.
    pub arguments: [u64; 3],
}

/// What the engine's code probes consume of the platform; all of it in traps, see [`Platform`](crate::Platform).
pub trait Calls: Sync {
    /// What the platform notes of the context that calls are made in, to put it back after one that was abandoned.
    type Guard;
    /// What the platform notes of a call, to get back from it.
    type Frame: Default;

    /// Number of the CPU this runs on; stable while interrupts are off.
    fn cpu(&self) -> usize;

    /// Has `calls` make calls in the context as it is now.
    fn guarding<T>(&self, calls: impl FnOnce(&Self::Guard) -> T) -> T;

    /// Makes a call, in the context of `guard`; returns what it returned, or `None` if [`Calls::abandon`] was called for `frame` meanwhile: then stack, callee-saved
    /// registers, flags, preemption and the like are as they were when `guard` was noted.
    ///
    /// # Safety
    /// `call` is sound but for exceptions that it may raise: what those leave undone, as locks that it holds, is its owner's loss.
    unsafe fn call(&self, guard: &Self::Guard, frame: &Self::Frame, call: &Call) -> Option<u64>;

    /// Whether an exception that interrupted `registers` was raised by the call of `frame`, and not by something that interrupted it.
    fn is_in(&self, guard: &Self::Guard, frame: &Self::Frame, registers: &Registers) -> bool;

    /// Changes `registers`, those that the exception returns to, so that the call of `frame` ends.
    ///
    /// # Safety
    /// They are [of that call](Calls::is_in), which is running.
    unsafe fn abandon(&self, guard: &Self::Guard, frame: &Self::Frame, registers: &mut Registers);
}

/// What was decided about a handler's exception; the platform applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recovery {
    /// It is no handler's: the system goes on as if Trapline were not there.
    NotOurs,
    /// The probe's fault handler has dealt with it: return to the handler with the registers as they are now.
    Resume,
    /// If the system has a fixup for the instruction let it do that; else call [`CodeEngine::abandon`](super::CodeEngine::abandon).
    Abandon,
    /// The original instruction's, stepped over: the hit is reset. The instruction pointer goes back to the probed address, and the exception to the system.
    Rewind,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller<'a> {
    /// A pre or post handler of a probe.
    Handler(&'a CodeProbe),
    /// A probe's fault handler.
    Fixer,
    /// A handler of another kind of probe, the one that is given this.
    Other(u64),
}

/// A call that is running.
///
/// # Invariants
/// `outer` is null or the call that this one runs inside of, on the same CPU; it outlives this one.
pub(crate) struct Running<'a, P: Calls + ?Sized> {
    pub outer: *const Running<'a, P>,
    pub guard: &'a P::Guard,
    pub frame: P::Frame,
    pub caller: Caller<'a>,
    /// How often a fault handler has said that it had dealt with a fault of this call.
    pub resumed: core::cell::Cell<u32>,
}

/// What a fault handler is believed in one call. One that claims a fault without dealing with it would otherwise keep the CPU for ever.
pub(crate) const RESUMES: u32 = 1024;

/// The C arguments of a fault handler.
pub(crate) fn fixer_call(
    fix: super::FaultFixer,
    data: *mut (),
    registers: &mut Registers,
    exception: &Exception,
) -> Call {
    Call {
        function: fix as *const (),
        arguments: [data as u64, &raw mut *registers as u64, &raw const *exception as u64],
    }
}
