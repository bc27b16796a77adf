//! Records that could not be written, where they are missing.
//!
//! JSON: `count`.

use std::io;

use serde::Serialize;

use super::EventKind;
use crate::Event;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::mmiotrace::{Mappings, TextLine};
use crate::report::{Completeness, Section, Seen, Shown, Texts};
use crate::write::{Drawing, Line, MmiotraceLines, grouped};

/// So many records could not be written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// How many.
    pub count: u64,
}

impl<'a> EventKind<'a> for Lost {
    const NAME: &'static str = "lost";

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        Some(Self { count: from.record.payload[0] })
    }

    fn cells(&self) -> Cells<'_> {
        Cells { amount: Some(self.count), ..Cells::default() }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self { count: row.amount()? })
    }

    fn human(&self, _event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        line.alarm(&format!("LOST {} records here: the ring was full", grouped(self.count)))
    }

    fn json(&self) -> impl Serialize {
        self
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name("LOST records");
        drawing.number("records", self.count);
        drawing.on_cpu();
        drawing.on_markers();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { place: "LOST records: the ring was full".into(), ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        writeln!(lines.out, "MARK 0.000000 Lost {} events.", self.count)
    }

    fn from_mmiotrace(line: &TextLine<'a>, _mappings: &mut Mappings) -> Option<(Self, u32)> {
        let count = line.mark()?.strip_prefix("Lost ")?.strip_suffix(" events.")?.parse().ok()?;
        Some((Self { count }, 0))
    }

    fn lost(&self) -> u64 {
        self.count
    }

    fn count(&self, _seen: &Seen<'_>, tally: &mut Tally, _texts: &mut Texts) {
        tally.lost = tally.lost.saturating_add(self.count);
    }
}

/// Records that events tell to be lost.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    lost: u64,
}

impl Tally {
    /// Records that were not written, of which the module counted `dropped`: the last ones have no
    /// event.
    pub(crate) fn dropped(&self, dropped: u64) -> u64 {
        self.lost.max(dropped)
    }
}

impl Section for Tally {
    fn completeness(&self, trace: &mut Completeness<'_>) {
        let dropped = self.dropped(trace.totals.dropped);
        trace.missing(dropped, "dropped");
        if dropped > 0 {
            trace.alarm("THIS TRACE IS NOT COMPLETE: a ring was full. Trace again with a larger --buffer or less to record.");
        }
    }
}
