//! A page fault, as it was raised.

mod heat;
mod picture;
mod report;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{ErrorCode, FaultPayload, Flags};

use super::EventKind;
use crate::fault::{Cause, sentence};
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::report::{Seen, Shown, Texts};
use crate::json::Hex;
use crate::write::{
    Drawing, FlagNames, JsonSite, Line, MmiotraceLines, NOTE, READ, REGISTER, WRITE, duration, printable, site,
    task,
};
use crate::{Event, Names, Site};
pub(crate) use report::Tally;

/// What page faults are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Studied {
    /// Whether those in user mode are.
    pub user: bool,
    /// Whether those in kernel mode are.
    pub kernel: bool,
    /// In which process alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// In tasks of which name alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// On addresses from the first to the last alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<(u64, u64)>,
    /// Of which causes alone, by [`Cause::name`]; of all if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Whether how long each took is recorded.
    pub latency: bool,
    /// Whether the gate is one of our own; else the kernel's tracepoints.
    pub own_gate: bool,
}

/// A page fault, as it was raised.
#[derive(Clone, Debug, PartialEq)]
pub struct PageFault<'a> {
    /// The linear address that was accessed.
    pub address: u64,
    /// As the CPU pushed it; its words are in [`fault`](crate::fault).
    pub error_code: ErrorCode,
    /// Address of the instruction that faulted.
    pub ip: u64,
    /// The interrupted stack pointer.
    pub stack: u64,
    /// Only [`Flags::INTERRUPT`] and [`Flags::CLOSED`] are used.
    pub flags: Flags,
    /// Nanoseconds until the kernel had served it, if that was asked for and is known.
    pub took: Option<u64>,
    /// What lies at the address and what the fault was for, once named: `copy on write, heap`.
    pub memory: Option<Cow<'a, str>>,
    /// Which function the instruction is in, or which program or library, once named.
    pub site: Option<Site<'a>>,
}

impl PageFault<'_> {
    /// Why it was raised.
    pub fn cause(&self) -> Cause {
        match Cause::of(self.error_code, self.address) {
            Cause::NotWritable if self.flags.has(Flags::CLOSED) => Cause::UserPage,
            cause => cause,
        }
    }

    /// "write to a present read-only page, in user mode".
    pub fn sentence(&self) -> String {
        sentence(self.error_code, self.cause())
    }

    /// "user" or "kernel".
    pub fn mode(&self) -> &'static str {
        if self.error_code.has(ErrorCode::USER) { "user" } else { "kernel" }
    }
}

/// What the flags are called; `closed` means that user memory was closed to the kernel (SMAP).
const FLAGS: &[(u8, &str)] = &[(Flags::CLOSED, "closed"), (Flags::INTERRUPT, "interrupt")];

/// In JSON: `address`, `error_code`, `cause` (as `--why` takes it), `mode` (`"user"`, `"kernel"`),
/// `memory`, `took_ns` (from `--latency`), `sp`, `flags`, `ip`, `function`, `function_offset`,
/// `module`.
#[derive(Serialize)]
struct Fields<'a> {
    address: Hex,
    error_code: Hex,
    cause: &'static str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ns: Option<u64>,
    sp: Hex,
    flags: FlagNames,
    ip: Hex,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
}

impl<'a> EventKind<'a> for PageFault<'a> {
    const NAME: &'static str = "fault";
    const TITLE: Option<&'static str> = Some(
        "         seconds  cpu  task                              address  by                           fault",
    );

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let FaultPayload { address, ip, error_code, stack, .. } =
            FaultPayload::from_words(from.record.payload);
        let (error_code, flags) = (ErrorCode(error_code), Flags(from.record.flags));
        Some(Self { address, error_code, ip, stack, flags, took: from.end.map(|end| end.took), memory: None, site: None })
    }

    fn named(self, names: &'a Names) -> Self {
        Self { site: names.site(self.ip).or(self.site), ..self }
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            address: Some(self.address),
            value: Some(self.error_code.0.into()),
            flags: Some(self.flags),
            ip: Some(self.ip),
            site: self.site,
            amount: Some(self.stack),
            took: self.took,
            text: self.memory.as_deref(),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self {
            address: row.address()?,
            error_code: ErrorCode(row.value()? as u32),
            ip: row.ip()?,
            stack: row.amount()?,
            flags: row.flags()?,
            took: row.took(),
            memory: row.text().map(Cow::Borrowed),
            site: row.site(),
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        let style = if self.mode() == "user" { READ } else { WRITE };
        write!(line, "{:22} ", task(event))?;
        line.paint(REGISTER, &format!("{:#18x}", self.address))?;
        write!(line, "  {:28} ", site(self.site.as_ref(), self.ip))?;
        line.paint(style, &self.sentence())?;
        if let Some(memory) = &self.memory {
            write!(line, ": {}", printable(memory))?;
        }
        if let Some(took) = self.took {
            line.write_str(", ")?;
            line.paint(NOTE, &duration(took))?;
        }
        if self.flags.has(Flags::INTERRUPT) {
            line.write_str("  ")?;
            line.note("in an interrupt")?;
        }
        Ok(())
    }

    fn json(&self) -> impl Serialize {
        Fields {
            address: Hex(self.address),
            error_code: Hex(self.error_code.0.into()),
            cause: self.cause().name(),
            mode: self.mode(),
            memory: self.memory.as_deref(),
            took_ns: self.took,
            sp: Hex(self.stack),
            flags: FlagNames(self.flags, FLAGS),
            ip: Hex(self.ip),
            site: self.site.map(JsonSite::from),
        }
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name(self.cause().name());
        drawing.hex("address", self.address);
        drawing.word("fault", &self.sentence());
        if let Some(memory) = &self.memory {
            drawing.word("memory", memory);
        }
        drawing.origin(self.site.as_ref(), self.ip);
        if let Some(took) = self.took {
            drawing.took(took);
        }
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown {
            place: self.sentence().into(),
            op: self.mode(),
            width: 8,
            value: Some(self.address),
            site: self.site.as_ref(),
            ip: self.ip,
            ..Shown::of(Self::NAME)
        })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused("page faults"))
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}
