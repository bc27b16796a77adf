//! Where a trace goes: standard output or a file, in one of the formats.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anstream::AutoStream;
use trapline_trace::{
    FileWriter, Header, Human, JsonLines, Mmiotrace, Names, ParquetFile, Perfetto, Registers, Sink,
};

use crate::args::{ConvertTo, Format};

/// Why what is to be written can't be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The output file can't be made.
    #[error("can't create {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("can't write {path}: {source}; what was written before is good")]
    Write {
        /// Where to.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What the command itself says can't be printed.
    #[error("can't write standard output: {source}")]
    Print {
        /// Why.
        source: io::Error,
    },
    /// Binary output to a terminal.
    #[error("{format} is binary and would garble the terminal; name a file with --output FILE")]
    BinaryToTerminal {
        /// The format.
        format: &'static str,
    },
    /// mmiotrace's format for something else.
    #[error("mmiotrace's format knows accesses to device registers only; use --format human, json or arrow")]
    OnlyAccesses,
}

/// Bytes gathered before they are written.
const BUFFER: usize = 256 << 10;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Destination {
    /// What `--output` means; `-` is standard output, as elsewhere.
    pub(crate) fn new(output: Option<&Path>) -> Self {
        match output {
            None => Self::Stdout,
            Some(path) if path == Path::new("-") => Self::Stdout,
            Some(path) => Self::File(path.into()),
        }
    }

    /// Whether it can be opened, as far as that is told without making or replacing it.
    ///
    /// # Errors
    /// It can't be written, or its folder can't.
    pub(crate) fn check(&self) -> Result<(), OutputError> {
        let Self::File(path) = self else { return Ok(()) };
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let wrong = match fs::metadata(path) {
            Ok(there) if there.is_dir() => Some(rustix::io::Errno::ISDIR),
            Ok(_) => rustix::fs::access(path, rustix::fs::Access::WRITE_OK).err(),
            Err(_) => rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).err(),
        };
        wrong.map_or(Ok(()), |source| Err(OutputError::Create { path: path.clone(), source: source.into() }))
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".into(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Whether it is standard output and that is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        *self == Self::Stdout && io::stdout().is_terminal()
    }

    /// Whether escape sequences for colours make sense there.
    pub(crate) fn takes_colour(&self) -> bool {
        *self == Self::Stdout && AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
    }

    /// Opens it; an existing file is replaced.
    fn open(&self) -> Result<Opened, OutputError> {
        Ok(match self {
            Self::Stdout => Opened::Stdout(io::stdout()),
            Self::File(path) => Opened::File(
                File::create(path).map_err(|source| OutputError::Create { path: path.clone(), source })?,
            ),
        })
    }
}

/// An open destination.
#[derive(Debug)]
enum Opened {
    /// Standard output.
    Stdout(io::Stdout),
    /// A file.
    File(File),
}

impl Write for Opened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// How long a destination took for what it was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Arc<AtomicU64>);

impl Busy {
    /// All together.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Adds what `action` takes.
    fn during<T>(&self, action: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = action();
        self.0.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
    }
}

/// An open destination whose time is taken.
struct Timed {
    out: Opened,
    busy: Busy,
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.busy.during(|| self.out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.busy.during(|| self.out.flush())
    }
}

/// What a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Aligned lines.
    Human,
    /// JSON Lines.
    Json,
    /// mmiotrace's text.
    Mmiotrace,
    /// A trace file.
    Arrow,
    /// Parquet.
    Parquet,
    /// Perfetto's format.
    Perfetto,
}

impl From<Format> for Kind {
    fn from(format: Format) -> Self {
        match format {
            Format::Human => Self::Human,
            Format::Json => Self::Json,
            Format::Mmiotrace => Self::Mmiotrace,
            Format::Arrow => Self::Arrow,
        }
    }
}

impl From<ConvertTo> for Kind {
    fn from(to: ConvertTo) -> Self {
        match to {
            ConvertTo::Human => Self::Human,
            ConvertTo::Json => Self::Json,
            ConvertTo::Mmiotrace => Self::Mmiotrace,
            ConvertTo::Parquet => Self::Parquet,
            ConvertTo::Perfetto => Self::Perfetto,
        }
    }
}

impl Kind {
    /// Refuses to write what a terminal would garble to one.
    pub(crate) fn check(self, destination: &Destination) -> Result<(), OutputError> {
        match self {
            Self::Arrow if destination.is_terminal() => {
                Err(OutputError::BinaryToTerminal { format: "an Arrow trace" })
            }
            Self::Parquet if destination.is_terminal() => {
                Err(OutputError::BinaryToTerminal { format: "Parquet" })
            }
            Self::Perfetto if destination.is_terminal() => {
                Err(OutputError::BinaryToTerminal { format: "Perfetto's format" })
            }
            _ => Ok(()),
        }
    }
}

/// An open destination that takes events.
pub(crate) struct Output {
    /// What takes them.
    pub(crate) sink: Box<dyn Sink + Send>,
    /// How long an event may wait to be written: soon for whoever looks at it, in larger pieces
    /// into a file.
    pub(crate) flush_every: Duration,
    /// Whether [`Sink::kept`] counts what has reached the destination. Text is still gathered below
    /// the sink, so there only a flush tells.
    pub(crate) exact: bool,
    /// How long the destination took.
    pub(crate) busy: Busy,
}

/// Opens `destination` to take the events of a trace as `kind`.
pub(crate) fn open_sink(
    destination: &Destination,
    kind: Kind,
    header: &Header,
    registers: &Registers,
) -> Result<Output, OutputError> {
    let busy = Busy::default();
    let out = Timed { out: destination.open()?, busy: busy.clone() };
    let out = BufWriter::with_capacity(BUFFER, out);
    let sink: io::Result<Box<dyn Sink + Send>> = match kind {
        Kind::Human => {
            let fields = Names::new(&header.devices, registers, None).with_spaces(header);
            Ok(Box::new(Human::new(out, destination.takes_colour()).with_fields(fields)))
        }
        Kind::Json => JsonLines::new(out, header).map(|sink| Box::new(sink) as _),
        Kind::Mmiotrace => Mmiotrace::new(out, header, false).map(|sink| Box::new(sink) as _),
        Kind::Arrow => FileWriter::new(out, header).map(|sink| Box::new(sink) as _),
        Kind::Parquet => ParquetFile::new(out, header).map(|sink| Box::new(sink) as _),
        Kind::Perfetto => {
            let answers = Names::new(&header.devices, registers, None);
            Ok(Box::new(Perfetto::new(out).with_answers(answers)))
        }
    };
    let sink = sink.map_err(|source| OutputError::Write { path: destination.name(), source })?;
    let flush_every = match destination {
        Destination::Stdout => Duration::from_millis(200),
        Destination::File(_) => Duration::from_secs(1),
    };
    Ok(Output { sink, flush_every, exact: kind == Kind::Arrow, busy })
}

/// Whether two paths lead to one file that is there.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether a failure to write only means that the reader has seen enough (`| head`), which is
/// success.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Writes a text to standard output and ends well if nobody wants to read it.
pub(crate) fn print(
    write: impl FnOnce(&mut AutoStream<StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), OutputError> {
    let mut out = anstream::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(source) if !is_closed(&source) => Err(OutputError::Print { source }),
        _ => Ok(()),
    }
}

/// Writes a generated text to standard output, as it is.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(source) if !is_closed(&source) => Err(OutputError::Print { source }),
        _ => Ok(()),
    }
}
