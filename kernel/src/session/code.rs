//! What a session of code probes has: its probes, each with the recorder that its hits come to.

use super::recorder::{self, Recorder};
use super::scratch::Scratch;
use super::{Purpose, Session};
use crate::code::{At, Refused, Registry, Wanted};
use crate::errno::Errno;
use crate::glue;
use crate::state::State;
use alloc::vec::Vec;
use core::ptr::NonNull;
use trapline_abi::{
    ANY, CODE_POST, CODE_RETURN, CODE_STACK, CodeProbe, ListEntry, MAX_ACTIVE, MAX_WORDS, ProbeError, Step,
};
use trapline_engine::code::{CodeHandlers, Program, ProgramError};
use trapline_engine::{OutOfMemory, Owned};

/// A probe of a session.
struct Probe {
    id: u64,
    recorder: Owned<Recorder>,
    /// What it was when the session was stopped, but for what its recorder counts.
    stopped: Option<ListEntry>,
}

/// The probes of a session.
///
/// # Invariants
/// A recorder, and the scratch memory, is dropped only after its probe was removed.
// The probes come in the order of their numbers, so they are sorted by them.
pub(crate) struct Probing {
    probes: Vec<Probe>,
    /// For hits that are large; from the first probe on that may have one.
    scratch: Option<Owned<Scratch>>,
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.stop();
    }
}

fn out_of_memory(_: impl Into<OutOfMemory>) -> Refused {
    Refused::NO_MEMORY
}

fn refused(error: ProbeError) -> Refused {
    Refused { error, errno: Errno::INVALID }
}

impl Probing {
    pub(super) fn new() -> Self {
        Self { probes: Vec::new(), scratch: None }
    }

    /// Removes the probes: none of their handlers is running when this returns, and instructions that nobody else probes are as they were. Their counts stay.
    pub(super) fn stop(&mut self) {
        let active = |probe: &&mut Probe| probe.stopped.is_none();
        if !self.probes.iter_mut().any(|probe| active(&&mut *probe)) {
            return;
        }
        let mut registry = Registry::lock();
        for probe in self.probes.iter_mut().filter(active) {
            probe.stopped = registry.list(probe.id).filter(|entry| entry.id == probe.id);
        }
        let probes = &self.probes;
        registry.remove(|id| probes.binary_search_by_key(&id, |probe| probe.id).is_ok());
    }

    /// Bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        let probes: usize = self.probes.iter().map(|probe| probe.recorder.memory()).sum();
        self.probes.capacity() * size_of::<Probe>()
            + probes
            + self.scratch.as_ref().map_or(0, |scratch| scratch.memory())
    }

    /// Completes the entry of probe `entry.id`, if it is one of these.
    fn complete(&self, entry: &mut ListEntry) {
        if let Ok(at) = self.probes.binary_search_by_key(&entry.id, |probe| probe.id)
            && let Some(probe) = self.probes.get(at)
        {
            probe.recorder.count(&mut entry.counts);
        }
    }

    /// The stopped probe with the lowest number from `from` on.
    fn first_stopped(&self, from: u64) -> Option<ListEntry> {
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
}

impl Session {
    /// Puts a probe on an instruction; `steps` are its program.
    fn probe(&mut self, id: u64, wanted: &CodeProbe, steps: &[Step]) -> Result<(), Refused> {
        let (Purpose::Code(probing), Some(sink)) = (&mut self.purpose, self.sink.as_deref()) else {
            return Err(refused(ProbeError::Flags));
        };
        let CodeProbe { address, flags, process, cpu, active, name, .. } = *wanted;
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
        let program = Program::check(steps).map_err(|error| match error {
            ProgramError::Malformed { .. } | ProgramError::TooLong => refused(ProbeError::Program),
            ProgramError::OutOfMemory => out_of_memory(OutOfMemory),
        })?;
        if recorder::most_words(&program, stack) > MAX_WORDS {
            return Err(refused(ProbeError::Program));
        }
        let scratch = match recorder::needs_scratch(&program, stack) {
            true => Some(probing.scratch(cpus).map_err(out_of_memory)?),
            false => None,
        };
        probing.probes.try_reserve(1).map_err(out_of_memory)?;
        let sink = NonNull::from(sink);
        let told = recorder::Wanted { probe: id as u32, address, program, stack, process, cpu };
        // SAFETY: sink and scratch memory stay where they are until the session is dropped, which removes its probes first.
        let recorder = unsafe { Recorder::new(told, sink, scratch, cpus) }.map_err(out_of_memory)?;
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
        let wanted = Wanted { id, address, at, handlers, data, limit: 0, owner: self.owner, name, flags };
        // SAFETY: the recorder is what its handlers expect, and stays until the probe was removed.
        unsafe { Registry::lock().add(&wanted) }?;
        // INVARIANT: dropped by `Probing::drop`, after the probes were removed.
        probing.probes.push(Probe { id, recorder, stopped: None });
        Ok(())
    }
}

impl State {
    /// Puts a probe on an instruction, in the session of `file`; returns its number.
    pub(crate) fn probe(&mut self, file: u64, wanted: &CodeProbe, steps: &[Step]) -> Result<u64, Refused> {
        let id = self.control.next_id();
        let session = self.session_of_mut(file).ok_or(refused(ProbeError::Flags))?;
        session.probe(id, wanted, steps)?;
        Ok(id)
    }

    fn each_probing(&self) -> impl Iterator<Item = &Probing> {
        self.sessions.iter().filter_map(|session| match &session.purpose {
            Purpose::Code(probing) => Some(probing),
            _ => None,
        })
    }

    /// Bytes of memory that the sessions' code probes take beside their rings.
    pub(crate) fn probing_memory(&self) -> usize {
        self.each_probing().map(Probing::memory).sum()
    }

    /// The code probe with the lowest number from `from` on, registered or of a session that has stopped.
    pub(crate) fn first_code_probe(&self, from: u64) -> Option<ListEntry> {
        let stopped = self.each_probing().filter_map(|probing| probing.first_stopped(from));
        let mut first = stopped.chain(Registry::lock().list(from)).min_by_key(|entry| entry.id)?;
        self.each_probing().for_each(|probing| probing.complete(&mut first));
        Some(first)
    }
}
