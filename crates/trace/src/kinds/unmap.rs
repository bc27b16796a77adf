//! A mapping is gone.
//!
//! JSON: `mapping`.

use std::io;

use serde::Serialize;

use super::{EventKind, access};
use crate::Event;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::mmiotrace::{Mappings, TextLine};
use crate::report::Shown;
use crate::write::{Drawing, Line, MmiotraceLines};

/// A report says nothing of mappings that go.
pub(crate) type Tally = ();

/// The mapping with this number is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unmap {
    /// Its number.
    pub mapping: u32,
}

impl<'a> EventKind<'a> for Unmap {
    const NAME: &'static str = "unmap";
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    /// The mapping stays known: a late access may still name it, and numbers are not used again.
    fn decode(from: Gathered<'a>) -> Option<Self> {
        Some(Self { mapping: from.record.mapping })
    }

    fn cells(&self) -> Cells<'_> {
        Cells { mapping: Some(self.mapping), ..Cells::default() }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self { mapping: row.mapping()? })
    }

    fn human(&self, _event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        line.note(&format!("unmapped, mapping {}", self.mapping))
    }

    fn json(&self) -> impl Serialize {
        self
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name("unmap");
        drawing.number("mapping", self.mapping.into());
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { place: format!("unmapped, mapping {}", self.mapping).into(), ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        writeln!(lines.out, "UNMAP {} {} 0x0 0", lines.time, self.mapping)
    }

    fn from_mmiotrace(line: &TextLine<'a>, _mappings: &mut Mappings) -> Option<(Self, u32)> {
        let mut words = (line.keyword == "UNMAP").then(|| line.words())?;
        let mapping = words.decimal()?;
        let (_, pid) = words.origin()?;
        Some((Self { mapping }, pid))
    }
}
