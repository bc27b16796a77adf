//! A report as text.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{Count, Summary};
use crate::write::{duration, grouped, paint, printable};
use crate::{Moment, ProbeTotals};

const TITLE: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const FINE: Style = AnsiColor::Green.on_default();
const ALARM: Style = AnsiColor::Red.on_default().bold();

impl Summary {
    /// Writes the report to `out`, with terminal colours if `colour`, at most `rows` rows of each table.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write, colour: bool, rows: usize) -> io::Result<()> {
        let active = self.cpus.iter().filter(|count| **count > 0).count();
        let (first, last) = self.span.unwrap_or_default();
        let title = format!(
            "{} in {} on {active} {}",
            self.what(),
            duration(last - first),
            if active == 1 { "CPU" } else { "CPUs" },
        );
        writeln!(out, "{}", paint(colour, TITLE, &title))?;
        self.registers_table(out, colour, rows)?;
        let unit = self.unit();
        let causes = self.causes();
        let causes: Vec<_> =
            causes.iter().map(|(name, count)| Count { name, count: *count, ..Count::default() }).collect();
        table(out, colour, rows, (unit, "fault", "faults"), &causes, plain)?;
        table(out, colour, rows, (unit, "kind of memory", "kinds of memory"), &self.memory(), plain)?;
        table(out, colour, rows, (unit, "probe", "probes"), &self.probes(), probe)?;
        table(out, colour, rows, (unit, "function", "functions"), &self.functions(), function)?;
        table(out, colour, rows, (unit, "task", "tasks"), &self.tasks(), task)?;
        if self.latency.count() > 0 {
            let title = format!("\n{unit:>12}  took: {}", self.latency.sentence());
            writeln!(out, "{}", paint(colour, DIM, &title))?;
            self.latency.write(out)?;
        }
        if self.faults > 0 {
            writeln!(
                out,
                "{}",
                paint(
                    colour,
                    DIM,
                    "\n             address  when, from the first to the last: the darker the more"
                )
            )?;
            self.heat.write(out)?;
        }
        self.cpus_line(out, unit)?;
        self.completeness(out, colour)
    }

    /// What is counted: a trace has accesses, hits or page faults.
    fn unit(&self) -> &'static str {
        match () {
            () if self.is_of_probes() => "hits",
            () if self.faults > 0 => "faults",
            () => "accesses",
        }
    }

    fn is_of_probes(&self) -> bool {
        self.of_probes || self.hits > 0
    }

    fn what(&self) -> String {
        if self.is_of_probes() {
            return counted(self.hits, "hit", "hits");
        }
        if self.faults > 0 {
            return counted(self.faults, "page fault", "page faults");
        }
        let accesses = counted(self.reads + self.writes, "access", "accesses");
        let (reads, writes) = (counted(self.reads, "read", "reads"), counted(self.writes, "write", "writes"));
        format!("{accesses} ({reads}, {writes})")
    }

    fn registers_table(&self, out: &mut impl Write, colour: bool, rows: usize) -> io::Result<()> {
        let counts = self.registers();
        if counts.is_empty() {
            return Ok(());
        }
        let title = format!(
            "\n{:>12} {:>12}  {:24} {:20} {:>18}  {}",
            "reads", "writes", "device bar+offset", "register", "last value", "polling"
        );
        writeln!(out, "{}", paint(colour, DIM, &title))?;
        for row in counts.iter().take(rows) {
            let last = row.last.map_or_else(|| "unknown".into(), |value| value.to_string());
            let polling = if row.folded == 0 {
                String::new()
            } else {
                format!("  {} equal reads folded, longest loop {}", grouped(row.folded), grouped(row.longest))
            };
            let (reads, writes) = (grouped(row.reads), grouped(row.writes));
            let register = row.register.unwrap_or_default();
            let line =
                format!("{reads:>12} {writes:>12}  {:24} {register:20} {last:>18}{polling}", row.place);
            writeln!(out, "{}", line.trim_end())?;
        }
        rest(out, colour, counts.len(), rows, "registers")
    }

    fn cpus_line(&self, out: &mut impl Write, unit: &str) -> io::Result<()> {
        let active = self.cpus.iter().enumerate().filter(|(_, count)| **count > 0);
        let cpus: Vec<_> = active.map(|(cpu, count)| format!("CPU {cpu} {}", grouped(*count))).collect();
        if !cpus.is_empty() {
            writeln!(out, "\n{unit} by CPU: {}", cpus.join(", "))?;
        }
        Ok(())
    }

    /// What was missed of the hits, and what did not go as it should.
    fn probe_counts(&self, out: &mut impl Write, colour: bool) -> io::Result<()> {
        let ProbeTotals { missed, faults, fetch_faults, gone, .. } = self.probe_totals();
        self.verdict(out, colour, &[(self.dropped(), "dropped"), (missed, "missed")])?;
        if missed > 0 {
            let text = "THIS TRACE IS NOT COMPLETE: hits inside of another probe's handler, or, of returns, with too many calls under way (--active follows more), are only counted.";
            writeln!(out, "{}", paint(colour, ALARM, text))?;
        }
        if gone > 0 {
            let probes = counted(gone, "probe", "probes");
            let text = format!(
                "THIS TRACE IS NOT COMPLETE: the module of {probes} went away; what it did if it was loaded again is missing."
            );
            writeln!(out, "{}", paint(colour, ALARM, &text))?;
        }
        for (count, text) in [
            (fetch_faults, "arguments could not be fetched: (fault)"),
            (faults, "handlers faulted and were abandoned"),
        ] {
            if count > 0 {
                writeln!(out, "{} {text}", grouped(count))?;
            }
        }
        Ok(())
    }

    /// What is missing: nothing, or so many of what. Of a trace that was cut off, only the least that can be.
    fn verdict(&self, out: &mut impl Write, colour: bool, counts: &[(u64, &str)]) -> io::Result<()> {
        let at_least = if self.cut.is_some() { "at least " } else { "" };
        let parts: Vec<_> =
            counts.iter().map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
        let is_whole = self.cut.is_none()
            && self.not_watched == 0
            && self.probe_totals().gone == 0
            && counts.iter().all(|(count, _)| *count == 0);
        let style = if is_whole { FINE } else { ALARM };
        writeln!(out, "{}", paint(colour, style, &format!("{at_least}{}", parts.join(", "))))
    }

    fn completeness(&self, out: &mut impl Write, colour: bool) -> io::Result<()> {
        let (dropped, missed) = (self.dropped(), self.possibly_missed());
        if self.is_of_probes() {
            self.probe_counts(out, colour)?;
        } else if self.faults > 0 {
            self.verdict(out, colour, &[(dropped, "dropped")])?;
        } else {
            let [emulated, redirected, stepped] = self.performed.map(grouped);
            writeln!(out, "performed: {emulated} emulated, {redirected} redirected, {stepped} stepped")?;
            self.verdict(out, colour, &[(dropped, "dropped"), (missed, "possibly missed")])?;
        }
        if let Some(cut) = &self.cut {
            let text = format!("THIS TRACE IS NOT COMPLETE: {cut}");
            writeln!(out, "{}", paint(colour, ALARM, &text))?;
        }
        if self.not_watched > 0 {
            let mappings = counted(self.not_watched, "new mapping", "new mappings");
            let text =
                format!("THIS TRACE IS NOT COMPLETE: {mappings} could not be watched; markers tell which.");
            writeln!(out, "{}", paint(colour, ALARM, &text))?;
        }
        if dropped > 0 {
            let text = "THIS TRACE IS NOT COMPLETE: a ring was full. Trace again with a larger --buffer or less to record.";
            writeln!(out, "{}", paint(colour, ALARM, text))?;
        }
        if missed > 0 {
            let text = "THIS TRACE MAY NOT BE COMPLETE: pages were open for single steps, when accesses of other CPUs pass unseen.";
            writeln!(out, "{}", paint(colour, ALARM, text))?;
        }
        let totals = self.totals.unwrap_or_default();
        let remarks = [
            (self.unknown, "accesses have no known value"),
            (totals.malformed, "records made no sense and are left out: module and command do not match"),
            (totals.late, "events came late and are in order only within their CPU"),
        ];
        for (count, text) in remarks.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(out, "{} {text}", grouped(count))?;
        }
        Ok(())
    }
}

