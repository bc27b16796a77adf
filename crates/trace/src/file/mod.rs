//! Trace files: an Arrow IPC stream, which survives a cut-off end and which pandas, Polars and
//! DuckDB open as it is.
//!
//! One row an event, the columns of [`schema`]. The schema's metadata holds the
//! [`Header`](crate::Header) as JSON under `trapline.header`. The last row is of kind `end` and
//! holds the [`Totals`](crate::Totals) as JSON in `text`; a file without it was cut off, and what
//! was read of it is right all the same.
//!
//! Each buffer of a batch is compressed by Zstandard, as Arrow's format has it: most columns of a
//! trace are equal from row to row, or nearly so.
//!
//! Rejected: the Arrow *file* format, whose footer is written last, so that a crash loses all.
//! Delta dictionaries: Polars doesn't read them; a dictionary that grew is sent again as a whole,
//! which costs little since texts repeat. LZ4, which Arrow has too: it writes numbers that count up
//! (times, addresses) at twice the length. A row for many equal or adjacent accesses: who reads the
//! file with other programs would count rows wrong, and the times of all would have to be kept.

mod cells;
mod messages;
mod reader;
mod row;
mod runs;
mod schema;
mod writer;

pub(crate) use cells::{Cells, Rows};
pub(crate) use reader::ArrowReader;
pub use reader::is_reading;
pub(crate) use row::{Items, Row};
pub(crate) use schema::{FORMATS_READ, schema};
pub use writer::FileWriter;

use std::io;

use arrow_schema::ArrowError;

/// The writer's own error, as it was, out of Arrow's.
pub(crate) fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        other => io::Error::other(other),
    }
}
