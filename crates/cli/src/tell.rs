//! What a command that traces says to the person in front of it, beside the trace: notes, the live counter, the summary, what was lost.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice, eprintln};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trapline_abi::Watch;
use trapline_trace::Summary;

use crate::args::Trace;
use crate::error::{Error, Exit, Result};
use crate::output::{self, Destination, is_closed};
use crate::style::{BAD, STRONG, WARNING};
use crate::targets::Target;
use crate::units::format_size;
use crate::writer::Finished;

/// How often the live counter is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Rows of each table of the summary.
const ROWS: usize = 20;

/// What happens if `trapline` fails: the error, on standard error.
pub(crate) fn error(error: &Error) {
    // Some of what others say ends with a line's end of its own.
    eprintln!("{BAD}trapline{BAD:#}: {}", error.to_string().trim_end());
}

/// Tells how many new mappings the module could not watch, if any.
pub(crate) fn not_watched(summary: &Summary) {
    let mappings = summary.not_watched();
    if mappings > 0 {
        let plural = if mappings == 1 { "" } else { "s" };
        eprintln!(
            "{BAD}trapline: {mappings} new mapping{plural} of what is traced could not be watched: the trace is not complete{BAD:#}; \
             a marker in it tells where; one by pages larger than 2 MiB can be if the kernel is booted with `nohugeiomap`"
        );
    }
}

/// What is being watched.
pub(crate) fn watching(target: &Target, watch: &Watch) {
    let name = target.name();
    let driver = target.bar.as_ref().and_then(|(device, _)| device.driver.as_deref());
    match (watch.mappings, driver) {
        (0, Some(driver)) => eprintln!("watching {name}: not mapped yet; waiting for {driver} to map it"),
        (0, None) => eprintln!("watching {name}: not mapped yet; waiting for a driver to map it"),
        (mappings, _) => {
            let plural =
                |count: u64, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
            eprintln!(
                "watching {name}: {}, {}",
                plural(mappings.into(), "mapping"),
                plural(watch.pages, "page")
            );
        }
    }
}

/// What has happened meanwhile to what is traced, so that the trace lacks something.
pub(crate) fn loss(what: &str, then: &str) {
    eprintln!("{BAD}trapline: {what}: the trace is not complete{BAD:#}; {then}");
}

/// That functions have no names.
pub(crate) fn no_symbols() {
    eprintln!(
        "{WARNING}warning{WARNING:#}: functions have no names: /proc/kallsyms hides its addresses; sysctl kernel.kptr_restrict=1 shows them"
    );
}

/// How the trace will end, if nothing else ends it.
pub(crate) fn how_to_stop(options: &Trace) {
    match options.duration {
        Some(duration) => eprintln!("tracing for {}; Ctrl-C stops", humantime::format_duration(duration)),
        None => eprintln!("tracing; Ctrl-C stops"),
    }
}

/// A counter of events on a terminal, while the trace itself goes elsewhere; else one that is never drawn.
pub(crate) fn live_counter(options: &Trace, destination: &Destination) -> ProgressBar {
    if options.quiet || *destination == Destination::Stdout || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}, {elapsed}");
    let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

/// Tells how the trace ended: the summary, and loudly whatever is missing from it.
///
/// The summary goes where the trace does not: to standard output if the trace went into a file, else to standard error.
pub(crate) fn conclude(options: &Trace, destination: &Destination, finished: Finished) -> Result<Exit> {
    let Finished { summary, totals, own, kept, exact, failure } = finished;
    let failed = failure.filter(|failure| !is_closed(failure));
    if !options.quiet {
        match destination {
            Destination::File(path) => {
                output::print(|out| {
                    let colour = out.current_choice() != ColorChoice::Never;
                    summary.write(out, colour, ROWS)
                })?;
                if failed.is_none() {
                    eprintln!("{STRONG}{}{STRONG:#}: {kept} events", path.display());
                }
            }
            Destination::Stdout => {
                let mut err = AutoStream::auto(io::stderr().lock());
                let colour = err.current_choice() != ColorChoice::Never;
                // Nobody can be told that standard error is closed.
                let _ = writeln!(err).and_then(|()| summary.write(&mut err, colour, ROWS));
            }
        }
    }
    if own > 0 && !options.quiet {
        eprintln!("{own} hits by trapline itself are left out");
    }
    let (dropped, missed) = (summary.dropped(), summary.possibly_missed());
    if dropped > 0 {
        let size = format_size(options.buffer);
        eprintln!(
            "{BAD}trapline: {dropped} records were dropped: the trace is not complete{BAD:#}; the buffers of {size} were full: \
             use a larger --buffer, or record less"
        );
    }
    if missed > 0 && options.quiet {
        eprintln!(
            "{BAD}trapline: accesses may have been missed{BAD:#}: a page was open for a single step {missed} times, \
             when accesses of other CPUs pass unseen"
        );
    }
    if totals.malformed > 0 {
        eprintln!("{BAD}trapline: {} records made no sense and are missing{BAD:#}", totals.malformed);
    }
    not_watched(&summary);
    let counts = summary.probe_totals();
    if counts.missed > 0 && options.quiet {
        eprintln!(
            "{BAD}trapline: {} hits were missed: the trace is not complete{BAD:#}; they came inside of another probe's handler, \
             or with too many calls of the function under way, of which --active follows more",
            counts.missed
        );
    }
    match failed {
        Some(source) => Err(Error::TraceEnded { path: destination.name(), source, kept, exact }),
        None => {
            let lacks = [dropped, totals.malformed, summary.not_watched(), counts.missed, counts.gone];
            Ok(if lacks.iter().any(|count| *count > 0) { Exit::Failed } else { Exit::Success })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use trapline_trace::{ProbeTotals, Totals};

    use super::*;
    use crate::args::{Cli, Command};

    fn concluded(probes: ProbeTotals) -> Exit {
        let command = Cli::parse_from(["trapline", "probe", "f", "--quiet"]).command;
        let Command::Probe(options) = command else { panic!("not probe") };
        let totals = Totals { probes, ..Totals::default() };
        let mut summary = Summary::new();
        summary.end(&totals);
        let finished = Finished { summary, totals, own: 0, kept: 0, exact: true, failure: None };
        conclude(&options.trace, &Destination::Stdout, finished).unwrap()
    }

    #[test]
    fn a_trace_that_lacks_hits_or_a_module_ends_with_another_status_than_one_that_is_whole() {
        assert_eq!(concluded(ProbeTotals { hits: 1, faults: 1, ..ProbeTotals::default() }), Exit::Success);
        assert_eq!(concluded(ProbeTotals { missed: 1, ..ProbeTotals::default() }), Exit::Failed);
        assert_eq!(concluded(ProbeTotals { gone: 1, ..ProbeTotals::default() }), Exit::Failed);
    }
}
