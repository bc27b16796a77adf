//! Calls that may fault: what the platform does for one, and the chain of those that are running on
//! a CPU.
//!
//! The platform notes the context once for all calls of a hit (a [`Calls::Guard`]), and for each
//! call, which goes through a trampoline of the platform's, how to get back (a [`Calls::Frame`]).
//! The calls of a CPU form a chain, newest first, in the stack frames of those who call: nothing is
//! allocated, and what nests (a fault handler, an NMI's handlers) links itself in and out again
//! before the other goes on.

use super::{CodeProbe, Exception};
use crate::Lane;
use trapline_insn::Registers;

/// A function of the C calling convention and what it is called with.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The function.
    pub function: *const (),
    /// Its first three arguments; one that takes fewer ignores the rest.
    pub arguments: [u64; 3],
}

/// What the engine's code probes consume of the platform; all of it in traps, see
/// [`Platform`](crate::Platform).
pub trait Calls: Sync {
    /// What the platform notes of the context that calls are made in, to put it back after one that
    /// was abandoned.
    type Guard;
    /// What the platform notes of a call, to get back from it.
    type Frame: Default;

    /// The lane that the trap this is called in runs on.
    fn lane(&self) -> Lane;

    /// Has `calls` make calls in the context as it is now.
    fn guarding<T>(&self, calls: impl FnOnce(&Self::Guard) -> T) -> T;

    /// Makes a call, in the context of `guard`; returns what it returned, or `None` if
    /// [`Calls::abandon`] was called for `frame` meanwhile: then stack, callee-saved registers,
    /// flags, preemption and the like are as they were when `guard` was noted.
    ///
    /// # Safety
    /// `call` is sound but for exceptions that it may raise: what those leave undone, as locks that
    /// it holds, is its owner's loss.
    unsafe fn call(&self, guard: &Self::Guard, frame: &Self::Frame, call: &Call) -> Option<u64>;

    /// Whether an exception that interrupted `registers` was raised by the call of `frame`, and not
    /// by something that interrupted it.
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
    /// The probe's fault handler has dealt with it: return to the handler with the registers as
    /// they are now.
    Resume,
    /// If the system has a fixup for the instruction let it do that; else call
    /// [`CodeEngine::abandon`](super::CodeEngine::abandon).
    Abandon,
    /// The original instruction's, stepped over: the hit is reset. The instruction pointer goes
    /// back to the probed address, and the exception to the system.
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

/// What a fault handler is believed in one call. One that claims a fault without dealing with it
/// would otherwise keep the CPU for ever.
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::code::CodeEngine;
    use core::cell::Cell;
    use core::sync::atomic::{AtomicU64, Ordering};

    /// One lane. What the functions of its calls do is told by their first argument: how many
    /// others each makes before it is abandoned.
    struct Abandoning {
        engine: std::sync::OnceLock<CodeEngine<Link>>,
        calls: AtomicU64,
        /// Frames that an exception was asked about, by the number of their call.
        asked: std::sync::Mutex<Vec<u64>>,
    }

    struct Link(&'static Abandoning);

    const EXCEPTION: Exception = Exception { vector: 14, error_code: 0, address: 0 };

    impl Abandoning {
        fn engine(&self) -> &CodeEngine<Link> {
            self.engine.get().expect("it is there before any call")
        }

        /// What an exception that comes now is taken for, and of which calls that was asked.
        fn exception(&self) -> (Recovery, Vec<u64>) {
            let mut registers = Registers::default();
            // SAFETY: one thread, which nothing interrupts.
            let recovery = unsafe { self.engine().fault(&EXCEPTION, &mut registers, true) };
            (recovery, core::mem::take(&mut *self.asked.lock().expect("one thread")))
        }
    }

    impl Calls for Link {
        type Guard = ();
        type Frame = Cell<u64>;

        fn lane(&self) -> Lane {
            Lane::new(0)
        }

        fn guarding<T>(&self, calls: impl FnOnce(&()) -> T) -> T {
            calls(&())
        }

        unsafe fn call(&self, (): &(), frame: &Cell<u64>, call: &Call) -> Option<u64> {
            let number = self.0.calls.fetch_add(1, Ordering::Relaxed) + 1;
            frame.set(number);
            for _ in 0..call.arguments[0] {
                assert_eq!(guarded(self.0, 0), None);
                assert_eq!(self.0.exception(), (Recovery::Abandon, vec![number]), "it is this call's");
            }
            None
        }

        fn is_in(&self, (): &(), frame: &Cell<u64>, _: &Registers) -> bool {
            self.0.asked.lock().expect("one thread").push(frame.get());
            true
        }

        unsafe fn abandon(&self, (): &(), _: &Cell<u64>, _: &mut Registers) {}
    }

    fn guarded(machine: &Abandoning, inside: u64) -> Option<u64> {
        let call = Call { function: core::ptr::null(), arguments: [inside, 0, 0] };
        // SAFETY: the call is interpreted; one thread, which nothing interrupts.
        unsafe { machine.engine().guarded(&call) }
    }

    #[test]
    fn a_call_that_was_abandoned_is_asked_about_no_more_and_its_caller_again() {
        let (engine, calls, asked) = Default::default();
        let machine: &'static Abandoning = Box::leak(Box::new(Abandoning { engine, calls, asked }));
        let engine = CodeEngine::new(Link(machine), 1);
        assert!(machine.engine.set(engine.expect("memory")).is_ok());
        for inside in [0, 3] {
            assert_eq!(guarded(machine, inside), None);
            assert_eq!(machine.exception(), (Recovery::NotOurs, vec![]), "its frame is gone");
        }
    }
}
