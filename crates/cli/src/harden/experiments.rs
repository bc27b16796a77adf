//! Experiments on this machine: each a process of `trapline` that traces or injects while the
//! driver is bound, COMMAND runs, and the driver is unbound.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use trapline_trace::Registers;

use super::binding::Binding;
use super::experiment::{Experiment, Site};
use super::log::{self, Log};
use super::outcome::{Outcome, Seen, is_reported, judge, refused};
use super::process::{self, Ended};
use super::reads::Lies;
use super::{HardenError, reads, word};
use crate::args::Harden;
use crate::exit::Exit;
use crate::naming::load_registers;
use crate::say::say;
use crate::system::System;

/// How long everything may take in the first run, if that is not said: nothing is known yet.
const FIRST: Duration = Duration::from_secs(300);

/// The shortest time for an experiment: what a driver waits for at most by itself, as a rule.
const SHORTEST: Duration = Duration::from_secs(10);

/// The trace of the last experiment.
pub(super) const TRACE: &str = "last.trace";

/// How often it is tried to have the device work again.
const TRIES: usize = 2;

/// Bytes of what COMMAND said that a message has.
const SAID: usize = 2000;

/// How long a run may take whose like took `took` without lies.
pub(super) fn limit(took: Duration) -> Duration {
    (took * 5).max(SHORTEST)
}

/// What makes experiments.
#[derive(Debug)]
pub(super) struct Experiments<'a> {
    binding: &'a Binding,
    command: Vec<String>,
    seed: u64,
    /// How long one may take.
    pub(super) limit: Duration,
    /// Whether that was asked for.
    is_limit_given: bool,
    /// Words of `trapline` about the device.
    device: Vec<String>,
    /// Register files that were given.
    registers: Vec<PathBuf>,
    trapline: String,
    /// Where the trace, what was said and what is under way are.
    folder: PathBuf,
    interrupted: &'a AtomicBool,
    system: &'a System,
    /// The kernel log since the campaign was begun or gone on with.
    log: Log,
    /// Whether the device is reset.
    pub(super) resets: bool,
    /// Whether rules that are refused end it all.
    is_trial: bool,
    /// Whether it goes on whatever the device is like.
    go_on: bool,
    /// Whether the kernel warns again of what it warns of once.
    warns_again: bool,
}

/// How a run of the driver and COMMAND ended.
#[derive(Debug)]
struct Round {
    ended: Ended,
    /// What was under way; `None` if nothing had begun, empty if all was done.
    during: Option<String>,
    /// COMMAND's status, if it came to its end.
    status: Option<i32>,
}

impl Round {
    fn is_fine(&self) -> bool {
        self.during.as_deref() == Some("")
            && self.status == Some(0)
            && !self.ended.late
            && !self.ended.remains
    }

    /// What is wrong with one that should have worked.
    fn wrong(&self) -> String {
        match (self.during.as_deref(), self.status) {
            (_, Some(status)) => format!("COMMAND ended with status {status}"),
            (Some("command"), None) if self.ended.late => "COMMAND ran past its time".into(),
            (Some("bind"), None) => "the driver could not be bound".into(),
            (Some("unbind"), None) => "the driver could not be unbound".into(),
            _ => "COMMAND did not run to its end".into(),
        }
    }
}

