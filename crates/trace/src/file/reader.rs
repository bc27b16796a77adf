//! Reading a trace file, batch by batch, also one that was cut off.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_ipc::reader::StreamReader;
use arrow_schema::ArrowError;

use super::messages::Messages;
use super::row::{Columns, Found};
use super::schema::{
    self, FORMAT, FORMAT_3, FORMAT_4, FORMAT_5, FORMAT_6, FORMAT_7, FORMAT_8, FORMAT_9, FORMAT_KEY,
    HEADER_KEY,
};
use crate::{Cut, Ending, Event, FileError, Header, Mark, NotWatched, What};

/// Reads a trace file.
pub(crate) struct ArrowReader<R: Read> {
    stream: StreamReader<Messages<Counted<R>>>,
    header: Header,
    is_format_3: bool,
    /// Whether the columns that format 5 has added are missing.
    is_before_5: bool,
    progress: Arc<Progress>,
}

impl<R: BufRead> ArrowReader<R> {
    /// Whether a file that starts with these bytes, which are some, is a stream of Arrow.
    pub(crate) fn is_one(start: &[u8]) -> bool {
        /// Every message of an Arrow IPC stream starts with this.
        const CONTINUATION: [u8; 4] = [0xff; 4];
        let length = start.len().min(CONTINUATION.len());
        start[..length] == CONTINUATION[..length]
    }

    /// Reads a trace from `reader`; `name` is its name for error messages.
    ///
    /// # Errors
    /// If it can't be read or is no trace.
    pub(crate) fn new(reader: R, name: &str) -> Result<Self, FileError> {
        let file = || name.to_owned();
        let progress = Arc::new(Progress::default());
        let messages = Messages::new(Counted { reader, progress: Arc::clone(&progress) });
        let stream = guarded(|| StreamReader::try_new(messages, None));
        let stream = stream.map_err(|error| match error {
            ArrowError::IoError(_, source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                FileError::Read { file: file(), source }
            }
            _ if progress.ended() => FileError::NoHeader { file: file(), offset: progress.count() },
            error => FileError::Foreign { file: file(), found: error.to_string() },
        })?;
        let schema = stream.schema();
        let foreign = |found: &str| FileError::Foreign { file: file(), found: found.into() };
        let Some(format) = schema.metadata().get(FORMAT_KEY) else {
            return Err(foreign("an Arrow stream of something else"));
        };
        let is_format_3 = format == FORMAT_3;
        let is_before_5 = is_format_3 || format == FORMAT_4;
        let is_of_same_columns =
            [FORMAT, FORMAT_9, FORMAT_8, FORMAT_7, FORMAT_6, FORMAT_5].contains(&format.as_str());
        if !is_of_same_columns && !is_before_5 {
            return Err(FileError::Format { file: file(), found: format.clone() });
        }
        let expected = if is_before_5 { schema::fields_4() } else { schema::fields() };
        if *schema.fields() != expected {
            return Err(foreign("a trace with columns added or changed"));
        }
        let header = schema.metadata().get(HEADER_KEY).and_then(|header| serde_json::from_str(header).ok());
        let Some(header) = header else { return Err(foreign("a trace whose header is damaged")) };
        Ok(Self { stream, header, is_format_3, is_before_5, progress })
    }
}

impl<R: Read> ArrowReader<R> {
    /// What the trace says of itself.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Hands all events to `each`, in the order of the file, and tells how the file ended. What can
    /// be read of a file that was cut off is read.
    ///
    /// # Errors
    /// Those of `each`, at once.
    pub(crate) fn read<E>(&mut self, mut each: impl FnMut(&Event<'_>) -> Result<(), E>) -> Result<Ending, E> {
        let mut events = 0;
        let mut time = None;
        let why = loop {
            let is_before_5 = self.is_before_5;
            let next = guarded(|| {
                let batch = self.stream.next().transpose()?;
                batch.map(|batch| if is_before_5 { schema::from_4(&batch) } else { Ok(batch) }).transpose()
            });
            let batch = match next.transpose() {
                Some(Ok(batch)) => batch,
                // Between batches: the process that wrote it ended early.
                None => break "there is no end record".into(),
                Some(Err(_)) if self.progress.ended() => break "the file ends within a batch".into(),
                Some(Err(error)) => break error.to_string(),
            };
            let Some(columns) = Columns::new(&batch) else { break "a batch has other columns".into() };
            let mut damage = None;
            for row in columns.rows() {
                match row {
                    Some(Found::Event(mut event)) => {
                        if let What::Mark(Mark { text }) = &event.what
                            && self.is_format_3
                            && let Some(found) = NotWatched::from_marker(text)
                        {
                            event.what = What::NotWatched(found);
                        }
                        each(&event)?;
                        events += 1;
                        time = Some(event.time);
                    }
                    Some(Found::End(totals)) => match serde_json::from_str(totals) {
                        Ok(totals) => return Ok(Ending::Whole(totals)),
                        Err(error) => damage = Some(format!("the end record is damaged: {error}")),
                    },
                    None => damage = Some("an event makes no sense".into()),
                }
                if damage.is_some() {
                    break;
                }
            }
            if let Some(damage) = damage {
                break damage;
            }
        };
        Ok(Ending::Cut(Cut { events, time, offset: self.progress.count(), why }))
    }
}

/// Runs Arrow's reader, which panics on some damage (a buffer's offset beyond its message, for one)
/// where an error is due.
///
/// Unwind safe: a stream is not used again after it panicked. What the panic says is of no use to a
/// person who has a damaged file; whether it is printed is the process's to say, by [`is_reading`].
fn guarded<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    READING.set(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(false);
    result.unwrap_or_else(|_| Err(ArrowError::IpcError("the file is damaged here".into())))
}

/// Whether this thread is inside of Arrow's reader, whose panics become errors: for the panic hook
/// of a process that wants to keep quiet about them. A library installs none.
pub fn is_reading() -> bool {
    READING.get()
}

thread_local! {
    /// Whether this thread is inside of Arrow's reader.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// How far a reader got.
#[derive(Debug, Default)]
struct Progress {
    count: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Counts what is read, beside the stream that owns the reader.
struct Counted<R> {
    reader: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.progress.count.fetch_add(count as u64, Ordering::Relaxed);
        if count == 0 && !buffer.is_empty() {
            self.progress.ended.store(true, Ordering::Relaxed);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_reader_is_an_error_and_told_apart_from_a_mistake_of_ours() {
        let error = guarded(|| -> Result<(), ArrowError> {
            assert!(is_reading());
            panic!("an offset beyond its message")
        });
        assert_eq!(error.unwrap_err().to_string(), "Ipc error: the file is damaged here");
        assert!(!is_reading());
    }
}
