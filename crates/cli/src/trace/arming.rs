//! How sources are armed: what is said meanwhile, and that a signal ends it.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::refusal::Refusal;
use crate::say::say;

/// How long it may take before something is said about it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the counter is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// How sources are armed.
#[derive(Debug)]
pub(crate) struct Arming {
    /// Whether what is armed is not said.
    pub quiet: bool,
    /// Whether a signal has come that asks us to end.
    interrupted: Arc<AtomicBool>,
}

impl Arming {
    /// Until `interrupted` is set.
    pub(super) fn new(quiet: bool, interrupted: Arc<AtomicBool>) -> Self {
        Self { quiet, interrupted }
    }

    /// For a source that has so many functions to probe one after the other.
    pub(crate) fn progress(&self, all: usize) -> Progress<'_> {
        Progress { arming: self, all, done: 0, begun: Instant::now(), bar: None }
    }
}

/// How far a source is.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    arming: &'a Arming,
    all: usize,
    done: usize,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Progress<'_> {
    /// Before each function: says, if it takes long, how many are probed already.
    ///
    /// # Errors
    /// A signal has come. What is armed by then goes with the session.
    pub(crate) fn step(&mut self) -> Result<(), Refusal> {
        // Relaxed: nothing else is read that was written before it. With one function there is
        // nothing to end early, and the trace ends by itself.
        if self.done > 0 && self.arming.interrupted.load(Ordering::Relaxed) {
            return Err(Refusal::Interrupted { done: self.done, all: self.all });
        }
        if self.bar.is_none() && !self.arming.quiet && self.begun.elapsed() >= PATIENCE {
            self.bar = Some(self.shown());
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done as u64);
        }
        self.done += 1;
        Ok(())
    }

    fn shown(&self) -> ProgressBar {
        if !io::stderr().is_terminal() {
            say!(
                "trapline: {} of {} functions are probed, and the others are about to be",
                self.done,
                self.all
            );
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{spinner} {pos} of {len} functions are probed ({elapsed})");
        let bar = ProgressBar::new(self.all as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(DRAW_EVERY);
        bar
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// With nothing said; interrupted from the start or not at all.
    pub(crate) fn quietly(interrupted: bool) -> Arming {
        Arming::new(true, Arc::new(AtomicBool::new(interrupted)))
    }

    #[test]
    fn a_signal_ends_the_arming_of_several_and_not_that_of_one() {
        let arming = quietly(true);
        assert!(arming.progress(1).step().is_ok());
        let mut progress = arming.progress(2);
        assert!(progress.step().is_ok());
        let error = progress.step().unwrap_err().to_string();
        assert!(error.starts_with("ended by a signal when 1 of 2 functions were probed"), "{error}");
        let arming = quietly(false);
        let mut progress = arming.progress(100);
        assert!((0..100).all(|_| progress.step().is_ok()));
    }
}
