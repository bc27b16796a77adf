//! `cargo xtask harden DRIVER`: a campaign of `trapline harden` in virtual machines, a fresh one
//! whenever one died or has to be started anew.
//!
//! What is kept of the campaign is a folder of the host, which the machine mounts (9p): what was
//! written there outlives it. What a machine that died wrote to its console is put beside it, where
//! `trapline harden` finds the kernel's last words.

mod journal;
mod subject;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use subject::{BDF, SUBJECTS, Subject};

use journal::Journal;

use crate::failure::INTERRUPTED;
use crate::setup::Series;
use crate::vm::{self, Ended, Output};
use crate::{build, exec, workspace};

/// Experiments in one machine at most: one that hangs costs no more than the time for these.
const SLICE: u64 = 25;

/// The longest that a machine may live.
const LIMIT: Duration = Duration::from_secs(1800);

/// Machines one after the other that bring the campaign no further.
const IN_VAIN: usize = 3;

/// Exit statuses of `trapline harden`.
const FOUND: u8 = 5;
const RESTART: u8 = 6;

/// A campaign.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The driver: trapline_flaws, which has known flaws, or a stock one whose device QEMU has.
    #[arg(value_name = "DRIVER")]
    pub driver: String,
    /// Series of Debian's stock kernel.
    #[arg(long, value_enum, default_value_t = Series::V6_1)]
    pub kernel: Series,
    /// Time for experiments, as `trapline harden` takes it; booting is not counted.
    #[arg(long, value_name = "TIME", default_value = "30m")]
    pub budget: String,
    /// Stop after N experiments.
    #[arg(long, value_name = "N")]
    pub most: Option<u64>,
    /// How often each finding is shown.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub repeat: u32,
    /// What random values and choices are made from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Where the campaign is kept; target/trapline/harden/DRIVER-KERNEL if not given, with the
    /// parameters behind it. One that is there goes on.
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Parameters of the module.
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub parameters: String,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How a campaign ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Whether something was found.
    pub found: bool,
    /// Machines that were started.
    pub machines: usize,
}

/// `cargo xtask harden`.
pub fn command(options: &Options) -> Result<u8> {
    let state = match &options.state {
        Some(state) => state.clone(),
        None => workspace::cache_dir("harden")?.join(folder(options)),
    };
    let Some(campaign) = run(options, &state, &Output::Terminal)? else { return Ok(INTERRUPTED) };
    eprintln!("xtask: {} machines; kept in {}", campaign.machines, state.display());
    let format = if options.json { "json" } else { "human" };
    let status = Command::new(build::command()?)
        .args(["harden", "--format", format, "--report"])
        .arg(&state)
        .status()
        .context("cannot run trapline")?;
    ensure!(status.success(), "trapline can't tell what was found ({status})");
    Ok(if campaign.found { FOUND } else { 0 })
}

