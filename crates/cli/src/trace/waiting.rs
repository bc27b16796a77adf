//! When a trace ends, and what is waited for after it.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::command::Traced;

/// How often it is looked whether what is traced is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What may end a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// A signal came.
    Signal(i32),
    /// COMMAND has ended.
    CommandEnded,
    /// The only process that was asked for has ended.
    ProcessEnded,
    /// The output takes no more, or has as much as was asked for.
    OutputEnded,
}

/// When a trace of that length is over. `None` if it has no end of its own, or one later than this
/// machine's clock can tell.
pub(super) fn deadline(duration: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(duration?)
}

/// What we wait for while a trace runs, and after it for COMMAND.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    wake: &'a Receiver<Wake>,
    command: Option<&'a Traced>,
    signals: u32,
    last_signal: i32,
    command_ended: bool,
}

impl<'a> Waiting<'a> {
    /// For a trace of `command`, or until a signal.
    pub(crate) fn new(wake: &'a Receiver<Wake>, command: Option<&'a Traced>) -> Self {
        Self { wake, command, signals: 0, last_signal: 0, command_ended: false }
    }

    /// Returns when the trace is to end: COMMAND has, or the output, or the time is up; or a signal
    /// came, which with a COMMAND is passed on and only ends the trace the second time.
    ///
    /// Meanwhile it calls `look` once in a while.
    pub(crate) fn for_the_end(&mut self, deadline: Option<Instant>, mut look: impl FnMut()) {
        let mut next = Instant::now() + LOOK_EVERY;
        loop {
            let until = deadline.map_or(next, |deadline| deadline.min(next));
            let wake = match self.wake.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(wake) => wake,
                Err(RecvTimeoutError::Timeout) if deadline != Some(until) => {
                    look();
                    next = Instant::now() + LOOK_EVERY;
                    continue;
                }
                Err(_) => return,
            };
            let enough = if self.command.is_some() { 2 } else { 1 };
            self.note(wake);
            if !matches!(wake, Wake::Signal(_)) || self.signals >= enough {
                return;
            }
        }
    }

    /// Returns once COMMAND has ended, or when somebody is too impatient for that, with the signal
    /// that told so.
    pub(crate) fn for_the_command(&mut self) -> Option<i32> {
        while self.command.is_some() && !self.command_ended && self.signals < 2 {
            let Ok(wake) = self.wake.recv() else { break };
            self.note(wake);
        }
        (self.command.is_some() && !self.command_ended).then_some(self.last_signal)
    }

    fn note(&mut self, wake: Wake) {
        match wake {
            Wake::Signal(signal) => {
                self.signals += 1;
                self.last_signal = signal;
                if let (1, Some(command)) = (self.signals, self.command) {
                    command.pass_on(signal);
                }
            }
            Wake::CommandEnded => self.command_ended = true,
            Wake::ProcessEnded | Wake::OutputEnded => {}
        }
    }
}

#[cfg(test)]
mod tests;