impl<'a> Experiments<'a> {
    pub(super) fn new(
        system: &'a System,
        args: &Harden,
        binding: &'a Binding,
        command: Vec<String>,
        seed: u64,
        folder: &Path,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, HardenError> {
        let trapline = std::env::current_exe().map_err(HardenError::own("find this program"))?;
        let mut device = vec!["--device".to_owned(), binding.device.clone(), "--quiet".into()];
        for file in &args.registers {
            device.extend(["--registers".into(), word(file)]);
        }
        // COMMAND may change its folder.
        let folder = fs::canonicalize(folder).map_err(HardenError::own("find the folder of the campaign"))?;
        let limit = args.limit.unwrap_or(FIRST);
        let (trapline, is_limit_given) = (word(&trapline), args.limit.is_some());
        let log = Log::from_now().map_err(HardenError::own("read the kernel log"))?;
        Ok(Self {
            binding,
            command,
            seed,
            limit,
            is_limit_given,
            device,
            registers: args.registers.clone(),
            trapline,
            folder,
            interrupted,
            system,
            log,
            resets: binding.can_reset(),
            is_trial: !args.rules.is_empty(),
            go_on: args.go_on,
            warns_again: true,
        })
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs the driver and COMMAND once, behind `before`.
    fn round(&self, before: Vec<String>) -> Result<Round, HardenError> {
        let stage = self.beside("stage");
        // Of the run before; there may be none.
        let _ = fs::remove_file(&stage);
        let words: Vec<String> =
            before.into_iter().chain(self.binding.round(&stage, &self.command)).collect();
        let ended = self.process(&words, self.interrupted)?;
        let told = fs::read_to_string(&stage).ok().map(|text| text.trim().to_owned());
        let status = told.as_ref().and_then(|told| told.strip_prefix("done ")?.parse().ok());
        let during = told.map(|told| if status.is_some() { String::new() } else { told });
        Ok(Round { ended, during, status })
    }

    fn process(&self, words: &[String], interrupted: &AtomicBool) -> Result<Ended, HardenError> {
        let output =
            File::create(self.beside("said")).map_err(HardenError::own("write what COMMAND says"))?;
        process::run(words, &output, self.limit, interrupted).map_err(HardenError::own("run COMMAND"))
    }

    /// The end of what the last run said.
    fn said(&self) -> String {
        let bytes = fs::read(self.beside("said")).unwrap_or_default();
        let from = bytes.len().saturating_sub(SAID);
        let text = String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).trim().to_owned();
        if text.is_empty() { "(nothing)".into() } else { text }
    }

    /// Has the driver unbound and the device reset.
    fn quiet(&self) -> Result<Quiet, HardenError> {
        let ended = self.process(&self.binding.quiet(self.resets), self.interrupted)?;
        Ok(Quiet::of(&ended))
    }

    /// The same before anything is injected: a device that can't be reset is none for resets.
    fn quiet_at_first(&mut self) -> Result<(), HardenError> {
        if self.quiet()? == Quiet::NoReset {
            self.resets = false;
            say!("{} can't be reset although it says so: its driver is only bound anew", self.binding.device);
        }
        Ok(())
    }

    /// That what was run without lies went wrong, or was interrupted.
    fn does_not_work(&self, round: &Round) -> HardenError {
        let (what, said) = (round.wrong(), self.said());
        self.restore();
        if self.is_interrupted() { HardenError::Interrupted } else { HardenError::Command { what, said } }
    }

    /// Whether it was said that all should end.
    pub(super) fn is_interrupted(&self) -> bool {
        // Relaxed: nothing else is read that was written before it.
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The first run, without lies: what the driver reads, and how long it took.
    pub(super) fn first(&mut self) -> Result<(Vec<Site>, Duration), HardenError> {
        let trace = self.beside("first.trace");
        self.quiet_at_first()?;
        let mut words = vec![self.trapline.clone(), "mmio".into()];
        words.extend(self.device.iter().cloned());
        words.extend(["--output".into(), word(&trace), "--".into()]);
        let round = self.round(words)?;
        if !round.is_fine() {
            return Err(self.does_not_work(&round));
        }
        // `trapline mmio` has told what is wrong with register files.
        let registers = load_registers(&self.registers).map(|loaded| loaded.registers);
        let registers = registers.unwrap_or_else(|_| Registers::none());
        let sites = reads::sites(&trace, &self.binding.device, &registers)?;
        if sites.is_empty() {
            self.restore();
            let (driver, device) = (self.binding.driver.clone(), self.binding.device.clone());
            return Err(HardenError::Reads { driver, device });
        }
        let took = round.ended.took;
        if !self.is_limit_given {
            self.limit = limit(took);
        }
        Ok((sites, took))
    }

    /// Has the device work without lies, in the second try at the latest; how long that took.
    pub(super) fn must_work(&mut self) -> Result<Duration, HardenError> {
        self.quiet_at_first()?;
        let mut round = self.round(Vec::new())?;
        if !round.is_fine() && !round.ended.remains && !self.is_interrupted() {
            self.quiet()?;
            round = self.round(Vec::new())?;
        }
        if round.is_fine() { Ok(round.ended.took) } else { Err(self.does_not_work(&round)) }
    }

    /// Whether the device works without lies.
    fn works(&self) -> Result<bool, HardenError> {
        for _ in 0..TRIES {
            if self.quiet()? == Quiet::Done {
                let round = self.round(Vec::new())?;
                if round.ended.remains {
                    return Ok(false);
                }
                if round.is_fine() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Has the kernel ready for the experiment of this number: the device quiet, its driver
    /// unbound. `false` if it was interrupted.
    fn prepare(&mut self, number: usize) -> Result<bool, HardenError> {
        let quiet = self.quiet()?;
        if self.is_interrupted() {
            return Ok(false);
        }
        if quiet != Quiet::Done && !self.go_on {
            let why = quiet.wrong(&self.binding.device);
            return Err(HardenError::Restart { why, may_go_on: true });
        }
        if self.warns_again && fs::write(self.system.path("sys/kernel/debug/clear_warn_once"), "1").is_err() {
            self.warns_again = false;
            say!("a warning that the kernel gives only once is seen in one experiment at most: no debugfs");
        }
        // Without it the log of a machine that dies is told all the same.
        let _ = log::mark(number);
        Ok(true)
    }

    /// Whether this kernel has oopsed.
    fn has_oopsed(&self) -> bool {
        super::has_oopsed(self.system)
    }

    /// Makes the experiment of this number; `None` if it was interrupted.
    pub(super) fn run(
        &mut self,
        number: usize,
        experiment: &Experiment,
    ) -> Result<Option<Outcome>, HardenError> {
        let trace = self.beside(TRACE);
        let _ = fs::remove_file(&trace);
        let had_oopsed = self.has_oopsed();
        if !self.prepare(number)? {
            return Ok(None);
        }
        let mut words = vec![self.trapline.clone(), "inject".into()];
        words.extend(self.device.iter().cloned());
        words.extend(experiment.rules.iter().cloned());
        words.extend(["--seed".into(), self.seed.to_string(), "--yes".into()]);
        words.extend(["--with-parent".into(), std::process::id().to_string()]);
        words.extend(["--output".into(), word(&trace), "--".into()]);
        let round = self.round(words)?;
        let Round { ended, during: Some(during), status } = round else {
            return self.not_begun(experiment, &round.ended);
        };
        if ended.interrupted {
            return Ok(None);
        }
        let begun = Instant::now();
        let mut log = self.log.read();
        let is_fine = status == Some(0) && during.is_empty() && !ended.late && !is_reported(&log);
        let works = match (ended.remains, is_fine) {
            (true, _) => None,
            (_, true) => Some(true),
            (..) => Some(self.works()?),
        };
        if self.is_interrupted() {
            return Ok(None);
        }
        log.push_str(&self.log.read());
        let Lies { count: lies, last, complete } = reads::lies(&trace);
        let oopsed = !had_oopsed && self.has_oopsed();
        let Ended { late, stuck, remains, took, .. } = ended;
        let seen = Seen { lies, complete, status, during, late, stuck, remains, works, oopsed, log, last };
        Ok(Some(judge(seen, &self.binding.module, took + begun.elapsed())))
    }

    /// What an experiment comes to in which not even the driver was bound.
    fn not_begun(&self, experiment: &Experiment, ended: &Ended) -> Result<Option<Outcome>, HardenError> {
        // It may have been told to end before it began.
        if ended.interrupted {
            return Ok(None);
        }
        if ended.late || ended.remains {
            let why = "trapline inject itself hangs on this machine".into();
            return Err(HardenError::Restart { why, may_go_on: false });
        }
        let said = self.said();
        let is_mistake = ended.status == Some(Exit::Usage as i32);
        if is_mistake && !self.is_trial {
            return Ok(Some(refused(said, ended.took)));
        }
        Err(HardenError::Experiment { rules: experiment.text(), said, is_mistake })
    }

    /// Leaves the driver bound, as it was found. It may have been lied to, and the device be in any
    /// state: all begins anew.
    pub(super) fn restore(&self) {
        // Also when we are told to end.
        let never = AtomicBool::new(false);
        // What fails here shows in the next step.
        let _ = self.process(&self.binding.quiet(self.resets), &never);
        let bound = self.process(&self.binding.bind(), &never);
        if bound.is_err() || !self.binding.is_bound() {
            let (driver, device) = (&self.binding.driver, &self.binding.device);
            say!("trapline: {driver} could not be bound to {device} again");
        }
    }
}

/// What came of unbinding the driver and resetting the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quiet {
    /// Both.
    Done,
    /// The driver is unbound, and the device can't be reset.
    NoReset,
    /// The driver could not be unbound.
    Bound,
}

impl Quiet {
    fn of(ended: &Ended) -> Self {
        match ended.status {
            Some(0) if !ended.remains => Self::Done,
            Some(Binding::NO_RESET) if !ended.remains => Self::NoReset,
            _ => Self::Bound,
        }
    }

    /// What is wrong with `device`.
    fn wrong(self, device: &str) -> String {
        match self {
            Self::NoReset => format!("{device} can't be reset any more"),
            _ => format!("{device} can't be unbound from its driver any more"),
        }
    }
}

#[cfg(test)]
mod tests;
