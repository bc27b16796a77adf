//! The test at load: are the accesses to an armed page seen, and done right?
//!
//! A page of memory of our own is armed and accessed once in each way that an access can be
//! performed. Only if each arrives once and gives the right value may anything else be armed. This
//! catches a kernel whose fault path does not pass our hook, whatever the reason.

use crate::glue;
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use trapline_abi::SelfTest;
use trapline_engine::{Alias, Backing, Control, Engine, Handlers, Linear, Mapping, Probe};

const PAGE: u64 = 4096;

/// What lies where the test reads.
const PATTERN: u64 = 0x0123_4567_89ab_cdef;
/// What the test writes.
const WRITTEN: u32 = 0xfeed_f00d;

/// What the test found: written once, before anybody else can call the module.
static OUTCOME: AtomicU32 = AtomicU32::new(SelfTest::NotRun as u32);

/// Runs the test and notes its outcome.
pub(crate) fn run(engine: &Engine<Kernel>, control: &mut Control) {
    let outcome = test(engine, control).unwrap_or(SelfTest::NotRun);
    OUTCOME.store(outcome as u32, Ordering::Relaxed);
}

/// What it found, a [`SelfTest`].
pub(crate) fn outcome() -> u32 {
    OUTCOME.load(Ordering::Relaxed)
}

/// Whether anything may be armed.
pub(crate) fn has_passed() -> bool {
    outcome() == SelfTest::Passed as u32
}

/// `None`: there was no memory for it.
fn test(engine: &Engine<Kernel>, control: &mut Control) -> Option<SelfTest> {
    let memory = glue::glue_vmalloc(PAGE as usize);
    if memory.is_null() {
        return None;
    }
    let start = Linear(memory as u64);
    let outcome = match glue::glue_vmap_alias(start, 1) {
        Alias(0) => None,
        alias => {
            let outcome = probed(engine, control, start, alias);
            // The accesses are over, and the mapping is removed: nobody uses the alias.
            // SAFETY: from `glue_vmap_alias`, unused now.
            unsafe { glue::glue_vunmap(alias) };
            outcome
        }
    };
    // SAFETY: from `glue_vmalloc`, unused now.
    unsafe { glue::glue_vfree(memory) };
    outcome
}

fn probed(engine: &Engine<Kernel>, control: &mut Control, start: Linear, alias: Alias) -> Option<SelfTest> {
    // SAFETY: our own memory, through its alias: 16 bytes of pattern.
    unsafe { (alias.0 as *mut [u64; 2]).write_volatile([PATTERN, !PATTERN]) };
    control.add_mapping(Mapping { id: 0, start, length: PAGE, alias, backing: Backing::Ram }).ok()?;
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
fn access(engine: &Engine<Kernel>, Linear(start): Linear, alias: Alias) -> SelfTest {
    let before = engine.counters();
    let read: u64;
    let vector: u64;
    // SAFETY: our own memory; the FPU is ours between begin and end, and the register is saved by
    // that.
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
    let written = unsafe { (alias.plus(32).0 as *const u32).read_volatile() };
    let arrived: [u64; 3] = core::array::from_fn(|way| after.accesses[way] - before.accesses[way]);
    if arrived != [2, 1, 1] {
        SelfTest::NoFault
    } else if read != PATTERN || vector != PATTERN || written != WRITTEN {
        SelfTest::WrongValue
    } else {
        SelfTest::Passed
    }
}
