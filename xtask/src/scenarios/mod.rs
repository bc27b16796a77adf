//! Scenarios: what must hold on a stock kernel in the virtual machine, on the kernels that
//! [`table`] names.
//!
//! A scenario is a sentence and a function that boots what it needs, runs a command, and checks
//! from outside what came of it. An error is a failure. Add one by writing a module and a row of
//! that table.

mod account;
mod code;
mod config;
mod conformance;
mod dma;
mod drivers;
mod events;
mod examples;
mod faults;
mod forced;
mod forms;
mod gate;
mod hammer;
mod harden;
mod hotplug;
mod inject;
mod interrupts;
mod leftovers;
mod lifecycle;
mod machine;
mod mistakes;
mod mmiotrace;
mod ports;
mod probes;
mod reach;
mod record;
mod rows;
mod silence;
mod sources;
mod table;
mod together;
mod uses;

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::setup::{self, Kernel, Series};
use crate::vm::{self, Ended, Options, Outcome, Output};
use crate::{build, exec, interrupt};

/// What must hold.
pub struct Scenario {
    /// As a sentence.
    pub name: &'static str,
    check: fn(Series) -> Result<()>,
}

/// A scenario on a series of kernel.
#[derive(Clone, Copy)]
pub struct Run {
    scenario: &'static Scenario,
    series: Series,
}

/// What the suite runs: each scenario on the kernels that the table says.
pub fn runs() -> Vec<Run> {
    table::runs().collect()
}

/// Every scenario on every stock kernel.
pub fn all_runs() -> Vec<Run> {
    Series::STOCK.into_iter().flat_map(runs_on).collect()
}

/// Those that are for a series.
pub fn runs_on(series: Series) -> Vec<Run> {
    table::runs_on(series).collect()
}

/// Runs scenarios, in their order but as many at once as the host has cores for (a machine waits
/// for those it needs), until Ctrl-C; calls `done` with each, what came of it, and how long it
/// took.
pub fn run_all(runs: &[Run], done: impl Fn(Run, Result<()>, Duration) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| set_up(runs));
        for _ in 0..vm::host_cores().min(runs.len()) {
            scope.spawn(|| {
                // Relaxed: the counter orders nothing.
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed))
                    && !interrupt::seen()
                {
                    let (result, took) = run.run();
                    done(*run, result, took);
                }
            });
        }
    });
}

/// Sets up the kernels ahead of their scenarios: that waits for the network and for a disk, and two
/// scenarios at once would wait for it.
fn set_up(runs: &[Run]) {
    let all: BTreeSet<Series> = runs.iter().map(|run| run.series).collect();
    for series in all {
        if interrupt::seen() {
            return;
        }
        // What fails here fails for the first scenario that needs it, which tells.
        let _ = checked(|| {
            setup::host::ensure()?;
            build::modules(&Kernel::ensure(series)?).map(drop)
        });
    }
}

impl Run {
    /// Runs it, says how it went, and returns that and how long it took, without the time that it
    /// waited for cores.
    fn run(self) -> (Result<()>, Duration) {
        let (started, waited) = (Instant::now(), vm::waited_for_cores());
        let result = checked(|| (self.scenario.check)(self.series));
        let waited = vm::waited_for_cores() - waited;
        let took = started.elapsed().saturating_sub(waited);
        let seconds = took.as_secs_f64();
        // At once, since others may be saying how they went.
        match &result {
            Ok(()) => println!("{self} ... ok ({seconds:.1} s)"),
            Err(error) => println!("{self} ... FAILED ({seconds:.1} s)\n{error:#}\n"),
        }
        (result, took)
    }
}

/// What `check` says; its panic is an error like others, so that it ends no other scenario and is
/// told by the scenario's name.
fn checked(check: impl FnOnce() -> Result<()>) -> Result<()> {
    // A scenario shares nothing with others that a panic could leave half changed: the locks that
    // are held for all are poisoned by it, and whoever comes next says so.
    panic::catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|payload| {
        let said = payload.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(anyhow!("the scenario's own code panicked: {said}"))
    })
}

impl Run {
    /// Which kernels the suite runs the scenario on, and why.
    pub fn reason(self) -> String {
        table::reason(self.scenario)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.series, self.scenario.name)
    }
}

/// Runs a machine whose COMMAND must succeed and whose kernel log must be clean.
fn succeeds(options: &Options) -> Result<Outcome> {
    let outcome = vm::run(options, Output::Captured)?;
    let said = || {
        let text = [&outcome.stdout[..], &outcome.stderr[..]].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        format!(
            "it said:\n{}\nand the kernel:\n{}",
            exec::tail(&text, 40),
            exec::tail(&outcome.log.text(), 40)
        )
    };
    let reports = outcome.log.reports();
    // The reports too: what a crash began with is rarely among its last lines.
    let ended = || format!("the machine ended so: {:?}; {}; {}", outcome.ended, reports.join(" | "), said());
    ensure!(outcome.ended == Ended::Exited(0), "{}", ended());
    ensure!(reports.is_empty(), "the kernel log is not clean: {}; {}", reports.join(" | "), said());
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_scenario_is_its_failure_and_tells_what_was_said() {
        let error = checked(|| panic!("{} is not {}", 1, 2)).unwrap_err().to_string();
        assert!(error.ends_with("panicked: 1 is not 2"), "{error}");
        assert!(checked(|| Ok(())).is_ok());
    }
}
