//! Calls that may fault, made through the trampoline in `glue/guard.c`.

use crate::{cpu, glue};
use core::cell::UnsafeCell;
use trapline_engine::code::{Call, Calls};
use trapline_insn::Registers;

/// `struct glue_guard`.
#[repr(C, align(8))]
#[derive(Default)]
pub(crate) struct Guard(UnsafeCell<[u8; 32]>);

/// The Linux kernel, as the code probes see it.
pub(crate) struct KernelCalls;

impl Calls for KernelCalls {
    type Guard = Guard;

    #[inline(always)]
    fn cpu(&self) -> usize {
        cpu::number()
    }

    #[inline(always)]
    unsafe fn call(&self, guard: &Guard, call: &Call) -> Option<u64> {
        let [first, second, third] = call.arguments;
        let place = guard.0.get().cast();
        // SAFETY: the guard is as large as C's, and lives until the call has ended; the rest is the caller's. That it was abandoned is told by its last member.
        unsafe {
            let result = glue::glue_call_guarded(place, call.function, first, second, third);
            (*guard.0.get())[ABANDONED].eq(&0).then_some(result)
        }
    }

    fn is_in(&self, guard: &Guard, registers: &Registers) -> bool {
        // SAFETY: the guard of a call that is running.
        unsafe { glue::glue_is_guarded(guard.0.get().cast(), registers) }
    }

    fn abandon(&self, guard: &Guard, registers: &mut Registers) {
        // SAFETY: as above; the registers are those that the exception returns to.
        unsafe { glue::glue_abandon_guarded(guard.0.get().cast(), registers) }
    }
}

/// Offset of `abandoned` in `struct glue_guard`.
const ABANDONED: usize = 28;
