//! What the C glue calls: the module's beginning and end, and the traps.

use crate::calls::KernelCalls;
use crate::code::CODE;
use crate::errno::Errno;
use crate::glue;
use crate::locks::Unlocked;
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::self_test;
use crate::slots::Slots;
use crate::state::ENGINE;
use trapline_engine::code::CodeEngine;
use trapline_engine::{Engine, ErrorCode, Fault, Linear, Verdict};
use trapline_insn::Registers;

/// `X86_TRAP_PF` (arch/x86/include/asm/trapnr.h).
const TRAP_PAGE_FAULT: u64 = 14;

/// `struct trapline_fault_words`.
#[repr(C)]
pub(crate) struct FaultWords {
    pub(crate) error_code: u64,
    pub(crate) address: Linear,
}

/// `enum trapline_verdict`.
#[repr(u32)]
pub(crate) enum VerdictCode {
    /// The kernel goes on as if we were not there.
    NotOurs = 0,
    /// Return to the interrupted context.
    Resume = 1,
    /// The kernel deals with the fault that was put in the first one's place.
    Instead = 2,
    /// The handler that faulted is abandoned, unless the kernel has a fixup.
    Abandon = 3,
    /// The kernel goes on as if we were not there, and a person is told that a claim leads nowhere.
    Looping = 4,
}

/// Sets up what the hooks need. Returns 0 or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn trapline_init() -> i32 {
    let Some(slots) = Slots::map() else { return Errno::NO_MEMORY.negative() };
    match Engine::new(Kernel { slots }, glue::glue_nr_cpu_ids() as usize) {
        Ok(engine) => {
            let Ok(code) = CodeEngine::new(KernelCalls, glue::glue_nr_cpu_ids() as usize) else {
                return Errno::NO_MEMORY.negative();
            };
            // SAFETY: called once, before any hook is installed.
            unsafe {
                ENGINE.set(engine);
                CODE.set(code);
            }
            0
        }
        Err(_) => Errno::NO_MEMORY.negative(),
    }
}

/// Undoes [`trapline_init`].
#[unsafe(no_mangle)]
extern "C" fn trapline_exit() {
    // SAFETY: called last, after the hooks were removed and everybody has left them; no other
    // module uses ours.
    drop(unsafe { (ENGINE.take(), CODE.take()) });
}

/// Arms a page of our own and looks whether its accesses arrive. Returns a
/// [`SelfTest`](trapline_abi::SelfTest).
#[unsafe(no_mangle)]
extern "C" fn trapline_self_test() -> u32 {
    // SAFETY: the module's beginning, in process context, with no lock held.
    let mut unlocked = unsafe { Unlocked::new() };
    if let Some(engine) = ENGINE.get() {
        self_test::run(engine, &mut unlocked.control().control);
    }
    self_test::outcome()
}

/// A fault in kernel mode: exception `trap`, of the context that `registers` are of. For a verdict
/// of `Instead`, `fault` is the fault instead.
///
/// # Safety
/// Called with interrupts off in the exception; both pointers are valid and nobody else's.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_trap(
    registers: *mut Registers,
    trap: u64,
    fault: *mut FaultWords,
) -> VerdictCode {
    // SAFETY: valid and nobody else's: this function asks for that; `Registers` is laid out as
    // `struct pt_regs`.
    let (registers, fault) = unsafe { (&mut *registers, &mut *fault) };
    let Some(engine) = ENGINE.get() else { return VerdictCode::NotOurs };
    if engine.platform().slots.hold(registers.rip) {
        // A copy of an instruction faulted, by whatever exception: its runner reports that.
        registers.rip = &raw const glue::trapline_slot_fault as u64;
        return VerdictCode::Resume;
    }
    if trap != TRAP_PAGE_FAULT {
        // SAFETY: in the exception, with interrupts off: this function asks for that.
        unsafe { engine.other_exception(registers) };
        return VerdictCode::NotOurs;
    }
    let raised = Fault { error_code: ErrorCode(fault.error_code as u32), address: fault.address };
    // SAFETY: in the exception, with interrupts off: this function asks for that.
    match unsafe { engine.page_fault(raised, registers) } {
        Verdict::NotOurs => VerdictCode::NotOurs,
        Verdict::Resume => VerdictCode::Resume,
        Verdict::Instead(instead) => {
            fault.error_code = instead.error_code.0.into();
            fault.address = instead.address;
            VerdictCode::Instead
        }
    }
}

/// A debug exception that a single step raised; returns whether it was ours.
///
/// # Safety
/// As for [`trapline_trap`].
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_debug_exception(registers: *mut Registers) -> bool {
    // SAFETY: in the exception with interrupts off, and `registers` nobody else's: this function
    // asks for that.
    ENGINE.get().is_some_and(|engine| unsafe { engine.debug_exception(&mut *registers) })
}

/// Arms again what a step left open. In a worker, since a trap asked for it.
#[unsafe(no_mangle)]
extern "C" fn trapline_repair() {
    // SAFETY: a worker, with no lock held.
    let mut unlocked = unsafe { Unlocked::new() };
    unlocked.control().control.repair(&KernelTables);
}
