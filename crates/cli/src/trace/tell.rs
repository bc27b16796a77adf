//! What a command that traces says to the person in front of it, beside the trace: notes, the live
//! counter, the summary, what was lost.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trapline_abi::{FaultCounts, MAX_DMA_PIECES};
use trapline_trace::Summary;

use super::writer::Finished;
use crate::args::Taking;
use crate::output::{self, Destination, OutputError, is_closed};
use crate::say::say;
use crate::style::{BAD, STRONG, WARNING};
use crate::units::format_size;

/// Why the end of a trace was not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConcludeError {
    /// The trace itself.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// What is said of it.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// How often the live counter is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Rows of each table of the summary.
const ROWS: usize = 20;

/// The trace could not be written to its end.
#[derive(Debug, thiserror::Error)]
#[error("can't write {path}: {source}; tracing was stopped there, and {} before that are good", events_kept(*.kept, *.exact))]
pub(crate) struct Ended {
    /// Where to.
    pub path: String,
    /// Why.
    pub source: io::Error,
    /// Events that are in it for sure.
    pub kept: u64,
    /// Whether no others are.
    pub exact: bool,
}

fn events_kept(kept: u64, exact: bool) -> String {
    if exact { format!("{kept} events") } else { format!("at least {kept} events") }
}

/// Tells how many new mappings the module could not watch, if any.
pub(crate) fn not_watched(summary: &Summary) {
    let mappings = summary.not_watched();
    if mappings > 0 {
        let plural = if mappings == 1 { "" } else { "s" };
        say!(
            "{BAD}trapline: {mappings} new mapping{plural} of what is traced could not be watched: the trace is not complete{BAD:#}; \
             lines with NOT WATCHED in it tell which; one by pages larger than 2 MiB can be if the kernel is booted with `nohugeiomap`"
        );
    }
}

/// That functions have no names.
pub(super) fn no_symbols() {
    say!(
        "{WARNING}warning{WARNING:#}: functions have no names: /proc/kallsyms hides its addresses; sysctl kernel.kptr_restrict=1 shows them"
    );
}

/// How the trace will end, if nothing else ends it.
pub(super) fn how_it_stops(taking: &Taking) -> String {
    match taking.duration {
        Some(duration) => format!("tracing for {}; Ctrl-C stops", humantime::format_duration(duration)),
        None => "tracing; Ctrl-C stops".into(),
    }
}

/// A counter of events on a terminal, while the trace itself goes elsewhere; else one that is never
/// drawn.
pub(super) fn live_counter(taking: &Taking, destination: &Destination) -> ProgressBar {
    if taking.quiet || *destination == Destination::Stdout || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}, {elapsed}");
    let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

