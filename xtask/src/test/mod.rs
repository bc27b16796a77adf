//! `cargo xtask test`: everything that must hold, as short steps that a person can also run alone.

mod steps;
mod tally;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::failure::FAILED;
use crate::{interrupt, scenarios};
use steps::{STEPS, Step};
use tally::Tally;

/// Which steps to run.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Run only this step, or only the scenarios whose name contains this; give it again for more.
    #[arg(long, value_name = "STEP")]
    pub only: Vec<String>,

    /// List the steps with their commands, and the scenarios, and run nothing.
    #[arg(long)]
    pub list: bool,
}

/// Runs the steps, one after another, and sums up. The last line is `N passed, N failed`.
pub fn command(options: &Options) -> Result<u8> {
    if options.list {
        list();
        return Ok(0);
    }
    let chosen = choose(&options.only)?;
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

fn choose(only: &[String]) -> Result<Vec<Chosen>> {
    let all = scenarios::runs();
    if only.is_empty() {
        return Ok(STEPS.iter().map(|step| Chosen { step, scenarios: all.clone() }).collect());
    }
    let mut chosen = Vec::new();
    for word in only {
        if let Some(step) = STEPS.iter().find(|step| step.name == word) {
            chosen.push(Chosen { step, scenarios: all.clone() });
            continue;
        }
        let matching: Vec<_> =
            all.iter().copied().filter(|run| run.to_string().contains(word.as_str())).collect();
        if matching.is_empty() {
            let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            bail!(
                "no step and no scenario is called `{word}`; the steps are {}, --list names all",
                names.join(", ")
            );
        }
        chosen.push(Chosen { step: steps::scenarios_step(), scenarios: matching });
    }
    Ok(chosen)
}

fn list() {
    for step in STEPS {
        println!("{:10} {}", step.name, step.shown());
    }
    println!("\nscenarios, in a virtual machine:");
    scenarios::runs().iter().for_each(|run| println!("  {run}"));
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
    for failure in &total.failures {
        println!("failed: {failure}");
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
    use super::*;

    #[test]
    fn a_step_and_a_part_of_a_scenarios_name_can_be_chosen() {
        let chosen = choose(&["fmt".to_owned(), "6.12: QEMU's record".to_owned()]).unwrap();
        assert_eq!(chosen[0].step.name, "fmt");
        assert_eq!((chosen[1].step.name, chosen[1].scenarios.len()), ("vm", 1));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_steps() {
        let error = choose(&["no such thing".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("`no such thing`") && error.contains("clippy"), "{error}");
    }
}
