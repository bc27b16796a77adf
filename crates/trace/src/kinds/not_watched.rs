//! A mapping of watched memory came to be and could not be watched: accesses to it are missing.
//!
//! JSON: `device`, `bar`, `offset`, `physical`, `address`, `length`, `reason`. In mmiotrace's
//! format it is a `MARK`, since an incomplete trace must not look complete.
//!
//! Traces of format 3 have a marker in its place, which the module formatted. Nothing tells that
//! from a marker of a person who types the same, so in those both are read as this: a trace that
//! may be incomplete must not look complete. In later ones a marker is a marker, whatever it says.

use std::io;

use serde::Serialize;
use trapline_abi::{NotWatchedPayload, WatchError};

use super::{EventKind, access};
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::mmiotrace::{Mappings, TextLine, hex};
use crate::report::{Completeness, Section, Seen, Shown, Texts, counted};
use crate::json::Hex;
use crate::write::{Drawing, JsonPlace, Line, MmiotraceLines, place};
use crate::{Event, Names, Place};

/// How a marker begins that tells of one in a trace of format 3, before the physical address.
const MARKER: &str = "trapline: NOT WATCHED, accesses are missing: new mapping of 0x";

/// How a marker begins that tells of one in mmiotrace's format.
const TEXT: &str = "NOT WATCHED, accesses are missing: ";

/// A new mapping that could not be watched.
#[derive(Clone, Debug, PartialEq)]
pub struct NotWatched<'a> {
    /// Physical address of its first byte.
    pub physical: u64,
    /// Linear address of its first byte, as the driver was given it; not known in format 3.
    pub address: Option<u64>,
    /// Bytes; not known in format 3.
    pub length: Option<u64>,
    /// Why; `None` if this Trapline does not know the reason.
    pub reason: Option<WatchError>,
    /// Which device and BAR, once named.
    pub place: Option<Place<'a>>,
}

impl NotWatched<'_> {
    /// What a marker in a trace of format 3 tells of.
    pub(crate) fn from_marker(text: &str) -> Option<Self> {
        let physical = u64::from_str_radix(text.strip_prefix(MARKER)?, 16).ok()?;
        Some(Self { physical, address: None, length: None, reason: None, place: None })
    }

    /// "new mapping of 00:04.0 2+00000, 0x1000 bytes at 0xffffc90000000000: by a page that is too
    /// large"; of `phys 0xfebc0000` if `at` is no place.
    fn sentence(&self, at: Option<&Place<'_>>) -> String {
        let mut text = format!("new mapping of {}", place(at, Some(self.physical), 0));
        if let Some((length, address)) = self.length.zip(self.address) {
            text += &format!(", {length:#x} bytes at {address:#x}");
        }
        if let Some(reason) = self.reason {
            text += &format!(": {}", words(reason));
        }
        text
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    #[serde(flatten)]
    place: Option<JsonPlace<'a>>,
    physical: Hex,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> EventKind<'a> for NotWatched<'a> {
    const NAME: &'static str = "not_watched";
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let NotWatchedPayload { address, physical, length, reason } =
            NotWatchedPayload::from_words(from.record.payload);
        let reason = WatchError::from_code(reason);
        Some(Self { physical, address: Some(address), length: Some(length), reason, place: None })
    }

    fn named(self, names: &'a Names) -> Self {
        let place = names.place(self.physical).map(|place| Place { register: None, ..place });
        Self { place: place.or(self.place), ..self }
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            place: self.place,
            physical: Some(self.physical),
            address: self.address,
            amount: self.length,
            text: self.reason.map(name),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self {
            physical: row.physical()?,
            address: row.address(),
            length: row.amount(),
            reason: row.text().and_then(|text| REASONS.into_iter().find(|reason| name(*reason) == text)),
            place: row.place(),
        })
    }

    fn human(&self, _event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        line.alarm(&format!("NOT WATCHED, accesses are missing: {}", self.sentence(self.place.as_ref())))
    }

    fn json(&self) -> impl Serialize {
        Fields {
            place: self.place.map(JsonPlace::from),
            physical: Hex(self.physical),
            address: self.address.map(Hex),
            length: self.length,
            reason: self.reason.map(name),
        }
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name("NOT WATCHED, accesses are missing");
        drawing.word("what", &self.sentence(self.place.as_ref()));
        drawing.on_task();
        drawing.on_cpu();
        drawing.on_markers();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { place: format!("NOT WATCHED: {}", self.sentence(self.place.as_ref())).into(), ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        writeln!(lines.out, "MARK {} {TEXT}{}", lines.time, self.sentence(None))
    }

    fn from_mmiotrace(line: &TextLine<'a>, _mappings: &mut Mappings) -> Option<(Self, u32)> {
        let text = line.mark()?.strip_prefix(TEXT)?.strip_prefix("new mapping of phys ")?;
        let (text, reason) = text.split_once(": ").unwrap_or((text, ""));
        let (physical, range) = text.split_once(", ").unwrap_or((text, ""));
        let (length, address) = range.split_once(" bytes at ").unzip();
        let what = Self {
            physical: hex(physical)?,
            address: address.and_then(hex),
            length: length.and_then(hex),
            reason: REASONS.into_iter().find(|known| words(*known) == reason),
            place: None,
        };
        Some((what, 0))
    }

    fn count(&self, _seen: &Seen<'_>, tally: &mut Tally, _texts: &mut Texts) {
        tally.mappings += 1;
    }
}

