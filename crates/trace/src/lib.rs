//! Merge, name, read, write and convert traces.
//!
//! What happened arrives as fixed-size records in one ring per CPU and leaves as a file or as text:
//!
//! ```text
//! rings --RingReader--> records --Collector--> Event, one timeline --Names--> Event, named --> Sink (file, human, JSON Lines, mmiotrace)
//!                                                                                        \--> Summary
//! file  --TraceReader--> Event, named --> Sink, Summary
//! ```
//!
//! [`Event`] is the one type in the middle. It borrows its texts, so a merged, a live named and a re-read event are the same thing and nothing is
//! allocated per event, but the arguments of a code probe. An owned event with interned ids was rejected: it would tie every consumer to the interner that made the ids.
//!
//! Nothing here needs root or Linux' Trapline module; what is read from the running system (devices, symbols) comes from readers and paths passed in.
#![deny(unsafe_code)]

mod device;
mod event;
pub mod fault;
mod file;
mod header;
mod merge;
mod names;
mod probe;
mod registers;
mod report;
mod ring;
mod symbols;
mod write;

pub use device::{Bar, Device, DeviceError, devices};
pub use event::{
    Access, Argument, Comm, Direction, Event, Frame, Hit, Map, PageFault, Place, Site, Value, What,
};
pub use file::{Cut, Ending, FileError, FileWriter, TraceReader};
pub use header::{Header, ProbeTotals, Totals};
pub use merge::{Collector, Merge};
pub use names::Names;
pub use probe::{Format, Item, Layout, Moment, Probe};
pub use registers::{Field, Register, RegisterError, RegisterFile, Registers};
pub use report::{Count, RegisterCount, Summary};
pub use ring::{RingError, RingReader};
pub use symbols::{Symbol, Symbols};
pub use write::{Human, JsonLines, Mmiotrace, ParquetFile, Sink};
