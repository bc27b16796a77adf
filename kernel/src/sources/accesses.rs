//! Accesses to physical ranges: those that are mapped already and those that come to be.

use super::{Host, Source};
use crate::arming::{self, Refusal};
use crate::errno::Errno;
use crate::glue;
use crate::injection::Given;
use crate::mappings::{Candidate, Mappings, add_probes, errno_of};
use crate::note::{note_map, note_unmap};
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::self_test;
use crate::state::Controlled;
use crate::tracking;
use crate::walk::{self, Run};
use crate::watched::{Watched, WatchedRange};
use alloc::vec::Vec;
use trapline_abi::{
    Counters, Inject, InjectCounts, InjectRule, MapPayload, WATCH_MODULES, Watch, WatchError,
};
use trapline_engine::inject::{Rules, RulesError};
use trapline_engine::{Control, Engine, Owned, Page, PageTables, Platform, Probe};

/// A session's watches.
pub(crate) struct Accesses {
    /// Whether the engine's sink is the session's. One session at a time: the engine has one.
    running: bool,
    /// The engine's counters when the first watch began; afterwards, what was counted in between.
    counters: Counters,
    /// Rules of injection, if it was given some.
    given: Option<Given>,
}

impl Accesses {
    pub(super) fn new() -> Self {
        Self { running: false, counters: Counters::default(), given: None }
    }

    /// Takes rules of injection, for all that will be watched: once, and before anything is. Fills
    /// in which rule can't be carried out.
    pub(crate) fn inject(
        &mut self,
        engine: &Engine<Kernel>,
        wanted: &[InjectRule],
        inject: &mut Inject,
    ) -> Result<(), Errno> {
        if self.running || self.given.is_some() {
            return Err(Errno::BUSY);
        }
        let rules = Rules::new(wanted, engine.platform().now()).map_err(|error| match error {
            RulesError::Rule(number) => {
                inject.failed_at = number as u32;
                Errno::INVALID
            }
            RulesError::OutOfMemory => Errno::NO_MEMORY,
        })?;
        self.given = Some(Given::new(Owned::new(rules).map_err(|_| Errno::NO_MEMORY)?));
        Ok(())
    }

    /// What a rule of injection has counted.
    pub(crate) fn inject_counts(&self, number: u32) -> Option<InjectCounts> {
        self.given.as_ref()?.rules().counts(number as usize)
    }

    /// Makes the session's sink the engine's, unless it is.
    fn begin(&mut self, host: &mut Host<'_>, watch: &mut Watch) -> Result<(), WatchError> {
        if !self_test::has_passed() {
            return Err(WatchError::SelfTest);
        }
        if self.running {
            return Ok(());
        }
        let Controlled { watched, .. } = &mut *host.unlocked.control();
        if watched.owner != 0 {
            watch.owner = watched.owner;
            return Err(WatchError::Taken);
        }
        watched.owner = host.owner;
        self.counters = host.engine.counters();
        self.running = true;
        if let Some(given) = &mut self.given {
            given.begin();
        }
        // SAFETY: the session's sink, from `Owned::leak`. The engine has it as its own until
        // `stop`, which takes it back without freeing it; meanwhile it is only shared, as a sink is
        // made to be, and its session frees it after `stop`.
        let sink = unsafe { Owned::reclaim(host.sink) };
        let none = host.engine.set_sink(Some(sink));
        // SAFETY: null: `watched` had no owner, so the engine had no sink.
        unsafe { none.free() };
        Ok(())
    }
}

impl Source for Accesses {
    type Request = Watch;
    type Counts = Counters;

    fn start(&mut self, host: &mut Host<'_>, watch: &mut Watch) -> Result<(), Errno> {
        (watch.owner, watch.failed_at) = (0, watch.physical);
        let (began, inject) = (!self.running, self.given.is_some());
        let result = self.begin(host, watch).and_then(|()| match watch.flags {
            WATCH_MODULES => Ok(()),
            _ => watch_range(&mut host.unlocked.control(), host.engine, watch, inject),
        });
        if result.is_err() && began && self.running {
            self.stop(host);
            self.counters = Counters::default();
        }
        watch.error = result.err().map_or(0, |error| error as u32);
        result.map_err(errno_of)
    }

    fn stop(&mut self, host: &mut Host<'_>) {
        if !self.running {
            return;
        }
        self.running = false;
        let Host { engine, unlocked, .. } = host;
        let controlled = &mut *unlocked.control();
        unwatch(controlled, engine);
        self.counters = difference(engine.counters(), self.counters);
        // Not freed: it is the session's.
        let _sink = engine.set_sink(None);
        KernelTables.synchronize();
        if let Some(given) = &mut self.given {
            // SAFETY: `unwatch` has removed the probes, and whatever trap had seen one has ended.
            unsafe { given.end() };
        }
    }

    /// But for what the rings dropped.
    fn counts(&self, engine: &Engine<Kernel>) -> Counters {
        if self.running { difference(engine.counters(), self.counters) } else { self.counters }
    }

    fn memory(&self) -> usize {
        self.given.as_ref().map_or(0, |given| given.rules().memory())
    }
}

/// Watches a range; fills in what was done.
fn watch_range(
    controlled: &mut Controlled,
    engine: &Engine<Kernel>,
    watch: &mut Watch,
    inject: bool,
) -> Result<(), WatchError> {
    let Controlled { control, mappings, watched } = controlled;
    let range = WatchedRange::new(watch, inject)?;
    watched.ranges.try_reserve(1).map_err(|_| WatchError::NoMemory)?;
    watched.ranges.push(range);
    // From here on mappings that come are seen, each after this lock is free; those that were there
    // before are found now.
    tracking::set(mappings, watched);
    let result = watch_existing(control, mappings, engine, &range, watch);
    if result.is_err() {
        watched.ranges.pop();
        tracking::set(mappings, watched);
    }
    result
}

