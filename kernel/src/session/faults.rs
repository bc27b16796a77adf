//! A session of page faults: its watch and what that counts.

use super::served::Serving;
use super::{Purpose, Session};
use crate::errno::Errno;
use crate::gate::{self, Refused};
use crate::glue;
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::state::State;
use core::ptr::NonNull;
use trapline_abi::{
    FAULTS_COUNT_ONLY, FAULTS_KERNEL, FAULTS_LATENCY, FAULTS_USER, FaultCounts, FaultWatch, Gate,
};
use trapline_engine::{Engine, Owned, PageTables, Study};

/// What a session of page faults has.
pub(crate) struct Studying {
    /// Whether it has begun a watch, which may have been stopped since.
    begun: bool,
    /// Whether its study is the engine's.
    running: bool,
    /// The gate that it sees faults by, unless that is the hook.
    gate: Option<gate::Gate>,
    /// What tells when faults are served, if that was asked for.
    serving: Option<Serving>,
    /// What it had counted when it stopped; while it runs, the claims before it began.
    counts: FaultCounts,
}

impl Studying {
    pub(super) fn new() -> Self {
        Self { begun: false, running: false, gate: None, serving: None, counts: FaultCounts::default() }
    }
}

impl State {
    /// Whether a study sees faults by the hook.
    pub(crate) fn studies_by_hook(&self) -> bool {
        let mut all = self.sessions.iter();
        all.any(|session| matches!(&session.purpose, Purpose::Faults(studying) if studying.running && studying.gate.is_none()))
    }

    /// Begins a watch of page faults for the session of `file`; says in `watch` why there is no gate.
    pub(crate) fn watch_faults(
        &mut self,
        engine: &Engine<Kernel>,
        file: u64,
        watch: &mut FaultWatch,
    ) -> Result<(), Errno> {
        watch.error = 0;
        let gate = Gate::from_code(watch.gate).ok_or(Errno::INVALID)?;
        let modes = FAULTS_USER | FAULTS_KERNEL;
        if watch.flags & modes == 0
            || watch.flags & !(modes | FAULTS_COUNT_ONLY | FAULTS_LATENCY) != 0
            || watch.flags & FAULTS_COUNT_ONLY != 0 && watch.flags & FAULTS_LATENCY != 0
            || watch.first > watch.last
        {
            return Err(Errno::INVALID);
        }
        let id = self.control.next_id();
        let session = self.session_of_mut(file).ok_or(Errno::INVALID)?;
        let owner = session.owner;
        let count_only = watch.flags & FAULTS_COUNT_ONLY != 0;
        let sink = if count_only { None } else { session.own_sink().map(NonNull::from) };
        let Session { purpose: Purpose::Faults(studying), .. } = session else { return Err(Errno::INVALID) };
        if studying.begun {
            return Err(Errno::BUSY);
        }
        // SAFETY: the sink is the session's, which `stop_studying` takes the study from before it drops it; an `Owned` does not move its content.
        let study =
            unsafe { Study::new(*watch, glue::glue_nr_cpu_ids() as usize, sink, glue::glue_has_smap()) };
        let study = study.and_then(Owned::new).map_err(|_| Errno::NO_MEMORY)?;
        // SAFETY: the control lock is held. There is no study, so these are the claims before.
        studying.counts = unsafe { engine.fault_counts() };
        (studying.begun, studying.running) = (true, true);
        let none = engine.set_study(Some(study));
        // SAFETY: null: there is one session of page faults, and it had none.
        unsafe { none.free() };
        let seen = match gate {
            Gate::Hook => self.hook_all_faults(engine, true).map_err(Refused::from),
            Gate::Idt => self.put_in_gate(file),
        };
        let seen = seen.and_then(|()| match watch.flags & FAULTS_LATENCY {
            0 => Ok(()),
            _ => self.follow(file, Serving::begin(id, owner)?),
        });
        seen.map_err(|refused| {
            self.stop_studying(engine, file);
            if let Some(Session { purpose: Purpose::Faults(studying), .. }) = self.session_of_mut(file) {
                // It may try another gate.
                studying.begun = false;
            }
            watch.error = refused.why.map_or(0, |why| why as u32);
            refused.errno
        })
    }

    fn put_in_gate(&mut self, file: u64) -> Result<(), Refused> {
        let Some(Session { purpose: Purpose::Faults(studying), .. }) = self.session_of_mut(file) else {
            return Err(Errno::INVALID.into());
        };
        // SAFETY: the control lock is held; there is one session of page faults, and it has none yet.
        studying.gate = Some(unsafe { gate::Gate::install() }?);
        Ok(())
    }

    fn follow(&mut self, file: u64, serving: Serving) -> Result<(), Refused> {
        let Some(Session { purpose: Purpose::Faults(studying), .. }) = self.session_of_mut(file) else {
            return Err(Errno::INVALID.into());
        };
        studying.serving = Some(serving);
        Ok(())
    }

    /// What the watch of `file` has counted.
    pub(crate) fn fault_counts(&self, engine: &Engine<Kernel>, file: u64) -> Result<FaultCounts, Errno> {
        match self.session_of(file).map(|session| &session.purpose) {
            // SAFETY: the control lock is held.
            Some(Purpose::Faults(s)) if s.running => Ok(since(unsafe { engine.fault_counts() }, s.counts)),
            Some(Purpose::Faults(s)) => Ok(s.counts),
            _ => Err(Errno::INVALID),
        }
    }

    /// Ends the watch of `file`, if it has one: no fault is looked at for it when this returns.
    pub(super) fn stop_studying(&mut self, engine: &Engine<Kernel>, file: u64) {
        let Some(Session { purpose: Purpose::Faults(studying), .. }) = self.session_of_mut(file) else {
            return;
        };
        if !studying.running {
            return;
        }
        studying.running = false;
        let gate = studying.gate.take();
        // Before the study goes, since it tells the study.
        let unfollowed = studying.serving.take().map_or(0, |serving| serving.missed());
        let study = engine.set_study(None);
        // First: what it waits for may be in no RCU reader.
        let bypassed = gate.map_or(0, gate::Gate::remove);
        KernelTables.synchronize();
        let seen = study.get().map_or_else(FaultCounts::default, Study::counts);
        // SAFETY: every trap that may have seen the study has ended.
        unsafe { study.free() };
        // SAFETY: the control lock is held.
        let claims = since(unsafe { engine.fault_counts() }, studying.counts);
        studying.counts = FaultCounts {
            claimed: claims.claimed,
            looping: claims.looping,
            bypassed: bypassed.into(),
            unfollowed,
            ..seen
        };
        // Nothing new is needed, so it can't fail.
        let _ = self.hook_all_faults(engine, false);
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
