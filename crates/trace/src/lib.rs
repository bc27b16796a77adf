//! Merge, name, read, write and convert traces.
//!
//! What happened arrives as fixed-size records in one ring per CPU and leaves as a file or as text:
//!
//! ```text
//! rings --RingReader--> records --Merge--> Event, one timeline --Names--> Event, named
//! Event, named --> Sink (file, human, JSON Lines, mmiotrace)
//!             \--> Summary
//! file or mmiotrace's text --TraceReader--> Event, named --> Sink, Summary, Pair
//! ```
//!
//! What is particular to a kind of events is in its module in [`kinds`]; the rest of the crate is
//! the same for all of them.
//!
//! [`Event`] is the one type in the middle. It borrows its texts, so a merged, a live named and a
//! re-read event are the same thing and nothing is allocated per event, but the arguments of a code
//! probe. An owned event with interned ids was rejected: it would tie every consumer to the
//! interner that made the ids.
//!
//! Nothing here needs root or Linux' Trapline module; what is read from the running system
//! (devices, symbols) comes from readers and paths passed in.
#![forbid(unsafe_code)]

mod device;
mod diff;
mod event;
pub use trapline_explain::fault;
mod file;
mod header;
mod json;
mod kinds;
mod merge;
mod mmiotrace;
mod names;
mod pci;
mod reader;
mod report;
mod symbols;
mod write;

pub use device::{Bar, Device, DeviceError, devices};
pub use diff::{Diff, Difference, Pair, Side};
pub use event::{Comm, Event, Place, Site};
pub use file::{FileWriter, is_reading};
pub use header::{Header, ProbeTotals, Totals};
pub use json::write_json_line;
pub use kinds::access::{Access, Direction, Injected, Lies, RegisterCount, Value, Watched, WatchedRange};
pub use kinds::config::{ConfigAccess, Space, Spaces};
pub use kinds::dma::{DmaCall, Mapped};
pub use kinds::fault::{PageFault, Studied};
pub use kinds::hit::{Argument, Format, Frame, Hit, Item, Layout, Moment, Probe, Probed};
pub use kinds::interrupt::{Followed, Interrupt, Outcome};
pub use kinds::lifecycle::{Lifecycle, Lived};
pub use kinds::log::{LogLine, Logged};
pub use kinds::lost::Lost;
pub use kinds::mapping::Map;
pub use kinds::mark::Mark;
pub use kinds::not_watched::NotWatched;
pub use kinds::port::{PortAccess, Ports};
pub use kinds::unmap::Unmap;
pub use kinds::window::Window;
pub use kinds::{Source, What};
pub use merge::{Bounds, Merge};
pub use names::Names;
pub use pci::PciAddress;
pub use reader::{Cut, Ending, FileError, FileFormat, Opener, Strays, TraceReader};
pub use report::{Count, HtmlError, Summary};
pub use symbols::{Symbol, Symbols};
/// What [`Names`] takes.
pub use trapline_registers::{RegisterFile, Registers};
pub use write::{Human, JsonLines, Mmiotrace, ParquetFile, Perfetto, Sink};
