//! What a session of accesses does: it watches physical ranges, those that are mapped already and those that come to be.

use super::Purpose;
use super::note::{note_map, note_mark, note_unmap};
use crate::glue;
use crate::mappings::{PAGE, Wanted};
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::state::State;
use crate::walk::{self, Run};
use alloc::vec::Vec;
use trapline_abi::{Counters, MapPayload, SelfTest, WATCH_READS, WATCH_WRITES, Watch, WatchError};
use trapline_engine::{Engine, Handlers, Probe};

/// Longest range of one watch: 1 GiB.
const LONGEST: u64 = 1 << 30;

/// A physical range that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: u64,
    last: u64,
    reads: bool,
    writes: bool,
}

impl Range {
    fn new(watch: &Watch) -> Result<Self, WatchError> {
        let last = watch.length.checked_sub(1).and_then(|rest| watch.physical.checked_add(rest));
        let (reads, writes) = (watch.flags & WATCH_READS != 0, watch.flags & WATCH_WRITES != 0);
        let last = last.filter(|_| reads || writes).ok_or(WatchError::BadRange)?;
        if watch.flags & !(WATCH_READS | WATCH_WRITES) != 0 {
            return Err(WatchError::BadRange);
        }
        if watch.length > LONGEST {
            return Err(WatchError::TooLong);
        }
        if glue::glue_is_ram(watch.physical, watch.length) {
            return Err(WatchError::Ram);
        }
        Ok(Self { first: watch.physical, last, reads, writes })
    }

    /// The probe on what a mapping of `length` bytes from `physical` on, at `start`, has of this range.
    fn probe(&self, start: u64, physical: u64, length: u64) -> Option<Probe> {
        let (first, last) = (self.first.max(physical), self.last.min(physical + (length - 1)));
        (first <= last).then(|| Probe {
            start: start + (first - physical),
            length: last - first + 1,
            reads: self.reads,
            writes: self.writes,
            record: true,
            handlers: Handlers::NONE,
        })
    }
}

/// What is watched, and since when.
pub(crate) struct Watching {
    ranges: Vec<Range>,
    stopped: bool,
    /// The counters when it began.
    before: Counters,
}

impl Watching {
    /// Nothing yet; `before` is what the engine has counted so far.
    pub(super) fn new(before: Counters) -> Self {
        Self { ranges: Vec::new(), stopped: false, before }
    }

    /// Whether mappings that come are to be watched.
    fn is_active(&self) -> bool {
        !self.stopped && !self.ranges.is_empty()
    }
}

impl State {
    /// What the session of accesses watches, if there is one.
    fn watching(&self) -> Option<&Watching> {
        self.sessions.iter().find_map(|session| match &session.purpose {
            Purpose::Accesses(watching) => Some(watching),
            _ => None,
        })
    }

    /// As [`State::watching`].
    fn watching_mut(&mut self) -> Option<&mut Watching> {
        self.sessions.iter_mut().find_map(|session| match &mut session.purpose {
            Purpose::Accesses(watching) => Some(watching),
            _ => None,
        })
    }

    /// Whether mappings that come are to be watched.
    pub(crate) fn is_watching(&self) -> bool {
        self.watching().is_some_and(Watching::is_active)
    }

    /// Watches a range; fills in what was done.
    pub(crate) fn watch(&mut self, engine: &Engine<Kernel>, watch: &mut Watch) -> Result<(), WatchError> {
        if self.self_test != SelfTest::Passed {
            return Err(WatchError::SelfTest);
        }
        watch.failed_at = watch.physical;
        let range = Range::new(watch)?;
        let watching = self.watching_mut().ok_or(WatchError::BadRange)?;
        watching.ranges.try_reserve(1).map_err(|_| WatchError::NoMemory)?;
        watching.ranges.push(range);
        // From here on mappings that come are seen, each after this lock is free; those that were there before are found now.
        self.set_tracking();
        let result = self.watch_existing(engine, &range, watch);
        if result.is_err() {
            if let Some(watching) = self.watching_mut() {
                watching.ranges.pop();
            }
            self.set_tracking();
        }
        result
    }

