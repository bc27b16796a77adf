//! How complete a trace is: what each kind of event knows of it, and the verdict.

use std::io;

use anstyle::{AnsiColor, Style};

use super::Page;
use crate::write::{ALARM, grouped};
use crate::{Cut, Totals};

const FINE: Style = AnsiColor::Green.on_default();

/// What the kinds of events say about what is missing.
pub(crate) struct Completeness<'t> {
    /// What was counted by the end of the trace.
    pub(crate) totals: &'t Totals,
    /// The kinds that the trace is of.
    kinds: Vec<&'static str>,
    lines: Vec<String>,
    missing: Vec<String>,
    alarms: Vec<String>,
    remarks: Vec<String>,
}

impl<'t> Completeness<'t> {
    /// Of a trace of these kinds of events, of which `totals` were counted.
    pub(super) fn new(kinds: Vec<&'static str>, totals: &'t Totals) -> Self {
        let (lines, missing, alarms, remarks) = Default::default();
        Self { totals, kinds, lines, missing, alarms, remarks }
    }

    /// Whether the trace is of this kind: asked for it, or has some.
    pub(crate) fn is_of(&self, kind: &str) -> bool {
        self.kinds.contains(&kind)
    }

    /// Adds a line above the verdict.
    pub(crate) fn line(&mut self, text: String) {
        self.lines.push(text);
    }

    /// Adds to the verdict that so many were lost in this way, which may be none.
    pub(crate) fn missing(&mut self, count: u64, how: &str) {
        self.missing.push(format!("{} {how}", grouped(count)));
    }

    /// Says loudly that something is missing.
    pub(crate) fn alarm(&mut self, text: &str) {
        self.alarms.push(text.into());
    }

    /// Says that there is something to know about so many, if there are any.
    pub(crate) fn remark(&mut self, count: u64, text: &str) {
        if count > 0 {
            self.remarks.push(format!("{} {text}", grouped(count)));
        }
    }

    /// The verdict: nothing is missing, or so many of what. Of a trace that was cut off, only the
    /// least that can be.
    pub(super) fn verdict(mut self, cut: Option<&Cut>) -> Verdict {
        let &Totals { malformed, late, .. } = self.totals;
        self.remark(malformed, "records made no sense and are left out (by a trace of Trapline's own, module and command do not match)");
        self.remark(late, "events came late and are in order only within their CPU");
        if let Some(cut) = cut {
            self.alarms.insert(0, format!("THIS TRACE IS NOT COMPLETE: {cut}"));
        }
        let at_least = if cut.is_some() { "at least " } else { "" };
        let missing = format!("{at_least}{}", self.missing.join(", "));
        Verdict { lines: self.lines, missing, alarms: self.alarms, remarks: self.remarks }
    }
}

/// How complete a trace is, in words.
#[derive(Debug)]
pub(super) struct Verdict {
    /// What is told before it.
    pub(super) lines: Vec<String>,
    /// How many are missing, by how they went missing.
    pub(super) missing: String,
    /// What must not be overlooked; nothing if the trace is complete.
    pub(super) alarms: Vec<String>,
    /// What else there is to know.
    pub(super) remarks: Vec<String>,
}

impl Verdict {
    /// Writes it.
    pub(super) fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        for line in &self.lines {
            writeln!(page.out, "{line}")?;
        }
        let style = if self.alarms.is_empty() { FINE } else { ALARM };
        page.line(style, &self.missing)?;
        for alarm in &self.alarms {
            page.line(ALARM, alarm)?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(page.out, "{remark}"))
    }
}
