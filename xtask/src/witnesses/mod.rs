//! What a trace and another witness tell of the same events, in the same words, so that they can be
//! held against each other: configuration space, ports, interrupts, buffers. Accesses to registers
//! in memory have `record`, `trace` and `compare`, since QEMU may make several of one.

pub mod config;
pub mod dma;
pub mod interrupts;
pub mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::compare::OnCpu;
use crate::{build, exec};

/// The events of a trace file as `trapline convert --to json` tells them.
#[derive(Clone, Debug)]
pub struct Events {
    /// All of them in the order of the file, without the header and the end.
    pub all: Vec<Value>,
    /// The totals.
    end: Value,
}

impl Events {
    /// Reads a trace file.
    ///
    /// # Errors
    /// It is cut off, or records are missing from it that had been made.
    pub fn read(path: &Path) -> Result<Self> {
        let mut convert = Command::new(build::command()?);
        let text = exec::output(convert.arg("convert").arg(path).args(["--to", "json"]))?;
        let mut all = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let end = all.pop().filter(|line| line["kind"] == "end").context("the trace is cut off")?;
        ensure!(end["dropped"] == 0 && end["malformed"] == 0, "records are missing: {end}");
        all.retain(|line| line["kind"] != "header");
        Ok(Self { all, end })
    }

    /// Those of a kind.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all.iter().filter(move |event| event["kind"] == kind)
    }

    /// What was not recorded, though the trace should have it: a sentence of JSON for each kind.
    /// Those counts are told only if there is something to count.
    pub fn missed(&self) -> Vec<String> {
        let counts = self.end.as_object().into_iter().flatten();
        let missed = counts.filter(|(name, count)| name.ends_with("missed") && count.as_u64() != Some(0));
        missed.map(|(name, count)| format!("{name}: {count}")).collect()
    }
}

/// That ftrace's buffers lost nothing, of which these are the statistics (`per_cpu/cpu*/stats`).
///
/// # Errors
/// One of them was too small.
pub fn lost_nothing(stats: &str) -> Result<()> {
    for line in stats.lines().filter(|line| line.starts_with("overrun")) {
        ensure!(line == "overrun: 0", "ftrace's buffer was too small: {line}");
    }
    Ok(())
}

/// A number in an event, as `0x1f` or in decimal.
fn number(event: &Value, field: &str) -> Result<u64> {
    let value = &event[field];
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(hex))
        .with_context(|| format!("no number `{field}` in {event}"))
}

/// What one witness tells, in the order of each CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByCpu<T>(BTreeMap<u32, Vec<T>>);

impl<T> Default for ByCpu<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: PartialEq + Debug> FromIterator<(u32, T)> for ByCpu<T> {
    fn from_iter<I: IntoIterator<Item = (u32, T)>>(told: I) -> Self {
        let mut all = Self::default();
        told.into_iter().for_each(|(cpu, told)| all.push(cpu, told));
        all
    }
}

impl<T: PartialEq + Debug> ByCpu<T> {
    /// Adds what comes next on a CPU.
    pub fn push(&mut self, cpu: u32, told: T) {
        self.0.entry(cpu).or_default().push(told);
    }

    /// Everything, CPU by CPU.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.values().flatten()
    }

    /// How many CPUs there is something of.
    pub fn cpus(&self) -> usize {
        self.0.len()
    }

    /// Of each CPU how much both have, and how much from the first difference on.
    pub fn compare(&self, theirs: &Self) -> Vec<OnCpu> {
        let cpus: BTreeSet<u32> = self.0.keys().chain(theirs.0.keys()).copied().collect();
        let of = |all: &Self, cpu| -> usize { all.0.get(&cpu).map_or(0, Vec::len) };
        let row = |cpu| {
            let (traced, recorded) = (of(self, cpu), of(theirs, cpu));
            OnCpu { cpu, traced, recorded, unequal: traced.max(recorded) - self.equal(theirs, cpu) }
        };
        cpus.into_iter().map(row).collect()
    }

    /// How many of a CPU's are equal before the first that differs.
    fn equal(&self, theirs: &Self, cpu: u32) -> usize {
        let pairs = self.0.get(&cpu).into_iter().flatten().zip(theirs.0.get(&cpu).into_iter().flatten());
        pairs.take_while(|(one, other)| one == other).count()
    }

    /// Both have the same, which `whose` is.
    ///
    /// # Errors
    /// The first difference of a CPU.
    pub fn equals(&self, theirs: &Self, whose: &str) -> Result<()> {
        for OnCpu { cpu, traced, recorded, unequal } in self.compare(theirs) {
            let equal = traced.max(recorded) - unequal;
            let one =
                |all: &Self| all.0.get(&cpu).and_then(|all| all.get(equal)).map(|one| format!("{one:x?}"));
            ensure!(
                unequal == 0,
                "on CPU {cpu} we have {traced}, {whose} {recorded}; number {equal} is {:?}, and of {whose} {:?}",
                one(self),
                one(theirs)
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_counted_from_the_first_difference_on() {
        let of = |cpus: &[(u32, &[u8])]| {
            let mut all = ByCpu::default();
            cpus.iter().for_each(|(cpu, told)| told.iter().for_each(|one| all.push(*cpu, *one)));
            all
        };
        let (ours, theirs) = (of(&[(0, &[1, 2, 3]), (2, &[7])]), of(&[(0, &[1, 5]), (1, &[9]), (2, &[7])]));
        let row = |cpu, traced, recorded, unequal| OnCpu { cpu, traced, recorded, unequal };
        assert_eq!(ours.compare(&theirs), [row(0, 3, 2, 2), row(1, 0, 1, 1), row(2, 1, 1, 0)]);
        let error = ours.equals(&theirs, "the model").unwrap_err().to_string();
        assert!(error.starts_with("on CPU 0 we have 3, the model 2; number 1 is Some(\"2\")"), "{error}");
        assert!(theirs.equals(&theirs.clone(), "itself").is_ok());
        assert_eq!((ours.cpus(), ours.all().count()), (2, 4));
    }

    #[test]
    fn a_buffer_that_was_too_small_is_an_error() {
        assert!(lost_nothing("entries: 3\noverrun: 0\n").is_ok());
        assert!(lost_nothing("entries: 3\noverrun: 0\noverrun: 2\n").is_err());
    }
}