    /// Arms what is mapped of `range` now: all of it or nothing.
    fn watch_existing(
        &mut self,
        engine: &Engine<Kernel>,
        range: &Range,
        watch: &mut Watch,
    ) -> Result<(), WatchError> {
        let runs = self.find(range)?;
        let mut probes = Vec::new();
        let mut places = Vec::new();
        let outcome = self.prepare(engine, &runs, range, watch, &mut probes, &mut places).and_then(|()| {
            // SAFETY: no handlers.
            unsafe { self.add_probes(engine, &probes) }
        });
        let ids = outcome.inspect_err(|_| self.forget_unwatched(engine, &places))?;
        for (&at, &id) in places.iter().zip(&ids) {
            if let Some(known) = self.known.get_mut(at) {
                // Room was made by `prepare`.
                known.watched.push(id);
            }
        }
        watch.mappings = places.len() as u32;
        watch.pages = self.pages_under(&probes);
        watch.failed_at = 0;
        Ok(())
    }

    /// The runs that map bytes of `range`.
    fn find(&self, range: &Range) -> Result<Vec<Run>, WatchError> {
        let mut found: Vec<Run> = Vec::new();
        let mut pages = Vec::new();
        pages.try_reserve_exact(1).map_err(|_| WatchError::NoMemory)?;
        pages.push([0; 512]);
        let mut result = Ok(());
        if let Some(pages) = pages.first_mut() {
            walk::runs(pages, |run| {
                if range.probe(run.start, run.physical, run.length).is_some() && !self.is_alias(run.start) {
                    match found.try_reserve(1) {
                        Ok(()) => found.push(*run),
                        Err(_) => result = Err(WatchError::NoMemory),
                    }
                }
            });
        }
        result.map(|()| found)
    }

    /// Makes each run known, tells the trace of it, and lists its probe and its place.
    fn prepare(
        &mut self,
        engine: &Engine<Kernel>,
        runs: &[Run],
        range: &Range,
        watch: &mut Watch,
        probes: &mut Vec<Probe>,
        places: &mut Vec<usize>,
    ) -> Result<(), WatchError> {
        for run in runs {
            watch.failed_at = run.physical;
            if run.largest > glue::LEVEL_2M {
                return Err(WatchError::HugePage);
            }
            let at = match self.known_at(run.start) {
                Some(at) => at,
                None => {
                    let Run { start, length, physical, leaf, .. } = *run;
                    self.adopt(&Wanted { start, length, physical: Some(physical), leaf })?
                }
            };
            let Some(probe) = range.probe(run.start, run.physical, run.length) else { continue };
            let out_of_memory = |_| WatchError::NoMemory;
            if let Some(known) = self.known.get_mut(at) {
                known.watched.try_reserve(1).map_err(out_of_memory)?;
            }
            probes.try_reserve(1).map_err(out_of_memory)?;
            places.try_reserve(1).map_err(out_of_memory)?;
            probes.push(probe);
            places.push(at);
            if let Some(known) = self.known.get(at).filter(|known| known.watched.is_empty()) {
                let Run { start: address, physical, length, .. } = *run;
                note_map(engine, known.mapping.id, MapPayload { address, physical, length, caller: 0 });
            }
        }
        Ok(())
    }

    /// Undoes what a failed watch has prepared.
    fn forget_unwatched(&mut self, engine: &Engine<Kernel>, places: &[usize]) {
        let prepared = places.iter().filter_map(|&at| self.known.get(at));
        for known in prepared.filter(|known| known.watched.is_empty()) {
            note_unmap(engine, known.mapping.id);
        }
        self.forget_unused(engine);
    }

    fn pages_under(&self, probes: &[Probe]) -> u64 {
        let under = |address: u64, end: u64| probes.iter().any(|p| p.start < end && p.last() >= address);
        let pages = self.control.pages().iter().map(|armed| armed.page());
        pages.filter(|page| under(page.address, page.end())).count() as u64
    }

