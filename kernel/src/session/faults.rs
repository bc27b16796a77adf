//! A session of page faults: its watch and what that counts.

use super::{Purpose, Session};
use crate::errno::Errno;
use crate::glue;
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::state::State;
use core::ptr::NonNull;
use trapline_abi::{FAULTS_COUNT_ONLY, FAULTS_KERNEL, FAULTS_USER, FaultCounts, FaultWatch};
use trapline_engine::{Engine, Owned, PageTables, Study};

/// What a session of page faults has.
pub(crate) struct Studying {
    /// Whether it has begun a watch, which may have been stopped since.
    begun: bool,
    /// Whether its study is the engine's.
    running: bool,
    /// What it had counted when it stopped; while it runs, the claims before it began.
    counts: FaultCounts,
}

impl Studying {
    pub(super) fn new() -> Self {
        Self { begun: false, running: false, counts: FaultCounts::default() }
    }
}

impl State {
    /// Whether a study is the engine's.
    pub(crate) fn is_studying(&self) -> bool {
        let mut all = self.sessions.iter();
        all.any(|session| matches!(&session.purpose, Purpose::Faults(studying) if studying.running))
    }

    /// Begins a watch of page faults for the session of `file`.
    pub(crate) fn watch_faults(
        &mut self,
        engine: &Engine<Kernel>,
        file: u64,
        watch: &FaultWatch,
    ) -> Result<(), Errno> {
        let modes = FAULTS_USER | FAULTS_KERNEL;
        if watch.flags & modes == 0
            || watch.flags & !(modes | FAULTS_COUNT_ONLY) != 0
            || watch.first > watch.last
        {
            return Err(Errno::INVALID);
        }
        let session = self.session_of_mut(file).ok_or(Errno::INVALID)?;
        let count_only = watch.flags & FAULTS_COUNT_ONLY != 0;
        let sink = if count_only { None } else { session.own_sink().map(NonNull::from) };
        let Session { purpose: Purpose::Faults(studying), .. } = session else { return Err(Errno::INVALID) };
        if studying.begun {
            return Err(Errno::BUSY);
        }
        // SAFETY: the sink is the session's, which `stop_studying` takes the study from before it drops it; an `Owned` does not move its content.
        let study = unsafe { Study::new(*watch, glue::glue_nr_cpu_ids() as usize, sink) };
        let study = study.and_then(Owned::new).map_err(|_| Errno::NO_MEMORY)?;
        // SAFETY: the control lock is held. There is no study, so these are the claims before.
        studying.counts = unsafe { engine.fault_counts() };
        (studying.begun, studying.running) = (true, true);
        let none = engine.set_study(Some(study));
        // SAFETY: null: there is one session of page faults, and it had none.
        unsafe { none.free() };
        self.hook_all_faults(engine, true).inspect_err(|_| self.stop_studying(engine, file))
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
        let Some(Session { purpose: Purpose::Faults(studying), .. }) = self.session_of_mut(file) else { return };
        if !studying.running {
            return;
        }
        studying.running = false;
        let study = engine.set_study(None);
        KernelTables.synchronize();
        let seen = study.get().map_or_else(FaultCounts::default, Study::counts);
        // SAFETY: every trap that may have seen the study has ended.
        unsafe { study.free() };
        // SAFETY: the control lock is held.
        let claims = since(unsafe { engine.fault_counts() }, studying.counts);
        studying.counts = FaultCounts { claimed: claims.claimed, looping: claims.looping, ..seen };
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
