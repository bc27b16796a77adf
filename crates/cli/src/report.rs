//! `trapline report`: what a trace amounts to.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anstream::ColorChoice;
use trapline_trace::{Ending, Header, HtmlError, Names, Summary};

use crate::args::Report;
use crate::naming::RegistersError;
use crate::output::{self, OutputError, is_same};
use crate::reading::{Looking, ReadError};
use crate::trace;

/// Why there is no report, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The trace can't be read, or not all of it.
    #[error(transparent)]
    Trace(#[from] ReadError),
    /// Registers can't be named.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// There is nothing to draw.
    #[error("{file} has no page faults to draw: --svg is for traces of `trapline faults`")]
    NoPicture {
        /// The trace.
        file: String,
    },
    /// What is drawn would take the place of the trace.
    #[error("{file} is the trace itself: writing to it would destroy it; name another file with {option}")]
    OntoItself {
        /// The trace.
        file: String,
        /// The option that names where to write.
        option: &'static str,
    },
    /// Picture and page would be one file.
    #[error("--html and --svg both name {file}; name two files")]
    OneFile {
        /// The file.
        file: String,
    },
    /// There is no page, or only a part of it.
    #[error("can't write {path}: {source}; it is not whole")]
    Page {
        /// Where to.
        path: String,
        /// Why.
        source: HtmlError,
    },
    /// It can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Reads the trace and prints its summary; a trace that was cut off is summarised as far as it
/// goes, and then told of.
pub(crate) fn run(args: &Report) -> Result<(), ReportError> {
    for (option, path) in [("--html", &args.html), ("--svg", &args.svg)] {
        if path.as_ref().is_some_and(|path| is_same(path, &args.file)) {
            return Err(ReportError::OntoItself { file: args.file.display().to_string(), option });
        }
    }
    if let (Some(html), Some(svg)) = (&args.html, &args.svg)
        && (html == svg || is_same(html, svg))
    {
        return Err(ReportError::OneFile { file: html.display().to_string() });
    }
    let looking = Looking::new(&args.selection)?;
    let mut reading = looking.open(&args.file).map_err(ReadError::from)?;
    let header = reading.header();
    let names = Names::new(&header.devices, looking.registers(), None).with_spaces(header);
    let mut summary = Summary::new(header).with_names(names);
    if args.html.is_some() {
        summary = summary.with_timeline();
    }
    let Ok(ending) = reading.read(|event| {
        summary.add(event);
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
    trace::not_watched(&summary);
    let header = reading.header().clone();
    let was_cut = matches!(ending, Ending::Cut(_));
    let concluded = reading.conclude(ending);
    if let Some(path) = &args.html {
        // That it was cut off, the summary knows.
        let problem = concluded.as_ref().err().filter(|_| !was_cut).map(ToString::to_string);
        page(&mut summary, path, &args.file, &header, problem.as_deref())?;
    }
    if let Some(path) = &args.svg {
        draw(&summary, path, &args.file)?;
    }
    Ok(concluded?)
}

/// Writes the report as a page.
fn page(
    summary: &mut Summary,
    path: &Path,
    file: &Path,
    header: &Header,
    problem: Option<&str>,
) -> Result<(), ReportError> {
    let created = File::create(path).map_err(|source| OutputError::Create { path: path.into(), source })?;
    let mut out = BufWriter::new(created);
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let written = summary.write_html(&mut out, &name, header, problem);
    let written = written.and_then(|()| Ok(out.flush()?));
    written.map_err(|source| ReportError::Page { path: path.display().to_string(), source })
}

/// Writes the picture of a trace of page faults.
fn draw(summary: &Summary, path: &Path, file: &Path) -> Result<(), ReportError> {
    let picture =
        summary.picture().ok_or_else(|| ReportError::NoPicture { file: file.display().to_string() })?;
    let failed = |source| OutputError::Write { path: path.display().to_string(), source };
    Ok(fs::write(path, picture).map_err(failed)?)
}
