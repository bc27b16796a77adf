//! The trap side of a session's code probe: fetches what was asked for and writes a record.
//!
//! It runs with interrupts off, maybe in NMI context, on all CPUs at once. It is ours and does not fault: what it reads, it reads with a fixup. So it is called directly, not
//! through the trampoline for other people's handlers.

use super::scratch::{Level, Scratch};
use crate::glue;
use crate::state::ENGINE;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{ANY, HitPayload, Kind, MAX_STACK, ProbeCounts, Record};
use trapline_engine::code::Program;
use trapline_engine::{OutOfMemory, Sink, Trap, local};
use trapline_insn::Registers;

/// Words that a hit may have on the stack; more are put together in the session's scratch memory.
const FEW: usize = 24;

/// What one CPU counts. On a cache line of its own, so that CPUs that hit a probe at once do not slow each other.
#[repr(align(64))]
#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    fetch_faults: AtomicU64,
    dropped: AtomicU64,
}

/// What a probe records, and of which hits.
///
/// # Invariants
/// `sink`, and `scratch` if there is one, are valid for as long as hits may come. There is a scratch memory if a hit can have more than [`FEW`] words.
pub(super) struct Recorder {
    /// The probe's number, its low 32 bits.
    pub(super) probe: u32,
    /// Address of the probed instruction.
    pub(super) address: u64,
    pub(super) program: Program,
    /// Whether return addresses are recorded.
    pub(super) stack: bool,
    /// The process, or [`ANY`].
    pub(super) process: u32,
    /// The CPU, or [`ANY`].
    pub(super) cpu: u32,
    sink: NonNull<Sink>,
    scratch: Option<NonNull<Scratch>>,
    cpus: Box<[Counts]>,
}

// SAFETY: sink and scratch memory are made to be shared by the traps of all CPUs, and so are the counts.
unsafe impl Send for Recorder {}
// SAFETY: as above.
unsafe impl Sync for Recorder {}

/// What a hit is told to come from, and what has to pass.
pub(super) struct Wanted {
    pub(super) probe: u32,
    pub(super) address: u64,
    pub(super) program: Program,
    pub(super) stack: bool,
    pub(super) process: u32,
    pub(super) cpu: u32,
}

/// The most words that a hit of such a probe has.
pub(super) fn most_words(program: &Program, stack: bool) -> usize {
    program.words() + if stack { 1 + MAX_STACK } else { 0 }
}

/// Whether hits of such a probe need scratch memory.
pub(super) fn needs_scratch(program: &Program, stack: bool) -> bool {
    most_words(program, stack) > FEW
}

impl Recorder {
    /// For CPUs `0..cpus`.
    ///
    /// # Safety
    /// The pointers are as the type's invariant says.
    pub(super) unsafe fn new(
        wanted: Wanted,
        sink: NonNull<Sink>,
        scratch: Option<NonNull<Scratch>>,
        cpus: usize,
    ) -> Result<Self, OutOfMemory> {
        let mut all = Vec::new();
        all.try_reserve_exact(cpus)?;
        all.extend((0..cpus).map(|_| Counts::default()));
        let Wanted { probe, address, program, stack, process, cpu } = wanted;
        // INVARIANT: as the caller vouches.
        Ok(Self { probe, address, program, stack, process, cpu, sink, scratch, cpus: all.into_boxed_slice() })
    }

    /// Puts into `counts` what is counted here.
    pub(super) fn count(&self, counts: &mut ProbeCounts) {
        let sum = |counter: fn(&Counts) -> &AtomicU64| {
            self.cpus.iter().map(|cpu| counter(cpu).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        counts.hits = sum(|cpu| &cpu.hits);
        counts.fetch_faults = sum(|cpu| &cpu.fetch_faults);
        counts.dropped = sum(|cpu| &cpu.dropped);
    }

    /// Bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.cpus) + self.program.memory()
    }

    /// A hit: `ip` is what the record says that it is at.
    #[inline(always)]
    fn hit(&self, trap: &Trap, registers: &Registers, ip: u64) {
        if self.cpu != ANY && self.cpu as usize != trap.cpu()
            || self.process != ANY && self.process != glue::glue_current_tgid()
        {
            return;
        }
        let Some(counts) = self.cpus.get(trap.cpu()) else { return };
        local::add(&counts.hits, 1);
        let told = match self.scratch {
            None => self.record(trap, registers, ip, &mut [0; FEW], counts),
            // SAFETY: valid by the invariant.
            Some(scratch) => match unsafe { scratch.as_ref() }.enter(trap) {
                Some(mut level) => self.record(trap, registers, ip, Level::words(&mut level), counts),
                None => false,
            },
        };
        if !told {
            local::add(&counts.dropped, 1);
        }
    }

    /// Fetches, and writes the record; returns whether there was room for it.
    #[inline(always)]
    fn record(
        &self,
        trap: &Trap,
        registers: &Registers,
        ip: u64,
        words: &mut [u64],
        counts: &Counts,
    ) -> bool {
        let Some(engine) = ENGINE.get() else { return false };
        let fetched = self.program.run(registers, engine.platform(), words);
        if fetched.faults != 0 {
            local::add(&counts.fetch_faults, fetched.faults.count_ones().into());
        }
        let mut used = fetched.words;
        if self.stack
            && let Some([length, entries @ ..]) = words.get_mut(used..)
        {
            let room = entries.len().min(MAX_STACK);
            // SAFETY: the registers are those of the interrupted context, on this CPU; there is room for so many entries.
            let found = unsafe { glue::glue_unwind(registers, entries.as_mut_ptr(), room as u32) };
            *length = found.into();
            used += 1 + found as usize;
        }
        let payload = HitPayload { probe: self.probe, faults: fetched.faults, ip, words: [0; 2] };
        let record = Record { kind: Kind::Hit as u8, payload: payload.to_words(), ..Record::EMPTY };
        // SAFETY: valid by the invariant.
        let sink = unsafe { self.sink.as_ref() };
        sink.push_words(trap, engine.platform(), record, words.get(..used).unwrap_or(&[]))
    }
}

/// The handler of an instruction.
///
/// # Safety
/// `data` is a [`Recorder`].
pub(super) unsafe fn at_instruction(data: *mut (), trap: &Trap, registers: &Registers, _carried: *mut ()) {
    // SAFETY: as the caller vouches.
    let recorder = unsafe { &*data.cast::<Recorder>() };
    recorder.hit(trap, registers, recorder.address);
}

/// The handler of a function's return: the registers are those it returned with, at the address it returned to.
///
/// # Safety
/// `data` is a [`Recorder`].
pub(super) unsafe fn at_return(data: *mut (), trap: &Trap, registers: &Registers, _carried: *mut ()) {
    // SAFETY: as the caller vouches.
    let recorder = unsafe { &*data.cast::<Recorder>() };
    recorder.hit(trap, registers, registers.rip);
}
