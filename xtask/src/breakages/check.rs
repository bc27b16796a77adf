//! Runs a test in the copy, and decides what its end says of a breakage.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::breakage::{Breakage, Test};
use super::copy::Copy;
use crate::test::Tally;
use crate::{exec, interrupt};

/// How long a test of the host may take: a breakage can make it run without end.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a build or a scenario may take, which ends by itself if all is well.
const LONG: Duration = Duration::from_secs(2400);
/// How many lines of what a program said are told.
const TAIL: usize = 20;

/// What came of a breakage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The test failed, as it must.
    Noticed,
    /// The test passed.
    Unnoticed,
    /// The test failed, but did not say what it must say; the end of what it said.
    Otherwise(String),
    /// The code is not as the breakage expects it.
    NotApplied(String),
    /// The broken code does not compile; what the compiler said.
    NotBuilt(String),
    /// The test does not pass without the breakage, or there is none of its name.
    NotSound(String),
}

impl Verdict {
    /// What is to be told besides.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Noticed | Self::Unnoticed => "",
            Self::Otherwise(said) | Self::NotApplied(said) | Self::NotBuilt(said) | Self::NotSound(said) => {
                said
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Noticed => "noticed",
            Self::Unnoticed => "PASSED UNNOTICED",
            Self::Otherwise(_) => "the test failed, but for another reason",
            Self::NotApplied(_) => "it does not apply",
            Self::NotBuilt(_) => "it does not compile",
            Self::NotSound(_) => "the test does not pass without it, or does not exist",
        })
    }
}

/// Runs a test in the copy as it is: it must exist and pass, else this is what it said.
pub(super) fn sound(copy: &Copy, test: &Test) -> Result<Result<(), String>> {
    let ended = match build(copy, test)? {
        Ok(()) => run(copy, test)?,
        Err(said) => return Ok(Err(said)),
    };
    Ok(if ended.passed && (ended.ran > 0 || matches!(test, Test::Scenario(_))) {
        Ok(())
    } else {
        Err(exec::tail(&ended.said, TAIL))
    })
}

/// Runs the test of a breakage in the copy with that breakage.
pub(super) fn broken(copy: &Copy, breakage: &Breakage) -> Result<Verdict> {
    match breakage.applied(copy.root()) {
        Ok(changed) => copy.changed(&changed, || verdict(copy, breakage)),
        Err(error) => Ok(Verdict::NotApplied(format!("{error:#}"))),
    }
}

fn verdict(copy: &Copy, breakage: &Breakage) -> Result<Verdict> {
    if let Err(said) = build(copy, &breakage.test)? {
        return Ok(Verdict::NotBuilt(said));
    }
    let ended = run(copy, &breakage.test)?;
    Ok(if ended.passed {
        Verdict::Unnoticed
    } else if ended.said.contains(&breakage.says) {
        Verdict::Noticed
    } else {
        Verdict::Otherwise(exec::tail(&ended.said, TAIL))
    })
}

/// Builds a test, so that code that does not compile is not taken for a test that fails. What a
/// scenario needs is built by itself; `says` tells its failures apart.
fn build(copy: &Copy, test: &Test) -> Result<Result<(), String>> {
    let mut command = match test {
        Test::Command(line) => exec::line(line)?,
        Test::Scenario(_) => exec::line("cargo build --package xtask")?,
    };
    if let Test::Command(_) = test {
        command.arg("--no-run");
    }
    let ended = Ended::of(&mut command, copy.root(), LONG)?;
    Ok(if ended.passed { Ok(()) } else { Err(exec::tail(&ended.said, TAIL)) })
}

fn run(copy: &Copy, test: &Test) -> Result<Ended> {
    match test {
        Test::Command(line) => Ended::of(exec::line(line)?.args(["--", "--exact"]), copy.root(), PATIENCE),
        Test::Scenario(name) => {
            let mut command = exec::line("cargo xtask test --only")?;
            Ended::of(command.arg(name), copy.root(), LONG)
        }
    }
}

/// How a program ended.
struct Ended {
    passed: bool,
    /// How many tests it said to have run.
    ran: usize,
    said: String,
}

impl Ended {
    /// Runs a program in the copy, with all its descendants no longer than `patience`.
    fn of(command: &mut Command, root: &Path, patience: Duration) -> Result<Self> {
        // A file, not a pipe: nobody has to read it meanwhile.
        let log = root.join("target/said");
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut child = command
            // Nobody debugs it, and without it builds are quicker and a third of the size.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .current_dir(root)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run `{}`", exec::shown(command)))?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begin.elapsed() > patience || interrupt::seen() {
                // It may have ended just now: then nobody is left to kill.
                kill_process_group(Pid::from_child(&child), Signal::KILL).ok();
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let mut tally = Tally::default();
        said.lines().for_each(|line| tally.note(line));
        let passed = status.is_some_and(|status| status.success());
        Ok(Self { passed, ran: tally.ran(), said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(script: &str, patience: Duration) -> Ended {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        Ended::of(Command::new("sh").args(["-c", script]), folder.path(), patience).unwrap()
    }

    #[test]
    fn a_program_that_passes_fails_or_never_ends_is_told_apart() {
        let said = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'";
        let end = ended(said, LONG);
        assert_eq!((end.passed, end.ran), (true, 2));
        let end = ended("echo lost it >&2; exit 3", LONG);
        assert_eq!((end.passed, end.ran, &*end.said), (false, 0, "lost it\n"));
        let begin = Instant::now();
        assert!(!ended("sleep 100 & wait", Duration::from_millis(200)).passed);
        assert!(begin.elapsed() < Duration::from_secs(50), "it was ended");
    }
}
