//! An access to a watched range.

mod human;
mod json;
mod lies;
mod mmiotrace;
mod poll;
mod report;
mod timeline;
mod value;

use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{AccessPayload, Change, Flags, Way};

use super::EventKind;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::mmiotrace::{Mappings, TextLine};
use crate::report::{Of, Seen, Shown, Texts, Touch};
use crate::write::{Drawing, Line, MmiotraceLines};
use crate::{Event, Names, Place, Site};
pub use lies::{Injected, Lies};
pub(crate) use poll::Poll;
pub use report::RegisterCount;
pub(crate) use report::Tally;
pub use value::Value;

/// What the columns are for a person.
pub(super) const TITLE: Option<&str> = Some(
    "         seconds  cpu        device bar+offset    register                        value  task                   function",
);

/// Where in a record's payload the value begins.
const VALUE: usize = 16;

/// What accesses are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Of what physical memory.
    pub ranges: Vec<WatchedRange>,
    /// Whether reads are.
    pub reads: bool,
    /// Whether writes are.
    pub writes: bool,
    /// Rules by which they were changed, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<Injected>,
    /// Processes that have some of it mapped themselves as the trace begins, a sentence each: what
    /// they access is not recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mapped: Vec<String>,
}

/// A physical range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedRange {
    /// Its first byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// An access: one memory operand, read or written once.
#[derive(Clone, Debug, PartialEq)]
pub struct Access<'a> {
    /// Read or written.
    pub direction: Direction,
    /// Bytes accessed, 1 to 64; 0 if not known.
    pub width: u8,
    /// What the driver got or the device was given, unless it could not be known. Of a write that
    /// was dropped, what the driver wrote.
    pub value: Option<Value>,
    /// What was made of it, beside what its flags tell.
    pub change: Change,
    /// Of a value that was changed, what it was before, if that is known: what the device had said,
    /// or what the driver wrote.
    pub original: Option<Value>,
    /// Number of the mapping it went through.
    pub mapping: u32,
    /// Linear address of the first byte; 0 if the trace does not tell.
    pub address: u64,
    /// Physical address of the first byte; `None` if the mapping's own record was lost.
    pub physical: Option<u64>,
    /// More about it.
    pub flags: Flags,
    /// How it was performed, if the trace tells.
    pub way: Option<Way>,
    /// Address of the accessing instruction; 0 if the trace does not tell.
    pub ip: u64,
    /// Which device, BAR and register, once named.
    pub place: Option<Place<'a>>,
    /// Which function, once named.
    pub site: Option<Site<'a>>,
}

/// Direction of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device was read.
    Read,
    /// The device was written.
    Write,
}

impl Direction {
    /// `R` or `W`.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Read => "R",
            Self::Write => "W",
        }
    }
}

impl<'a> EventKind<'a> for Access<'a> {
    const NAME: &'static str = "access";
    const TITLE: Option<&'static str> = TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let record = from.record;
        let way = Some(Way::from_code(record.way)?);
        let payload = AccessPayload::from_words(record.payload);
        let flags = Flags(record.flags);
        let bytes = from.bytes.get(VALUE..VALUE + usize::from(record.width));
        let bytes = bytes.filter(|_| from.is_whole && !flags.has(Flags::UNKNOWN));
        let original = match Change::from_code(record.change)? {
            // The rest of a value of up to 8 bytes is none of it.
            Change::Known => Value::from_u64(payload.value[1], record.width),
            _ => None,
        };
        let change = match Change::from_code(record.change)? {
            Change::Known if original.is_none() => Change::Unknown,
            change => change,
        };
        let physical = from.known.mappings.get(&record.mapping).map(|(linear, physical)| {
            physical.wrapping_add(payload.address.wrapping_sub(*linear))
        });
        Some(Self {
            direction: if flags.has(Flags::WRITE) { Direction::Write } else { Direction::Read },
            width: record.width,
            value: bytes.and_then(Value::new),
            change,
            original,
            mapping: record.mapping,
            address: payload.address,
            physical,
            flags,
            way,
            ip: payload.ip,
            place: None,
            site: None,
        })
    }

    fn named(self, names: &'a Names) -> Self {
        let place = self.physical.and_then(|physical| names.place(physical));
        Self { place: place.or(self.place), site: names.site(self.ip).or(self.site), ..self }
    }

    #[inline]
    fn cells(&self) -> Cells<'_> {
        let &Self { mapping, address, physical, place, ip, site, width, flags, .. } = self;
        let value = self.value.as_ref();
        Cells {
            op: Some(self.direction.letter()),
            place,
            physical,
            address: Some(address),
            width: Some(width),
            value: value.map(Value::low),
            value_wide: value.map(Value::bytes).filter(|bytes| bytes.len() > 8),
            mapping: Some(mapping),
            flags: Some(flags),
            way: self.way.map(way_name),
            change: lies::change_name(self.change),
            original: self.original.as_ref().map(Value::low),
            ip: Some(ip),
            site,
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        let width = row.width()?;
        let value = match row.value_wide() {
            Some(bytes) => Value::new(bytes),
            None => row.value().and_then(|value| Value::from_u64(value, width)),
        };
        let original = row.original().and_then(|original| Value::from_u64(original, width));
        Some(Self {
            direction: if row.op()? == "W" { Direction::Write } else { Direction::Read },
            width,
            value,
            change: lies::change_from_name(row.change(), original)?,
            original,
            mapping: row.mapping()?,
            address: row.address()?,
            physical: row.physical(),
            flags: row.flags()?,
            way: match row.way() {
                Some(name) => Some(way_from_name(name)?),
                None => None,
            },
            ip: row.ip()?,
            place: row.place(),
            site: row.site(),
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        human::write(self, event, line)
    }

    fn json(&self) -> impl Serialize {
        json::Fields::new(self)
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        timeline::draw(self, drawing);
    }

    fn shown(&self) -> Option<Shown<'_>> {
        // One that a page's rights forbid did not take place.
        (self.way != Some(Way::Forbidden)).then(|| Shown {
            kind: Self::NAME,
            place: report::place(self).into(),
            name: self.place.and_then(|place| place.register),
            op: self.direction.letter(),
            width: self.width,
            value: self.value.filter(|value| value.bytes().len() <= 8).as_ref().map(Value::low),
            site: self.site.as_ref(),
            ip: self.ip,
        })
    }

    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        mmiotrace::write(self, lines)
    }

    fn from_mmiotrace(line: &TextLine<'a>, mappings: &mut Mappings) -> Option<(Self, u32)> {
        mmiotrace::read(line, mappings)
    }

    fn touch(&self) -> Option<Touch<'_>> {
        (self.way != Some(Way::Forbidden)).then(|| Touch {
            of: Of::Registers,
            place: self.place,
            buffer: None,
            is_read: self.direction == Direction::Read,
            value: self.value,
            site: self.site.as_ref(),
            ip: self.ip,
            in_interrupt: self.flags.has(Flags::INTERRUPT),
        })
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}

/// Name of a way in files and in JSON.
fn way_name(way: Way) -> &'static str {
    match way {
        Way::Emulate => "emulate",
        Way::Redirect => "redirect",
        Way::Step => "step",
        Way::Forbidden => "forbidden",
    }
}

/// The way with this name.
fn way_from_name(name: &str) -> Option<Way> {
    [Way::Emulate, Way::Redirect, Way::Step, Way::Forbidden].into_iter().find(|way| way_name(*way) == name)
}
