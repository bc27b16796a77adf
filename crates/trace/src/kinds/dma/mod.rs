//! Memory that a device accesses by itself (DMA): a buffer was given to it, or taken back.

mod book;
mod caller;
mod human;
mod json;
mod report;
mod sizes;
mod words;

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{DMA_FAILED, DmaDirection, DmaOp, DmaPayload, Flags};

use super::EventKind;
use super::access;
use super::hit::Frame;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::report::{Of, Seen, Shown, Texts, Touch};
use crate::write::{Drawing, Line, MmiotraceLines};
use crate::{Event, Names, PciAddress, Site};
pub(crate) use report::Tally;
use words::{direction_from_name, direction_name, direction_words, op_from_name, op_name, op_words};

/// The devices whose DMA is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// PCI addresses of the devices.
    pub devices: Vec<String>,
    /// How many of a buffer's first bytes are recorded when it changes hands.
    #[serde(default, skip_serializing_if = "is_none")]
    pub data: u32,
    /// What is not recorded, each in words: a function that can't be probed, or what no function is
    /// followed for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_followed: Vec<String>,
}

fn is_none(bytes: &u32) -> bool {
    *bytes == 0
}

/// What was done to one buffer, or to one piece of a scatter list, for a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DmaCall<'a> {
    /// For which device.
    pub device: PciAddress,
    /// What was done.
    pub op: DmaOp,
    /// Which way data go.
    pub direction: DmaDirection,
    /// The address by which the device finds it; `None` if the call failed, and of a call that
    /// takes memory back if that is what a failed one had returned.
    pub dma: Option<u64>,
    /// The physical address, if the call tells; of memory that was allocated as pages the first
    /// page's.
    pub physical: Option<u64>,
    /// The linear address by which the kernel finds what was allocated or freed, if the call tells.
    pub address: Option<u64>,
    /// Bytes; `u32::MAX` for that many or more.
    pub size: u32,
    /// Which piece of a scatter list, from 0 on.
    pub piece: u16,
    /// How many pieces the list has, `u16::MAX` for that many or more; 0 if it is none.
    pub pieces: u16,
    /// What was recorded of the buffer's first bytes.
    pub data: Cow<'a, [u8]>,
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

impl DmaCall<'_> {
    /// Whether the device was to be given memory and was not.
    pub fn is_failed(&self) -> bool {
        self.dma.is_none() && matches!(self.op, DmaOp::Map | DmaOp::Alloc)
    }

    /// Whether memory was taken back that no call had given: by the address that a failed one
    /// returns.
    pub fn is_of_failed(&self) -> bool {
        self.dma.is_none() && !self.is_failed()
    }

    /// The first bytes of the data, as a person reads them: `52 54 00 12 …`. Empty if none were
    /// recorded.
    fn excerpt(&self) -> String {
        const MOST: usize = 16;
        let mut words: Vec<String> = self.data.iter().take(MOST).map(|byte| format!("{byte:02x}")).collect();
        if self.data.len() > MOST {
            words.push("…".into());
        }
        words.join(" ")
    }
}

/// Where in a record with its continuations the return addresses begin.
const FRAMES: usize = 32;
/// Where the data begin.
const DATA: usize = 64;

/// The kernel's linear addresses on x86-64 begin with this bit, whether page tables have four
/// levels or five; physical addresses have 52 bits (Intel SDM volume 1, 3.3.7.1 and 3.3.1).
const KERNEL: u64 = 1 << 63;

impl<'a> EventKind<'a> for DmaCall<'a> {
    const NAME: &'static str = "dma";
    // The columns are those of accesses, so that both read as one listing.
    const TITLE: Option<&'static str> = access::TITLE;

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let record = from.record;
        let DmaPayload { device, op, direction, dma, cpu, size, piece, pieces } =
            DmaPayload::from_words(record.payload);
        let op = DmaOp::from_code(op)?;
        if !from.is_whole {
            return None;
        }
        let words = from.bytes.get(FRAMES..DATA).unwrap_or_default().as_chunks::<8>().0;
        let addresses = words.iter().map(|word| u64::from_le_bytes(*word)).take_while(|ip| *ip != 0);
        let stack: Vec<Frame<'a>> = addresses.map(|ip| Frame { ip, site: None }).collect();
        let data = match usize::from(record.width) {
            0 => &[][..],
            length => from.bytes.get(DATA..DATA + length)?,
        };
        let is_linear = matches!(op, DmaOp::Alloc | DmaOp::Free) && cpu >= KERNEL;
        Some(Self {
            device: device.into(),
            op,
            direction: DmaDirection::from_code(direction)?,
            dma: (dma != DMA_FAILED).then_some(dma),
            physical: (cpu != 0 && !is_linear).then_some(cpu),
            address: is_linear.then_some(cpu),
            size,
            piece: if pieces == 0 { 0 } else { piece },
            pieces,
            data: data.into(),
            flags: Flags(record.flags),
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
        let is_list = self.pieces > 0;
        Cells {
            op: Some(op_name(self.op)),
            device: Some(self.device.as_str()),
            value: self.dma,
            physical: self.physical,
            address: self.address,
            amount: Some(self.size.into()),
            way: Some(direction_name(self.direction)),
            offset: is_list.then(|| self.piece.into()),
            mapping: is_list.then(|| self.pieces.into()),
            value_wide: (!self.data.is_empty()).then_some(&self.data),
            flags: Some(self.flags),
            ip: Some(self.ip),
            site: self.site,
            stack: Some(&self.stack),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        let pieces = row.mapping().map_or(Some(0), |pieces| pieces.try_into().ok())?;
        let piece = row.offset().map_or(Some(0), |piece| piece.try_into().ok())?;
        Some(Self {
            device: PciAddress::from_text(row.device()?)?,
            op: op_from_name(row.op()?)?,
            direction: direction_from_name(row.way()?)?,
            dma: row.value(),
            physical: row.physical(),
            address: row.address(),
            size: row.amount()?.try_into().ok()?,
            piece,
            pieces,
            data: row.value_wide().unwrap_or_default().into(),
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
        json::Fields::new(self)
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name(&format!("DMA {}", op_words(self.op)));
        drawing.word("device", self.device.as_str());
        drawing.word("direction", direction_name(self.direction));
        match self.dma {
            Some(dma) => drawing.hex("dma", dma),
            None => drawing.word("dma", "failed"),
        }
        for (name, address) in [("physical", self.physical), ("address", self.address)] {
            if let Some(address) = address {
                drawing.hex(name, address);
            }
        }
        drawing.number("size", self.size.into());
        if self.pieces > 0 {
            drawing.number("piece", self.piece.into());
            drawing.number("pieces", self.pieces.into());
        }
        if !self.data.is_empty() {
            drawing.text("data", &self.excerpt());
        }
        drawing.origin(self.site.as_ref(), self.ip);
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown {
            kind: Self::NAME,
            place: format!("{} DMA {}", self.device.short(), op_words(self.op)).into(),
            name: None,
            op: direction_name(self.direction),
            width: if self.dma.is_some() { 8 } else { 0 },
            value: self.dma,
            site: self.site.as_ref(),
            ip: self.ip,
        })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused("DMA"))
    }

    fn touch(&self) -> Option<Touch<'_>> {
        Some(Touch {
            of: Of::Buffers,
            place: None,
            buffer: Some((op_words(self.op), direction_words(self.direction))),
            is_read: false,
            value: None,
            site: self.site.as_ref(),
            ip: self.ip,
            in_interrupt: self.flags.has(Flags::INTERRUPT),
        })
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}