fn plain(count: &Count<'_>) -> String {
    printable(count.name)
}

fn probe(count: &Count<'_>) -> String {
    match count.moment {
        Some(Moment::After) => format!("{} (after)", count.name),
        Some(Moment::Return) => format!("{} (return)", count.name),
        Some(Moment::Before) | None => count.name.into(),
    }
}

fn function(count: &Count<'_>) -> String {
    match (count.number, count.module) {
        (Some(address), _) => format!("{address:#x}"),
        (None, Some(module)) => format!("{} [{module}]", count.name),
        (None, None) => count.name.into(),
    }
}

fn task(count: &Count<'_>) -> String {
    format!("{}-{}", printable(count.name), count.number.unwrap_or_default())
}

fn table(
    out: &mut impl Write,
    colour: bool,
    rows: usize,
    (unit, one, many): (&str, &str, &str),
    counts: &[Count<'_>],
    name: impl Fn(&Count<'_>) -> String,
) -> io::Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    writeln!(out, "{}", paint(colour, DIM, &format!("\n{unit:>12}  {one}")))?;
    for count in counts.iter().take(rows) {
        writeln!(out, "{:>12}  {}", grouped(count.count), name(count))?;
    }
    rest(out, colour, counts.len(), rows, many)
}

fn rest(out: &mut impl Write, colour: bool, all: usize, shown: usize, what: &str) -> io::Result<()> {
    if all <= shown {
        return Ok(());
    }
    let text = format!("{:>12}  and {} more {what}", "", grouped((all - shown) as u64));
    writeln!(out, "{}", paint(colour, DIM, &text))
}

/// So many of something.
fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}
