//! `trapline report`: what a trace amounts to.

use std::convert::Infallible;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anstream::ColorChoice;
use trapline_trace::{Ending, Names, Summary, TraceReader};

use crate::args::Report;
use crate::error::{Error, Result};
use crate::mmio::load_registers;
use crate::output;
use crate::tell;

/// Reads the trace and prints its summary; a trace that was cut off is summarised as far as it goes, and then told of.
pub(crate) fn run(args: &Report) -> Result<()> {
    let mut reader = TraceReader::open(&args.file)?;
    let names = renaming(&args.registers, &reader)?;
    let mut summary = Summary::new().with_probes(&reader.header().probes);
    let Ok(ending) = reader.read(|event| {
        match &names {
            Some(names) => summary.add(&names.name(event.clone())),
            None => summary.add(event),
        }
        Ok::<(), Infallible>(())
    });
    match &ending {
        Ending::Whole(totals) => summary.end(totals),
        Ending::Cut(cut) => summary.cut(cut),
    }
    output::print(|out| {
        let colour = out.current_choice() != ColorChoice::Never;
        summary.write(out, colour, args.rows)
    })?;
    tell::not_watched(&summary);
    if let Some(path) = &args.svg {
        draw(&summary, path, &args.file)?;
    }
    match ending {
        Ending::Whole(_) => Ok(()),
        Ending::Cut(cut) => Err(Error::Cut { file: args.file.display().to_string(), cut }),
    }
}

/// Writes the picture of a trace of page faults.
fn draw(summary: &Summary, path: &Path, file: &Path) -> Result<()> {
    let picture = summary.picture().ok_or_else(|| Error::NoPicture { file: file.display().to_string() })?;
    fs::write(path, picture).map_err(|source| Error::Write { path: path.display().to_string(), source })
}

/// The names to give instead of those in the trace, if register files were given.
pub(crate) fn renaming<R: Read>(files: &[PathBuf], reader: &TraceReader<R>) -> Result<Option<Names>> {
    if files.is_empty() {
        return Ok(None);
    }
    Ok(Some(Names::new(&reader.header().devices, &load_registers(files)?, None)))
}
