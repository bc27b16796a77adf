//! What was done with devices in a report: how often, for how long at most, and what failed.

use std::collections::BTreeMap;
use std::io;

use trapline_abi::LifecycleOp;

use super::words::{error_words, is_failure, op_words};
use super::{Lifecycle, Lived};
use crate::PciAddress;
use crate::kinds::EventKind;
use crate::report::{Activity, Completeness, Page, Section, Seen, Texts, counted};
use crate::write::{duration, grouped, printable};

/// How a report calls what is done.
const UNIT: &str = "steps";

/// Rows that are told apart: names may be anything.
const MOST_APART: usize = 4096;

/// What is counted of one thing that is done with a device.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    begun: u64,
    ended: u64,
    /// The longest, in nanoseconds.
    longest: u64,
    failed: u64,
    /// What the last that failed returned.
    last: i32,
}

/// What was done with devices.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    /// By device, operation, and the number of the name of the driver or the firmware.
    rows: BTreeMap<(PciAddress, LifecycleOp, u32), Row>,
    /// Begun beyond [`MOST_APART`] rows.
    others: u64,
    not_followed: Vec<String>,
}

impl Tally {
    /// Keeps what the trace says of itself.
    pub(crate) fn under(&mut self, lived: &Lived) {
        self.not_followed.extend(lived.not_followed.iter().cloned());
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>, life: &Lifecycle<'_>, texts: &mut Texts) {
        self.activity.add(seen.event, life.site.as_ref(), life.ip, texts);
        // A text that is not kept apart is not kept either.
        let has_room = self.rows.len() < MOST_APART;
        let name = if has_room { Some(texts.number(&life.name)) } else { texts.known(&life.name) };
        let key = name.map(|name| (life.device, life.op, name));
        let Some(key) = key.filter(|key| has_room || self.rows.contains_key(key)) else {
            self.others += u64::from(life.end.is_none());
            return;
        };
        let row = self.rows.entry(key).or_default();
        let Some((result, took)) = life.end else {
            row.begun += 1;
            return;
        };
        row.ended += 1;
        row.longest = row.longest.max(took);
        if is_failure(life.op, result) {
            row.failed += 1;
            row.last = result;
        }
    }

    /// A line for each, in the order of devices and of what is done.
    fn lines(&self, texts: &Texts) -> Vec<String> {
        let line = |((device, op, name), row): (&(PciAddress, LifecycleOp, u32), &Row)| {
            let name = printable(texts.text(*name));
            let what = format!("{} {}", device.short(), op_words(*op));
            let mut notes = Vec::new();
            if row.failed > 0 {
                let why = error_words(row.last).unwrap_or_default();
                notes.push(format!("{} FAILED, the last: {why}", grouped(row.failed)));
            }
            if row.begun > row.ended {
                notes.push(format!("{} without an end", grouped(row.begun - row.ended)));
            }
            let longest = if row.ended > 0 { duration(row.longest) } else { "-".into() };
            let count = grouped(row.begun.max(row.ended));
            format!("{count:>12}  {what:30}  {longest:>10}  {name:20}  {}", notes.join("; ")).trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        Lifecycle::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        let begun: u64 = self.rows.values().map(|row| row.begun.max(row.ended)).sum();
        counted(begun + self.others, "step of a device's lifecycle", "steps of devices' lifecycles")
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        let lines = self.lines(page.texts);
        if !lines.is_empty() {
            page.dim(&format!("\n{UNIT:>12}  {:30}  {:>10}  {}", "what", "longest", "driver or firmware"))?;
            for line in lines.iter().take(page.rows) {
                writeln!(page.out, "{line}")?;
            }
            page.rest(lines.len(), "rows")?;
        }
        if self.others > 0 {
            page.dim(&format!("{:>12}  and {} of other names", "", counted(self.others, "step", "steps")))?;
        }
        Ok(())
    }

    fn completeness(&self, trace: &mut Completeness<'_>) {
        let missed = trace.totals.lifecycle_missed;
        if missed > 0 {
            trace.missing(missed, "calls of devices' lifecycles missed");
            trace.alarm("THIS TRACE IS NOT COMPLETE: what was done with a device, whichever, inside of another probe's handler, or with too much under way, is only counted.");
        }
        if !self.not_followed.is_empty() {
            let what = printable(&self.not_followed.join("; "));
            trace.line(format!("not recorded, since no function for it could be followed: {what}"));
        }
    }
}
