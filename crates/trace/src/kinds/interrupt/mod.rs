//! A handler of a device's interrupt was called.

mod human;
mod outcome;
mod report;

use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{
    Flags, INTERRUPT_FIRST, INTERRUPT_LAST, INTERRUPT_THREAD, InterruptPayload, Signal,
};

use super::{EventKind, access};
use crate::file::{Cells, Row};
use crate::json::Hex;
use crate::merge::Gathered;
use crate::report::{Seen, Shown, Texts};
use crate::write::{Drawing, FlagNames, JsonSite, Line, MmiotraceLines};
use crate::{Event, Names, PciAddress, Site};
pub use outcome::Outcome;
pub(crate) use report::Tally;

/// The interrupts of which devices are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Their PCI addresses.
    pub devices: Vec<String>,
    /// Whether what the threads of handlers run is recorded.
    pub threads: bool,
}

/// A call of a handler of a device's interrupt. On a line that devices share, one interrupt has
/// several.
#[derive(Clone, Debug, PartialEq)]
pub struct Interrupt<'a> {
    /// Whose interrupt it is.
    pub device: PciAddress,
    /// Its number, as in `/proc/interrupts`.
    pub irq: u32,
    /// How it comes from the device.
    pub signal: Signal,
    /// Which of the device's messages it is; 0 of a line.
    pub index: u16,
    /// `INTERRUPT_*`: whether it is the interrupt's first handler, its last, and in a thread.
    pub flags: Flags,
    /// Address of the handler.
    pub handler: u64,
    /// Which function that is, once named.
    pub site: Option<Site<'a>>,
    /// What it returned; `None` if its end was not seen.
    pub outcome: Option<Outcome>,
    /// Nanoseconds until it returned, if that was seen.
    pub took: Option<u64>,
}

impl Interrupt<'_> {
    /// Whether it is what the thread of a handler ran.
    pub fn is_in_thread(&self) -> bool {
        self.flags.has(INTERRUPT_THREAD)
    }

    /// Which vector it is, as a person reads it.
    pub(crate) fn vector(&self) -> String {
        vector_name(self.signal, self.index)
    }
}

/// `line`, `MSI 0`, `MSI-X 3`.
fn vector_name(signal: Signal, index: u16) -> String {
    match signal {
        Signal::Line => "line".into(),
        Signal::Msi => format!("MSI {index}"),
        Signal::MsiX => format!("MSI-X {index}"),
    }
}

const FLAGS: &[(u8, &str)] =
    &[(INTERRUPT_FIRST, "first"), (INTERRUPT_LAST, "last"), (INTERRUPT_THREAD, "thread")];

/// As files and JSON name them.
const SIGNALS: [(Signal, &str); 3] =
    [(Signal::Line, "line"), (Signal::Msi, "msi"), (Signal::MsiX, "msi-x")];

fn signal_name(signal: Signal) -> &'static str {
    SIGNALS.iter().find(|(known, _)| *known == signal).map_or("line", |(_, name)| name)
}

/// In JSON: `device`, `irq`, `signal` (`"line"`, `"msi"`, `"msi-x"`), `vector` (which of the
/// device's messages), `result` (`"none"`, `"handled"`, `"wake_thread"`, `"bad"`; not if the end
/// was not seen), `took_ns`, `flags` (`"first"` and `"last"` of the interrupt's handlers,
/// `"thread"`), `ip` (the handler's address), `function`, `function_offset`, `module`.
#[derive(Serialize)]
struct Fields<'a> {
    device: &'a str,
    irq: u32,
    signal: &'static str,
    vector: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ns: Option<u64>,
    flags: FlagNames,
    ip: Hex,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
}

impl<'a> EventKind<'a> for Interrupt<'a> {
    const NAME: &'static str = "interrupt";
    // The columns are those of accesses, so that both read as one listing.
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let InterruptPayload { handler, irq, index, signal, flags, device } =
            InterruptPayload::from_words(from.record.payload);
        Some(Self {
            device: device.into(),
            irq,
            signal: Signal::from_code(signal)?,
            index,
            flags: Flags(flags),
            handler,
            site: None,
            outcome: from.end.map(|end| Outcome::of(end.result)),
            took: from.end.map(|end| end.took),
        })
    }

    fn named(self, names: &'a Names) -> Self {
        Self { site: names.site(self.handler).or(self.site), ..self }
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            op: self.outcome.map(Outcome::name),
            device: Some(self.device.as_str()),
            value: Some(self.irq.into()),
            way: Some(signal_name(self.signal)),
            amount: Some(self.index.into()),
            flags: Some(self.flags),
            ip: Some(self.handler),
            site: self.site,
            took: self.took,
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        let way = row.way()?;
        Some(Self {
            device: PciAddress::from_text(row.device()?)?,
            irq: row.value()?.try_into().ok()?,
            signal: SIGNALS.iter().find(|(_, name)| *name == way)?.0,
            index: row.amount()?.try_into().ok()?,
            flags: row.flags()?,
            handler: row.ip()?,
            site: row.site(),
            outcome: match row.op() {
                Some(name) => Some(Outcome::from_name(name)?),
                None => None,
            },
            took: row.took(),
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        human::write(self, event, line)
    }

    fn json(&self) -> impl Serialize {
        Fields {
            device: self.device.as_str(),
            irq: self.irq,
            signal: signal_name(self.signal),
            vector: self.index,
            result: self.outcome.map(Outcome::name),
            took_ns: self.took,
            flags: FlagNames(self.flags, FLAGS),
            ip: Hex(self.handler),
            site: self.site.map(JsonSite::from),
        }
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name(&human::handler(self));
        drawing.number("irq", self.irq.into());
        drawing.word("device", self.device.as_str());
        drawing.word("vector", &self.vector());
        drawing.word("result", human::result(self));
        if let Some(took) = self.took {
            drawing.took(took);
        }
        if self.is_in_thread() {
            drawing.on_task();
            drawing.on_cpu();
        } else {
            // A handler is never interrupted by another, nor moved to another CPU.
            drawing.on_cpu_alone();
        }
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown {
            place: format!("{} irq {}, {}", self.device.short(), self.irq, self.vector()).into(),
            op: human::result(self),
            site: self.site.as_ref(),
            ip: self.handler,
            ..Shown::of(Self::NAME)
        })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused("interrupts"))
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}
