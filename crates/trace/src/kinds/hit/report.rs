//! Hits in a report: by probe, by function, by task; what was missed and what did not go well.

use std::io;

use hashbrown::HashMap;

use super::{Hit, Moment, Probe};
use crate::ProbeTotals;
use crate::kinds::EventKind;
use crate::report::{Activity, Completeness, Count, Page, Section, Seen, Texts, counted, sorted};
use crate::write::{grouped, printable};

/// How a report calls hits.
const UNIT: &str = "hits";

/// What is counted of hits.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    probes: HashMap<(u32, Moment), u64>,
    /// Arguments that could not be fetched.
    faulted: u64,
    /// Which hits are recorded, by the probe's name and moment: those of any of the conditions, or
    /// all if one of its probes has none.
    conditions: HashMap<(String, Moment), Vec<Option<String>>>,
}

impl Tally {
    /// Takes from the probes of a header what their hits are recorded by.
    pub(crate) fn under(&mut self, probes: &[Probe]) {
        for probe in probes {
            let known = self.conditions.entry((probe.name.clone(), probe.moment)).or_default();
            if !known.contains(&probe.condition) {
                known.push(probe.condition.clone());
            }
        }
    }

    /// A row of the table of probes: what is recorded, and of which hits.
    fn row(&self, count: &Count<'_>) -> String {
        let moment = count.moment.unwrap_or(Moment::Before);
        let mut row = title(count.name, moment);
        let known = self.conditions.get(&(count.name.to_owned(), moment));
        let conditions: Option<Vec<String>> = known
            .and_then(|all| all.iter().map(|one| one.as_deref().map(printable)).collect());
        match conditions.as_deref() {
            None | Some([]) => {}
            Some([one]) => row += &format!(" if {one}"),
            Some(several) => row += &format!(" if ({})", several.join(") || (")),
        }
        row
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>, hit: &Hit<'_>, texts: &mut Texts) {
        self.activity.add(seen.event, hit.site.as_ref(), hit.ip, texts);
        self.faulted += hit.arguments.iter().filter(|argument| argument.value.is_none()).count() as u64;
        *self.probes.entry((texts.number(hit.probe), hit.moment)).or_default() += 1;
    }

    /// Hits.
    pub(crate) fn hits(&self) -> u64 {
        self.activity.events()
    }

    /// What the probes counted, of which the module `told`.
    pub(crate) fn totals(&self, told: &ProbeTotals) -> ProbeTotals {
        ProbeTotals { fetch_faults: told.fetch_faults.max(self.faulted), ..*told }
    }

    /// By probe, the most frequent first.
    pub(crate) fn probes<'t>(&self, texts: &'t Texts) -> Vec<Count<'t>> {
        sorted(self.probes.iter().map(|((name, moment), count)| Count {
            name: texts.text(*name),
            moment: Some(*moment),
            count: *count,
            ..Count::default()
        }))
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        Hit::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        counted(self.hits(), "hit", "hits")
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.table((UNIT, "probe", "probes"), &self.probes(page.texts), |count| self.row(count))?;
        page.activity(UNIT, &self.activity)?;
        page.cpus(UNIT, &self.activity)
    }

    fn completeness(&self, trace: &mut Completeness<'_>) {
        let ProbeTotals { hits, missed, faults, fetch_faults, unfulfilled, undecided, gone } =
            self.totals(&trace.totals.probes);
        if unfulfilled > 0 {
            let (fulfilled, hits) = (grouped(hits.saturating_sub(unfulfilled)), counted(hits, "hit", "hits"));
            trace.line(format!("of {hits} {fulfilled} fulfilled the condition"));
        }
        if missed > 0 || trace.is_of(Hit::NAME) {
            trace.missing(missed, "missed");
        }
        if missed > 0 {
            trace.alarm("THIS TRACE IS NOT COMPLETE: hits inside of another probe's handler, or, of returns, with too many calls under way (--active follows more), are only counted.");
        }
        if gone > 0 {
            let probes = counted(gone, "probe", "probes");
            trace.alarm(&format!(
                "THIS TRACE IS NOT COMPLETE: the module of {probes} went away; what it did if it was loaded again is missing."
            ));
        }
        trace.remark(fetch_faults, "arguments could not be fetched: (fault)");
        trace.remark(undecided, "hits were left out since something that their condition compares could not be fetched");
        trace.remark(faults, "handlers faulted and were abandoned");
    }
}

/// A probe, with when it recorded.
pub(super) fn title(probe: &str, moment: Moment) -> String {
    match moment {
        Moment::After => format!("{probe} (after)"),
        Moment::Return => format!("{probe} (return)"),
        Moment::Before => probe.into(),
    }
}