/// Ends all watches: nothing of them is armed and no access in flight when this returns.
fn unwatch(controlled: &mut Controlled, engine: &Engine<Kernel>) {
    let Controlled { control, mappings, watched } = controlled;
    let mut ids = Vec::new();
    let mut complete = true;
    for known in &mut mappings.known {
        complete &= ids.try_reserve(known.watched.len()).is_ok();
        if complete {
            ids.append(&mut known.watched);
        }
    }
    control.remove_probes(engine, &KernelTables, &ids);
    // Without memory for the list of all: one by one.
    for known in &mut mappings.known {
        control.remove_probes(engine, &KernelTables, &known.watched);
        known.watched.clear();
    }
    mappings.forget_unused(control, engine);
    *watched = Watched::new();
    tracking::set(mappings, watched);
}

/// Arms what is mapped of `range` now: all of it or nothing.
fn watch_existing(
    control: &mut Control,
    mappings: &mut Mappings,
    engine: &Engine<Kernel>,
    range: &WatchedRange,
    watch: &mut Watch,
) -> Result<(), WatchError> {
    let mut probes = Vec::new();
    let mut places = Vec::new();
    let prepared = prepare(control, mappings, engine, range, watch, &mut probes, &mut places);
    // SAFETY: no handlers but those of injection, which may be called in any trap, with what they
    // were given as data.
    let outcome = prepared.and_then(|()| unsafe { add_probes(control, engine, &probes) });
    let ids = outcome.inspect_err(|_| forget_unwatched(control, mappings, engine, &places))?;
    for (&at, &id) in places.iter().zip(&ids) {
        if let Some(known) = mappings.known.get_mut(at) {
            // Room was made by `prepare`.
            known.watched.push(id);
        }
    }
    watch.mappings = places.len() as u32;
    watch.pages = pages_under(control, &probes);
    watch.failed_at = 0;
    Ok(())
}

/// The runs that map bytes of `range`.
fn find(range: &WatchedRange) -> Result<Vec<Run>, WatchError> {
    let mut found: Vec<Run> = Vec::new();
    let mut pages = Vec::new();
    pages.try_reserve_exact(1).map_err(|_| WatchError::NoMemory)?;
    pages.push([0; 512]);
    let mut result = Ok(());
    if let Some(pages) = pages.first_mut() {
        walk::runs(pages, |run| {
            if range.probe(run.start, run.physical, run.length).is_some()
                && !glue::glue_is_ours(run.start, run.start)
            {
                match found.try_reserve(1) {
                    Ok(()) => found.push(*run),
                    Err(_) => result = Err(WatchError::NoMemory),
                }
            }
        });
    }
    result.map(|()| found)
}

/// Makes each run that maps bytes of `range` known, tells the trace of it, and lists its probe and
/// its place.
fn prepare(
    control: &mut Control,
    mappings: &mut Mappings,
    engine: &Engine<Kernel>,
    range: &WatchedRange,
    watch: &mut Watch,
    probes: &mut Vec<Probe>,
    places: &mut Vec<usize>,
) -> Result<(), WatchError> {
    for run in &find(range)? {
        watch.failed_at = run.physical.0;
        if run.largest > glue::LEVEL_2M {
            return Err(WatchError::HugePage);
        }
        let at = match mappings.at(run.start) {
            Some(at) => at,
            None => {
                let Run { start, length, physical, leaf, .. } = *run;
                let candidate = Candidate { start, length, physical: Some(physical), leaf };
                mappings.adopt(control, &arming::check(candidate).map_err(Refusal::watch_error)?)?
            }
        };
        let Some(probe) = range.probe(run.start, run.physical, run.length) else { continue };
        let out_of_memory = |_| WatchError::NoMemory;
        if let Some(known) = mappings.known.get_mut(at) {
            known.watched.try_reserve(1).map_err(out_of_memory)?;
        }
        probes.try_reserve(1).map_err(out_of_memory)?;
        places.try_reserve(1).map_err(out_of_memory)?;
        probes.push(probe);
        places.push(at);
        if let Some(known) = mappings.known.get(at).filter(|known| known.watched.is_empty()) {
            let (address, physical) = (run.start.0, run.physical.0);
            let map = MapPayload { address, physical, length: run.length, caller: 0 };
            note_map(engine, known.mapping.id, map);
        }
    }
    Ok(())
}

/// Undoes what a failed watch has prepared.
fn forget_unwatched(
    control: &mut Control,
    mappings: &mut Mappings,
    engine: &Engine<Kernel>,
    places: &[usize],
) {
    let prepared = places.iter().filter_map(|&at| mappings.known.get(at));
    for known in prepared.filter(|known| known.watched.is_empty()) {
        note_unmap(engine, known.mapping.id);
    }
    mappings.forget_unused(control, engine);
}

fn pages_under(control: &Control, probes: &[Probe]) -> u64 {
    let under = |page: &Page| probes.iter().any(|p| p.start <= page.last() && p.last() >= page.address);
    let pages = control.pages().iter().map(|armed| armed.page());
    pages.filter(under).count() as u64
}

fn difference(now: Counters, before: Counters) -> Counters {
    let minus = |now: u64, before: u64| now.wrapping_sub(before);
    Counters {
        faults: minus(now.faults, before.faults),
        accesses: core::array::from_fn(|way| minus(now.accesses[way], before.accesses[way])),
        beside: minus(now.beside, before.beside),
        dropped: 0,
        windows: minus(now.windows, before.windows),
        stale: minus(now.stale, before.stale),
        nested: minus(now.nested, before.nested),
    }
}
