//! `trapline convert`: a trace in another format.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use trapline_trace::{Cut, Ending, Event, Sink, TraceReader, What};

use crate::args::Convert;
use crate::error::{Error, Result};
use crate::mmio::load_registers;
use crate::output::{Destination, Kind, is_closed, open_sink};
use crate::report::renaming;

/// Converts the trace; one that was cut off is converted as far as it goes, with a marker at its end, and then told of.
pub(crate) fn run(args: &Convert) -> Result<()> {
    let destination = Destination::new(args.output.as_deref());
    let kind = Kind::from(args.to);
    kind.check(&destination)?;
    if args.output.as_deref().is_some_and(|output| is_same(output, &args.file)) {
        return Err(Error::OntoItself { file: args.file.display().to_string() });
    }
    let mut reader = TraceReader::open(&args.file)?;
    if kind == Kind::Mmiotrace && !reader.header().probes.is_empty() {
        return Err(Error::OnlyAccesses);
    }
    let registers = load_registers(&args.registers)?;
    let names = renaming(&args.registers, &reader)?;
    let mut sink = open_sink(&destination, kind, reader.header(), &registers)?.sink;
    let converted = reader
        .read(|event| match &names {
            Some(names) => sink.event(&names.name(event.clone())),
            None => sink.event(event),
        })
        .and_then(|ending| {
            match &ending {
                Ending::Whole(totals) => sink.end(totals)?,
                Ending::Cut(cut) => end_cut(sink.as_mut(), cut)?,
            }
            Ok(ending)
        });
    match converted {
        Ok(Ending::Whole(_)) => Ok(()),
        Ok(Ending::Cut(cut)) => Err(Error::Cut { file: args.file.display().to_string(), cut }),
        Err(source) if is_closed(&source) => Ok(()),
        Err(source) => Err(Error::Write { path: destination.name(), source }),
    }
}

/// Whether two paths lead to one file that is there.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Ends the copy of a trace without an end so that it does not look complete either.
fn end_cut(sink: &mut dyn Sink, cut: &Cut) -> io::Result<()> {
    let text = cut.to_string();
    let what = What::Mark { text: &text };
    sink.event(&Event { time: cut.time.unwrap_or(0), cpu: 0, pid: 0, tgid: 0, comm: "", what })?;
    sink.cut()
}
