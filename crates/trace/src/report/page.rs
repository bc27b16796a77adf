//! What a report is written on: titles, tables, lines.

use std::io::{self, Write};

use anstyle::Style;

use super::{Activity, Count, Texts};
use crate::write::{ALARM, DIM, grouped, paint, printable};

/// A report that is being written.
pub(crate) struct Page<'p> {
    /// Where to.
    pub(crate) out: &'p mut dyn Write,
    /// Rows of each table, at most.
    pub(crate) rows: usize,
    /// The texts that were counted by number.
    pub(crate) texts: &'p Texts,
    /// Whether to use terminal colours.
    pub(super) colour: bool,
}

impl Page<'_> {
    /// Writes a line in a style.
    pub(super) fn line(&mut self, style: Style, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", paint(self.colour, style, text))
    }

    /// Writes a line that is less important than the others.
    pub(crate) fn dim(&mut self, text: &str) -> io::Result<()> {
        self.line(DIM, text)
    }

    /// Writes a line that must not be overlooked.
    pub(crate) fn alarm(&mut self, text: &str) -> io::Result<()> {
        self.line(ALARM, text)
    }

    /// Writes a table: how often, and of what. The words are those for what is counted, for the
    /// rows if there is one, and if there are many.
    pub(crate) fn table(
        &mut self,
        (unit, one, many): (&str, &str, &str),
        counts: &[Count<'_>],
        name: impl Fn(&Count<'_>) -> String,
    ) -> io::Result<()> {
        if counts.is_empty() {
            return Ok(());
        }
        self.dim(&format!("\n{unit:>12}  {one}"))?;
        for count in counts.iter().take(self.rows) {
            writeln!(self.out, "{:>12}  {}", grouped(count.count), name(count))?;
        }
        self.rest(counts.len(), many)
    }

    /// Tells how many rows there are of a table beside those that were written.
    pub(crate) fn rest(&mut self, all: usize, what: &str) -> io::Result<()> {
        if all <= self.rows {
            return Ok(());
        }
        self.dim(&format!("{:>12}  and {} more {what}", "", grouped((all - self.rows) as u64)))
    }

    /// Writes who did it: the tables by function and by task.
    pub(crate) fn activity(&mut self, unit: &str, activity: &Activity) -> io::Result<()> {
        self.table((unit, "function", "functions"), &activity.functions(self.texts), function)?;
        self.table((unit, "task", "tasks"), &activity.tasks(self.texts), task)
    }

    /// Writes how many were on each CPU.
    pub(crate) fn cpus(&mut self, unit: &str, activity: &Activity) -> io::Result<()> {
        let cpus: Vec<_> =
            activity.cpus().map(|(cpu, count)| format!("CPU {cpu} {}", grouped(count))).collect();
        if !cpus.is_empty() {
            writeln!(self.out, "\n{unit} by CPU: {}", cpus.join(", "))?;
        }
        Ok(())
    }
}

/// A row that is its name.
pub(crate) fn plain(count: &Count<'_>) -> String {
    printable(count.name)
}

pub(crate) fn function(count: &Count<'_>) -> String {
    match (count.number, count.module) {
        (Some(address), _) => format!("{address:#x}"),
        (None, Some(module)) => format!("{} [{module}]", count.name),
        (None, None) => count.name.into(),
    }
}

pub(super) fn task(count: &Count<'_>) -> String {
    let name = printable(count.name);
    count.number.map_or_else(|| name.clone(), |number| format!("{name}-{number}"))
}