/// Tells how the trace ended: the summary, and loudly whatever is missing from it. Gives whether
/// nothing is.
///
/// The summary goes where the trace does not: to standard output if the trace went into a file,
/// else to standard error.
pub(super) fn conclude(
    taking: &Taking,
    destination: &Destination,
    finished: Finished,
) -> Result<bool, ConcludeError> {
    let Finished { summary, totals, faults, own, kept, exact, writing, failure } = finished;
    let failed = failure.filter(|failure| !is_closed(failure));
    if !taking.quiet {
        match destination {
            Destination::File(path) => {
                output::print(|out| {
                    let colour = out.current_choice() != ColorChoice::Never;
                    summary.write(out, colour, ROWS)
                })?;
                if failed.is_none() {
                    say!("{STRONG}{}{STRONG:#}: {kept} events", path.display());
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
    if own > 0 && !taking.quiet {
        say!("{own} hits by trapline itself are left out");
    }
    let (dropped, missed) = (summary.dropped(), summary.possibly_missed());
    if dropped > 0 {
        let size = format_size(taking.buffer);
        say!(
            "{BAD}trapline: {dropped} records were dropped: the trace is not complete{BAD:#}; the buffers of {size} were full: \
             use a larger --buffer, or record less{}",
            slow_disk(destination, writing)
        );
    }
    if missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: accesses may have been missed{BAD:#}: a page was open for a single step {missed} times, \
             when accesses of other CPUs pass unseen"
        );
    }
    if totals.malformed > 0 {
        say!("{BAD}trapline: {} records made no sense and are missing{BAD:#}", totals.malformed);
    }
    not_watched(&summary);
    let counts = summary.probe_totals();
    if counts.missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: {} hits were missed: the trace is not complete{BAD:#}; they came inside of another probe's handler, \
             or with too many calls of the function under way, of which --active follows more",
            counts.missed
        );
    }
    if totals.config_missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: {} accesses to configuration space were missed: the trace is not complete{BAD:#}; \
             they came inside of another probe's handler, or with too many under way",
            totals.config_missed
        );
    }
    if totals.ports_missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: {} accesses to I/O ports were missed: the trace is not complete{BAD:#}; \
             they came inside of another probe's handler, or were more than 65,536 of one string instruction",
            totals.ports_missed
        );
    }
    if totals.ports_refused > 0 && taking.quiet {
        say!(
            "trapline: {} instructions that access I/O ports were not followed: they could not be probed",
            totals.ports_refused
        );
    }
    if totals.dma_missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: {} calls about DMA were missed: the trace is not complete{BAD:#}; \
             they came inside of another probe's handler, or with too many under way",
            totals.dma_missed
        );
    }
    if totals.dma_pieces_missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: {} pieces of scatter lists are missing{BAD:#}: of each list the first {MAX_DMA_PIECES} are recorded, \
             as far as they can be read",
            totals.dma_pieces_missed
        );
    }
    if totals.lifecycle_missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: {} calls of devices' lifecycles were missed: the trace is not complete{BAD:#}; \
             they came inside of another probe's handler, or with too many under way",
            totals.lifecycle_missed
        );
    }
    if totals.log_missed > 0 && taking.quiet {
        say!(
            "{BAD}trapline: {} lines of the kernel log were missed: the trace is not complete{BAD:#}; \
             they were written inside of another probe's handler, or too many at once",
            totals.log_missed
        );
    }
    let FaultCounts { bypassed, unfollowed, .. } = faults.unwrap_or_default();
    if bypassed > 0 {
        say!(
            "{BAD}trapline: not all faults were seen{BAD:#}: somebody else has changed a CPU's table of interrupts meanwhile, \
             as KVM does when it runs a guest on Intel; --gate hook is not touched by that"
        );
    }
    if unfollowed > 0 {
        say!(
            "trapline: the ends of {unfollowed} page faults were not seen, too many being served at once: those have no time"
        );
    }
    match failed {
        Some(source) => Err(Ended { path: destination.name(), source, kept, exact }.into()),
        None => {
            let lacks = [
                dropped,
                totals.malformed,
                summary.not_watched(),
                counts.missed,
                counts.gone,
                totals.config_missed,
                totals.ports_missed,
                totals.dma_missed,
                totals.dma_pieces_missed,
                totals.lifecycle_missed,
                totals.log_missed,
                bypassed,
            ];
            Ok(lacks.iter().all(|count| *count == 0))
        }
    }
}

/// That where the trace goes is what was too slow, if it was: it took more than half of the time in
/// which there was something to do.
fn slow_disk(destination: &Destination, (took, working): (Duration, Duration)) -> String {
    if took <= working / 2 {
        return String::new();
    }
    let [took, working] = [took, working].map(|time| format!("{:.1}", time.as_secs_f64()));
    format!(
        "; {} is what is slow: writing to it took {took} of the {working} s that there was something to do",
        destination.name()
    )
}

/// Says `texts` where the summary goes.
pub(super) fn beside(
    destination: &Destination,
    texts: impl Iterator<Item = String>,
) -> Result<(), ConcludeError> {
    for text in texts {
        match destination {
            Destination::File(_) => output::print(|out| writeln!(out, "\n{text}"))?,
            Destination::Stdout => say!("\n{text}"),
        }
    }
    Ok(())
}