/// The name of the folder that a campaign is kept in: another for other parameters, whatever is in
/// them.
fn folder(options: &Options) -> String {
    let Options { driver, kernel, parameters, .. } = options;
    let mut name = format!("{driver}-{kernel}");
    if !parameters.is_empty() {
        name.push('-');
    }
    for byte in parameters.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'=' | b'_' | b',' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Makes the campaign that is kept in `state`; `None` after Ctrl-C.
pub fn run(options: &Options, state: &Path, output: &Output) -> Result<Option<Campaign>> {
    let subject = Subject::find(&options.driver)?;
    fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let state = state.canonicalize().with_context(|| format!("cannot find {}", state.display()))?;
    let journal = Journal::of(&state);
    let mut in_vain = 0;
    for machines in 1.. {
        let (before, begun) = (journal.made()?, journal.begun()?);
        let most = options.most.unwrap_or(u64::MAX).min(before + SLICE);
        let outcome = vm::run(&machine(options, &subject, &state, most), output.clone())?;
        // Not one that has brought down the machine before this one.
        let is_own = journal.begun()? > begun;
        let hangs = outcome.ended == Ended::TimedOut && journal.is_silent()?;
        let was_ended = matches!(outcome.ended, Ended::Interrupted | Ended::TimedOut);
        if is_own && was_ended && !hangs {
            journal.leave()?;
        }
        let after = journal.made()?;
        in_vain = if journal.begun()? > begun { 0 } else { in_vain + 1 };
        match outcome.ended {
            Ended::Exited(0 | FOUND) => {
                let is_done = after < most || options.most.is_some_and(|all| after >= all);
                if is_done {
                    let found = outcome.ended == Ended::Exited(FOUND);
                    return Ok(Some(Campaign { found, machines }));
                }
            }
            Ended::TimedOut if !hangs => {}
            Ended::Exited(RESTART) => {}
            // An experiment that was under way is told by the next machine.
            Ended::Died | Ended::TimedOut => {
                let words = state.join("last-words");
                fs::write(&words, outcome.log.text())
                    .with_context(|| format!("cannot write {}", words.display()))?;
            }
            Ended::Interrupted => return Ok(None),
            Ended::Exited(status) => bail!(
                "trapline harden ended with status {status}:\n{}\n{}",
                outcome.text(),
                String::from_utf8_lossy(&outcome.stderr)
            ),
        }
        ensure!(
            in_vain < IN_VAIN,
            "{IN_VAIN} machines brought the campaign no further; the last one's kernel log ended with:\n{}",
            exec::tail(&outcome.log.text(), 30)
        );
    }
    unreachable!("machines are counted without an end")
}

/// The machine that goes on with the campaign until `most` experiments are made.
fn machine(options: &Options, subject: &Subject, state: &Path, most: u64) -> vm::Options {
    let Options { driver, repeat, seed, parameters, .. } = options;
    let budget = quoted(&options.budget);
    let script = format!(
        "set -e
mkdir -p /state
modprobe -a 9p 9pnet_virtio
mount -t 9p -o trans=virtio,version=9p2000.L state /state
modprobe trapline
modprobe {driver} {parameters}
for i in $(seq 100); do [ -e /sys/bus/pci/devices/{BDF}/driver ] && break; sleep 0.05; done
trapline harden --device {BDF} --state /state --budget {budget} --most {most} --repeat {repeat} --seed {seed} --format json -- \\
    sh -c {} > /dev/null",
        quoted(subject.command)
    );
    let shared = [
        "-fsdev".to_owned(),
        format!("local,id=state,path={},security_model=none", state.display()),
        "-device".to_owned(),
        "virtio-9p-pci,fsdev=state,mount_tag=state,addr=0x1d".to_owned(),
    ];
    let modules = ["9p", "9pnet_virtio"].map(str::to_owned).into_iter().chain(subject.module());
    vm::Options {
        cpus: 2,
        qemu: subject.qemu().chain(shared).map(Into::into).collect(),
        modules: modules.collect(),
        timeout: LIMIT,
        ..vm::Options::in_turn(options.kernel, script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_without_a_device_is_told_with_those_that_have_one() {
        let error = Subject::find("ixgbe").unwrap_err().to_string();
        assert!(error.contains("`ixgbe`: expected one of trapline_flaws, e1000e"), "{error}");
    }

    #[test]
    fn a_folder_is_of_a_driver_a_kernel_and_parameters() {
        let of = |parameters: &str| {
            folder(&Options {
                driver: "nvme".into(),
                kernel: Series::V6_1,
                budget: "30m".into(),
                most: None,
                repeat: 3,
                seed: 1,
                state: None,
                parameters: parameters.into(),
                json: false,
            })
        };
        assert_eq!(of(""), format!("nvme-{}", Series::V6_1));
        assert_eq!(of("a=1 b=../x"), format!("nvme-{}-a=1%20b=%2e%2e%2fx", Series::V6_1));
        assert_ne!(of("a=1 b=1"), of("a=1_b=1"));
    }

    #[test]
    fn a_budget_is_one_word_for_a_shell() {
        assert_eq!(quoted("1h 30m; it's"), "'1h 30m; it'\\''s'");
    }
}