/// All reasons.
const REASONS: [WatchError; 8] = [
    WatchError::BadRange,
    WatchError::Ram,
    WatchError::HugePage,
    WatchError::NoMemory,
    WatchError::SelfTest,
    WatchError::TooLong,
    WatchError::Alias,
    WatchError::Taken,
];

/// Name of a reason in files and in JSON.
fn name(reason: WatchError) -> &'static str {
    match reason {
        WatchError::BadRange => "bad-range",
        WatchError::Ram => "ram",
        WatchError::HugePage => "huge-page",
        WatchError::NoMemory => "no-memory",
        WatchError::SelfTest => "self-test",
        WatchError::TooLong => "too-long",
        WatchError::Alias => "alias",
        WatchError::Taken => "taken",
    }
}

/// A reason for a person.
fn words(reason: WatchError) -> &'static str {
    match reason {
        WatchError::BadRange => "nothing is mapped there",
        WatchError::Ram => "it is system memory",
        WatchError::HugePage => "it uses a page larger than 2 MiB",
        WatchError::NoMemory => "there is no memory left for its tables",
        WatchError::SelfTest => "the module's self-test at load failed",
        WatchError::TooLong => "it is longer than 1 GiB",
        WatchError::Alias => "its second mapping could not be made",
        WatchError::Taken => "another session watches accesses",
    }
}

/// How many there were.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    mappings: u64,
}

impl Tally {
    /// New mappings that could not be watched.
    pub(crate) fn mappings(&self) -> u64 {
        self.mappings
    }
}

impl Section for Tally {
    fn completeness(&self, trace: &mut Completeness<'_>) {
        if self.mappings > 0 {
            let mappings = counted(self.mappings, "new mapping", "new mappings");
            trace.alarm(&format!(
                "THIS TRACE IS NOT COMPLETE: {mappings} could not be watched; lines with NOT WATCHED tell which."
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_the_module_may_give_has_a_name() {
        for code in 0..64 {
            let known = WatchError::from_code(code);
            assert_eq!(known.is_some(), REASONS.iter().any(|reason| *reason as u32 == code), "{code}");
        }
    }

    #[test]
    fn a_marker_of_format_3_tells_of_the_physical_address() {
        let text = "trapline: NOT WATCHED, accesses are missing: new mapping of 0x0000000140000000";
        let found = NotWatched::from_marker(text).unwrap();
        assert_eq!((found.physical, found.address, found.reason), (0x1_4000_0000, None, None));
        assert_eq!(NotWatched::from_marker("not watched by me"), None);
    }
}