    /// A mapping came to be; whoever asked for it does not have it yet.
    pub(crate) fn mapped(&mut self, engine: &Engine<Kernel>, map: MapPayload) {
        let MapPayload { address, physical, length, .. } = map;
        let offset = address % PAGE;
        let start = address - offset;
        let Some(length_in_pages) = (offset + length).checked_next_multiple_of(PAGE) else { return };
        // Whatever we thought to be mapped there is gone: it was being unmapped while a session began.
        while let Some(at) = self.known.iter().position(|known| {
            known.mapping.start < start + length_in_pages
                && start < known.mapping.start + known.mapping.length
        }) {
            self.unmapped(engine, at);
        }
        let Some(watching) = self.watching().filter(|watching| watching.is_active()) else { return };
        let mut probes = Vec::new();
        for range in &watching.ranges {
            if let Some(probe) = range.probe(address, physical, length) {
                if probes.try_reserve(1).is_err() {
                    return missed(engine, physical);
                }
                probes.push(probe);
            }
        }
        if probes.is_empty() {
            return;
        }
        let Some(leaf) = crate::page_tables::leaf_at(start) else { return missed(engine, physical) };
        let wanted = Wanted { start, length: length_in_pages, physical: Some(physical - offset), leaf };
        let Ok(at) = self.adopt(&wanted) else { return missed(engine, physical) };
        if let Some(known) = self.known.get(at) {
            note_map(engine, known.mapping.id, map);
        }
        // SAFETY: no handlers.
        match unsafe { self.add_probes(engine, &probes) } {
            Ok(ids) => {
                if let Some(known) = self.known.get_mut(at) {
                    known.watched = ids;
                }
            }
            Err(_) => {
                self.forget(engine, at);
                missed(engine, physical);
            }
        }
    }

    /// The mapping that holds `address` is about to go.
    pub(crate) fn unmapping(&mut self, engine: &Engine<Kernel>, address: u64) {
        if let Some(at) = self.known_at(address) {
            self.unmapped(engine, at);
        }
        self.set_tracking();
    }

    fn unmapped(&mut self, engine: &Engine<Kernel>, at: usize) {
        let watched = self.known.get(at).is_some_and(|known| !known.watched.is_empty());
        let mapping = self.forget(engine, at);
        if watched {
            note_unmap(engine, mapping);
        }
    }

    /// Ends the session's watches: nothing of it is armed and no access in flight when this returns. Returns what was counted since it began, but for what
    /// the rings dropped.
    pub(super) fn stop_watching(&mut self, engine: &Engine<Kernel>) -> Counters {
        let mut ids = Vec::new();
        let mut complete = true;
        for known in &mut self.known {
            complete &= ids.try_reserve(known.watched.len()).is_ok();
            if complete {
                ids.append(&mut known.watched);
            }
        }
        self.control.remove_probes(engine, &KernelTables, &ids);
        // Without memory for the list of all: one by one.
        for known in &mut self.known {
            self.control.remove_probes(engine, &KernelTables, &known.watched);
            known.watched.clear();
        }
        self.forget_unused(engine);
        let Some(watching) = self.watching_mut() else { return Counters::default() };
        watching.stopped = true;
        let since = difference(engine.counters(), watching.before);
        self.set_tracking();
        since
    }
}

/// A mapping that should be watched can't be: the trace must not look complete.
fn missed(engine: &Engine<Kernel>, physical: u64) {
    let mut text = *b"trapline: NOT WATCHED, accesses are missing: new mapping of 0x0000000000000000";
    let digits = text.len() - 16;
    for (number, digit) in text.iter_mut().skip(digits).enumerate() {
        let nibble = (physical >> (60 - 4 * number)) as u8 & 15;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    }
    note_mark(engine, &text);
    // SAFETY: `text` is valid for its length.
    unsafe { glue::glue_warn(text.as_ptr(), text.len()) };
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
