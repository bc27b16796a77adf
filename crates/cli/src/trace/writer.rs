//! Merges, names and writes what the pump brings, and keeps the sums for the summary.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use rustix::thread::gettid;
use trapline_abi::{Counters, FaultCounts, Flags, Kind};
use trapline_trace::{Bounds, Event, Header, Merge, Names, Registers, Sink, Summary, Totals, What};

use super::pump::{Backlog, Round};
use super::source::{Counted, Prepare};
use super::waiting::Wake;
use crate::output::Output;

/// What was counted in a session that was stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stopped {
    /// What the module counted in it.
    pub counters: Counters,
    /// What its sources did.
    pub sources: Counted,
}

/// The end of the pipeline.
pub(crate) struct Writer {
    merge: Merge,
    end: End,
}

/// What a finished trace leaves.
pub(crate) struct Finished {
    /// What it held.
    pub summary: Summary,
    /// What was counted.
    pub totals: Totals,
    /// What a watch of page faults counted, if there was one.
    pub faults: Option<FaultCounts>,
    /// Hits of code probes by ourselves, which are left out.
    pub own: u64,
    /// Events that are where they should be for sure.
    pub kept: u64,
    /// Whether no others are.
    pub exact: bool,
    /// How long the destination took, of how long there was something to do.
    pub writing: (Duration, Duration),
    /// Why the output took no more, if it did not.
    pub failure: Option<io::Error>,
}

impl Writer {
    /// For a session with so many `rings`; `live` counts the events.
    pub(crate) fn new(rings: usize, names: Names, output: Output, live: ProgressBar) -> Self {
        let end = End {
            names,
            output,
            summary: Summary::default(),
            own: 0,
            live,
            flushed: 0,
            failure: None,
            left: u64::MAX,
            prepare: Vec::new(),
            working: Duration::ZERO,
        };
        Self { merge: Merge::new(rings), end }
    }

    /// Of a trace with this header: understands the hits of its probes, and sums up what it was
    /// asked for, with what is known of its devices' registers.
    pub(crate) fn with_header(self, header: &Header, registers: &Registers) -> Self {
        let names = Names::new(&header.devices, registers, None).with_spaces(header);
        let end = End { summary: Summary::new(header).with_names(names), ..self.end };
        Self { merge: self.merge.with_probes(&header.probes), end }
    }

    /// Tells with each page fault how long it took, if that is asked for.
    pub(crate) fn with_latency(mut self, latency: bool) -> Self {
        if latency {
            self.merge = self.merge.with_latency();
        }
        self
    }

    /// Tells with each call of an interrupt's handler how it ended, if there are any.
    pub(crate) fn with_handlers(mut self, handlers: bool) -> Self {
        if handlers {
            self.merge = self.merge.with_handlers();
        }
        self
    }

    /// Holds back no more than so many records for the sake of their order.
    pub(crate) fn with_room(mut self, records: usize) -> Self {
        self.merge = self.merge.with_bounds(Bounds { records, ..Bounds::default() });
        self
    }

    /// Writes no more than so many events.
    pub(crate) fn with_limit(mut self, limit: Option<u64>) -> Self {
        self.end.left = limit.unwrap_or(u64::MAX);
        self
    }

    /// Has each event pass through these first, one after the other.
    pub(crate) fn with_prepare(mut self, prepare: Vec<Box<dyn Prepare + Send>>) -> Self {
        self.end.prepare = prepare;
        self
    }

