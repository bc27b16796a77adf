//! An access to an I/O port.

mod human;
mod json;
mod report;

use std::io;
use std::slice;

use serde::{Deserialize, Serialize};
use trapline_abi::{Flags, PortPayload};

use super::EventKind;
use super::access::{self, Direction};
use super::hit::Frame;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::report::{Of, Seen, Shown, Texts, Touch};
use crate::write::{Drawing, Line, MmiotraceLines, place};
use crate::{Event, Names, Place, Site, Value};
pub(crate) use report::Tally;

/// The accesses to which ports are recorded, and by whose code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// PCI addresses of the devices whose ports they are.
    pub devices: Vec<String>,
    /// The modules whose instructions are followed, beside the kernel's own functions for it.
    pub modules: Vec<String>,
}

/// An access to an I/O port: one `in` or `out`, or one step of `ins` or `outs`.
#[derive(Clone, Debug, PartialEq)]
pub struct PortAccess<'a> {
    /// Read or written.
    pub direction: Direction,
    /// The first of the ports.
    pub port: u16,
    /// Bytes accessed: 1, 2 or 4.
    pub width: u8,
    /// What was read or written, if that is known.
    pub value: Option<Value>,
    /// Only [`Flags::INTERRUPT`], [`Flags::WRITE`], [`Flags::STRING`] and [`Flags::UNKNOWN`] are
    /// used.
    pub flags: Flags,
    /// Which device, BAR and register, once named.
    pub place: Option<Place<'a>>,
    /// Address of the instruction.
    pub ip: u64,
    /// Which function that is in, once named.
    pub site: Option<Site<'a>>,
    /// Where that function returns to, if that is known.
    pub caller: Option<Frame<'a>>,
}

impl<'a> PortAccess<'a> {
    /// Who asked for it: the function of the instruction, or the one that called it if that only
    /// passes accesses on.
    fn asked(&self) -> (Option<&Site<'a>>, u64) {
        match &self.caller {
            Some(caller) if self.passes_on() => (caller.site.as_ref(), caller.ip),
            _ => (self.site.as_ref(), self.ip),
        }
    }

    /// Whether the function of the instruction is one of the kernel's for accesses:
    /// `ioread8()`, `iowrite16be()`, `ioread32_rep()`.
    fn passes_on(&self) -> bool {
        let is_one = |site: &Site<'_>| {
            let names = ["ioread", "iowrite", "pio_read", "pio_write"];
            site.module.is_none() && names.iter().any(|name| site.function.starts_with(name))
        };
        self.site.as_ref().is_some_and(is_one)
    }

    /// Whether it was one step of a string instruction.
    pub fn is_string(&self) -> bool {
        self.flags.has(Flags::STRING)
    }

    /// `00:1f.3 4+00002`, or the port if it is no device's.
    fn at(&self) -> String {
        match &self.place {
            Some(known) => place(Some(known), None, 0),
            None => format!("port {:#06x}", self.port),
        }
    }
}

impl<'a> EventKind<'a> for PortAccess<'a> {
    const NAME: &'static str = "port";
    // The columns are those of accesses, so that both read as one listing.
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let record = from.record;
        let PortPayload { caller, value, port, is_string, is_known, ip } =
            PortPayload::from_words(record.payload);
        if !matches!(record.width, 1 | 2 | 4) {
            return None;
        }
        let mut flags = record.flags & (Flags::WRITE | Flags::INTERRUPT);
        if is_string {
            flags |= Flags::STRING;
        }
        if !is_known {
            flags |= Flags::UNKNOWN;
        }
        let flags = Flags(flags);
        Some(Self {
            direction: if flags.has(Flags::WRITE) { Direction::Write } else { Direction::Read },
            port,
            width: record.width,
            value: Value::from_u64(value.into(), record.width).filter(|_| is_known),
            flags,
            place: None,
            ip,
            site: None,
            caller: (caller != 0).then_some(Frame { ip: caller, site: None }),
        })
    }

    fn named(self, names: &'a Names) -> Self {
        let caller =
            self.caller.map(|caller| Frame { site: names.site(caller.ip).or(caller.site), ..caller });
        let site = names.site(self.ip).or(self.site);
        Self { place: names.port(self.port).or(self.place), site, caller, ..self }
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            op: Some(self.direction.letter()),
            place: self.place,
            address: Some(self.port.into()),
            width: Some(self.width),
            value: self.value.as_ref().map(Value::low),
            flags: Some(self.flags),
            ip: Some(self.ip),
            site: self.site,
            stack: self.caller.as_ref().map(slice::from_ref),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        let width = row.width()?;
        let caller = match row.stack() {
            Some(stack) => stack?.into_iter().next(),
            None => None,
        };
        Some(Self {
            direction: if row.op()? == "W" { Direction::Write } else { Direction::Read },
            port: row.address()?.try_into().ok()?,
            width,
            value: row.value().and_then(|value| Value::from_u64(value, width)),
            flags: row.flags()?,
            place: row.place(),
            ip: row.ip()?,
            site: row.site(),
            caller,
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        human::write(self, event, line)
    }

    fn json(&self) -> impl Serialize {
        json::Fields::new(self)
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        let register = self.place.and_then(|place| place.register);
        let what = register.map_or_else(|| self.at(), Into::into);
        drawing.name(&format!("{} {what}", self.direction.letter()));
        if let Some(place) = &self.place {
            drawing.word("device", place.device);
        }
        drawing.hex("port", self.port.into());
        if let Some(value) = &self.value {
            drawing.hex("value", value.low());
        }
        drawing.number("width", self.width.into());
        let (site, ip) = self.asked();
        drawing.origin(site, ip);
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        let (site, ip) = self.asked();
        Some(Shown {
            kind: Self::NAME,
            place: self.at().into(),
            name: self.place.and_then(|place| place.register),
            op: self.direction.letter(),
            width: self.width,
            value: self.value.as_ref().map(Value::low),
            site,
            ip,
        })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused("accesses to I/O ports"))
    }

    fn touch(&self) -> Option<Touch<'_>> {
        let (site, ip) = self.asked();
        Some(Touch {
            of: Of::Ports,
            place: self.place,
            buffer: None,
            is_read: self.direction == Direction::Read,
            value: self.value,
            site,
            ip,
            in_interrupt: self.flags.has(Flags::INTERRUPT),
        })
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}
