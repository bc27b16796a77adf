//! The test at load: are the accesses to an armed page seen, and done right?
//!
//! A page of memory of our own is armed and accessed once in each way that an access can be performed. Only if each arrives once and gives the right value may
//! anything else be armed. This catches a kernel whose fault path does not pass our hook, whatever the reason.

use crate::glue;
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::state::State;
use core::arch::asm;
use trapline_abi::SelfTest;
use trapline_engine::{Control, Engine, Handlers, Mapping, Probe};

const PAGE: u64 = 4096;

/// What lies where the test reads.
const PATTERN: u64 = 0x0123_4567_89ab_cdef;
/// What the test writes.
const WRITTEN: u32 = 0xfeed_f00d;

/// Runs the test and notes its outcome.
pub(crate) fn run(engine: &Engine<Kernel>, state: &mut State) {
    state.self_test = test(engine, &mut state.control).unwrap_or(SelfTest::NotRun);
}

/// `None`: there was no memory for it.
fn test(engine: &Engine<Kernel>, control: &mut Control) -> Option<SelfTest> {
    let memory = glue::glue_vmalloc(PAGE as usize);
    if memory.is_null() {
        return None;
    }
    let start = memory as u64;
    let alias = glue::glue_vmap_alias(start, 1);
    let outcome = if alias == 0 { None } else { probed(engine, control, start, alias) };
    // Accesses below are over, and the mapping removed: nobody uses alias or memory.
    if alias != 0 {
        // SAFETY: from `glue_vmap_alias`, unused now.
        unsafe { glue::glue_vunmap(alias) };
    }
    // SAFETY: from `glue_vmalloc`, unused now.
    unsafe { glue::glue_vfree(memory) };
    outcome
}

fn probed(engine: &Engine<Kernel>, control: &mut Control, start: u64, alias: u64) -> Option<SelfTest> {
    // SAFETY: our own memory, through its alias: 16 bytes of pattern.
    unsafe { (alias as *mut [u64; 2]).write_volatile([PATTERN, !PATTERN]) };
    control.add_mapping(Mapping { id: 0, start, length: PAGE, alias, ram: true }).ok()?;
    let probe =
        Probe { start, length: PAGE, reads: true, writes: true, record: false, handlers: Handlers::NONE };
    let mut ids = alloc::vec::Vec::new();
    // SAFETY: no handlers; the alias maps the same page, writable and cached as the original is.
    let added = unsafe { control.add_probes(engine, &KernelTables, &[probe], &mut ids) };
    let outcome = added.ok().map(|()| access(engine, start, alias));
    control.remove_mapping(engine, &KernelTables, start);
    outcome
}

/// Accesses the armed page at `start`, which is also at `alias`.
fn access(engine: &Engine<Kernel>, start: u64, alias: u64) -> SelfTest {
    let before = engine.counters();
    let read: u64;
    let vector: u64;
    // SAFETY: our own memory; the FPU is ours between begin and end, and the register is saved by that.
    unsafe {
        // Emulated: a read, a write.
        asm!("mov {}, [{}]", out(reg) read, in(reg) start, options(nostack, preserves_flags));
        asm!("mov dword ptr [{} + 32], {:e}", in(reg) start, in(reg) WRITTEN, options(nostack, preserves_flags));
        // Redirected: a vector read.
        glue::glue_kernel_fpu_begin();
        asm!("movdqu xmm0, [{}]", "movq {}, xmm0", in(reg) start, out(reg) vector, options(nostack, preserves_flags));
        glue::glue_kernel_fpu_end();
        // Stepped: VERR reads a selector; nothing emulates it, and no copy of it is run.
        asm!("verr word ptr [{}]", in(reg) start + 64, options(nostack));
    }
    let after = engine.counters();
    // SAFETY: our own memory, through its alias.
    let written = unsafe { ((alias + 32) as *const u32).read_volatile() };
    let arrived: [u64; 3] = core::array::from_fn(|way| after.accesses[way] - before.accesses[way]);
    if arrived != [2, 1, 1] {
        SelfTest::NoFault
    } else if read != PATTERN || vector != PATTERN || written != WRITTEN {
        SelfTest::WrongValue
    } else {
        SelfTest::Passed
    }
}
