//! Taking a trace, whatever it is of: the one way from START to the exit status.

mod arming;
mod command;
mod pump;
mod session;
mod signals;
mod source;
mod tell;
mod waiting;
mod writer;

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::SystemTime;

use trapline_ring::RingError;
use trapline_trace::{Header, Names, Registers, Symbols};

use crate::args::{Format, Taking};
use crate::device::Ring;
use crate::module::{self, ModuleError};
use crate::output::{self, Destination, Kind, Output, OutputError, open_sink};
use crate::refusal::Refusal;
use crate::say::{self, say};
use crate::system::System;
pub(crate) use arming::Arming;
pub(crate) use command::CommandError;
use command::{Traced, wait_for_end, wait_for_stranger};
use pump::Backlog;
use signals::SignalsError;
pub(crate) use source::{Counted, Prepare, Source};
pub(crate) use tell::{ConcludeError, not_watched};
use waiting::{Waiting, Wake, deadline};
use writer::{Stopped, Writer};

/// Why there is no trace, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    /// There is no module to work with, or it fails.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The module refused something.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A ring can't be mapped.
    #[error("can't map the trace buffer of CPU {cpu}: {source}")]
    RingMap {
        /// The ring.
        cpu: u32,
        /// Why.
        source: std::io::Error,
    },
    /// A ring is not what the module announced.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The trace can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Its end is not as it should be.
    #[error(transparent)]
    Concluded(#[from] ConcludeError),
    /// COMMAND can't be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Signals can't be caught.
    #[error(transparent)]
    Signals(#[from] SignalsError),
}

/// How a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether nothing is missing from it.
    pub is_whole: bool,
    /// COMMAND's status as shells tell it; 0 if there is none.
    pub status: u8,
}

/// Where the trace goes, and as what: for a person on standard output and for `report` in a file,
/// unless told otherwise.
pub(crate) fn choose_output(
    taking: &Taking,
    only_accesses: bool,
) -> Result<(Destination, Kind), OutputError> {
    let destination = Destination::new(taking.output.as_deref());
    let usual = if destination == Destination::Stdout { Format::Human } else { Format::Arrow };
    let kind = Kind::from(taking.format.unwrap_or(usual));
    kind.check(&destination)?;
    destination.check()?;
    if kind == Kind::Mmiotrace && !only_accesses {
        return Err(OutputError::OnlyAccesses);
    }
    Ok((destination, kind))
}

