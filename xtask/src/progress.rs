//! What set-up is doing, for the person who waits: a spinner on a terminal, plain lines in a log.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One step of set-up in progress. Dropping it takes the spinner away.
pub struct Step {
    bar: ProgressBar,
}

impl Step {
    /// Starts a step and shows its name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        if !std::io::stderr().is_terminal() {
            eprintln!("xtask: {name}");
            return Self { bar: ProgressBar::hidden() };
        }
        let style =
            ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is well formed");
        let bar = ProgressBar::new_spinner().with_style(style).with_message(name);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Says what is done now.
    pub fn tell(&self, what: &str) {
        if self.bar.is_hidden() {
            eprintln!("xtask: {what}");
        } else {
            self.bar.set_message(what.to_owned());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
