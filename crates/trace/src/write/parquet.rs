//! Parquet, for archives and for data frames: the columns of a trace file, compressed.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::Sink;
use crate::file::{Rows, schema};
use crate::{Event, Header, Totals};

/// Rows handed over at once.
const BATCH: usize = 1 << 16;

/// Writes a Parquet file. Parquet has its directory at the end, so the file can only be read once
/// [`Sink::end`] was called: it is for converting, not for tracing.
pub struct ParquetFile<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    rows: Rows,
    last: u64,
    ended: bool,
    events: u64,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Writes to `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let schema = schema(header)?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties)).map_err(io_error)?;
        Ok(Self { writer, schema, rows: Rows::default(), last: 0, ended: false, events: 0 })
    }

    fn write(&mut self) -> io::Result<()> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        let batch = self.rows.finish(&self.schema).map_err(crate::file::io_error)?;
        self.writer.write(&batch).map_err(io_error)
    }
}

impl<W: Write + Send> Sink for ParquetFile<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.last = event.time;
        self.events += 1;
        event.append_to(&mut self.rows);
        if self.rows.len() < BATCH { Ok(()) } else { self.write() }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        self.rows.end(self.last, totals)?;
        self.cut()
    }

    /// The file can't be read without its directory; that it is cut off is told by its having no
    /// row `end`.
    fn cut(&mut self) -> io::Result<()> {
        self.write()?;
        self.writer.finish().map_err(io_error)?;
        self.ended = true;
        Ok(())
    }

    fn kept(&self) -> u64 {
        if self.ended { self.events } else { 0 }
    }
}

/// The writer's own error, as it was, out of Parquet's.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}