/// Traces `sources`. What names addresses in the code is `symbols`, or is loaded; events go to
/// `view`, or to where `taking` says.
///
/// In this order, so that a mistake is told before anything is touched, and an existing output file
/// is replaced only when nothing but the writing can be expected to fail.
pub(crate) fn run(
    system: &System,
    taking: &Taking,
    sources: &mut [Box<dyn Source>],
    symbols: Option<Symbols>,
    view: Option<Output>,
) -> Result<Outcome, TraceError> {
    let only_accesses = sources.iter().all(|source| source.is_of_accesses());
    let (destination, kind) = choose_output(taking, only_accesses)?;
    command::check(&taking.command)?;
    let device = module::open(system)?;
    let info = module::info(&device)?;
    module::require_self_test(&info)?;
    let (wake, woken) = channel();
    let interrupted = signals::report_to(wake.clone())?;

    // Takes a while, which the trace should not begin with.
    let loaded = || Symbols::load(&system.path("proc")).ok().filter(|symbols| !symbols.is_empty());
    let symbols = symbols.or_else(loaded);
    if symbols.is_none() {
        tell::no_symbols();
    }

    // Before anything is armed: a trace should not begin with what we do ourselves.
    let backlog = Backlog::new(system.available_memory());
    let geometry = session::start(&device, taking.buffer)?;
    let mut rings = (0..geometry.rings)
        .map(|cpu| Ring::map(&device, &geometry, cpu).map_err(|source| TraceError::RingMap { cpu, source }))
        .collect::<Result<Vec<_>, _>>()?;
    let mut readers = rings.iter_mut().map(Ring::reader).collect::<Result<Vec<_>, _>>()?;
    let arming = Arming::new(taking.quiet, interrupted);
    for source in sources.iter_mut() {
        source.arm(&device, &arming)?;
    }

    let mut header = header(system, geometry.rings);
    sources.iter().for_each(|source| source.describe(&mut header));
    let none = Registers::none();
    let registers = sources.iter().find_map(|source| source.registers()).unwrap_or(&none);
    let output = match view {
        Some(output) => output,
        None => open_sink(&destination, kind, &header, registers)?,
    };
    let names = Names::new(&header.devices, registers, symbols).with_spaces(&header);
    let live = tell::live_counter(taking, &destination);
    let mut writer = Writer::new(readers.len(), names, output, live)
        .with_header(&header, registers)
        .with_latency(sources.iter().any(|source| source.latency()))
        .with_handlers(sources.iter().any(|source| source.handlers()))
        .with_room(backlog.limit())
        .with_limit(taking.max)
        .with_prepare(sources.iter_mut().filter_map(|source| source.prepare()).collect());

    let mut command = Traced::start(&taking.command)?;
    if let Some(command) = &command {
        tell_of_the_end(command, wake.clone());
    } else if !taking.quiet {
        say!("{}", tell::how_it_stops(taking));
    }
    if let Some(processes) = processes(sources) {
        tell_of_their_end(processes, taking.quiet, wake.clone());
    }
    let mut waiting = Waiting::new(&woken, command.as_ref());
    let deadline = deadline(taking.duration);
    let mut look = || sources.iter_mut().for_each(|source| source.look(&device));
    let stopped = session::run(&device, &mut readers, &backlog, &mut writer, wake, || {
        waiting.for_the_end(deadline, &mut look);
    });
    look();
    let stopped = stopped.map(|counters| {
        let counted = sources.iter_mut().map(|source| source.counted(&device));
        Stopped { counters, sources: counted.fold(Counted::default(), Counted::and) }
    });
    let finished = writer.finish(stopped.as_ref().ok());
    let traced = match stopped {
        Ok(_) => {
            let concluded = tell::conclude(taking, &destination, finished);
            let beside = sources.iter().filter_map(|source| source.beside(taking.quiet));
            let said = tell::beside(&destination, beside);
            concluded.and_then(|is_whole| said.map(|()| is_whole)).map_err(TraceError::from)
        }
        Err(source) => Err(ModuleError::Command { what: "stop the trace", source }.into()),
    };
    // Before COMMAND is waited for, which may outlive the trace: somebody else may want to trace.
    drop(readers);
    drop(rings);
    drop(device);

    let impatient = waiting.for_the_command();
    let status = match (&mut command, impatient) {
        (Some(_), Some(signal)) => 128 + signal as u8,
        (Some(command), None) => command.wait()?,
        (None, _) => 0,
    };
    for words in sources.iter().filter_map(|source| source.last_words()) {
        output::print(|out| writeln!(out, "{words}"))?;
    }
    let idle = tell::idle(sources.iter().filter_map(|source| source.idle()), status);
    match traced {
        Ok(is_whole) => Ok(Outcome { is_whole: is_whole && !idle, status }),
        Err(error) if status == 0 => Err(error),
        Err(error) => {
            say::error(&error);
            Ok(Outcome { is_whole: false, status })
        }
    }
}

fn header(system: &System, cpus: u32) -> Header {
    Header {
        trapline: env!("CARGO_PKG_VERSION").into(),
        kernel: system.release().into(),
        machine: system.name().into(),
        cpus,
        started: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64),
        // No way is known to read the kernel log's clock from outside of the kernel.
        started_clock: 0,
        command: module::command_line(),
        ..Header::default()
    }
}

/// The processes that the trace is about, if it is about processes alone: it ends with the last.
fn processes(sources: &[Box<dyn Source>]) -> Option<Vec<u32>> {
    sources.iter().map(|source| source.process()).collect()
}

/// Sends a word when `processes` have ended, which may be at once.
fn tell_of_their_end(mut processes: Vec<u32>, quiet: bool, wake: Sender<Wake>) {
    processes.sort_unstable();
    processes.dedup();
    thread::spawn(move || {
        for process in processes {
            if !wait_for_stranger(process) {
                return;
            }
            if !quiet {
                say!("process {process} has ended");
            }
        }
        // Nobody listens any more if the trace is over.
        let _ = wake.send(Wake::ProcessEnded);
    });
}

/// Sends a word when `command` has ended.
fn tell_of_the_end(command: &Traced, wake: Sender<Wake>) {
    let pid = command.pid();
    thread::spawn(move || {
        wait_for_end(pid);
        // Nobody listens any more if a second Ctrl-C came first.
        let _ = wake.send(Wake::CommandEnded);
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    pub(crate) use arming::tests::quietly;

    /// What is worked out from `taking` once everything is armed: none of it may fail then.
    pub(crate) fn before_the_first_record(taking: &Taking) {
        let _ = (deadline(taking.duration), tell::how_it_stops(taking), choose_output(taking, false));
    }
}
