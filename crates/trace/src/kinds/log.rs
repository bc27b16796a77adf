//! A line of the kernel log, whoever wrote it.
//!
//! JSON: `text`, `cut` (if something is missing of the line: so many bytes), `flags`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{Flags, LogLength, MAX_LOG_LINE};

use super::EventKind;
use crate::Event;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::report::{Activity, Completeness, Page, Section, Seen, Shown, Texts, counted};
use crate::write::{DIM, Drawing, FlagNames, LOG, Line, MmiotraceLines, printable, task};

/// Where in a record's payload the bytes of the line begin.
const TEXT: usize = 16;

/// Letters of a line by which it is named on a timeline.
const NAME_LENGTH: usize = 80;

/// What the flags are called.
const FLAGS: &[(u8, &str)] = &[(Flags::INTERRUPT, "interrupt")];

/// How a report calls them.
const UNIT: &str = "lines";

/// The lines of the kernel log are recorded: all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {}

/// A line of the kernel log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// What was recorded of it, without a line end. It may hold anything, also what a terminal
    /// would obey.
    pub text: Cow<'a, str>,
    /// Bytes of the line that were not recorded.
    pub cut: u32,
    /// Only [`Flags::INTERRUPT`] is used.
    pub flags: Flags,
}

impl LogLine<'_> {
    /// How it begins.
    fn name(&self) -> Cow<'_, str> {
        match self.text.char_indices().nth(NAME_LENGTH) {
            Some((at, _)) => Cow::Owned(format!("{}…", &self.text[..at])),
            None => Cow::Borrowed(&self.text),
        }
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<u32>,
    flags: FlagNames,
}

impl<'a> EventKind<'a> for LogLine<'a> {
    const NAME: &'static str = "log";

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let LogLength { recorded, whole } = LogLength::from_word(from.record.payload[0]);
        let length = usize::try_from(recorded).ok().filter(|length| *length <= MAX_LOG_LINE)?;
        if !from.is_whole {
            return None;
        }
        let cut = whole.checked_sub(recorded)?;
        let bytes = from.bytes.get(TEXT..TEXT + length)?;
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let flags = Flags(from.record.flags & Flags::INTERRUPT);
        Some(Self { text: String::from_utf8_lossy(line), cut, flags })
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            text: Some(&self.text),
            amount: (self.cut > 0).then(|| self.cut.into()),
            flags: Some(self.flags),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        let cut = row.amount().map_or(Some(0), |cut| cut.try_into().ok())?;
        Some(Self { text: Cow::Borrowed(row.text()?), cut, flags: row.flags()? })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        line.paint(LOG, &format!("LOG   {}", printable(&self.text)))?;
        if self.cut > 0 {
            line.note(&format!(" … ({})", counted(self.cut.into(), "byte more", "bytes more")))?;
        }
        if event.has_task() {
            line.write_str("  ")?;
            line.paint(DIM, &task(event))?;
        }
        if self.flags.has(Flags::INTERRUPT) {
            line.write_str("  ")?;
            line.note("in an interrupt")?;
        }
        Ok(())
    }

    fn json(&self) -> impl Serialize {
        Fields {
            text: &self.text,
            cut: (self.cut > 0).then_some(self.cut),
            flags: FlagNames(self.flags, FLAGS),
        }
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.text_as_name(&self.name());
        // The first argument is told on each track, so it is not the text, which is long.
        drawing.origin(None, 0);
        drawing.text("text", &self.text);
        if self.cut > 0 {
            drawing.number("cut", self.cut.into());
        }
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { place: self.text.as_ref().into(), ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused("lines of the kernel log"))
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.activity.add(seen.event, None, 0, texts);
    }
}

/// How many there were, and who wrote them. What they say is not judged.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
}

impl Tally {
    /// Lines.
    pub(crate) fn lines(&self) -> u64 {
        self.activity.events()
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        LogLine::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        counted(self.lines(), "line of the kernel log", "lines of the kernel log")
    }

    fn completeness(&self, trace: &mut Completeness<'_>) {
        let missed = trace.totals.log_missed;
        if missed > 0 {
            trace.missing(missed, "lines of the kernel log missed");
            trace.alarm("THIS TRACE IS NOT COMPLETE: lines of the kernel log that were written inside of another probe's handler, or too many at once, are only counted.");
        }
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        // By task alone: which function wrote a line is not known.
        page.activity(UNIT, &self.activity)
    }
}
