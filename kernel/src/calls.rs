//! Calls that may fault: the trampoline, and the context that an abandoned call is put back to
//! (`glue/guard.c`).

use crate::{cpu, glue};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use trapline_engine::Lane;
use trapline_engine::code::{Call, Calls};
use trapline_insn::Registers;

/// `struct glue_guard`.
#[repr(C)]
pub(crate) struct Guard {
    flags: u64,
    rest: [MaybeUninit<u64>; 4],
}

/// How to get back from a call. Until it is made no stack is near 0, so nothing is taken for its
/// own.
#[derive(Default)]
pub(crate) struct Frame(UnsafeCell<Back>);

/// Where an exception returns to that ends a call.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Back {
    stack: u64,
    ip: u64,
}

impl Frame {
    fn back(&self) -> Back {
        // SAFETY: initialised, and written by this CPU alone, which is here.
        unsafe { self.0.get().read_volatile() }
    }
}

/// `X86_EFLAGS_IF`: off while calls are made.
const INTERRUPTS: u64 = 1 << 9;

/// The Linux kernel, as the code probes see it.
pub(crate) struct KernelCalls;

impl Calls for KernelCalls {
    type Guard = Guard;
    type Frame = Frame;

    #[inline(always)]
    fn lane(&self) -> Lane {
        cpu::lane()
    }

    fn guarding<T>(&self, calls: impl FnOnce(&Guard) -> T) -> T {
        let mut guard = MaybeUninit::uninit();
        // SAFETY: a place for it.
        unsafe { glue::glue_guard_begin(guard.as_mut_ptr()) };
        // SAFETY: the flags are noted whatever the kernel's configuration; the rest may be
        // anything.
        let result = calls(unsafe { &*guard.as_ptr() });
        // SAFETY: from above, in the same context.
        unsafe { glue::glue_guard_end(guard.as_ptr()) };
        result
    }

    /// The trampoline. It notes where the call ends, and the stack pointer below which everything
    /// that is needed behind it is saved: the compiler is told that the call changes all registers,
    /// but for the two that it can't be told of. A call that is abandoned ends there, too: its
    /// exception returns to that place with that stack pointer, and with rcx not 0, as if the
    /// function had returned.
    #[inline(always)]
    unsafe fn call(&self, guard: &Guard, frame: &Frame, call: &Call) -> Option<u64> {
        let [first, second, third] = call.arguments;
        let (result, abandoned): (u64, u64);
        // SAFETY: a function that may be called with these arguments: `Calls::call` asks for that.
        // `Back` is laid out as written here. The thunk calls what r11 points to, as every indirect
        // call of the Rust half does (-Zretpoline-external-thunk; kernels with mitigations have
        // it). The pushes leave the stack's alignment as it is.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "lea rax, [rip + 2f]",
                "mov [rcx], rsp",
                "mov [rcx + 8], rax",
                "call __x86_indirect_thunk_r11",
                "xor ecx, ecx",
                "2:",
                "pop rbp",
                "pop rbx",
                inout("rdi") first => _,
                inout("rsi") second => _,
                inout("rdx") third => _,
                inout("rcx") frame.0.get() => abandoned,
                inout("r11") call.function => _,
                out("rax") result,
                out("r12") _,
                out("r13") _,
                out("r14") _,
                out("r15") _,
                clobber_abi("C"),
            );
        }
        if abandoned != 0 {
            // SAFETY: noted in this context.
            unsafe { glue::glue_restore(guard) };
            return None;
        }
        Some(result)
    }

    fn is_in(&self, guard: &Guard, frame: &Frame, registers: &Registers) -> bool {
        // SAFETY: both are valid.
        unsafe { glue::glue_is_guarded(guard, frame.back().stack, registers) }
    }

    unsafe fn abandon(&self, guard: &Guard, frame: &Frame, registers: &mut Registers) {
        let back = frame.back();
        (registers.rsp, registers.rip, registers.rcx) = (back.stack, back.ip, 1);
        registers.rflags = guard.flags & !INTERRUPTS;
    }
}
