//! The steps of `cargo xtask test`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result};

use super::tally::Tally;
use crate::{exec, scenarios, workspace};

/// A step: a name, and what it does.
pub(super) struct Step {
    pub(super) name: &'static str,
    action: Action,
}

enum Action {
    /// A command line in the workspace's root, with settings before the program as in a shell; it
    /// passes or fails.
    Check(&'static str),
    /// The same, run by the Rust test harness: its tests are counted.
    Tests(&'static str),
    /// Scenarios in a virtual machine.
    Scenarios,
}

/// Every step, the quickest first.
pub(super) const STEPS: &[Step] = &[
    Step { name: "fmt", action: Action::Check("cargo fmt --all --check") },
    Step {
        name: "kernel-fmt",
        action: Action::Check("cargo fmt --manifest-path kernel/Cargo.toml --all --check"),
    },
    Step { name: "clippy", action: Action::Check("cargo clippy --workspace --all-targets -- -D warnings") },
    Step { name: "test", action: Action::Tests("cargo test --workspace --no-fail-fast") },
    Step {
        name: "insn",
        action: Action::Tests(
            "TRAPLINE_INSN_CASES=1000000 cargo test --release --package trapline-insn --no-fail-fast",
        ),
    },
    Step {
        name: "loom",
        action: Action::Tests(
            "RUSTFLAGS=--cfg=loom CARGO_TARGET_DIR=target/loom cargo test --release --package trapline-engine --package trapline-ring --lib --no-fail-fast",
        ),
    },
    Step { name: "imports", action: Action::Check("cargo xtask imports") },
    Step { name: "queries", action: Action::Check("cargo xtask queries") },
    Step { name: "pages", action: Action::Check("cargo xtask pages") },
    Step { name: "vm", action: Action::Scenarios },
];

/// The step that runs the scenarios.
pub(super) fn scenarios_step() -> &'static Step {
    let is_it = |step: &&Step| matches!(step.action, Action::Scenarios);
    STEPS.iter().find(is_it).expect("one of the steps runs the scenarios")
}

impl Step {
    /// The command that a person can type instead.
    pub(super) fn shown(&self) -> String {
        match self.action {
            Action::Check(line) | Action::Tests(line) => line.to_owned(),
            Action::Scenarios => format!("cargo xtask test --only {}", self.name),
        }
    }

    /// Runs the step; the scenarios are those to run if it is their step.
    pub(super) fn run(&self, scenarios: &[scenarios::Run]) -> Tally {
        match self.action {
            Action::Check(line) => {
                let passed = said_to_pass(run(line, |_| {}));
                Tally::one(self.name, if passed { Ok(()) } else { Err(String::new()) })
            }
            Action::Tests(line) => {
                let mut tally = Tally::default();
                let passed = said_to_pass(run(line, |line| tally.note(line)));
                if !passed && tally.failures.is_empty() {
                    // It did not build, or a test program died.
                    tally.add(&Tally::one(self.name, Err(String::new())));
                }
                tally
            }
            Action::Scenarios => {
                let tally = Mutex::default();
                scenarios::run_all(scenarios, |scenario, result, took| {
                    let result = result.map_err(|error| format!("{error:#}"));
                    let mut tally: MutexGuard<'_, Tally> = tally.lock().expect("adding does not panic");
                    tally.add(&Tally::timed(&scenario.to_string(), result, took));
                });
                tally.into_inner().expect("adding does not panic")
            }
        }
    }
}

fn said_to_pass(result: Result<bool>) -> bool {
    result.unwrap_or_else(|error| {
        println!("{error:#}");
        false
    })
}

/// Runs a command line, shows what it says, and lets `see` look at each line of its standard
/// output.
fn run(line: &str, mut see: impl FnMut(&str)) -> Result<bool> {
    let mut child = exec::line(line)?
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let output = child.stdout.take().context("the step's standard output is a pipe")?;
    for text in BufReader::new(output).split(b'\n') {
        let text = String::from_utf8_lossy(&text.context("cannot read what the step says")?).into_owned();
        println!("{text}");
        see(&text);
    }
    Ok(child.wait().with_context(|| format!("cannot wait for `{line}`"))?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_before_the_program_reach_it_and_its_lines_are_seen() {
        let mut seen = Vec::new();
        assert!(run("SOME_SETTING=7 env", |line| seen.push(line.to_owned())).unwrap());
        assert!(seen.iter().any(|line| line == "SOME_SETTING=7"));
        assert!(!run("false", |_| {}).unwrap());
    }
}
