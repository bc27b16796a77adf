//! What a trace amounts to: what was looked for and found, in tables; how complete it is.
//!
//! What is counted of each kind of event, and how it is told, is that kind's own business (see
//! [`kinds`](crate::kinds)): here is what they share. A report says what the trace was asked for,
//! by its header, and has tables of what occurs. So a trace of page faults without any tells of
//! none, and one of several kinds tells of each.
//!
//! Texts are numbered when they are first seen and everything else is counted by number, so that
//! ten million events take seconds and memory grows with what is different, not with what happens.

mod activity;
mod completeness;
mod html;
mod latency;
mod page;
mod texts;
mod together;
mod touch;

use std::collections::BTreeSet;
use std::io::{self, Write};

use anstyle::Style;

use crate::kinds::{EventKind, Tallies};
use crate::write::duration;
use crate::{Access, Cut, Event, Header, Hit, Moment, Names, ProbeTotals, RegisterCount, Source, Totals};
pub(crate) use activity::{Activity, Code};
pub(crate) use completeness::Completeness;
use completeness::Verdict;
pub use html::HtmlError;
pub(crate) use html::Shown;
use html::Timeline;
pub(crate) use latency::{Bucket, Latency};
pub(crate) use page::{Page, function, plain};
pub(crate) use texts::Texts;
use together::Together;
pub(crate) use touch::{Of, Touch};

const TITLE: Style = Style::new().bold();

/// What a report says of one kind of event.
pub(crate) trait Section {
    /// The kind's name, if the title counts it.
    fn kind(&self) -> &'static str {
        ""
    }

    /// Who made the events, if the title counts them.
    fn activity(&self) -> Option<&Activity> {
        None
    }

    /// How the title counts it: `3 hits`.
    fn headline(&self) -> String {
        String::new()
    }

    /// Writes its tables; nothing if there was none.
    fn tables(&self, _page: &mut Page<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Adds what it knows of what is missing.
    fn completeness(&self, _trace: &mut Completeness<'_>) {}
}

/// Of what is in the trace and no more.
impl Section for () {}

/// An event, as a report sees it.
pub(crate) struct Seen<'e> {
    /// The event.
    pub(crate) event: &'e Event<'e>,
    /// How many its CPU had before it.
    pub(crate) nth: u64,
}

/// How often something was the cause of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count<'a> {
    /// Function, task or probe.
    pub name: &'a str,
    /// Module of a function.
    pub module: Option<&'a str>,
    /// Thread id of a task, address of a function without a name.
    pub number: Option<u64>,
    /// When a probe recorded.
    pub moment: Option<Moment>,
    /// Events.
    pub count: u64,
}

/// The most frequent first.
pub(crate) fn sorted<'a>(counts: impl Iterator<Item = Count<'a>>) -> Vec<Count<'a>> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (a.name, a.number).cmp(&(b.name, b.number))));
    counts
}

/// So many of something.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", crate::write::grouped(number), if number == 1 { one } else { many })
}

/// Counts the events of a trace. By default of one that does not say what it was asked for.
#[derive(Debug, Default)]
pub struct Summary {
    pub(crate) tallies: Tallies,
    /// What relates kinds of events to each other.
    together: Together,
    texts: Texts,
    /// Kinds that the trace was asked for.
    asked: Vec<&'static str>,
    events: u64,
    /// Events of each CPU.
    cpus: Vec<u64>,
    span: Option<(u64, u64)>,
    totals: Totals,
    cut: Option<Cut>,
    /// What happened when, if a page is to show it.
    timeline: Option<Timeline>,
}

impl Summary {
    /// Nothing counted yet, of a trace with this header.
    pub fn new(header: &Header) -> Self {
        let mut asked: Vec<_> = header.sources.iter().map(|source| source.kind()).collect();
        // Of an old trace these alone tell what it was asked for.
        if !header.probes.is_empty() {
            asked.push(Hit::NAME);
        }
        let mut summary = Self { asked, together: Together::new(header), ..Self::default() };
        summary.tallies.hit.under(&header.probes);
        for source in &header.sources {
            match source {
                Source::Access(watched) => summary.tallies.access.under(watched),
                Source::Config(spaces) => summary.tallies.config.under(spaces),
                Source::Port(ports) => summary.tallies.port.under(ports),
                Source::Dma(mapped) => summary.tallies.dma.under(mapped),
                Source::Lifecycle(lived) => summary.tallies.lifecycle.under(lived),
                _ => {}
            }
        }
        summary
    }

    /// With what knows the fields of registers and which of them are doorbells, as the report tells
    /// of what interrupts' handlers read first, and how long it was from doorbells to interrupts.
    /// To be called before anything is counted.
    pub fn with_names(mut self, names: Names) -> Self {
        self.together.set_names(names);
        self
    }

    /// Keeps what happened when, too, for [`write_html`](Self::write_html): to be asked for before
    /// anything is counted.
    pub fn with_timeline(mut self) -> Self {
        self.timeline = Some(Timeline::default());
        self
    }

