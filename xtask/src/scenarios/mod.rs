//! Scenarios: what must hold on a stock kernel in the virtual machine, each on every series of kernel.
//!
//! A scenario is a sentence and a function that boots what it needs, runs a command, and checks from outside what came
//! of it. An error is a failure. Add one by writing a module and naming it in [`ALL`].

mod account;
mod code;
mod conformance;
mod drivers;
mod events;
mod examples;
mod faults;
mod forms;
mod gate;
mod hammer;
mod leftovers;
mod machine;
mod mistakes;
mod mmiotrace;
mod probes;
mod record;
mod rows;
mod silence;
mod uses;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::setup::Series;
use crate::vm::{self, Ended, Options, Outcome, Output};
use crate::{exec, interrupt};

/// What must hold.
pub struct Scenario {
    /// As a sentence.
    pub name: &'static str,
    check: fn(Series) -> Result<()>,
}

const ALL: &[&Scenario] = &[
    // Of CPUs at once: their machines take all cores of the host.
    &silence::OF_THE_BUILD,
    &record::OF_EDU,
    &hammer::MILLION,
    &hammer::EVERY_WIDTH,
    &hammer::ARMED_AND_DISARMED,
    &leftovers::STARTED_AND_STOPPED,
    &leftovers::KILLED,
    &leftovers::REMOVED,
    &drivers::TRACED,
    &conformance::HELD,
    &code::FAULTS,
    &faults::COUNTED,
    &faults::NAMED,
    &faults::MISTAKEN,
    &gate::COUNTED,
    &gate::PUT_BACK,
    // Of CPUs that take turns: two machines and more run side by side, to the end if the longest begin.
    &probes::STARTED_AND_STOPPED,
    &probes::THOUSANDS,
    &forms::EQUAL,
    &forms::BESIDE,
    &forms::STEPPED,
    &code::CROWD,
    &code::TRACED,
    &examples::AS_THEY_SAY,
    &events::EQUAL,
    &faults::TIMED,
    &faults::CLAIMED,
    &faults::LOOPING,
    &faults::BESIDE_MMIOTRACE,
    &mmiotrace::EQUAL,
    &probes::RECORDED,
    &probes::KILLED,
    &probes::REMOVED,
    &probes::TARGET_GONE,
    &probes::REFUSED,
    &faults::AS_MODELLED,
    &gate::REFUSED,
    &machine::TOLD,
    &uses::OF_TRACES,
    &uses::OF_PROBES,
    &mistakes::TOLD,
    &mistakes::PROBES,
    &mistakes::FAULTS,
    &mistakes::LOCKED_DOWN,
];

/// A scenario on a series of kernel.
#[derive(Clone, Copy)]
pub struct Run {
    scenario: &'static Scenario,
    series: Series,
}

/// Every scenario on every series.
pub fn runs() -> Vec<Run> {
    let on = |series| ALL.iter().map(move |&scenario| Run { scenario, series });
    Series::ALL.into_iter().flat_map(on).collect()
}

/// Runs scenarios, in their order but as many at once as the host has cores for (a machine waits for those it needs), until Ctrl-C; calls `done` with each and whether it
/// passed.
pub fn run_all(runs: &[Run], done: impl Fn(Run, bool) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..vm::host_cores().min(runs.len()) {
            scope.spawn(|| {
                // Relaxed: the counter orders nothing.
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed))
                    && !interrupt::seen()
                {
                    done(*run, run.run());
                }
            });
        }
    });
}

impl Run {
    /// Runs it, says how it went, and returns whether it passed.
    fn run(self) -> bool {
        let (started, waited) = (Instant::now(), vm::waited_for_cores());
        let result = (self.scenario.check)(self.series);
        let waited = vm::waited_for_cores() - waited;
        let took = started.elapsed().saturating_sub(waited).as_secs_f64();
        // At once, since others may be saying how they went.
        match &result {
            Ok(()) => println!("{self} ... ok ({took:.1} s)"),
            Err(error) => println!("{self} ... FAILED ({took:.1} s)\n{error:#}\n"),
        }
        result.is_ok()
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