    /// Takes rounds until there are no more.
    ///
    /// When the output fails or has as much as was asked for, `wake` is told, and what comes after
    /// is dropped: the rings must be emptied all the same.
    pub(crate) fn receive(&mut self, rounds: &Receiver<Round>, backlog: &Backlog, wake: &Sender<Wake>) {
        let mut flushed = Instant::now();
        let own = gettid().as_raw_nonzero().get().cast_unsigned();
        loop {
            let first = match rounds.recv_timeout(self.end.output.flush_every) {
                Ok(round) => Some(round),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let began = Instant::now();
            let (mut looked, mut taken) = (false, 0);
            // Whether somebody else did anything: refreshing the names may hit a probe itself, and
            // must not go round.
            let mut foreign = false;
            for (cpu, (records, idle)) in
                first.into_iter().chain(rounds.try_iter()).flat_map(|round| round.into_iter().enumerate())
            {
                for prepare in &mut self.end.prepare {
                    prepare.ahead(&records);
                }
                self.merge.push(cpu, &records, idle);
                looked = true;
                foreign |= records.iter().any(|record| record.kind != Kind::More as u8 && record.task != own);
                taken += records.len();
            }
            let wanted = self.end.takes_more();
            if foreign {
                // After the records were taken and before they are named: a module whose code made
                // one of them is in the list by now. If the list can't be read the names are as
                // before, which is all there is to do about it.
                let _ = self.end.names.refresh();
            }
            let Ok(()) = match looked {
                true => self.merge.release(|event| self.end.event(event)),
                false => self.merge.release_overdue(|event| self.end.event(event)),
            };
            // What the merge still holds back is not counted here: it has bounds of its own.
            backlog.written(taken);
            if flushed.elapsed() >= self.end.output.flush_every {
                self.end.attempt(|sink| sink.flush());
                flushed = Instant::now();
            }
            self.end.working += began.elapsed();
            if wanted && !self.end.takes_more() {
                // Nobody listens any more if the trace is about to end anyway.
                let _ = wake.send(Wake::OutputEnded);
            }
        }
    }

    /// Ends the trace: writes what the merge still held and what was `counted` in the session.
    ///
    /// Without that (the module did not say) the end is left out of the trace, so that it reads as
    /// cut off.
    pub(crate) fn finish(self, counted: Option<&Stopped>) -> Finished {
        let Self { mut merge, mut end } = self;
        let Ok(()) = merge.finish(|event| end.event(event));
        let Stopped { counters, sources } = counted.copied().unwrap_or_default();
        let totals = Totals {
            probes: sources.probes,
            config_missed: sources.config_missed,
            ports_missed: sources.ports_missed,
            ports_refused: sources.ports_refused,
            dma_missed: sources.dma_missed,
            dma_pieces_missed: sources.dma_pieces_missed,
            lifecycle_missed: sources.lifecycle_missed,
            log_missed: sources.log_missed,
            ..Totals::new(&counters, &merge)
        };
        match counted {
            Some(_) => end.attempt(|sink| sink.end(&totals)),
            None => end.attempt(|sink| sink.cut()),
        }
        end.live.finish_and_clear();
        end.summary.end(&totals);
        let exact = end.output.exact || end.failure.is_none();
        let kept = if exact { end.output.sink.kept() } else { end.flushed };
        Finished {
            summary: end.summary,
            totals,
            faults: sources.faults,
            own: end.own,
            kept,
            exact,
            writing: (end.output.busy.took(), end.working),
            failure: end.failure,
        }
    }
}

/// Whether `event` is a hit that we caused ourselves: by reading and writing what hits are told
/// with. An interrupt that came meanwhile is none of ours.
fn is_own(event: &Event<'_>) -> bool {
    matches!(&event.what, What::Hit(hit) if event.tgid == std::process::id() && !hit.flags.has(Flags::INTERRUPT))
}

/// What every event goes to.
struct End {
    names: Names,
    output: Output,
    summary: Summary,
    own: u64,
    live: ProgressBar,
    /// Events that had been written when the sink was last flushed.
    flushed: u64,
    failure: Option<io::Error>,
    /// Events that are still wanted.
    left: u64,
    prepare: Vec<Box<dyn Prepare + Send>>,
    /// How long there was something to do.
    working: Duration,
}

impl End {
    fn takes_more(&self) -> bool {
        self.failure.is_none() && self.left > 0
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Infallible> {
        if is_own(&event) {
            self.own += 1;
        } else if self.takes_more() {
            let mut prepared = event;
            for prepare in &mut self.prepare {
                let Some(event) = prepare.prepare(prepared) else { return Ok(()) };
                prepared = event;
            }
            self.left -= 1;
            let event = self.names.name(prepared);
            self.summary.add(&event);
            self.failure = self.output.sink.event(&event).err();
            self.live.inc(1);
        }
        Ok(())
    }

    /// Flushes or ends the sink, unless it has failed before.
    fn attempt(&mut self, action: impl FnOnce(&mut dyn Sink) -> io::Result<()>) {
        if self.failure.is_none() {
            match action(self.output.sink.as_mut()) {
                Ok(()) => self.flushed = self.output.sink.kept(),
                Err(error) => self.failure = Some(error),
            }
        }
    }
}