    /// Counts `event`.
    pub fn add(&mut self, event: &Event<'_>) {
        self.events += 1;
        let (first, last) = self.span.unwrap_or((event.time, event.time));
        self.span = Some((first.min(event.time), last.max(event.time)));
        let cpu = usize::from(event.cpu);
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu + 1, 0);
        }
        event.count(self.cpus[cpu], &mut self.tallies, &mut self.texts);
        self.cpus[cpu] += 1;
        self.together.add(event, &mut self.texts);
        if let Some(timeline) = &mut self.timeline {
            timeline.add(event, &mut self.texts);
        }
    }

    /// Takes the totals of a session or of a file's end: what they know and the events don't.
    pub fn end(&mut self, totals: &Totals) {
        self.totals = *totals;
    }

    /// The trace goes no further: what it would have said at its end is not known.
    pub fn cut(&mut self, at: &Cut) {
        self.cut = Some(at.clone());
    }

    /// New mappings that could not be watched.
    pub fn not_watched(&self) -> u64 {
        self.tallies.not_watched.mappings()
    }

    /// Events counted.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Reads and writes counted.
    pub fn accesses(&self) -> (u64, u64) {
        self.tallies.access.accesses()
    }

    /// Hits counted.
    pub fn hits(&self) -> u64 {
        self.tallies.hit.hits()
    }

    /// Page faults counted.
    pub fn faults(&self) -> u64 {
        self.tallies.fault.faults()
    }

    /// Interrupts counted, however many handlers each has.
    pub fn interrupts(&self) -> u64 {
        self.tallies.interrupt.interrupts()
    }

    /// Reads and writes of configuration space counted.
    pub fn config_accesses(&self) -> (u64, u64) {
        self.tallies.config.accesses()
    }

    /// Reads and writes of I/O ports counted.
    pub fn port_accesses(&self) -> (u64, u64) {
        self.tallies.port.accesses()
    }

    /// Buffers, and pieces of scatter lists, counted that were given to devices or taken back.
    pub fn dma_buffers(&self) -> u64 {
        self.tallies.dma.buffers()
    }

    /// Lines of the kernel log counted.
    pub fn log_lines(&self) -> u64 {
        self.tallies.log.lines()
    }

    /// Page faults by what they were, as [`PageFault::sentence`](crate::PageFault::sentence) says
    /// it, the most frequent first.
    pub fn causes(&self) -> Vec<(String, u64)> {
        self.tallies.fault.causes()
    }

    /// Page faults by what lies at their addresses, as far as that is known, the most frequent
    /// first.
    pub fn memory(&self) -> Vec<Count<'_>> {
        self.tallies.fault.memory(&self.texts)
    }

    /// A picture of the page faults, as SVG; `None` if there were none.
    pub fn picture(&self) -> Option<String> {
        self.tallies.fault.picture()
    }

    /// Hits by probe, the most frequent first.
    pub fn probes(&self) -> Vec<Count<'_>> {
        self.tallies.hit.probes(&self.texts)
    }

    /// Accesses by register, or by offset where none is known, the most used first.
    pub fn registers(&self) -> Vec<RegisterCount<'_>> {
        self.tallies.access.registers(&self.texts)
    }

    /// What the probes counted: hits missed, and faults in handlers and arguments.
    pub fn probe_totals(&self) -> ProbeTotals {
        self.tallies.hit.totals(&self.totals.probes)
    }

    /// Records that were not written because a ring was full.
    pub fn dropped(&self) -> u64 {
        self.tallies.lost.dropped(self.totals.dropped)
    }

    /// Times a page was open for a single step, when another CPU's access may have passed unseen.
    pub fn possibly_missed(&self) -> u64 {
        self.tallies.window.possibly_missed(self.totals.windows)
    }

    /// First and last time.
    pub fn span(&self) -> Option<(u64, u64)> {
        self.span
    }

    /// Writes the report to `out`, with terminal colours if `colour`, at most `rows` rows of each
    /// table.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write, colour: bool, rows: usize) -> io::Result<()> {
        let sections = self.tallies.sections();
        let mut page = Page { out, rows, texts: &self.texts, colour };
        page.line(TITLE, &self.title(&sections))?;
        self.told(&sections).iter().try_for_each(|section| section.tables(&mut page))?;
        self.together.tables(&mut page)?;
        self.verdict(&sections).write(&mut page)
    }

    /// What there is, for how long, on how many CPUs.
    fn title(&self, sections: &[&dyn Section]) -> String {
        let told = self.told(sections);
        let headlines: Vec<_> = told.iter().map(|section| section.headline()).collect();
        let cpus: BTreeSet<_> = told
            .iter()
            .filter_map(|section| section.activity())
            .flat_map(|activity| activity.cpus().map(|(cpu, _)| cpu))
            .collect();
        let (first, last) = self.span.unwrap_or_default();
        format!(
            "{} in {} on {}",
            headlines.join(", "),
            duration(last - first),
            counted(cpus.len() as u64, "CPU", "CPUs")
        )
    }

    /// How complete the trace is.
    fn verdict(&self, sections: &[&dyn Section]) -> Verdict {
        let kinds = self.told(sections).iter().map(|section| section.kind()).collect();
        let mut completeness = Completeness::new(kinds, &self.totals);
        sections.iter().for_each(|section| section.completeness(&mut completeness));
        completeness.verdict(self.cut.as_ref())
    }

    /// The sections that the title counts: what was asked for, and what occurred. The header of an
    /// old trace does not say what was asked for; if nothing occurred in it, it is of accesses.
    fn told<'s>(&self, sections: &[&'s dyn Section]) -> Vec<&'s dyn Section> {
        let occurred = |section: &dyn Section| section.activity().is_some_and(|who| who.events() > 0);
        let mut told: Vec<_> = sections
            .iter()
            .copied()
            .filter(|section| self.asked.contains(&section.kind()) || occurred(*section))
            .collect();
        if told.is_empty() {
            told.extend(sections.iter().copied().filter(|section| section.kind() == Access::NAME));
        }
        told
    }
}
