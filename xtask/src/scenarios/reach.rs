//! What the module does in traps: nothing of it waits, locks, allocates or panics, and the stack
//! that it takes, there and elsewhere.
//!
//! Read from the module's machine code, so it holds for every path, taken or not. What the kernel's
//! functions do in turn is not looked at: each that may be called has its reason here.

use anyhow::{Result, ensure};

use super::Scenario;
use crate::build::{self, Calls};
use crate::setup::{Kernel, Series};

pub(super) const OF_TRAPS: Scenario = Scenario {
    name: "nothing that the module does in traps waits, locks, allocates or panics",
    check: harmless,
};

pub(super) const STACKS: Scenario = Scenario {
    name: "no function of the module takes much of a kernel stack, nor do all that a trap or a mapping goes through",
    check: stacks,
};

/// What the kernel calls, or the CPU, in a trap.
const TRAPS: [&str; 18] = [
    "on_fixup_exception",
    "on_page_fault_oops",
    "trapline_resume",
    "trapline_fixup_or_abandon",
    "on_die",
    "on_hit",
    "on_stepped",
    "on_entry",
    "on_return",
    "on_user_fault",
    "on_kernel_fault",
    "on_kmmio_handler",
    "on_handler_entry",
    "on_handler_exit",
    "trapline_decline",
    "trapline_gate",
    "trapline_run_slot",
    "trapline_debug_exception",
];

/// What of the kernel may be called in a trap, and why.
const HARMLESS: &[(&str, &str)] = &[
    ("__x86_return_thunk", "a return, as the kernel's mitigations make it"),
    ("__x86_indirect_thunk_*", "a call through a pointer, likewise: a handler of somebody's, in a guard"),
    ("__stack_chk_fail", "the end of the kernel, which finds its stack overwritten"),
    ("__ubsan_handle_*", "of kernels built with UBSAN: the report of a value out of range, a bug of ours"),
    ("sched_clock_cpu", "the clock that is made for NMIs"),
    ("local_clock", "the same, a function of its own on newer kernels"),
    ("irq_work_queue", "made for NMIs: what has to wait is done by a worker"),
    ("irq_get_irq_data", "looks a number up in a tree, without a lock"),
    ("lookup_address", "reads the page tables without a lock"),
    ("__rcu_read_unlock", "counts down what an abandoned handler has counted up"),
    ("migrate_enable", "likewise: nothing was scheduled meanwhile, so it does no more than count"),
];

/// What a driver calls without knowing it, from any depth of its own stack.
const MAPPINGS: [&str; 2] = ["tracked_ioremap", "tracked_iounmap"];

/// The most that one function takes of a kernel stack, which has 16 KiB in all: half of what the
/// kernel's own build warns of (`CONFIG_FRAME_WARN`).
const FRAME: u64 = 1024;
/// The most that a trap takes in our functions together.
const TRAP: u64 = 4096;
/// The most that following a mapping takes.
const MAPPING: u64 = 2048;

/// The decoder is not ours, and checks indices that it knows to be in range: that no bytes make it
/// panic is what the tests and the fuzz target of `trapline-insn` look for. `foreign` reads its
/// tables, inlined.
const DECODER: [&str; 2] = ["yaxpeax_x86", "trapline_insn7foreign"];

fn is_panic(function: &str) -> bool {
    function.contains("4core9panicking")
}

fn calls(series: Series) -> Result<Calls> {
    let modules = build::modules(&Kernel::ensure(series)?)?;
    let module = modules.iter().find(|module| module.ends_with("trapline.ko")).expect("it is among them");
    Calls::of(module)
}

fn harmless(series: Series) -> Result<()> {
    let by_decoder = |caller: &str| DECODER.iter().any(|part| caller.contains(part));
    let reached =
        calls(series)?.reached(&TRAPS, |caller, called| !(is_panic(called) && by_decoder(caller)))?;
    for (name, way) in &reached.own {
        ensure!(!is_panic(name), "a trap may panic: {}", way.join(" -> "));
    }
    for (name, callers) in &reached.foreign {
        let is_known = |(known, _): &(&str, &str)| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == known,
        };
        let caller = callers.first().expect("somebody calls it");
        ensure!(
            HARMLESS.iter().any(is_known),
            "a trap calls `{name}`, of which it is not known whether it waits: {}",
            reached.own[caller].join(" -> ")
        );
    }
    // As many as the traps have at least: who finds none has read the module wrongly.
    ensure!(reached.own.len() > 60, "only {} functions were found", reached.own.len());
    Ok(())
}

fn stacks(series: Series) -> Result<()> {
    let calls = calls(series)?;
    let frames = calls.frames();
    let too_large: Vec<_> = frames.iter().filter(|(_, bytes)| *bytes > FRAME).collect();
    ensure!(too_large.is_empty(), "functions take more than {FRAME} bytes of stack: {too_large:#?}");
    // It calls itself, so its frame bounds nothing. `BinaryHeap` puts things in order without.
    let sorts: Vec<_> = frames.iter().filter(|(name, _)| name.contains("9quicksort")).collect();
    ensure!(sorts.is_empty(), "something is put in order by a sort that recurses: {sorts:#?}");
    for (from, most) in [(&TRAPS[..], TRAP), (&MAPPINGS[..], MAPPING)] {
        let deepest = calls.deepest(from, |_, called| !is_panic(called))?;
        ensure!(deepest.bytes <= most, "more than {most} bytes of stack are taken: {deepest:#?}");
    }
    Ok(())
}
