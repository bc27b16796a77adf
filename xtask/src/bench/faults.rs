//! What it costs to see page faults, beside the kernel's own ways to.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Table, measured, times};
use crate::build;
use crate::setup::Series;
use crate::vm::Options;

const SCRIPT: &str = include_str!("faults.sh");

/// The quickest of the rounds: nanoseconds for a fault, by who looked on.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<String, f64>);

impl Faults {
    /// Boots the machine and measures.
    pub(super) fn measure(series: Series) -> Result<Self> {
        let said = measured(&Options {
            cpus: 2,
            memory: 2048,
            copy_in: vec![build::touch()?],
            timeout: Duration::from_secs(1200),
            ..Options::new(series, SCRIPT)
        })?;
        Self::parse(&said)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut faults = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["faults", name, "count", count, "nanoseconds", nanoseconds] = words[..] {
                let understood = || format!("the guest said `{line}`");
                let count: f64 = count.parse().with_context(understood)?;
                let took: f64 = nanoseconds.parse().with_context(understood)?;
                let best = faults.0.entry(name.to_owned()).or_insert(f64::INFINITY);
                *best = best.min(took / count);
            }
        }
        Ok(faults)
    }

    fn each(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("`{name}` was not measured"))
    }

    /// By how much the gate is the first to see a fault.
    pub(super) fn early(&self) -> Result<Table> {
        let mut table = Table::new(["a page fault, from user mode", "µs"]);
        let earlier = format!("{:.2}", self.each("earlier")? / 1000.0);
        table
            .row(["seen by `--gate idt` before the kernel's own tracepoint, on average".to_owned(), earlier]);
        Ok(table)
    }

    /// What each costs, and how many faults a second are left.
    pub(super) fn table(&self) -> Result<Table> {
        let untraced = self.each("nothing")?;
        let counted = self.each("count-hook")? - untraced;
        let mut table = Table::new([
            "first read of a page, again and again",
            "faults a second",
            "one adds, in µs",
            "times `trapline faults --count`",
        ]);
        for (what, name) in [
            ("nobody looks on", "nothing"),
            ("counted: `trapline faults --count`", "count-hook"),
            ("counted: the same with `--gate idt`", "count-idt"),
            ("counted: a histogram of the kernel's on its tracepoint", "histogram"),
            ("counted: a kprobe of the kernel's on `handle_mm_fault`, with a histogram", "kprobe"),
            ("recorded: `trapline faults`", "record-hook"),
            ("recorded: the same with `--gate idt`", "record-idt"),
            ("recorded: the kernel's tracepoints, by ftrace", "tracepoints"),
            ("recorded: by perf, as for `perf trace -F all`", "perf"),
        ] {
            let each = self.each(name)?;
            let added = each - untraced;
            let ratio = if name == "nothing" { String::new() } else { times(added, counted)? };
            table.row([
                what.to_owned(),
                format!("{:.0} 000", 1e6 / each),
                format!("{:.2}", added / 1000.0),
                ratio,
            ]);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_round_counts_and_what_was_not_measured_is_named() {
        let said = "faults nothing count 10 nanoseconds 1000\nfaults nothing count 10 nanoseconds 800\n\
                    faults count-hook count 10 nanoseconds 900\nother words\n";
        let faults = Faults::parse(said).unwrap();
        assert_eq!(faults.each("nothing").unwrap(), 80.0);
        let error = faults.table().err().unwrap().to_string();
        assert!(error.contains("`count-idt`"), "{error}");
    }
}
