//! Reading a trace file, batch by batch, also one that was cut off.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};

use arrow_ipc::reader::StreamReader;
use arrow_schema::ArrowError;

use super::columns::{Columns, Row};
use super::schema::{self, FORMAT, FORMAT_KEY, HEADER_KEY};
use crate::{Event, Header, Totals};

/// Bytes read from a file at once.
const CHUNK: usize = 1 << 20;

/// Reads a trace file.
pub struct TraceReader<R: Read> {
    stream: StreamReader<Counted<R>>,
    header: Header,
    progress: Arc<Progress>,
}

/// How a trace file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its totals: nothing is missing.
    Whole(Totals),
    /// It was cut off, or is damaged from some place on.
    Cut(Cut),
}

/// Where a trace file was cut off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trace is cut off after {events} events{}: {why} (near byte {offset})", self.at())]
pub struct Cut {
    /// Events that could be read.
    pub events: u64,
    /// Time of the last of them.
    pub time: Option<u64>,
    /// Byte of the file up to which was read.
    pub offset: u64,
    /// What was found there.
    pub why: String,
}

impl Cut {
    fn at(&self) -> String {
        let Some(time) = self.time else { return String::new() };
        format!(", at {}.{:09} s", time / 1_000_000_000, time % 1_000_000_000)
    }
}

/// Why a file can't be read as a trace.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be opened or read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{file} is empty: expected a trace made with `trapline mmio --output`")]
    Empty {
        /// The file.
        file: String,
    },
    /// It is something else.
    #[error("{file} is no trace: {found}; expected an Arrow IPC stream made with `trapline mmio --output`")]
    Foreign {
        /// The file.
        file: String,
        /// What it is.
        found: String,
    },
    /// It was made by a Trapline with another format.
    #[error(
        "{file} is a trace of format {found}, this command reads format {FORMAT}: use the Trapline that made it"
    )]
    Format {
        /// The file.
        file: String,
        /// Its format.
        found: String,
    },
    /// It ends before its first event.
    #[error("{file} is cut off in its header, at byte {offset}: there are no events in it")]
    NoHeader {
        /// The file.
        file: String,
        /// Where it ends.
        offset: u64,
    },
}

impl TraceReader<BufReader<File>> {
    /// Opens the trace file at `path`.
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
        if let Some(found) = foreign(start) {
            return Err(FileError::Foreign { file: file(), found });
        }
        let progress = Arc::new(Progress::default());
        let stream =
            guarded(|| StreamReader::try_new(Counted { reader, progress: Arc::clone(&progress) }, None));
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
        if format != FORMAT {
            return Err(FileError::Format { file: file(), found: format.clone() });
        }
        if *schema.fields() != schema::fields() {
            return Err(foreign("a trace with columns added or changed"));
        }
        let header = schema.metadata().get(HEADER_KEY).and_then(|header| serde_json::from_str(header).ok());
        let Some(header) = header else { return Err(foreign("a trace whose header is damaged")) };
        Ok(Self { stream, header, progress })
    }
}

impl<R: Read> TraceReader<R> {
    /// What the trace says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Hands all events to `each`, in the order of the file, and tells how the file ended. What can be read of a file that was cut off is read.
    ///
    /// # Errors
    /// Those of `each`, at once.
    pub fn read<E>(&mut self, mut each: impl FnMut(&Event<'_>) -> Result<(), E>) -> Result<Ending, E> {
        let mut events = 0;
        let mut time = None;
        let why = loop {
            let batch = match guarded(|| self.stream.next().transpose()).transpose() {
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
                    Some(Row::Event(event)) => {
                        each(&event)?;
                        events += 1;
                        time = Some(event.time);
                    }
                    Some(Row::End(totals)) => match serde_json::from_str(totals) {
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

/// Runs Arrow's reader, which panics on some damage (a buffer's offset beyond its message, for one) where an error is due.
///
/// Unwind safe: a stream is not used again after it panicked. What the panic says is of no use to a person who has a damaged file, so the process's hook is not told.
fn guarded<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !READING.get() {
                before(info);
            }
        }));
    });
    READING.set(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(false);
    result.unwrap_or_else(|_| Err(ArrowError::IpcError("the file is damaged here".into())))
}

thread_local! {
    /// Whether this thread is inside of Arrow's reader.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// What a file is that doesn't start as an Arrow stream does; `None` if it does.
fn foreign(start: &[u8]) -> Option<String> {
    /// Every message of an Arrow IPC stream starts with this.
    const CONTINUATION: [u8; 4] = [0xff; 4];
    let known: [(&[u8], &str); 4] = [
        (b"PAR1", "a Parquet file"),
        (b"ARROW1", "an Arrow file, not a stream"),
        (b"VERSION ", "mmiotrace text"),
        (b"{", "JSON"),
    ];
    let length = start.len().min(CONTINUATION.len());
    if start[..length] == CONTINUATION[..length] {
        return None;
    }
    let found =
        known.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, found)| found.to_owned());
    Some(found.unwrap_or_else(|| format!("it starts with the bytes {:02x?}", &start[..start.len().min(8)])))
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
    fn only_what_the_reader_panics_about_is_kept_quiet() {
        static TOLD: AtomicU64 = AtomicU64::new(0);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.contains("kept_quiet")) {
                TOLD.fetch_add(1, Ordering::Relaxed);
            }
            before(info);
        }));
        let error = guarded(|| -> Result<(), ArrowError> { panic!("an offset beyond its message") });
        assert_eq!(error.unwrap_err().to_string(), "Ipc error: the file is damaged here");
        assert_eq!(TOLD.load(Ordering::Relaxed), 0);
        catch_unwind(|| panic!("a mistake of ours")).unwrap_err();
        assert_eq!(TOLD.load(Ordering::Relaxed), 1);
    }
}
