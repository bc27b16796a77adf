//! An access to a device's configuration space.

mod caller;
mod human;
mod json;
mod report;

use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{ConfigPayload, ConfigWay, Flags};
use trapline_registers::config::Layout;

use super::access::{self, Direction};
use super::hit::Frame;
use super::EventKind;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::report::{Of, Seen, Shown, Texts, Touch};
use crate::write::{Drawing, Line, MmiotraceLines};
use crate::{Event, Names, PciAddress, Place, Site, Value};
pub(crate) use report::Tally;

/// The accesses to which configuration spaces are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spaces {
    /// The devices, with what names their registers.
    pub devices: Vec<Space>,
    /// Functions of the kernel through which accesses may go and which are not followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_followed: Vec<String>,
}

/// A device's configuration space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The device's PCI address.
    pub device: String,
    /// What it had where when the trace began.
    #[serde(flatten)]
    pub layout: Layout,
}

/// An access to a device's configuration space.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigAccess<'a> {
    /// Whose.
    pub device: PciAddress,
    /// Read or written.
    pub direction: Direction,
    /// Bytes from the space's start.
    pub offset: u32,
    /// Bytes accessed.
    pub width: u8,
    /// What was read or written.
    pub value: u32,
    /// The error number that the kernel's function returned; 0 if it went well.
    pub error: u32,
    /// How the kernel accessed it.
    pub way: ConfigWay,
    /// Only [`Flags::INTERRUPT`] and [`Flags::WRITE`] are used.
    pub flags: Flags,
    /// Nanoseconds that it took.
    pub took: u64,
    /// The registers that it touches, once named.
    pub register: Option<&'a str>,
    /// Where the access was asked for, as far as that is known: of the return addresses the first
    /// that is in no function which only passes accesses on; 0 if there are none.
    pub ip: u64,
    /// Which function that is in, once named.
    pub site: Option<Site<'a>>,
    /// The return addresses, the innermost first.
    pub stack: Vec<Frame<'a>>,
}

impl ConfigAccess<'_> {
    /// Whether all bits that were read are ones, as of a device that does not answer.
    pub fn is_all_ones(&self) -> bool {
        let all = u32::MAX >> (32 - 8 * u32::from(self.width.clamp(1, 4)));
        self.direction == Direction::Read && self.value & all == all
    }

    /// What was read or written, with all its digits; `None` if its width makes no sense.
    pub(crate) fn digits(&self) -> Option<Value> {
        Value::from_u64(self.value.into(), self.width)
    }

    /// `cfg+004`.
    fn place(&self) -> String {
        format!("cfg+{:03x}", self.offset)
    }

    /// The registers' fields, as far as they are known.
    fn fields(&self, names: &Names) -> String {
        let registers = names.config(self.device.as_str());
        let fields = |offset| registers.map(|all| all.fields(offset, self.width, self.value));
        u16::try_from(self.offset).ok().and_then(fields).unwrap_or_default()
    }
}

/// As files and JSON name them.
fn way_name(way: ConfigWay) -> &'static str {
    match way {
        ConfigWay::Ports => "ports",
        ConfigWay::Memory => "memory",
    }
}

fn way_from_name(name: &str) -> Option<ConfigWay> {
    [ConfigWay::Ports, ConfigWay::Memory].into_iter().find(|way| way_name(*way) == name)
}

/// Where in a record's payload the return addresses begin.
const FRAMES: usize = 32;

impl<'a> EventKind<'a> for ConfigAccess<'a> {
    const NAME: &'static str = "config";
    // The columns are those of accesses, so that both read as one listing.
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let record = from.record;
        let ConfigPayload { device, value, result, offset, way, took } =
            ConfigPayload::from_words(record.payload);
        let flags = Flags(record.flags);
        let words = from.bytes.get(FRAMES..).unwrap_or_default().as_chunks::<8>().0;
        let addresses = words.iter().map(|word| u64::from_le_bytes(*word)).take_while(|ip| *ip != 0);
        let stack: Vec<Frame<'a>> = addresses.map(|ip| Frame { ip, site: None }).collect();
        Some(Self {
            device: device.into(),
            direction: if flags.has(Flags::WRITE) { Direction::Write } else { Direction::Read },
            offset,
            width: record.width,
            value,
            error: result.unsigned_abs(),
            way: ConfigWay::from_code(way)?,
            flags,
            took,
            register: None,
            ip: stack.first().map_or(0, |frame| frame.ip),
            site: None,
            stack,
        })
    }

    fn named(mut self, names: &'a Names) -> Self {
        if let Some(caller) = caller::PASSING.name(&mut self.stack, names) {
            (self.ip, self.site) = caller;
        }
        let registers = names.config(self.device.as_str());
        let name = |offset| registers.and_then(|registers| registers.name(offset, self.width));
        self.register = u16::try_from(self.offset).ok().and_then(name).or(self.register);
        self
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            op: Some(self.direction.letter()),
            device: Some(self.device.as_str()),
            offset: Some(self.offset.into()),
            register: self.register,
            width: Some(self.width),
            value: Some(self.value.into()),
            amount: Some(self.error.into()),
            way: Some(way_name(self.way)),
            flags: Some(self.flags),
            ip: Some(self.ip),
            site: self.site,
            took: Some(self.took),
            stack: Some(&self.stack),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self {
            device: PciAddress::from_text(row.device()?)?,
            direction: if row.op()? == "W" { Direction::Write } else { Direction::Read },
            offset: row.offset()?.try_into().ok()?,
            width: row.width()?,
            value: row.value()?.try_into().ok()?,
            error: row.amount()?.try_into().ok()?,
            way: way_from_name(row.way()?)?,
            flags: row.flags()?,
            took: row.took()?,
            register: row.register(),
            ip: row.ip()?,
            site: row.site(),
            stack: row.stack()??,
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        human::write(self, event, line)
    }

    fn json(&self) -> impl Serialize {
        json::Fields::new(self)
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        let register = self.register.map_or_else(|| self.place(), Into::into);
        drawing.name(&format!("{} {register}", self.direction.letter()));
        drawing.word("device", self.device.as_str());
        drawing.hex("offset", self.offset.into());
        drawing.hex("value", self.value.into());
        drawing.number("width", self.width.into());
        if self.error != 0 {
            drawing.number("error", self.error.into());
        }
        drawing.number("took_ns", self.took);
        drawing.origin(self.site.as_ref(), self.ip);
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown {
            kind: Self::NAME,
            place: format!("{} {}", self.device.short(), self.place()).into(),
            name: self.register,
            op: self.direction.letter(),
            width: self.width,
            value: Some(self.value.into()),
            site: self.site.as_ref(),
            ip: self.ip,
        })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused("accesses to configuration space"))
    }

    fn touch(&self) -> Option<Touch<'_>> {
        let (device, offset) = (self.device.as_str(), self.offset.into());
        Some(Touch {
            of: Of::Config,
            place: Some(Place { device, bar: 0, offset, register: self.register }),
            buffer: None,
            is_read: self.direction == Direction::Read,
            value: self.digits().filter(|_| self.error == 0),
            site: self.site.as_ref(),
            ip: self.ip,
            in_interrupt: self.flags.has(Flags::INTERRUPT),
        })
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}
