//! One trace, from START to the last record: what is armed, who moves records, and when it ends.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use trapline_abi::{Counters, RingGeometry, SessionKind, WATCH_READS, WATCH_WRITES, Watch, WatchError};
use trapline_trace::ProbeTotals;

use crate::command::Traced;
use crate::device::Control;
use crate::error::{Error, Result};
use crate::pump::{Backlog, Source, pump};
use crate::system::System;
use crate::targets::Target;
use crate::units::format_size;
use crate::writer::Writer;

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

/// Which accesses are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directions(u32);

impl Directions {
    /// As asked for by `--reads` and `--writes`; neither means both.
    pub(crate) fn new(reads: bool, writes: bool) -> Self {
        match (reads, writes) {
            (true, false) => Self(WATCH_READS),
            (false, true) => Self(WATCH_WRITES),
            _ => Self(WATCH_READS | WATCH_WRITES),
        }
    }
}

/// What was counted in a session that was stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stopped {
    /// What the module counted in it.
    pub counters: Counters,
    /// What its code probes did.
    pub probes: ProbeTotals,
}

/// Starts a session of this `kind` with `buffer` bytes of records on each CPU.
pub(crate) fn start(
    control: &impl Control,
    system: &System,
    kind: SessionKind,
    buffer: u64,
) -> Result<RingGeometry> {
    let is_busy = |source: &io::Error| source.raw_os_error() == Some(Errno::BUSY.raw_os_error());
    control.start(kind, buffer).map_err(|source| match control.info() {
        _ if kind == SessionKind::Faults && is_busy(&source) => Error::FaultsTaken,
        Ok(info) if is_busy(&source) => {
            Error::Busy { owner: info.session, name: system.command_name(info.session) }
        }
        _ => Error::Start { buffer: format_size(buffer), source },
    })
}

/// Watches `target`; what the module found of it.
pub(crate) fn watch(control: &impl Control, target: &Target, Directions(flags): Directions) -> Result<Watch> {
    let range = target.range;
    let mut watch = Watch { physical: range.physical, length: range.length, flags, ..Watch::default() };
    match control.watch(&mut watch) {
        Ok(()) => Ok(watch),
        Err(source) => Err(Error::Watch {
            target: target.name(),
            reason: WatchError::from_code(watch.error),
            failed_at: watch.failed_at,
            source,
        }),
    }
}

/// Moves records from `sources` to `writer` until `wait` returns, then stops the session and moves the rest.
///
/// When it returns nothing is armed, and the writer has everything but what its merge still holds. Gives what the module
/// counted in the session.
pub(crate) fn run<C: Control, S: Source + Send>(
    control: &C,
    sources: &mut [S],
    backlog: &Backlog,
    writer: &mut Writer,
    wake: Sender<Wake>,
    wait: impl FnOnce(),
) -> io::Result<Counters> {
    thread::scope(|scope| {
        let (rounds, received) = channel();
        scope.spawn(move || pump(sources, backlog, &rounds));
        scope.spawn(move || writer.receive(&received, backlog, &wake));
        wait();
        let counters = control.stop();
        // Also when it failed: the rings are read to their end, and closing the device ends the session for sure.
        backlog.stop();
        counters
    })
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

    /// Returns when the trace is to end: COMMAND has, or the output, or the time is up; or a signal came, which with a COMMAND is passed on
    /// and only ends the trace the second time.
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

    /// Returns once COMMAND has ended, or when somebody is too impatient for that, with the signal that told so.
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
