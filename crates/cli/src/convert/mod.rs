//! `trapline convert`: a trace in another format, or many as one data set.

mod partition;

use std::io;
use std::path::Path;

use trapline_trace::{Cut, Ending, Event, Header, Mark, Sink, What};

use crate::args::Convert;
use crate::naming::RegistersError;
use crate::output::{Destination, Kind, OutputError, is_closed, is_same, open_sink};
use crate::reading::{Looking, ReadError};

/// Why a trace can't be converted, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    /// The trace can't be read, or not all of it.
    #[error(transparent)]
    Trace(#[from] ReadError),
    /// It would be converted onto itself.
    #[error("{file} is the trace itself: writing to it would destroy it; name another file with --output")]
    OntoItself {
        /// The trace.
        file: String,
    },
    /// Several traces would become one.
    #[error(
        "{count} traces can't become one: convert each for itself, or all with --to parquet --partition --output FOLDER"
    )]
    Several {
        /// How many.
        count: usize,
    },
    /// Parts of another format.
    #[error("--partition is for --to parquet: no other format's readers take a folder")]
    OnlyParquet,
    /// What parts are put in is none.
    #[error(
        "{path} is no folder: --partition puts a file for each trace into one; name a folder with --output"
    )]
    NoFolder {
        /// What was named.
        path: String,
    },
    /// Two traces would become the same part.
    #[error("{file} is named twice: each trace is a part of its own")]
    Twice {
        /// The trace.
        file: String,
    },
    /// Some were told of while the others were converted.
    #[error("{failed} of {all} traces could not be read, or not to their end; the others are in {folder}")]
    Partly {
        /// Those.
        failed: usize,
        /// All.
        all: usize,
        /// Where.
        folder: String,
    },
    /// Registers can't be named.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// It can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Converts the trace, or each into a part of a folder.
pub(crate) fn run(args: &Convert) -> Result<(), ConvertError> {
    match &args.files[..] {
        files if args.partition => partition::run(args, files),
        [file] => one(args, file),
        files => Err(ConvertError::Several { count: files.len() }),
    }
}

fn one(args: &Convert, file: &Path) -> Result<(), ConvertError> {
    let destination = Destination::new(args.output.as_deref());
    let kind = Kind::from(args.to);
    kind.check(&destination)?;
    if args.output.as_deref().is_some_and(|output| is_same(output, file)) {
        return Err(ConvertError::OntoItself { file: file.display().to_string() });
    }
    convert(&Looking::new(&args.selection)?, file, kind, |_| Ok(destination))
}

/// Converts one trace to the place that its header leads to; one that was cut off is converted as
/// far as it goes, with a marker at its end, and then told of.
fn convert(
    looking: &Looking<'_>,
    file: &Path,
    kind: Kind,
    to: impl FnOnce(&Header) -> Result<Destination, OutputError>,
) -> Result<(), ConvertError> {
    let mut reading = looking.open(file).map_err(ReadError::from)?;
    if kind == Kind::Mmiotrace && !reading.header().is_of_accesses_alone() {
        return Err(OutputError::OnlyAccesses.into());
    }
    let destination = to(reading.header())?;
    let mut sink = open_sink(&destination, kind, reading.header(), looking.registers())?.sink;
    let converted = reading.read(|event| sink.event(event)).and_then(|ending| {
        match &ending {
            Ending::Whole(totals) => sink.end(totals)?,
            Ending::Cut(cut) => end_cut(sink.as_mut(), cut)?,
        }
        Ok(ending)
    });
    match converted {
        Ok(ending) => Ok(reading.conclude(ending)?),
        Err(source) if is_closed(&source) => Ok(()),
        Err(source) => Err(OutputError::Write { path: destination.name(), source }.into()),
    }
}

/// Ends the copy of a trace without an end so that it does not look complete either.
fn end_cut(sink: &mut dyn Sink, cut: &Cut) -> io::Result<()> {
    let what = What::Mark(Mark { text: cut.to_string().into() });
    sink.event(&Event { time: cut.time.unwrap_or(0), cpu: 0, pid: 0, tgid: 0, comm: "", what })?;
    sink.cut()
}
