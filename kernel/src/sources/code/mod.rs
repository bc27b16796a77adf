//! Hits of code probes: each probe has a recorder that its hits come to.

mod recorder;
mod scratch;

use super::{Host, Source};
use crate::code::{At, ProbeRefused, Registration, Registry};
use crate::errno::Errno;
use crate::glue;
use crate::platform::Kernel;
use alloc::vec::Vec;
use core::ptr::NonNull;
use recorder::{Recorder, Recording};
use scratch::Scratch;
use trapline_abi::{
    ANY, CODE_POST, CODE_RETURN, CODE_STACK, CodeProbe, ListEntry, MAX_ACTIVE, MAX_WORDS, ProbeCounts,
    ProbeError, Step,
};
use trapline_engine::code::{CodeHandlers, Program, ProgramError};
use trapline_engine::{Engine, OutOfMemory, Owned};

/// What [`PROBE`](trapline_abi::PROBE) asks for.
pub(crate) struct NewProbe {
    /// As it was given; what was done is filled in.
    pub probe: CodeProbe,
    /// Its program, not checked.
    pub steps: Vec<Step>,
}

/// A probe of a session.
struct SessionProbe {
    id: u64,
    recorder: Owned<Recorder>,
    /// What it was when the session was stopped, but for what its recorder counts.
    stopped: Option<ListEntry>,
}

/// The probes of a session.
///
/// # Invariants
/// A recorder, and the scratch memory, is dropped only after its probe was removed: a session stops
/// its sources before it drops them.
// The probes come in the order of their numbers, so they are sorted by them.
pub(crate) struct CodeProbes {
    probes: Vec<SessionProbe>,
    /// For hits that are large; from the first probe on that may have one.
    scratch: Option<Owned<Scratch>>,
}

fn out_of_memory(_: impl Into<OutOfMemory>) -> ProbeRefused {
    ProbeRefused::NO_MEMORY
}

fn refused(error: ProbeError) -> ProbeRefused {
    ProbeRefused { error, errno: Errno::INVALID }
}

impl Source for CodeProbes {
    type Request = NewProbe;
    type Counts = ProbeCounts;

    fn start(&mut self, host: &mut Host<'_>, request: &mut NewProbe) -> Result<(), Errno> {
        let result = self.probe(host, &request.probe, &request.steps);
        let probe = &mut request.probe;
        (probe.id, probe.error, probe.errno) = match result {
            Ok(id) => (id, 0, 0),
            Err(refused) => (0, refused.error as u32, refused.of_kernel()),
        };
        result.map(|_| ()).map_err(|refused| refused.errno)
    }

    /// None of the probes' handlers is running when this returns, and instructions that nobody else
    /// probes are as they were.
    fn stop(&mut self, host: &mut Host<'_>) {
        let active = |probe: &&mut SessionProbe| probe.stopped.is_none();
        if !self.probes.iter_mut().any(|probe| active(&&mut *probe)) {
            return;
        }
        let patching = &mut host.unlocked.patching();
        let registry = Registry::of(patching);
        for probe in self.probes.iter_mut().filter(active) {
            probe.stopped = registry.list(probe.id).filter(|entry| entry.id == probe.id);
        }
        let probes = &self.probes;
        registry.remove(|id| probes.binary_search_by_key(&id, |probe| probe.id).is_ok());
    }

    /// What the recorders count, of all probes together; of each, `trapline list` tells.
    fn counts(&self, _engine: &Engine<Kernel>) -> ProbeCounts {
        let mut sum = ProbeCounts::default();
        for probe in &self.probes {
            let mut counts = ProbeCounts::default();
            probe.recorder.count(&mut counts);
            sum.hits = sum.hits.wrapping_add(counts.hits);
            sum.fetch_faults = sum.fetch_faults.wrapping_add(counts.fetch_faults);
            sum.unfulfilled = sum.unfulfilled.wrapping_add(counts.unfulfilled);
            sum.undecided = sum.undecided.wrapping_add(counts.undecided);
            sum.dropped = sum.dropped.wrapping_add(counts.dropped);
        }
        sum
    }

    fn memory(&self) -> usize {
        let probes: usize = self.probes.iter().map(|probe| probe.recorder.memory()).sum();
        self.probes.capacity() * size_of::<SessionProbe>()
            + probes
            + self.scratch.as_ref().map_or(0, |scratch| scratch.memory())
    }
}

