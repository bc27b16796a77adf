//! What code touched of a device: a register, or a buffer that the device accesses by itself. It is
//! told the same way of all kinds of events that tell such a thing.

use crate::{Place, Site, Value};

/// What it was that was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Of {
    /// A register in memory.
    Registers,
    /// An I/O port.
    Ports,
    /// A register in configuration space.
    Config,
    /// Memory that the device accesses by itself.
    Buffers,
}

impl Of {
    /// All of them, in the order of a report.
    pub(crate) const ALL: [Self; 4] = [Self::Registers, Self::Ports, Self::Config, Self::Buffers];

    /// What a report calls it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Ports => "ports",
            Self::Config => "config",
            Self::Buffers => "dma",
        }
    }

    /// Where a register of it is: `0+000c0` in a BAR, `cfg+004` in configuration space.
    pub(crate) fn spot(self, bar: u8, offset: u64) -> String {
        match self {
            Self::Config => format!("cfg+{offset:03x}"),
            _ => format!("{bar}+{offset:05x}"),
        }
    }
}

/// What code touched of a device, once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch<'e> {
    /// What it was.
    pub(crate) of: Of,
    /// Which register, if it is one of a device. Of configuration space the BAR means nothing.
    pub(crate) place: Option<Place<'e>>,
    /// What was done with a buffer, and which way its data go, in words.
    pub(crate) buffer: Option<(&'static str, &'static str)>,
    /// Whether a register was read.
    pub(crate) is_read: bool,
    /// What was read or written, if that is known.
    pub(crate) value: Option<Value>,
    /// The function that asked for it.
    pub(crate) site: Option<&'e Site<'e>>,
    /// Address of the instruction; 0 if it is not known.
    pub(crate) ip: u64,
    /// Whether that was in an interrupt.
    pub(crate) in_interrupt: bool,
}
