//! Page faults in a report: by what they were, by kind of memory, by function, by task; when they
//! came and how long they took.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

use hashbrown::HashMap;
use trapline_abi::ErrorCode;

use super::PageFault;
use super::heat::Heat;
use crate::fault::{Cause, sentence};
use crate::kinds::EventKind;
use crate::report::{Activity, Count, Latency, Page, Section, Seen, Texts, counted, plain, sorted};

/// How a report calls page faults.
const UNIT: &str = "faults";

/// What is counted of page faults.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    causes: HashMap<(ErrorCode, Cause), u64>,
    memory: HashMap<u32, u64>,
    pub(super) heat: Heat,
    pub(super) latency: Latency,
}

impl Tally {
    pub(super) fn add(&mut self, seen: &Seen<'_>, fault: &PageFault<'_>, texts: &mut Texts) {
        self.activity.add(seen.event, fault.site.as_ref(), fault.ip, texts);
        self.heat.add(seen.event.time, fault.address);
        if let Some(took) = fault.took {
            self.latency.add(took);
        }
        *self.causes.entry((fault.error_code, fault.cause())).or_default() += 1;
        if let Some(memory) = &fault.memory {
            *self.memory.entry(texts.number(memory)).or_default() += 1;
        }
    }

    /// Page faults.
    pub(crate) fn faults(&self) -> u64 {
        self.activity.events()
    }

    /// By what they were, in words, the most frequent first.
    pub(crate) fn causes(&self) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<String, u64>::new();
        for ((error_code, cause), count) in &self.causes {
            *counts.entry(sentence(*error_code, *cause)).or_default() += count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }

    /// By what lies at their addresses, as far as that is known, the most frequent first.
    pub(crate) fn memory<'t>(&self, texts: &'t Texts) -> Vec<Count<'t>> {
        sorted(self.memory.iter().map(|(name, count)| Count {
            name: texts.text(*name),
            count: *count,
            ..Count::default()
        }))
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        PageFault::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        counted(self.faults(), "page fault", "page faults")
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        let causes = self.causes();
        let causes: Vec<_> =
            causes.iter().map(|(name, count)| Count { name, count: *count, ..Count::default() }).collect();
        page.table((UNIT, "fault", "faults"), &causes, plain)?;
        page.table((UNIT, "kind of memory", "kinds of memory"), &self.memory(page.texts), plain)?;
        page.activity(UNIT, &self.activity)?;
        if self.latency.count() > 0 {
            page.dim(&format!("\n{UNIT:>12}  took: {}", self.latency.sentence()))?;
            self.latency.write(&mut page.out)?;
        }
        if self.faults() > 0 {
            page.dim("\n             address  when, from the first to the last: the darker the more")?;
            self.heat.write(&mut page.out)?;
        }
        page.cpus(UNIT, &self.activity)
    }
}
