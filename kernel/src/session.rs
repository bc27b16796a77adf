//! A session: one open file that watches physical ranges and reads what happens there.

use crate::errno::Errno;
use crate::glue;
use crate::mappings::{PAGE, Wanted};
use crate::page_tables::{InterruptsOff, KernelTables};
use crate::platform::Kernel;
use crate::rings::Rings;
use crate::state::State;
use crate::walk::{self, Run};
use alloc::vec::Vec;
use trapline_abi::{
    Counters, Kind, MapPayload, Record, RingGeometry, SelfTest, WATCH_READS, WATCH_WRITES, Watch, WatchError,
};
use trapline_engine::{Engine, Handlers, Owned, PageTables, Probe};

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

/// The session.
pub(crate) struct Session {
    /// Number of the open file that it belongs to.
    pub file: u64,
    /// Thread group id of its owner.
    pub owner: u32,
    /// Its rings.
    pub rings: Rings,
    ranges: Vec<Range>,
    stopped: bool,
    /// The counters when it began.
    before: Counters,
}

impl Session {
    /// Whether mappings that come are to be watched.
    pub(crate) fn is_watching(&self) -> bool {
        !self.stopped && !self.ranges.is_empty()
    }
}

/// Writes a record that no trap makes.
fn note(engine: &Engine<Kernel>, record: Record, more: &[Record]) {
    let _off = InterruptsOff::new();
    // SAFETY: interrupts are off.
    unsafe { engine.note(record, more) };
}

fn note_map(engine: &Engine<Kernel>, mapping: u32, map: MapPayload) {
    note(engine, Record { kind: Kind::Map as u8, mapping, payload: map.to_words(), ..Record::EMPTY }, &[]);
}

fn note_unmap(engine: &Engine<Kernel>, mapping: u32) {
    note(engine, Record { kind: Kind::Unmap as u8, mapping, ..Record::EMPTY }, &[]);
}

/// Puts `text` into the trace as a marker.
pub(crate) fn note_mark(engine: &Engine<Kernel>, text: &[u8]) {
    const PART: usize = 32;
    let mut parts = [Record::EMPTY; 4];
    for (part, bytes) in parts.iter_mut().zip(text.chunks(PART)) {
        let mut padded = [0; PART];
        for (to, from) in padded.iter_mut().zip(bytes) {
            *to = *from;
        }
        for (word, bytes) in part.payload.iter_mut().zip(padded.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    let used = text.len().min(4 * PART).div_ceil(PART).max(1);
    let [first, rest @ ..] = parts;
    let record = Record { kind: Kind::Mark as u8, width: text.len().min(4 * PART) as u8, ..first };
    note(engine, record, rest.get(..used - 1).unwrap_or(&[]));
}

impl State {
    /// Starts a session for `file`.
    pub(crate) fn start(
        &mut self,
        engine: &Engine<Kernel>,
        file: u64,
        buffer: u64,
    ) -> Result<RingGeometry, Errno> {
        if self.session.is_some() {
            return Err(Errno::BUSY);
        }
        let rings = Rings::new(buffer)?;
        // SAFETY: called once for these rings; `end` takes the sink away before it drops them.
        let sink = Owned::new(unsafe { rings.sink() }?).map_err(|_| Errno::NO_MEMORY)?;
        let geometry = rings.geometry();
        let owner = glue::glue_current_tgid();
        let before = engine.counters();
        self.session = Some(Session { file, owner, rings, ranges: Vec::new(), stopped: false, before });
        // There was none before: the last session's end took it.
        let none = engine.set_sink(Some(sink));
        // SAFETY: null: nothing to be read by any trap.
        unsafe { none.free() };
        Ok(geometry)
    }

    /// Watches a range; fills in what was done.
    pub(crate) fn watch(&mut self, engine: &Engine<Kernel>, watch: &mut Watch) -> Result<(), WatchError> {
        if self.self_test != SelfTest::Passed {
            return Err(WatchError::SelfTest);
        }
        watch.failed_at = watch.physical;
        let range = Range::new(watch)?;
        let session = self.session.as_mut().ok_or(WatchError::BadRange)?;
        session.ranges.try_reserve(1).map_err(|_| WatchError::NoMemory)?;
        session.ranges.push(range);
        // From here on mappings that come are seen, each after this lock is free; those that were there before are found now.
        self.set_tracking();
        let result = self.watch_existing(engine, &range, watch);
        if result.is_err() {
            if let Some(session) = &mut self.session {
                session.ranges.pop();
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
        let Some(session) = self.session.as_ref().filter(|session| session.is_watching()) else { return };
        let mut probes = Vec::new();
        for range in &session.ranges {
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

    /// Ends the session's watches: nothing of it is armed and no access in flight when this returns. Returns what was counted since it began.
    pub(crate) fn stop(&mut self, engine: &Engine<Kernel>) -> Counters {
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
        let Some(session) = &mut self.session else { return Counters::default() };
        session.stopped = true;
        let since = difference(engine.counters(), session.before, session.rings.dropped());
        self.set_tracking();
        since
    }

    /// Ends the session of `file`, if it has one, and gives everything back.
    pub(crate) fn end(&mut self, engine: &Engine<Kernel>, file: u64) {
        if self.session.as_ref().is_none_or(|session| session.file != file) {
            return;
        }
        self.stop(engine);
        let sink = engine.set_sink(None);
        KernelTables.synchronize();
        // SAFETY: every trap that may have seen the sink has ended.
        unsafe { sink.free() };
        if let Some(session) = self.session.take() {
            self.dropped = self.dropped.wrapping_add(session.rings.dropped());
        }
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

fn difference(now: Counters, before: Counters, dropped: u64) -> Counters {
    let minus = |now: u64, before: u64| now.wrapping_sub(before);
    Counters {
        faults: minus(now.faults, before.faults),
        accesses: core::array::from_fn(|way| minus(now.accesses[way], before.accesses[way])),
        beside: minus(now.beside, before.beside),
        dropped,
        windows: minus(now.windows, before.windows),
        stale: minus(now.stale, before.stale),
        nested: minus(now.nested, before.nested),
    }
}
