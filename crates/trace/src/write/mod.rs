//! Writing a trace: one trait, a renderer for each format. Each takes any writer, so tests read a
//! `Vec<u8>`.

mod fold;
mod human;
mod json;
mod mmiotrace;
mod parquet;
mod perfetto;
mod text;

use std::io;

use crate::{Event, Totals};
pub use human::Human;
pub use json::JsonLines;
pub(crate) use json::{FlagNames, JsonLine, JsonPlace, JsonSite};
pub use mmiotrace::Mmiotrace;
pub(crate) use mmiotrace::MmiotraceLines;
pub use parquet::ParquetFile;
pub use perfetto::Perfetto;
pub(crate) use perfetto::{Drawing, register};
pub(crate) use text::{
    ALARM, DIM, LOG, Line, NOTE, READ, REGISTER, WRITE, duration, grouped, paint, place, printable, site,
    task,
};

/// Takes the events of a trace, in the order of their times.
///
/// An `io::Error` of the writer below comes back as it was, with its kind, so that the caller can
/// tell a broken pipe from a full disk.
pub trait Sink {
    /// Takes the next event.
    ///
    /// # Errors
    /// Those of the writer.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;

    /// Passes on what was held back, so that a crash loses little and a person sees it: to be
    /// called about once a second.
    ///
    /// # Errors
    /// Those of the writer.
    fn flush(&mut self) -> io::Result<()>;

    /// Ends the trace.
    ///
    /// # Errors
    /// Those of the writer.
    fn end(&mut self, totals: &Totals) -> io::Result<()>;

    /// Ends a trace of which nobody knows what was counted: it can be read, but does not look
    /// complete.
    ///
    /// # Errors
    /// Those of the writer.
    fn cut(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Events that have been handed to the writer for good: what is kept if a later one fails.
    fn kept(&self) -> u64;
}
