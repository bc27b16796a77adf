//! Reading a trace, whichever of the formats that can be read it is in: a file of Trapline's own
//! ([`file`](crate::file)) or mmiotrace's text ([`mmiotrace`](crate::mmiotrace)).
//!
//! Both give the same events, so whoever reads a trace need not know which it was.

mod error;
mod foreign;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::file::ArrowReader;
use crate::mmiotrace::{MmiotraceReader, is_mmiotrace};
use crate::{Event, Header};
pub use error::{Cut, Ending, FileError, Strays};
pub use foreign::{FileFormat, Opener};

/// Bytes read from a file at once.
const CHUNK: usize = 1 << 20;

/// Reads a trace.
pub struct TraceReader<R: BufRead> {
    format: Formats<R>,
}

/// The formats that can be read.
enum Formats<R: BufRead> {
    Arrow(Box<ArrowReader<R>>),
    Mmiotrace(Box<MmiotraceReader<R>>),
}

impl TraceReader<BufReader<File>> {
    /// Opens the trace at `path`.
    ///
    /// # Errors
    /// If it can't be read or is no trace.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::new(BufReader::with_capacity(CHUNK, file), &name),
            Err(source) => Err(FileError::Read { file: name, source }),
        }
    }
}

impl<R: BufRead> TraceReader<R> {
    /// Reads a trace from `reader`; `name` is its name for error messages.
    ///
    /// # Errors
    /// If it can't be read or is no trace.
    pub fn new(mut reader: R, name: &str) -> Result<Self, FileError> {
        let file = || name.to_owned();
        let start = reader.fill_buf().map_err(|source| FileError::Read { file: file(), source })?;
        if start.is_empty() {
            return Err(FileError::Empty { file: file() });
        }
        let format = if ArrowReader::<R>::is_one(start) {
            Formats::Arrow(Box::new(ArrowReader::new(reader, name)?))
        } else if is_mmiotrace(start) {
            Formats::Mmiotrace(Box::new(MmiotraceReader::new(reader, name)?))
        } else {
            return Err(FileError::Foreign { file: file(), found: foreign::told(start) });
        };
        Ok(Self { format })
    }

    /// What the trace says of itself. mmiotrace's text tells of nothing but devices.
    pub fn header(&self) -> &Header {
        match &self.format {
            Formats::Arrow(reader) => reader.header(),
            Formats::Mmiotrace(reader) => reader.header(),
        }
    }

    /// Hands all events to `each`, in the order of the file, and tells how it ended. What can be
    /// read of a file that was cut off is read.
    ///
    /// # Errors
    /// Those of `each`, at once.
    pub fn read<E>(&mut self, each: impl FnMut(&Event<'_>) -> Result<(), E>) -> Result<Ending, E> {
        match &mut self.format {
            Formats::Arrow(reader) => reader.read(each),
            Formats::Mmiotrace(reader) => reader.read(each),
        }
    }

    /// What was read and left out since it makes no sense, if there was any; only a text has such.
    pub fn strays(&self) -> Option<&Strays> {
        match &self.format {
            Formats::Arrow(_) => None,
            Formats::Mmiotrace(reader) => reader.strays(),
        }
    }
}
