//! Writing a trace file.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Schema};

use super::{Rows, io_error};
use crate::{Event, Header, Sink, Totals};

/// Rows of a batch: what is lost of a busy trace by a crash, at most, beside what came since the
/// last [`Sink::flush`]. They take some 2 MiB, and as much again while they are compressed; with
/// half as many a file is some percent longer.
const BATCH: usize = 1 << 14;

/// Bytes of texts and lists that a batch has at most, beside those of its last row: the stacks and
/// texts of hits can take kilobytes a row.
const BATCH_BYTES: usize = 4 << 20;

/// How hard Zstandard tries: the fastest of its levels. Level 3, its default, takes twice the time
/// for a tenth less.
const LEVEL: i32 = 1;

/// How batches are written.
fn options() -> Result<IpcWriteOptions, ArrowError> {
    let compressed = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
    compressed.try_with_compression_level(Some(LEVEL))
}

/// Writes a trace file to any writer.
///
/// After an error nothing more is written: what was before the failed batch can be read, and
/// [`Sink::kept`] tells how many events that is.
pub struct FileWriter<W: Write> {
    stream: StreamWriter<W>,
    schema: Arc<Schema>,
    rows: Rows,
    last: u64,
    kept: u64,
    failed: bool,
}

impl<W: Write> FileWriter<W> {
    /// Starts a trace with `header`. The writer needs no buffer of its own: it gets whole batches.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let schema = super::schema(header)?;
        let stream = options().and_then(|options| StreamWriter::try_new_with_options(out, &schema, options));
        let stream = stream.map_err(io_error)?;
        Ok(Self { stream, schema, rows: Rows::default(), last: 0, kept: 0, failed: false })
    }

    /// The writer below.
    pub fn get_ref(&self) -> &W {
        self.stream.get_ref()
    }

    fn write(&mut self) -> io::Result<()> {
        let count = self.rows.len() as u64;
        if count == 0 {
            return Ok(());
        }
        if self.failed {
            return Err(io::Error::other("an earlier batch of the trace could not be written"));
        }
        let batch = self.rows.finish(&self.schema).map_err(io_error)?;
        // Half a batch may be in the file if this fails; a second one after it would not be found
        // by any reader.
        self.failed = true;
        self.stream.write(&batch).map_err(io_error)?;
        self.stream.flush().map_err(io_error)?;
        self.failed = false;
        self.kept += count;
        Ok(())
    }
}

impl<W: Write> Sink for FileWriter<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.last = event.time;
        event.append_to(&mut self.rows);
        if self.rows.len() < BATCH && self.rows.bytes() < BATCH_BYTES { Ok(()) } else { self.write() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        self.write()?;
        let kept = self.kept;
        self.rows.end(self.last, totals)?;
        self.write()?;
        self.kept = kept;
        self.stream.finish().map_err(io_error)?;
        self.stream.flush().map_err(io_error)
    }

    fn kept(&self) -> u64 {
        self.kept
    }
}