impl CodeProbes {
    pub(super) fn new() -> Self {
        Self { probes: Vec::new(), scratch: None }
    }

    /// Completes the entry of probe `entry.id`, if it is one of these.
    pub(crate) fn complete(&self, entry: &mut ListEntry) {
        if let Ok(at) = self.probes.binary_search_by_key(&entry.id, |probe| probe.id)
            && let Some(probe) = self.probes.get(at)
        {
            probe.recorder.count(&mut entry.counts);
        }
    }

    /// The stopped probe with the lowest number from `from` on.
    pub(crate) fn first_stopped(&self, from: u64) -> Option<ListEntry> {
        let after = self.probes.partition_point(|probe| probe.id < from);
        self.probes.iter().skip(after).find_map(|probe| probe.stopped)
    }

    /// Where large hits are put together.
    fn scratch(&mut self, cpus: usize) -> Result<NonNull<Scratch>, OutOfMemory> {
        let scratch = match self.scratch.take() {
            Some(scratch) => scratch,
            None => Owned::new(Scratch::new(cpus)?)?,
        };
        let scratch = self.scratch.insert(scratch);
        Ok(NonNull::from(&**scratch))
    }

    /// Puts a probe on an instruction; `steps` are its program. Returns its number.
    fn probe(
        &mut self,
        host: &mut Host<'_>,
        request: &CodeProbe,
        steps: &[Step],
    ) -> Result<u64, ProbeRefused> {
        let CodeProbe { address, flags, process, cpu, active, condition, name, .. } = *request;
        let has = |flag| flags & flag != 0;
        let cpus = glue::glue_nr_cpu_ids() as usize;
        if flags & !(CODE_RETURN | CODE_POST | CODE_STACK) != 0
            || has(CODE_RETURN) && has(CODE_POST)
            || cpu != ANY && cpu as usize >= cpus
            || active > if has(CODE_RETURN) { MAX_ACTIVE } else { 0 }
        {
            return Err(refused(ProbeError::Flags));
        }
        let stack = has(CODE_STACK);
        let program = Program::check(steps, condition as usize).map_err(|error| match error {
            ProgramError::Malformed { .. } | ProgramError::TooLong => refused(ProbeError::Program),
            ProgramError::OutOfMemory => out_of_memory(OutOfMemory),
        })?;
        if recorder::most_words(&program, stack) > MAX_WORDS {
            return Err(refused(ProbeError::Program));
        }
        let scratch = match recorder::needs_scratch(&program, stack) {
            true => Some(self.scratch(cpus).map_err(out_of_memory)?),
            false => None,
        };
        self.probes.try_reserve(1).map_err(out_of_memory)?;
        let id = host.unlocked.control().control.next_id();
        let recording = Recording { probe: id as u32, address, program, stack, process, cpu };
        // SAFETY: sink and scratch memory stay where they are until the session ends, which stops
        // its sources, and so removes its probes, first.
        let recorder =
            unsafe { Recorder::new(recording, host.sink, scratch, cpus) }.map_err(out_of_memory)?;
        let recorder = Owned::new(recorder).map_err(out_of_memory)?;
        let (at, handlers) = if has(CODE_RETURN) {
            let handlers = CodeHandlers::Trusted { pre: None, post: Some(recorder::at_return) };
            (At::Return { carried: 0, active }, handlers)
        } else if has(CODE_POST) {
            (At::Instruction, CodeHandlers::Trusted { pre: None, post: Some(recorder::at_instruction) })
        } else {
            (At::Instruction, CodeHandlers::Trusted { pre: Some(recorder::at_instruction), post: None })
        };
        let data = (&raw const *recorder).cast_mut().cast();
        let flags = flags & CODE_STACK;
        let owner = host.owner;
        let registration = Registration { id, address, at, handlers, data, limit: 0, owner, name, flags };
        // SAFETY: the recorder is what its handlers expect, and stays until the probe was removed.
        unsafe { Registry::of(&mut host.unlocked.patching()).add(&registration) }?;
        // INVARIANT: the session stops its sources, which removes the probe, before it drops them.
        self.probes.push(SessionProbe { id, recorder, stopped: None });
        Ok(id)
    }
}
