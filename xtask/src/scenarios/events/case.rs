//! A probe that is compared with the kernel's own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::lines::{Lines, kernels, ours, same};
use crate::setup::Series;

/// A probe, and what it is to the kernel's probe events.
pub(super) struct Case {
    /// The place or places, for the shell.
    pub(super) spec: &'static str,
    /// Whether it is a return.
    pub(super) at_return: bool,
    /// What both are told to fetch, each a word in quotes for the shell.
    pub(super) fetch: &'static str,
    /// What the kernel is told to fetch, where it has other words for the same.
    pub(super) kernel: Option<&'static str>,
    /// What kernel 6.1 is told to fetch, whose own events know no types: where members lie in it.
    /// Where that is the same in both, it is `kernel`.
    pub(super) older: Option<&'static str>,
    /// What the kernel calls them, where it has other names for them: each is one probe of its
    /// event.
    pub(super) kernel_spec: Option<&'static str>,
    /// Whether Trapline is given the kernel's definition, in one word, as it is pasted.
    pub(super) pasted: bool,
    /// Which hits both are to tell of: to Trapline a condition, to the kernel's events a filter.
    pub(super) condition: Option<&'static str>,
    /// Hits that the workload makes at least.
    pub(super) least: usize,
    /// Whether they come in interrupts, where that is sure. The kernel's trace can't tell: it takes
    /// the probe's own breakpoint for one.
    pub(super) in_interrupt: Option<bool>,
}

/// A probe that the kernel is told of in the same words.
pub(super) const SAME: Case = Case {
    spec: "",
    at_return: false,
    fetch: "",
    kernel: None,
    older: None,
    kernel_spec: None,
    pasted: false,
    condition: None,
    least: 1,
    in_interrupt: None,
};

impl Case {
    /// What the kernel's own event is told to fetch.
    pub(super) fn kernels(&self, series: Series) -> &'static str {
        let kernel = self.kernel.unwrap_or(self.fetch);
        if series >= Series::V6_12 { kernel } else { self.older.unwrap_or(kernel) }
    }

    pub(super) fn compare(&self, folder: &Path, number: usize) -> Result<()> {
        let read = |what: &str| {
            let path = folder.join(format!("{number}.{what}"));
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let span = read("span")?;
        let (first, last) = span.trim().split_once(' ').with_context(|| format!("the span is {span}"))?;
        let span = first.parse()?..=last.parse()?;
        let in_span = |mut lines: Lines| {
            lines.retain(|process, _| span.contains(process));
            lines
        };
        let (ours, kernels) = (
            in_span(ours(&read("json")?, self.in_interrupt, self.condition.is_some())?),
            in_span(kernels(&read("kernel")?, self.at_return, self.spec.contains('+'))?),
        );
        let count = |lines: &Lines| lines.values().map(Vec::len).sum::<usize>();
        ensure!(count(&ours) >= self.least, "{} hits, expected {} at least", count(&ours), self.least);
        for (process, kernels) in &kernels {
            let ours = ours.get(process).map_or(&[][..], Vec::as_slice);
            for number in 0..kernels.len() {
                let ours = ours.get(number);
                ensure!(
                    same(ours, kernels, number),
                    "process {process}, hit {number}:\n  kernel   {:?}\n  trapline {ours:?}",
                    &kernels[number.saturating_sub(1)..kernels.len().min(number + 2)]
                );
            }
        }
        ensure!(
            count(&ours) == count(&kernels),
            "{} hits, where the kernel's probe event tells of {}",
            count(&ours),
            count(&kernels)
        );
        Ok(())
    }
}
