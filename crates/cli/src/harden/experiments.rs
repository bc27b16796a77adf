//! Experiments on this machine: each a process of `trapline` that traces or injects while the
//! driver is bound, COMMAND runs, and the driver is unbound.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::binding::Binding;
use super::experiment::{Experiment, Site};
use super::log::Log;
use super::outcome::{Outcome, Seen, judge};
use super::process::{self, Ended};
use super::{HardenError, reads, word};
use crate::args::Harden;
use crate::exit::Exit;
use crate::say::say;

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
    trapline: String,
    /// Where the trace, what was said and what is under way are.
    folder: PathBuf,
    interrupted: &'a AtomicBool,
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
        Ok(Self { binding, command, seed, limit, is_limit_given, device, trapline, folder, interrupted })
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

    /// Has the driver unbound and the device reset; whether that went well.
    fn quiet(&self) -> Result<bool, HardenError> {
        let ended = self.process(&self.binding.quiet(), self.interrupted)?;
        Ok(ended.status == Some(0) && !ended.remains)
    }

    /// The first run, without lies: what the driver reads, and how long it took.
    pub(super) fn first(&mut self) -> Result<(Vec<Site>, Duration), HardenError> {
        let trace = self.beside("first.trace");
        self.quiet()?;
        let mut words = vec![self.trapline.clone(), "mmio".into()];
        words.extend(self.device.iter().cloned());
        words.extend(["--output".into(), word(&trace), "--".into()]);
        let round = self.round(words)?;
        if !round.is_fine() {
            let (what, said) = (round.wrong(), self.said());
            self.restore();
            return Err(HardenError::Command { what, said });
        }
        let sites = reads::sites(&trace)?;
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

    /// Has the device work without lies; how long that took.
    pub(super) fn must_work(&self) -> Result<Duration, HardenError> {
        self.quiet()?;
        let round = self.round(Vec::new())?;
        if round.is_fine() {
            return Ok(round.ended.took);
        }
        let (what, said) = (round.wrong(), self.said());
        self.restore();
        Err(HardenError::Command { what, said })
    }

    /// Whether the device works without lies; `None` if something that still runs forbids trying.
    fn works(&self) -> Result<Option<bool>, HardenError> {
        for _ in 0..TRIES {
            if self.quiet()? {
                let round = self.round(Vec::new())?;
                if round.ended.remains {
                    return Ok(Some(false));
                }
                if round.is_fine() {
                    return Ok(Some(true));
                }
            }
        }
        Ok(Some(false))
    }

    /// Makes an experiment; `None` if it was interrupted.
    pub(super) fn run(&self, experiment: &Experiment) -> Result<Option<Outcome>, HardenError> {
        let trace = self.beside(TRACE);
        let _ = fs::remove_file(&trace);
        let mut log = Log::from_now().map_err(HardenError::own("read the kernel log"))?;
        let mut words = vec![self.trapline.clone(), "inject".into()];
        words.extend(self.device.iter().cloned());
        words.extend(experiment.rules.iter().cloned());
        words.extend(["--seed".into(), self.seed.to_string(), "--yes".into()]);
        words.extend(["--with-parent".into(), std::process::id().to_string()]);
        words.extend(["--output".into(), word(&trace), "--".into()]);
        let round = self.round(words)?;
        let Round { ended, during: Some(during), status } = round else {
            // It may have been told to end before it began.
            if round.ended.interrupted {
                return Ok(None);
            }
            if round.ended.late || round.ended.remains {
                let why = "trapline inject itself hangs on this machine".into();
                return Err(HardenError::Restart { why, may_go_on: false });
            }
            let (rules, said) = (experiment.text(), self.said());
            self.restore();
            let is_mistake = round.ended.status == Some(Exit::Usage as i32);
            return Err(HardenError::Experiment { rules, said, is_mistake });
        };
        if ended.interrupted {
            return Ok(None);
        }
        let begun = Instant::now();
        let is_fine = status == Some(0) && during.is_empty() && !ended.late && !ended.remains;
        let works = match (is_fine, ended.remains) {
            (true, _) => Some(true),
            (_, true) => None,
            (..) => self.works()?,
        };
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (lies, last) = reads::lies(&trace);
        let Ended { late, stuck, remains, took, .. } = ended;
        let seen = Seen { lies, status, during, late, stuck, remains, works, log: log.read(), last };
        Ok(Some(judge(seen, &self.binding.module, took + begun.elapsed())))
    }

    /// Leaves the driver bound, as it was found.
    pub(super) fn restore(&self) {
        if self.binding.is_bound() {
            return;
        }
        // Also when we are told to end.
        let bound = self.process(&self.binding.bind(), &AtomicBool::new(false));
        if bound.is_err() || !self.binding.is_bound() {
            let (driver, device) = (&self.binding.driver, &self.binding.device);
            say!("trapline: {driver} could not be bound to {device} again");
        }
    }
}
