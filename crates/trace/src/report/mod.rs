//! What a trace amounts to: accesses by register, hits by probe; by function, by task; polling loops; how complete it is.
//!
//! Texts are numbered when they are first seen and everything else is counted by number, so that ten million events take seconds and memory grows with
//! what is different, not with what happens.

mod heat;
mod latency;
mod picture;
mod render;
mod tables;

use crate::write::Poll;
use crate::{Access, Cut, Direction, Event, Hit, PageFault, Probe, ProbeTotals, Totals, What};
use heat::Heat;
use latency::Latency;
use tables::Tables;
pub use tables::{Count, RegisterCount};

/// Counts the events of a trace.
#[derive(Debug, Default)]
pub struct Summary {
    tables: Tables,
    /// Last read of each CPU, if the next may be equal to it: the read, its row, when it was, how many there are.
    polls: Vec<Option<Polling>>,
    events: u64,
    reads: u64,
    writes: u64,
    unknown: u64,
    marks: u64,
    not_watched: u64,
    cut: Option<Cut>,
    maps: u64,
    lost: u64,
    windows: u64,
    of_probes: bool,
    hits: u64,
    faults: u64,
    heat: Heat,
    latency: Latency,
    faulted: u64,
    span: Option<(u64, u64)>,
    cpus: Vec<u64>,
    performed: [u64; 3],
    totals: Option<Totals>,
}

#[derive(Debug)]
struct Polling {
    read: Poll,
    row: usize,
    count: u64,
}

impl Summary {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of a trace of code probes, if there are any: so that one without a hit says so.
    pub fn with_probes(self, probes: &[Probe]) -> Self {
        Self { of_probes: !probes.is_empty(), ..self }
    }

    /// Counts `event`.
    pub fn add(&mut self, event: &Event<'_>) {
        self.events += 1;
        let (first, last) = self.span.unwrap_or((event.time, event.time));
        self.span = Some((first.min(event.time), last.max(event.time)));
        match &event.what {
            What::Access(access) => return self.access(event, access),
            What::Map(_) => self.maps += 1,
            What::Unmap { .. } => {}
            What::Mark { .. } => {
                self.marks += 1;
                self.not_watched += u64::from(event.is_not_watched());
            }
            What::Lost { count } => self.lost += count,
            What::Window { .. } => self.windows += 1,
            What::Hit(hit) => return self.hit(event, hit),
            What::Fault(fault) => return self.fault(event, fault),
        }
        self.polls_of(event.cpu);
        self.polls[usize::from(event.cpu)] = None;
    }

    /// Takes the totals of a session or of a file's end: what they know and the events don't.
    pub fn end(&mut self, totals: &Totals) {
        self.totals = Some(*totals);
    }

    /// The trace goes no further: what it would have said at its end is not known.
    pub fn cut(&mut self, at: &Cut) {
        self.cut = Some(at.clone());
    }

    /// New mappings that could not be watched.
    pub fn not_watched(&self) -> u64 {
        self.not_watched
    }

    /// Events counted.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Reads and writes counted.
    pub fn accesses(&self) -> (u64, u64) {
        (self.reads, self.writes)
    }

    /// Hits counted.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Page faults counted.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Page faults by what they were, as [`PageFault::sentence`] says it, the most frequent first.
    pub fn causes(&self) -> Vec<(String, u64)> {
        self.tables.causes()
    }

    /// Page faults by what lies at their addresses, as far as that is known, the most frequent first.
    pub fn memory(&self) -> Vec<Count<'_>> {
        self.tables.memory()
    }

    /// Hits by probe, the most frequent first.
    pub fn probes(&self) -> Vec<Count<'_>> {
        self.tables.probes()
    }

    /// What the probes counted: hits missed, and faults in handlers and arguments.
    pub fn probe_totals(&self) -> ProbeTotals {
        let told = self.totals.unwrap_or_default().probes;
        ProbeTotals { fetch_faults: told.fetch_faults.max(self.faulted), ..told }
    }

    /// Records that were not written because a ring was full.
    pub fn dropped(&self) -> u64 {
        self.lost.max(self.totals.map_or(0, |totals| totals.dropped))
    }

    /// Times a page was open for a single step, when another CPU's access may have passed unseen.
    pub fn possibly_missed(&self) -> u64 {
        self.windows.max(self.totals.map_or(0, |totals| totals.windows))
    }

    /// First and last time.
    pub fn span(&self) -> Option<(u64, u64)> {
        self.span
    }

    /// Accesses by register, or by offset where none is known, the most used first.
    pub fn registers(&self) -> Vec<RegisterCount<'_>> {
        self.tables.registers()
    }

    /// Accesses and hits by function, the most active first.
    pub fn functions(&self) -> Vec<Count<'_>> {
        self.tables.functions()
    }

    /// Accesses and hits by task, the most active first.
    pub fn tasks(&self) -> Vec<Count<'_>> {
        self.tables.tasks()
    }

    fn hit(&mut self, event: &Event<'_>, hit: &Hit<'_>) {
        self.on_cpu(event.cpu);
        self.hits += 1;
        self.faulted += hit.arguments.iter().filter(|argument| argument.value.is_none()).count() as u64;
        self.tables.probe(hit);
        self.tables.site(hit.site.as_ref(), hit.ip);
        self.tables.task(event.pid, event.comm);
    }

    fn fault(&mut self, event: &Event<'_>, fault: &PageFault<'_>) {
        self.on_cpu(event.cpu);
        self.faults += 1;
        self.heat.add(event.time, fault.address);
        if let Some(took) = fault.took {
            self.latency.add(took);
        }
        self.tables.fault(fault);
        self.tables.site(fault.site.as_ref(), fault.ip);
        self.tables.task(event.pid, event.comm);
    }

    fn on_cpu(&mut self, cpu: u16) {
        let cpu = usize::from(cpu);
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu + 1, 0);
        }
        self.cpus[cpu] += 1;
    }

    fn access(&mut self, event: &Event<'_>, access: &Access<'_>) {
        self.on_cpu(event.cpu);
        self.performed[access.way as usize] += 1;
        self.unknown += u64::from(access.value.is_none());
        match access.direction {
            Direction::Read => self.reads += 1,
            Direction::Write => self.writes += 1,
        }
        self.tables.site(access.site.as_ref(), access.ip);
        self.tables.task(event.pid, event.comm);
        let row = self.tables.register(access);
        self.poll(event, row);
    }

    /// Notices polling: a read that is equal to the one before it on its CPU.
    fn poll(&mut self, event: &Event<'_>, row: usize) {
        let read = Poll::of(event);
        let slot = self.polls_of(event.cpu);
        match (slot.as_mut(), read) {
            (Some(polling), Some(read)) if polling.read == read => {
                polling.count += 1;
                let (row, count) = (polling.row, polling.count);
                self.tables.polled(row, count);
            }
            (_, read) => *slot = read.map(|read| Polling { read, row, count: 1 }),
        }
    }

    fn polls_of(&mut self, cpu: u16) -> &mut Option<Polling> {
        let cpu = usize::from(cpu);
        if self.polls.len() <= cpu {
            self.polls.resize_with(cpu + 1, || None);
        }
        &mut self.polls[cpu]
    }
}
