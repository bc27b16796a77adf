//! Perfetto's trace format, for <https://ui.perfetto.dev> and its trace processor: a track for each
//! CPU, each task and each register of a device, polling loops and page faults as slices, values as
//! arguments and as counters, arrows from doorbells to what answers them.
//!
//! It is a sequence of `TrackEvent` packets (protocol buffers), written as events come: what is
//! kept is one polling loop a CPU, and the names and tracks that there were. A loop's packets come
//! after those of other CPUs that are later; trace processor sorts by time. The clock is that of
//! the trace, the kernel log's.
//!
//! What a kind of event is on a timeline, its module in [`kinds`](crate::kinds) says.

mod drawing;
mod flow;
pub(crate) mod proto;
mod sequence;

use std::io::{self, Write};

use super::Sink;
use super::text::grouped;
use crate::kinds::access::Poll;
use crate::{Event, Names, Totals};
use drawing::Figure;
pub(crate) use drawing::{Drawing, register};
use flow::{Flow, Flows};
use proto::{TrackEvent, Type};
use sequence::Sequence;

/// Bytes gathered before they are handed on.
const BUFFER: usize = 256 << 10;

/// Writes Perfetto's trace format.
pub struct Perfetto<W> {
    out: W,
    sequence: Sequence,
    flows: Flows,
    /// By CPU, a read to which equal ones may be added.
    polls: Vec<Option<Polling>>,
    /// Time of the last event.
    last: u64,
    /// Records that events have told to be lost.
    lost: u64,
    events: u64,
    kept: u64,
}

/// Equal reads.
struct Polling {
    read: Poll,
    figure: Figure,
    first: u64,
    last: u64,
    count: u64,
}

impl<W: Write> Perfetto<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        let (sequence, flows) = (Sequence::new(), Flows::default());
        Self { out, sequence, flows, polls: Vec::new(), last: 0, lost: 0, events: 0, kept: 0 }
    }

    /// With arrows from doorbells to what answers them, as the register files in `names` tell.
    pub fn with_answers(mut self, names: Names) -> Self {
        self.flows = Flows::new(names);
        self
    }

    /// Hands on what is encoded.
    fn hand_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.sequence.bytes)?;
        self.sequence.bytes.clear();
        self.kept = self.events;
        Ok(())
    }

    /// Ends all polling loops.
    fn close(&mut self) {
        for polling in self.polls.iter_mut().filter_map(Option::take) {
            polling.write(&mut self.sequence);
        }
    }
}

impl Polling {
    fn write(self, sequence: &mut Sequence) {
        self.figure.write(sequence, self.first, self.last, self.count);
    }
}

impl<W: Write> Sink for Perfetto<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.events += 1;
        self.last = event.time;
        self.lost = self.lost.saturating_add(event.what.lost());
        let cpu = usize::from(event.cpu);
        if self.polls.len() <= cpu {
            self.polls.resize_with(cpu + 1, || None);
        }
        let (read, flow) = (Poll::of(event), self.flows.at(event, &mut self.sequence));
        // An answer is told from equal reads before it.
        let is_answer = matches!(flow, Some(Flow::Ends(_)));
        match self.polls[cpu].take() {
            Some(mut polling) if Some(polling.read) == read && !is_answer => {
                polling.count += 1;
                polling.last = event.time;
                self.polls[cpu] = Some(polling);
                return Ok(());
            }
            Some(polling) => polling.write(&mut self.sequence),
            None => {}
        }
        let figure = Figure::default().with_flow(flow);
        let mut drawing = Drawing { sequence: &mut self.sequence, event, figure };
        event.draw(&mut drawing);
        let (figure, time) = (drawing.figure, event.time);
        match read {
            Some(read) => {
                self.polls[cpu] = Some(Polling { read, figure, first: time, last: time, count: 1 });
            }
            None => figure.write(&mut self.sequence, time, time, 1),
        }
        if self.sequence.bytes.len() < BUFFER { Ok(()) } else { self.hand_on() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()?;
        self.out.flush()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        // Those after which nothing was written have no record of their own.
        if let lost @ 1.. = totals.dropped.saturating_sub(self.lost) {
            let name = Some(format!("LOST {} more records", grouped(lost)));
            let track = self.sequence.markers();
            let event = TrackEvent { name, ..TrackEvent::default() };
            self.sequence.event(self.last, track, Type::Instant, event);
        }
        self.cut()
    }

    fn cut(&mut self) -> io::Result<()> {
        self.close();
        self.flush()
    }

    fn kept(&self) -> u64 {
        self.kept
    }
}

#[cfg(test)]
mod tests;