/// Says what was not done that a trace was there for, which may be because COMMAND has failed.
/// Whether there is any such.
pub(super) fn idle(idle: impl Iterator<Item = &'static str>, status: u8) -> bool {
    let mut is_idle = false;
    for what in idle {
        match status {
            0 => say!("{BAD}trapline: {what}{BAD:#}: no rule has met an access that it applies to"),
            _ => say!("{BAD}trapline: COMMAND ended with status {status}, and {what}{BAD:#} before that"),
        }
        is_idle = true;
    }
    is_idle
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use trapline_abi::WatchError;
    use trapline_trace::{Event, Mark, NotWatched, ProbeTotals, Totals, What};

    use super::*;
    use crate::args::{Cli, Command};

    fn is_whole(probes: ProbeTotals, faults: FaultCounts) -> bool {
        let command = Cli::parse_from(["trapline", "probe", "f", "--quiet"]).command;
        let Command::Probe(probe) = command else { panic!("not probe") };
        let totals = Totals { probes, ..Totals::default() };
        let mut summary = Summary::default();
        summary.end(&totals);
        let faults = Some(faults);
        let writing = Default::default();
        let finished =
            Finished { summary, totals, faults, own: 0, kept: 0, exact: true, writing, failure: None };
        conclude(&probe.taking, &Destination::Stdout, finished).unwrap()
    }

    /// Whether a trace with one event is told to be whole.
    fn is_whole_with(what: What<'_>) -> bool {
        let command = Cli::parse_from(["trapline", "mmio", "--device", "00:01.0", "--quiet"]).command;
        let Command::Mmio(options) = command else { panic!("not mmio") };
        let mut summary = Summary::default();
        summary.add(&Event { time: 1, cpu: 0, pid: 1, tgid: 1, comm: "modprobe", what });
        let (totals, writing, failure) = (Totals::default(), Default::default(), None);
        let finished =
            Finished { summary, totals, faults: None, own: 0, kept: 1, exact: true, writing, failure };
        conclude(&options.taking, &Destination::Stdout, finished).unwrap()
    }

    #[test]
    fn a_mapping_that_could_not_be_watched_fails_a_trace_and_a_marker_that_says_so_does_not() {
        let (physical, reason) = (0x1_4000_0000, Some(WatchError::HugePage));
        let not = NotWatched { physical, address: Some(1), length: Some(2), reason, place: None };
        assert!(!is_whole_with(What::NotWatched(not)));
        let text = "trapline: NOT WATCHED, accesses are missing: new mapping of 0x0000000140000000";
        assert!(is_whole_with(What::Mark(Mark { text: text.into() })));
    }

    #[test]
    fn a_destination_that_was_waited_for_is_said_to_be_slow_and_another_is_not() {
        let file = Destination::File("/mnt/t.trace".into());
        let (two, three, ten) = (Duration::from_secs(2), Duration::from_secs(3), Duration::from_secs(10));
        assert_eq!(slow_disk(&file, (three, ten)), "");
        assert_eq!(
            slow_disk(&file, (two, three)),
            "; /mnt/t.trace is what is slow: writing to it took 2.0 of the 3.0 s that there was something to do"
        );
    }

    #[test]
    fn a_trace_that_lacks_hits_or_a_module_ends_with_another_status_than_one_that_is_whole() {
        let none = FaultCounts::default();
        assert!(is_whole(ProbeTotals { hits: 1, faults: 1, ..ProbeTotals::default() }, none));
        assert!(!is_whole(ProbeTotals { missed: 1, ..ProbeTotals::default() }, none));
        assert!(!is_whole(ProbeTotals { gone: 1, ..ProbeTotals::default() }, none));
        assert!(!is_whole(ProbeTotals::default(), FaultCounts { bypassed: 1, ..none }));
        assert!(is_whole(ProbeTotals::default(), FaultCounts { unfollowed: 1, ..none }));
    }
}
