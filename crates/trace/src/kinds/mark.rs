//! A person's marker.
//!
//! JSON: `text`.

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use super::EventKind;
use crate::Event;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::mmiotrace::{Mappings, TextLine};
use crate::report::Shown;
use crate::write::{Drawing, Line, MmiotraceLines, printable};

/// A report says nothing of markers.
pub(crate) type Tally = ();

/// A marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark<'a> {
    /// Its text, without a line end.
    pub text: Cow<'a, str>,
}

impl<'a> EventKind<'a> for Mark<'a> {
    const NAME: &'static str = "mark";

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let length = usize::from(from.record.width).min(from.bytes.len());
        Some(Self { text: String::from_utf8_lossy(&from.bytes[..length]) })
    }

    fn cells(&self) -> Cells<'_> {
        Cells { text: Some(&self.text), ..Cells::default() }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self { text: Cow::Borrowed(row.text()?) })
    }

    fn human(&self, _event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        line.note(&format!("mark: {}", printable(&self.text)))
    }

    fn json(&self) -> impl Serialize {
        self
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.text_as_name(&self.text);
        drawing.on_markers();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { place: self.text.as_ref().into(), ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        writeln!(lines.out, "MARK {} {}", lines.time, printable(&self.text))
    }

    fn from_mmiotrace(line: &TextLine<'a>, _mappings: &mut Mappings) -> Option<(Self, u32)> {
        Some((Self { text: line.mark()?.into() }, 0))
    }
}
