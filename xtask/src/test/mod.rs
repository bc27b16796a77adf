//! `cargo xtask test`: everything that must hold, as short steps that a person can also run alone.

mod steps;
mod tally;

use std::slice;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::failure::FAILED;
use crate::setup::Series;
use crate::{interrupt, scenarios};
use steps::{STEPS, Step};
pub(crate) use tally::Tally;

/// So many scenarios are named that took longest.
const SLOWEST: usize = 8;

/// Which steps to run.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Run only this step, or only the scenarios whose name contains this; give it again for more.
    #[arg(long, value_name = "STEP")]
    pub only: Vec<String>,

    /// Run the scenarios that are for it, and nothing else, on the debugging kernel (see `cargo
    /// xtask vm --help`); --only chooses among them.
    #[arg(long)]
    pub debug_kernel: bool,

    /// Run every scenario on this series of kernel, and nothing else; --only chooses among them.
    #[arg(long, value_enum, conflicts_with = "debug_kernel")]
    pub kernel: Option<Series>,

    /// Run every scenario on every stock kernel, and nothing else; --only chooses among them. It
    /// takes hours; without, a table says which scenarios run where (--list shows it).
    #[arg(long, conflicts_with_all = ["debug_kernel", "kernel"])]
    pub all: bool,

    /// List the steps with their commands, and the scenarios, and run nothing.
    #[arg(long)]
    pub list: bool,
}

/// Runs the steps, one after another, and sums up. The last line is `N passed, N failed`.
pub fn command(options: &Options) -> Result<u8> {
    if options.list {
        list(options);
        return Ok(0);
    }
    let chosen = choose(options)?;
    let mut results = Vec::new();
    for Chosen { step, scenarios } in chosen {
        println!("\n== {}: {}", step.name, step.shown());
        let started = Instant::now();
        let tally = step.run(&scenarios);
        results.push((step.name, started.elapsed(), tally));
        if interrupt::seen() {
            break;
        }
    }
    Ok(summary(&results))
}

/// A step, and what of it to run if it is the one with the scenarios.
struct Chosen {
    step: &'static Step,
    scenarios: Vec<scenarios::Run>,
}

impl Options {
    /// The one series to run on, if it is not all of the stock ones.
    fn series(&self) -> Option<Series> {
        if self.debug_kernel { Some(Series::Debug) } else { self.kernel }
    }

    /// The steps that there are to choose from.
    fn steps(&self) -> &'static [Step] {
        let only_scenarios = self.all || self.series().is_some();
        if only_scenarios { slice::from_ref(steps::scenarios_step()) } else { STEPS }
    }

    /// The scenarios that there are to choose from.
    fn scenarios(&self) -> Vec<scenarios::Run> {
        match self.series() {
            Some(series) => scenarios::runs_on(series),
            None if self.all => scenarios::all_runs(),
            None => scenarios::runs(),
        }
    }
}

fn choose(options: &Options) -> Result<Vec<Chosen>> {
    let (steps, all) = (options.steps(), options.scenarios());
    if options.only.is_empty() {
        return Ok(steps.iter().map(|step| Chosen { step, scenarios: all.clone() }).collect());
    }
    let mut chosen = Vec::new();
    for word in &options.only {
        if let Some(step) = steps.iter().find(|step| step.name == word) {
            chosen.push(Chosen { step, scenarios: all.clone() });
            continue;
        }
        let matching: Vec<_> =
            all.iter().copied().filter(|run| run.to_string().contains(word.as_str())).collect();
        if matching.is_empty() {
            let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
            bail!(
                "no step and no scenario is called `{word}`; the steps are {}, --list names all",
                names.join(", ")
            );
        }
        chosen.push(Chosen { step: steps::scenarios_step(), scenarios: matching });
    }
    Ok(chosen)
}

fn list(options: &Options) {
    for step in options.steps() {
        println!("{:10} {}", step.name, step.shown());
    }
    println!("\nscenarios, in a virtual machine:");
    for run in options.scenarios() {
        println!("  {run}");
        if options.series().is_none() {
            println!("      {}", run.reason());
        }
    }
}

fn summary(results: &[(&str, Duration, Tally)]) -> u8 {
    println!();
    let mut total = Tally::default();
    for (name, time, tally) in results {
        println!(
            "{name:10} {:7.1} s  {:5} passed {:3} failed",
            time.as_secs_f64(),
            tally.passed,
            tally.failed()
        );
        total.add(tally);
    }
    for (took, name) in total.slowest(SLOWEST) {
        println!("slow: {:7.1} s  {name}", took.as_secs_f64());
    }
    for failure in &total.failures {
        println!("{failure}");
    }
    let interrupted = interrupt::seen();
    if interrupted {
        println!("stopped by Ctrl-C: not all steps ran");
    }
    println!("\n{} passed, {} failed", total.passed, total.failed());
    if total.failures.is_empty() && !interrupted && total.passed > 0 { 0 } else { FAILED }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn options(only: &[&str], debug_kernel: bool) -> Options {
        let only = only.iter().map(|&word| word.to_owned()).collect();
        Options { only, debug_kernel, ..Options::default() }
    }

    #[test]
    fn a_step_and_a_part_of_a_scenarios_name_can_be_chosen() {
        let chosen = choose(&options(&["fmt", "6.1: QEMU's record"], false)).unwrap();
        assert_eq!(chosen[0].step.name, "fmt");
        assert_eq!((chosen[1].step.name, chosen[1].scenarios.len()), ("vm", 1));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_steps() {
        let error = choose(&options(&["no such thing"], false)).err().unwrap().to_string();
        assert!(error.contains("`no such thing`") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn the_debugging_kernel_gets_scenarios_of_its_own_and_no_other_step() {
        let all = choose(&options(&[], true)).unwrap();
        assert_eq!(all.iter().map(|chosen| chosen.step.name).collect::<Vec<_>>(), ["vm"]);
        let names: Vec<String> = all[0].scenarios.iter().map(ToString::to_string).collect();
        assert!(names.iter().all(|name| name.starts_with("6.1-debug: ")), "{names:?}");

        let one = choose(&options(&["the conformance suite"], true)).unwrap();
        assert_eq!((one.len(), one[0].scenarios.len()), (1, 1));
        assert!(choose(&options(&["clippy"], true)).is_err());
    }

    #[test]
    fn all_is_every_scenario_on_every_stock_kernel_and_no_other_step() {
        let all = choose(&Options { all: true, ..Options::default() }).unwrap();
        let one = choose(&Options { kernel: Some(Series::V7_2), ..Options::default() }).unwrap();
        assert_eq!((all.len(), all[0].step.name), (1, "vm"));
        assert_eq!(all[0].scenarios.len(), Series::STOCK.len() * one[0].scenarios.len());
    }

    #[test]
    fn a_kernel_that_the_suite_leaves_out_gets_every_scenario_and_no_other_step() {
        let options = Options { kernel: Some(Series::V7_3), ..Options::default() };
        let all = choose(&options).unwrap();
        assert_eq!(all.iter().map(|chosen| chosen.step.name).collect::<Vec<_>>(), ["vm"]);
        // The suite runs every scenario on one of its kernels at least.
        let of_the_suite = scenarios::runs();
        let names = of_the_suite.iter().map(|run| run.to_string().split_once(": ").unwrap().1.to_owned());
        assert_eq!(all[0].scenarios.len(), names.collect::<BTreeSet<_>>().len());
        assert!(all[0].scenarios.iter().all(|run| run.to_string().starts_with("7.3: ")));
    }
}
