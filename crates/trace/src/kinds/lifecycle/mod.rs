//! What the kernel does with a device as a whole: a driver binds and goes, a reset, a power state,
//! firmware. Each call is two events: that it has begun, and that it has ended.
//!
//! In JSON: `op` (`"bind"`, `"unbind"`, `"reset"`, `"power"`, `"runtime_suspend"`, ...), `phase`
//! (`"begin"`, `"end"`), `device`, `driver` or `firmware`, `power` (the state that the device is
//! in: `"D0"`), `wanted` (the one that is asked for), at the end `result` and `took_ns`, `flags`,
//! `ip`, `function`, `function_offset`, `module`, `stack`.

mod caller;
mod human;
mod report;
mod words;

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{Flags, LifecycleOp, LifecyclePayload, MAX_LIFECYCLE_NAME, NO_POWER};

use super::EventKind;
use super::access;
use super::hit::{Frame, JsonFrame};
use crate::file::{Cells, Row};
use crate::json::Hex;
use crate::merge::Gathered;
use crate::report::{Seen, Shown, Texts};
use crate::write::{Drawing, FlagNames, JsonSite, Line, MmiotraceLines};
use crate::{Event, Names, PciAddress, Site};
pub(crate) use report::Tally;
use words::{op_from_name, op_name, op_words, power_name};

/// The devices whose lifecycle is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lived {
    /// PCI addresses of the devices.
    pub devices: Vec<String>,
    /// What is not recorded, each in words: what no function is followed for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_followed: Vec<String>,
}

/// Something that the kernel does with a device as a whole has begun, or has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle<'a> {
    /// Which device.
    pub device: PciAddress,
    /// What is done.
    pub op: LifecycleOp,
    /// What it returned, and how many nanoseconds it took, if it has ended. A function that returns
    /// nothing has returned 0.
    pub end: Option<(i32, u64)>,
    /// The power state that the device is in, as far as the kernel knows (`pci_power_t`).
    pub power: u8,
    /// The power state that is asked for, if one is.
    pub wanted: Option<u8>,
    /// The driver's name, or the firmware's; empty if there is none. It may hold anything.
    pub name: Cow<'a, str>,
    /// Only [`Flags::INTERRUPT`] is used.
    pub flags: Flags,
    /// Where it was asked for, as far as that is known: of the return addresses the first that is
    /// in no function which only passes calls on; 0 if there are none.
    pub ip: u64,
    /// Which function that is in, once named.
    pub site: Option<Site<'a>>,
    /// The return addresses, the innermost first.
    pub stack: Vec<Frame<'a>>,
}

impl Lifecycle<'_> {
    /// The driver, if there is one and the event is not about firmware.
    pub fn driver(&self) -> Option<&str> {
        (self.op != LifecycleOp::Firmware && !self.name.is_empty()).then_some(&*self.name)
    }

    /// The firmware's file, if it is about that.
    pub fn firmware(&self) -> Option<&str> {
        (self.op == LifecycleOp::Firmware).then_some(&*self.name)
    }

    /// What is done, for a person: `bind`, `power D3hot`.
    fn what(&self) -> String {
        match self.wanted.and_then(power_name) {
            Some(state) => format!("{} {state}", op_words(self.op)),
            None => op_words(self.op),
        }
    }

    fn phase(&self) -> &'static str {
        if self.end.is_some() { END } else { BEGIN }
    }
}

const BEGIN: &str = "begin";
const END: &str = "end";

/// What the flags are called.
const FLAGS: &[(u8, &str)] = &[(Flags::INTERRUPT, "interrupt")];

/// Where in a record with its continuations the return addresses begin.
const FRAMES: usize = 32;
/// Where the name begins.
const NAME: usize = 64;

#[derive(Serialize)]
struct Fields<'a> {
    op: &'static str,
    phase: &'static str,
    device: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    power: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ns: Option<u64>,
    flags: FlagNames,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Hex>,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
    stack: Vec<JsonFrame<'a>>,
}

