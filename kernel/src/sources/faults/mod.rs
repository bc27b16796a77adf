//! Page faults: a session's watch of them and what that counts.

mod served;

use super::{Host, Source};
use crate::errno::Errno;
use crate::faults;
use crate::gate::{GateRefused, InstalledGate};
use crate::glue;
use crate::locks::{Patched, PatchingLock};
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use served::Serving;
use trapline_abi::{
    FAULTS_COUNT_ONLY, FAULTS_KERNEL, FAULTS_LATENCY, FAULTS_USER, FaultCounts, FaultWatch, Gate,
};
use trapline_engine::{Engine, Owned, PageTables, Study};

/// Thread group id of the process whose session watches; 0 if none does. One at a time: the engine
/// has one study. Whoever sets studies holds the patching lock.
static OWNER: Patched<u32> = Patched::new(0);

/// Thread group id of the process whose session watches page faults; 0 if none does.
pub(crate) fn owner(lock: &mut PatchingLock<'_>) -> u32 {
    *OWNER.of(lock)
}

/// A session's watch of page faults.
pub(crate) struct Faults {
    /// Whether a watch has begun, which may have been stopped since: one in each session.
    begun: bool,
    /// Whether the engine's study is this one's.
    running: bool,
    /// The gate that it sees faults by, unless that is the hook.
    gate: Option<InstalledGate>,
    /// What tells when faults are served, if that was asked for.
    serving: Option<Serving>,
    /// What it had counted when it stopped; while it runs, the claims before it began.
    counts: FaultCounts,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self { begun: false, running: false, gate: None, serving: None, counts: FaultCounts::default() }
    }

    /// Makes `study` the engine's, and has faults come to it.
    fn begin(
        &mut self,
        host: &mut Host<'_>,
        watch: &FaultWatch,
        study: Owned<Study>,
        id: u64,
    ) -> Result<(), GateRefused> {
        let engine = host.engine;
        let patching = &mut host.unlocked.patching();
        // SAFETY: the patching lock is held. There is no study, so these are the claims before.
        self.counts = unsafe { engine.fault_counts() };
        (self.begun, self.running) = (true, true);
        *OWNER.of(patching) = host.owner;
        let none = engine.set_study(Some(study));
        // SAFETY: null: there was no owner, so no study.
        unsafe { none.free() };
        match Gate::from_code(watch.gate) {
            // SAFETY: who watches page faults has the only gate, and nobody else watched.
            Some(Gate::Idt) => self.gate = Some(unsafe { InstalledGate::install(patching) }?),
            _ => faults::look_by_hook(engine, patching, true)?,
        }
        if watch.flags & FAULTS_LATENCY != 0 {
            self.serving = Some(Serving::begin(patching, id, host.owner)?);
        }
        Ok(())
    }
}

impl Source for Faults {
    type Request = FaultWatch;
    type Counts = FaultCounts;

    /// Says in the request why there is no gate.
    fn start(&mut self, host: &mut Host<'_>, watch: &mut FaultWatch) -> Result<(), Errno> {
        (watch.error, watch.owner) = (0, 0);
        let modes = FAULTS_USER | FAULTS_KERNEL;
        if Gate::from_code(watch.gate).is_none()
            || watch.flags & modes == 0
            || watch.flags & !(modes | FAULTS_COUNT_ONLY | FAULTS_LATENCY) != 0
            || watch.flags & FAULTS_COUNT_ONLY != 0 && watch.flags & FAULTS_LATENCY != 0
            || watch.first > watch.last
        {
            return Err(Errno::INVALID);
        }
        watch.owner = if self.begun { host.owner } else { owner(&mut host.unlocked.patching()) };
        if watch.owner != 0 {
            return Err(Errno::BUSY);
        }
        let id = host.unlocked.control().control.next_id();
        let sink = (watch.flags & FAULTS_COUNT_ONLY == 0).then_some(host.sink);
        // SAFETY: the sink is the session's, which frees it after `stop` has taken the study away.
        let study =
            unsafe { Study::new(*watch, glue::glue_nr_cpu_ids() as usize, sink, glue::glue_has_smap()) };
        let study = study.and_then(Owned::new).map_err(|_| Errno::NO_MEMORY)?;
        self.begin(host, watch, study, id).map_err(|refused| {
            self.stop(host);
            // It may try another gate.
            self.begun = false;
            watch.error = refused.why.map_or(0, |why| why as u32);
            refused.errno
        })
    }

    /// No fault is looked at for it when this returns.
    fn stop(&mut self, host: &mut Host<'_>) {
        if !self.running {
            return;
        }
        self.running = false;
        let engine = host.engine;
        let patching = &mut host.unlocked.patching();
        // Before the study goes, since it tells the study.
        let unfollowed = self.serving.take().map_or(0, |serving| serving.end(patching));
        let study = engine.set_study(None);
        // First: what it waits for may be in no RCU reader.
        let bypassed = self.gate.take().map_or(0, |gate| gate.remove(patching));
        KernelTables.synchronize();
        let seen = study.get().map_or_else(FaultCounts::default, Study::counts);
        // SAFETY: every trap that may have seen the study has ended.
        unsafe { study.free() };
        // SAFETY: the patching lock is held.
        let claims = since(unsafe { engine.fault_counts() }, self.counts);
        self.counts = FaultCounts {
            claimed: claims.claimed,
            looping: claims.looping,
            bypassed: bypassed.into(),
            unfollowed,
            ..seen
        };
        *OWNER.of(patching) = 0;
        // Nothing new is needed, so it can't fail.
        let _ = faults::look_by_hook(engine, patching, false);
    }

    fn counts(&self, engine: &Engine<Kernel>) -> FaultCounts {
        if self.running {
            // SAFETY: the study is this one's, and only `stop` would take it away, which is not
            // called meanwhile: it wants `self` mutably.
            since(unsafe { engine.fault_counts() }, self.counts)
        } else {
            self.counts
        }
    }
}

/// The claims since the watch began; the study's own counts began with it.
fn since(now: FaultCounts, before: FaultCounts) -> FaultCounts {
    FaultCounts {
        claimed: now.claimed.wrapping_sub(before.claimed),
        looping: now.looping.wrapping_sub(before.looping),
        ..now
    }
}
