//! The trap side of a session's code probe: fetches what was asked for and writes a record.
//!
//! It runs with interrupts off, maybe in NMI context, on all CPUs at once. It is ours and does not
//! fault: what it reads, it reads with a fixup. So it is called directly, not through the
//! trampoline for other people's handlers.

use super::scratch::Scratch;
use crate::glue;
use crate::state::ENGINE;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{ANY, HitPayload, Kind, MAX_STACK, ProbeCounts, Record};
use trapline_engine::code::Program;
use trapline_engine::{Lanes, Open, OutOfMemory, Sink, Trap};
use trapline_insn::Registers;
use trapline_ring::local;

/// Words that a hit may have on the stack; more are put together in the session's scratch memory.
const FEW: usize = 24;

/// What one lane counts. On a cache line of its own, so that lanes that hit a probe at once do not
/// slow each other.
#[repr(align(64))]
#[derive(Default)]
struct LaneCounts {
    hits: AtomicU64,
    fetch_faults: AtomicU64,
    unfulfilled: AtomicU64,
    undecided: AtomicU64,
    dropped: AtomicU64,
}

impl Open for LaneCounts {
    type Part = Self;

    fn open(&self) -> &Self {
        self
    }
}

/// What is recorded, and of which hits.
pub(super) struct Recording {
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
}

/// Records the hits of a probe.
///
/// # Invariants
/// `sink`, and `scratch` if there is one, are valid for as long as hits may come. There is a
/// scratch memory if a hit can have more than [`FEW`] words.
pub(super) struct Recorder {
    recording: Recording,
    sink: NonNull<Sink>,
    scratch: Option<NonNull<Scratch>>,
    counts: Lanes<LaneCounts>,
}

// SAFETY: sink and scratch memory are made to be shared by the traps of all CPUs, and so are the
// counts.
unsafe impl Send for Recorder {}
// SAFETY: as above.
unsafe impl Sync for Recorder {}

/// The most words that a hit of such a probe has.
pub(super) fn most_words(program: &Program, stack: bool) -> usize {
    program.words() + if stack { 1 + MAX_STACK } else { 0 }
}

/// Whether hits of such a probe need scratch memory.
pub(super) fn needs_scratch(program: &Program, stack: bool) -> bool {
    most_words(program, stack) > FEW
}

impl Recorder {
    /// For lanes `0..lanes`.
    ///
    /// # Safety
    /// The pointers are as the type's invariant says.
    pub(super) unsafe fn new(
        recording: Recording,
        sink: NonNull<Sink>,
        scratch: Option<NonNull<Scratch>>,
        lanes: usize,
    ) -> Result<Self, OutOfMemory> {
        let counts = Lanes::new(lanes, || Ok(LaneCounts::default()))?;
        // INVARIANT: `new` asks for the pointers to stay valid for as long as hits may come.
        Ok(Self { recording, sink, scratch, counts })
    }

    /// Puts into `counts` what is counted here.
    pub(super) fn count(&self, counts: &mut ProbeCounts) {
        let sum = |counter: fn(&LaneCounts) -> &AtomicU64| {
            self.counts.open().map(|lane| counter(lane).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        counts.hits = sum(|lane| &lane.hits);
        counts.fetch_faults = sum(|lane| &lane.fetch_faults);
        counts.unfulfilled = sum(|lane| &lane.unfulfilled);
        counts.undecided = sum(|lane| &lane.undecided);
        counts.dropped = sum(|lane| &lane.dropped);
    }

    /// Bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.counts.open().map(size_of_val).sum::<usize>()
            + self.recording.program.memory()
    }

    /// A hit: `ip` is what the record says that it is at.
    #[inline(always)]
    fn hit(&self, trap: &Trap, registers: &Registers, ip: u64) {
        let Recording { cpu, process, .. } = self.recording;
        if cpu != ANY && cpu as usize != trap.lane().number()
            || process != ANY && process != glue::glue_current_tgid()
        {
            return;
        }
        let Some(counts) = self.counts.of(trap) else { return };
        local::add(&counts.hits, 1);
        let told = match self.scratch {
            None => self.record(trap, registers, ip, &mut [0; FEW], counts),
            // SAFETY: valid by the invariant.
            Some(scratch) => match unsafe { scratch.as_ref() }.enter(trap) {
                Some(mut room) => self.record(trap, registers, ip, room.words(), counts),
                None => false,
            },
        };
        if !told {
            local::add(&counts.dropped, 1);
        }
    }

    /// If the hit fulfils the condition: fetches, and writes the record; returns whether there was
    /// room for it.
    #[inline(always)]
    fn record(
        &self,
        trap: &Trap,
        registers: &Registers,
        ip: u64,
        words: &mut [u64],
        counts: &LaneCounts,
    ) -> bool {
        let Some(engine) = ENGINE.get() else { return false };
        let program = &self.recording.program;
        let condition = program.condition(registers, engine.platform(), words);
        if condition != Some(true) {
            local::add(&counts.unfulfilled, 1);
            if condition.is_none() {
                local::add(&counts.undecided, 1);
            }
            return true;
        }
        let fetched = program.run(registers, engine.platform(), words);
        if fetched.faults != 0 {
            local::add(&counts.fetch_faults, fetched.faults.count_ones().into());
        }
        let mut used = fetched.words;
        if self.recording.stack
            && let Some([length, entries @ ..]) = words.get_mut(used..)
        {
            let room = entries.len().min(MAX_STACK);
            // SAFETY: the registers are those of the interrupted context, on this CPU; there is
            // room for so many entries.
            let found = unsafe { glue::glue_unwind(registers, entries.as_mut_ptr(), room as u32) };
            *length = found.into();
            used += 1 + found as usize;
        }
        let faults = fetched.faults as u32;
        let payload = HitPayload { probe: self.recording.probe, faults, ip, words: [0; 2] };
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
    // SAFETY: a `Recorder`: `at_instruction` asks for that.
    let recorder = unsafe { &*data.cast::<Recorder>() };
    recorder.hit(trap, registers, recorder.recording.address);
}

/// The handler of a function's return: the registers are those it returned with, at the address it
/// returned to.
///
/// # Safety
/// `data` is a [`Recorder`].
pub(super) unsafe fn at_return(data: *mut (), trap: &Trap, registers: &Registers, _carried: *mut ()) {
    // SAFETY: a `Recorder`: `at_return` asks for that.
    let recorder = unsafe { &*data.cast::<Recorder>() };
    recorder.hit(trap, registers, registers.rip);
}