impl<'a> EventKind<'a> for Lifecycle<'a> {
    const NAME: &'static str = "lifecycle";
    // The columns are those of accesses, so that both read as one listing.
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let record = from.record;
        let LifecyclePayload { device, op, ended, power, wanted, result, took } =
            LifecyclePayload::from_words(record.payload);
        let length = usize::from(record.width);
        if !from.is_whole || length > MAX_LIFECYCLE_NAME {
            return None;
        }
        let words = from.bytes.get(FRAMES..NAME).unwrap_or_default().as_chunks::<8>().0;
        let addresses = words.iter().map(|word| u64::from_le_bytes(*word)).take_while(|ip| *ip != 0);
        let stack: Vec<Frame<'a>> = addresses.map(|ip| Frame { ip, site: None }).collect();
        let name = match length {
            0 => &[][..],
            length => from.bytes.get(NAME..NAME + length)?,
        };
        Some(Self {
            device: device.into(),
            op: LifecycleOp::from_code(op)?,
            end: ended.then_some((result, took)),
            power,
            wanted: (wanted != NO_POWER).then_some(wanted),
            name: String::from_utf8_lossy(name),
            flags: Flags(record.flags & Flags::INTERRUPT),
            ip: stack.first().map_or(0, |frame| frame.ip),
            site: None,
            stack,
        })
    }

    fn named(mut self, names: &'a Names) -> Self {
        if let Some(caller) = caller::PASSING.name(&mut self.stack, names) {
            (self.ip, self.site) = caller;
        }
        self
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            op: Some(op_name(self.op)),
            way: Some(self.phase()),
            device: Some(self.device.as_str()),
            offset: Some(self.power.into()),
            mapping: self.wanted.map(u32::from),
            value: self.end.map(|(result, _)| i64::from(result).cast_unsigned()),
            took: self.end.map(|(_, took)| took),
            text: Some(&self.name),
            flags: Some(self.flags),
            ip: Some(self.ip),
            site: self.site,
            stack: Some(&self.stack),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        let end = match row.way()? {
            BEGIN => None,
            END => Some((row.value()?.cast_signed().try_into().ok()?, row.took()?)),
            _ => return None,
        };
        let power = |state: u64| u8::try_from(state).ok().filter(|state| *state <= NO_POWER);
        let wanted = match row.mapping() {
            Some(state) => Some(power(state.into())?),
            None => None,
        };
        Some(Self {
            device: PciAddress::from_text(row.device()?)?,
            op: op_from_name(row.op()?)?,
            end,
            power: power(row.offset()?)?,
            wanted: wanted.filter(|state| *state != NO_POWER),
            name: Cow::Borrowed(row.text()?),
            flags: row.flags()?,
            ip: row.ip()?,
            site: row.site(),
            stack: row.stack()??,
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        human::write(self, event, line)
    }

    fn json(&self) -> impl Serialize {
        Fields {
            op: op_name(self.op),
            phase: self.phase(),
            device: self.device.as_str(),
            driver: self.driver(),
            firmware: self.firmware(),
            power: power_name(self.power),
            wanted: self.wanted.and_then(power_name),
            result: self.end.map(|(result, _)| result),
            took_ns: self.end.map(|(_, took)| took),
            flags: FlagNames(self.flags, FLAGS),
            ip: (self.ip != 0).then_some(Hex(self.ip)),
            site: self.site.map(JsonSite::from),
            stack: self.stack.iter().map(JsonFrame::from).collect(),
        }
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name(&format!("{} {}", self.what(), if self.end.is_some() { "ends" } else { "begins" }));
        drawing.word("device", self.device.as_str());
        if !self.name.is_empty() {
            drawing.text(if self.firmware().is_some() { "firmware" } else { "driver" }, &self.name);
        }
        if let Some(power) = power_name(self.power) {
            drawing.word("power", power);
        }
        if let Some((_, took)) = self.end {
            drawing.word("result", &human::result(self));
            drawing.number("took_ns", took);
        }
        drawing.origin(self.site.as_ref(), self.ip);
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown {
            place: format!("{} {}", self.device.short(), self.what()).into(),
            op: self.phase(),
            site: self.site.as_ref(),
            ip: self.ip,
            ..Shown::of(Self::NAME)
        })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused("lifecycles of devices"))
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}
