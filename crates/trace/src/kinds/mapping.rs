//! A mapping came to be or was found.
//!
//! JSON: `mapping`, `device`, `bar`, `offset`, `physical`, `address`, `length`, `ip`, `function`,
//! `function_offset`, `module` (of the caller).

use std::io;

use serde::Serialize;
use trapline_abi::{MapPayload, Record};

use super::{EventKind, access};
use crate::file::{Cells, Row};
use crate::merge::{Gathered, Known};
use crate::mmiotrace::{Mappings, TextLine};
use crate::json::Hex;
use crate::report::Shown;
use crate::write::{Drawing, JsonPlace, JsonSite, Line, MmiotraceLines, place, site, task};
use crate::{Event, Names, Place, Site};

/// A report says nothing of mappings.
pub(crate) type Tally = ();

/// A mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Map<'a> {
    /// Its number.
    pub mapping: u32,
    /// Linear address of its first byte.
    pub address: u64,
    /// Physical address of its first byte.
    pub physical: u64,
    /// Bytes.
    pub length: u64,
    /// Address in the code that made it; 0 if it was found, not watched being made.
    pub caller: u64,
    /// Which device and BAR, once named.
    pub place: Option<Place<'a>>,
    /// Which function made it, once named.
    pub site: Option<Site<'a>>,
}

#[derive(Serialize)]
struct Fields<'a> {
    mapping: u32,
    #[serde(flatten)]
    place: Option<JsonPlace<'a>>,
    physical: Hex,
    address: Hex,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Hex>,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
}

impl<'a> EventKind<'a> for Map<'a> {
    const NAME: &'static str = "map";
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn learn(record: &Record, known: &mut Known) {
        let MapPayload { address, physical, .. } = MapPayload::from_words(record.payload);
        known.mappings.insert(record.mapping, (address, physical));
    }

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let MapPayload { address, physical, length, caller } = MapPayload::from_words(from.record.payload);
        let mapping = from.record.mapping;
        Some(Self { mapping, address, physical, length, caller, place: None, site: None })
    }

    fn named(self, names: &'a Names) -> Self {
        let place = names.place(self.physical).map(|place| Place { register: None, ..place });
        Self { place: place.or(self.place), site: names.site(self.caller).or(self.site), ..self }
    }

    fn cells(&self) -> Cells<'_> {
        let &Self { mapping, address, physical, length, caller, place, site } = self;
        let (mapping, address, physical) = (Some(mapping), Some(address), Some(physical));
        let (ip, amount) = (Some(caller), Some(length));
        Cells { mapping, address, physical, place, ip, site, amount, ..Cells::default() }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self {
            mapping: row.mapping()?,
            address: row.address()?,
            physical: row.physical()?,
            length: row.amount()?,
            caller: row.ip()?,
            place: row.place(),
            site: row.site(),
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        let Self { mapping, address, physical, length, caller, .. } = self;
        let at = place(self.place.as_ref(), Some(*physical), *address);
        let how = if *caller == 0 {
            "mapped already".into()
        } else {
            format!("mapped by {} in {}", task(event), site(self.site.as_ref(), *caller))
        };
        line.note(&format!("{how}: {at}, {length:#x} bytes at {address:#x}, mapping {mapping}"))
    }

    fn json(&self) -> impl Serialize {
        Fields {
            mapping: self.mapping,
            place: self.place.map(JsonPlace::from),
            physical: Hex(self.physical),
            address: Hex(self.address),
            length: self.length,
            ip: (self.caller != 0).then_some(Hex(self.caller)),
            site: self.site.map(JsonSite::from),
        }
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name("map");
        drawing.word("what", &place(self.place.as_ref(), Some(self.physical), self.address));
        drawing.number("mapping", self.mapping.into());
        drawing.hex("physical", self.physical);
        drawing.hex("address", self.address);
        drawing.hex("length", self.length);
        drawing.origin(self.site.as_ref(), self.caller);
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { place: format!("mapped {}", place(self.place.as_ref(), Some(self.physical), self.address)).into(), site: self.site.as_ref(), ip: self.caller, ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        let (time, Self { mapping, address, physical, length, .. }) = (lines.time, self);
        writeln!(lines.out, "MAP {time} {mapping} 0x{physical:x} 0x{address:x} 0x{length:x} 0x0 0")
    }

    fn from_mmiotrace(line: &TextLine<'a>, mappings: &mut Mappings) -> Option<(Self, u32)> {
        let mut words = (line.keyword == "MAP").then(|| line.words())?;
        let mapping = words.decimal()?;
        let (physical, address, length) = (words.hex()?, words.hex()?, words.hex()?);
        let (caller, pid) = words.origin()?;
        mappings.insert(mapping, (physical, address));
        Some((Self { mapping, address, physical, length, caller, place: None, site: None }, pid))
    }
}
