//! A page was open for a single step, when accesses of other CPUs pass unseen.
//!
//! JSON: `address`, `nanoseconds`. In mmiotrace's format it is a `MARK`, since an incomplete trace
//! must not look complete.

use std::io;

use serde::Serialize;

use super::{EventKind, access};
use crate::Event;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::mmiotrace::{Mappings, TextLine, hex};
use crate::report::{Completeness, Section, Seen, Shown, Texts};
use crate::json::Hex;
use crate::write::{Drawing, Line, MmiotraceLines, duration};

/// Other CPUs' accesses may have been missed while a page was open for a single step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Linear address of the page.
    pub address: u64,
    /// Nanoseconds that it was open.
    pub nanoseconds: u64,
}

#[derive(Serialize)]
struct Fields {
    address: Hex,
    nanoseconds: u64,
}

impl<'a> EventKind<'a> for Window {
    const NAME: &'static str = "window";
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let [address, nanoseconds, ..] = from.record.payload;
        Some(Self { address, nanoseconds })
    }

    fn cells(&self) -> Cells<'_> {
        Cells { address: Some(self.address), amount: Some(self.nanoseconds), ..Cells::default() }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self { address: row.address()?, nanoseconds: row.amount()? })
    }

    fn human(&self, _event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        let (address, open) = (self.address, duration(self.nanoseconds));
        line.alarm(&format!("POSSIBLY MISSED: page {address:#x} was open to other CPUs for {open}"))
    }

    fn json(&self) -> impl Serialize {
        Fields { address: Hex(self.address), nanoseconds: self.nanoseconds }
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name("POSSIBLY MISSED: a page was open");
        drawing.hex("page", self.address);
        drawing.number("open_ns", self.nanoseconds);
        drawing.on_cpu();
        drawing.on_markers();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { place: "POSSIBLY MISSED: a page was open".into(), ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        let (time, Self { address, nanoseconds }) = (lines.time, self);
        writeln!(lines.out, "MARK {time} possibly missed: page 0x{address:x} open for {nanoseconds} ns")
    }

    fn from_mmiotrace(line: &TextLine<'a>, _mappings: &mut Mappings) -> Option<(Self, u32)> {
        let (address, open) = line.mark()?.strip_prefix("possibly missed: page ")?.split_once(" open for ")?;
        let nanoseconds = open.strip_suffix(" ns")?.parse().ok()?;
        Some((Self { address: hex(address)?, nanoseconds }, 0))
    }

    fn count(&self, _seen: &Seen<'_>, tally: &mut Tally, _texts: &mut Texts) {
        tally.windows += 1;
    }
}

/// How often a page was open.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    windows: u64,
}

impl Tally {
    /// Times a page was open, of which the module counted `windows`.
    pub(crate) fn possibly_missed(&self, windows: u64) -> u64 {
        self.windows.max(windows)
    }
}

impl Section for Tally {
    fn completeness(&self, trace: &mut Completeness<'_>) {
        let missed = self.possibly_missed(trace.totals.windows);
        if missed > 0 || trace.is_of(access::Access::NAME) {
            trace.missing(missed, "possibly missed");
        }
        if missed > 0 {
            trace.alarm("THIS TRACE MAY NOT BE COMPLETE: pages were open for single steps, when accesses of other CPUs pass unseen.");
        }
    }
}
