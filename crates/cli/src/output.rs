//! Where a trace goes: standard output or a file, in one of the formats.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::AutoStream;
use trapline_trace::{FileWriter, Header, Human, JsonLines, Mmiotrace, Names, ParquetFile, Registers, Sink};

use crate::args::{ConvertTo, Format};
use crate::error::{Error, Result};

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
    pub(crate) fn open(&self) -> Result<BufWriter<Opened>> {
        let opened = match self {
            Self::Stdout => Opened::Stdout(io::stdout()),
            Self::File(path) => Opened::File(
                File::create(path).map_err(|source| Error::Create { path: path.clone(), source })?,
            ),
        };
        Ok(BufWriter::with_capacity(BUFFER, opened))
    }
}

/// An open destination.
#[derive(Debug)]
pub(crate) enum Opened {
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
        }
    }
}

impl Kind {
    /// Refuses to write what a terminal would garble to one.
    pub(crate) fn check(self, destination: &Destination) -> Result<()> {
        match self {
            Self::Arrow if destination.is_terminal() => {
                Err(Error::BinaryToTerminal { format: "an Arrow trace" })
            }
            Self::Parquet if destination.is_terminal() => Err(Error::BinaryToTerminal { format: "Parquet" }),
            _ => Ok(()),
        }
    }
}

/// An open destination that takes events.
pub(crate) struct Output {
    /// What takes them.
    pub(crate) sink: Box<dyn Sink + Send>,
    /// How long an event may wait to be written: soon for whoever looks at it, in larger pieces into a file.
    pub(crate) flush_every: Duration,
    /// Whether [`Sink::kept`] counts what has reached the destination. Text is still gathered below the sink, so there only a flush tells.
    pub(crate) exact: bool,
}

/// Opens `destination` to take the events of a trace as `kind`.
pub(crate) fn open_sink(
    destination: &Destination,
    kind: Kind,
    header: &Header,
    registers: &Registers,
) -> Result<Output> {
    let out = destination.open()?;
    let sink: io::Result<Box<dyn Sink + Send>> = match kind {
        Kind::Human => {
            let fields = Names::new(&header.devices, registers, None);
            Ok(Box::new(Human::new(out, destination.takes_colour()).with_fields(fields)))
        }
        Kind::Json => JsonLines::new(out, header).map(|sink| Box::new(sink) as _),
        Kind::Mmiotrace => Mmiotrace::new(out, header, false).map(|sink| Box::new(sink) as _),
        Kind::Arrow => FileWriter::new(out, header).map(|sink| Box::new(sink) as _),
        Kind::Parquet => ParquetFile::new(out, header).map(|sink| Box::new(sink) as _),
    };
    let sink = sink.map_err(|source| Error::Write { path: destination.name(), source })?;
    let flush_every = match destination {
        Destination::Stdout => Duration::from_millis(200),
        Destination::File(_) => Duration::from_secs(1),
    };
    Ok(Output { sink, flush_every, exact: kind == Kind::Arrow })
}

/// Whether a failure to write only means that the reader has seen enough (`| head`), which is success.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Writes a text to standard output and ends well if nobody wants to read it.
pub(crate) fn print(
    write: impl FnOnce(&mut AutoStream<StdoutLock<'static>>) -> io::Result<()>,
) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(source) if !is_closed(&source) => Err(Error::Print { source }),
        _ => Ok(()),
    }
}

/// Writes a generated text to standard output, as it is.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(source) if !is_closed(&source) => Err(Error::Print { source }),
        _ => Ok(()),
    }
}
