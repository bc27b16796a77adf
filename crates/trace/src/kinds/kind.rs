//! What a kind of event has to say for itself.

use std::io;

use serde::Serialize;
use trapline_abi::Record;

use crate::file::{Cells, Row};
use crate::merge::{Gathered, Known};
use crate::mmiotrace::{Mappings, TextLine};
use crate::report::{Section, Seen, Shown, Texts, Touch};
use crate::write::{Drawing, Line, MmiotraceLines};
use crate::{Event, Names};

/// A kind of event. `'a` is how long the texts live that it borrows.
pub(crate) trait EventKind<'a>: Sized {
    /// What it is called in files and in JSON.
    const NAME: &'static str;

    /// What its columns are for a person, if it has columns: written once, before the first of all
    /// those that have the same.
    const TITLE: Option<&'static str> = None;

    /// What a report counts of it.
    type Tally: Section;

    /// Keeps what later records need of this one.
    fn learn(_record: &Record, _known: &mut Known) {}

    /// What a record with its continuations tells of; `None` if it makes no sense.
    fn decode(from: Gathered<'a>) -> Option<Self>;

    /// With all names that are known.
    fn named(self, _names: &'a Names) -> Self {
        self
    }

    /// Its cells in a file.
    fn cells(&self) -> Cells<'_>;

    /// Back from its cells; `None` if they make no sense.
    fn from_row(row: &Row<'_, 'a>) -> Option<Self>;

    /// Appends what a person reads to `line`, behind time and CPU.
    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result;

    /// Its fields in JSON, behind those that all events have.
    fn json(&self) -> impl Serialize;

    /// Writes its lines in mmiotrace's format, or refuses to.
    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()>;

    /// What a line in mmiotrace's format tells of, and in which thread, 0 if that is not told;
    /// `None` if the line is none of its own or makes no sense.
    fn from_mmiotrace(_line: &TextLine<'a>, _mappings: &mut Mappings) -> Option<(Self, u32)> {
        None
    }

    /// Draws it on a timeline.
    fn draw(&self, drawing: &mut Drawing<'_>);

    /// What it is on the timeline of a page; `None` of what a report does not count.
    fn shown(&self) -> Option<Shown<'_>>;

    /// What code touched of a device by it, if it is such an event.
    fn touch(&self) -> Option<Touch<'_>> {
        None
    }

    /// Records that it tells to be lost.
    fn lost(&self) -> u64 {
        0
    }

    /// Counts it for a report.
    fn count(&self, _seen: &Seen<'_>, _tally: &mut Self::Tally, _texts: &mut Texts) {}
}
