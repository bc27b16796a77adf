//! Taking a trace, whatever it is of: the way from START to the exit status, which all commands that trace share.

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Instant, SystemTime};

use trapline_abi::SessionKind;
use trapline_trace::{Header, Names, ProbeTotals, Registers, Symbols};

use crate::args::{Format, Trace};
use crate::command::{self, Traced, wait_for_end};
use crate::device::{Control, Ring};
use crate::error::{Error, Result};
use crate::module;
use crate::output::{Destination, Kind, Output, open_sink};
use crate::pump::Backlog;
use crate::session::{self, Stopped, Waiting, Wake};
use crate::signals;
use crate::system::System;
use crate::tell;
use crate::writer::{Prepare, Writer};

/// What is traced: what the commands that trace differ in.
pub(crate) trait Subject {
    /// What kind of session it takes.
    const KIND: SessionKind;

    /// What names addresses in the code.
    fn symbols(&mut self, system: &System) -> Option<Symbols> {
        Symbols::load(&system.path("proc")).ok().filter(|symbols| !symbols.is_empty())
    }

    /// Arms it in the session that has just been started; says what is armed unless `quiet`.
    fn arm(&mut self, control: &impl Control, quiet: bool) -> Result<()>;

    /// Adds to the trace's header what every trace's does not have.
    fn describe(&self, header: &mut Header);

    /// The register files that name registers.
    fn registers(&self) -> &Registers;

    /// The process that it is about, if it is about one alone: the trace ends with it.
    fn process(&self) -> Option<u32> {
        None
    }

    /// After how many events it is enough.
    fn limit(&self) -> Option<u64> {
        None
    }

    /// What each event passes through before it is named.
    fn prepare(&mut self) -> Option<Box<dyn Prepare + Send>> {
        None
    }

    /// Whether each page fault is told of with how long it took.
    fn latency(&self) -> bool {
        false
    }

    /// Where events go, if not to what `--output` and `--format` say.
    fn output(&mut self) -> Option<Output> {
        None
    }

    /// Looks, once in a while and at the end, whether what is traced is still there; tells it once if not.
    fn look(&mut self, _control: &impl Control) {}

    /// What its probes counted, asked after the session was stopped.
    fn counted(&self, _control: &impl Control) -> ProbeTotals {
        ProbeTotals::default()
    }
}

/// Where the trace goes, and as what: for a person on standard output and for `report` in a file, unless told otherwise.
pub(crate) fn choose_output(options: &Trace, subject: SessionKind) -> Result<(Destination, Kind)> {
    let destination = Destination::new(options.output.as_deref());
    let usual = if destination == Destination::Stdout { Format::Human } else { Format::Arrow };
    let kind = Kind::from(options.format.unwrap_or(usual));
    kind.check(&destination)?;
    if kind == Kind::Mmiotrace && subject != SessionKind::Accesses {
        return Err(Error::OnlyAccesses);
    }
    Ok((destination, kind))
}

/// Traces `subject`; gives the exit status, which is COMMAND's if there is one.
///
/// In this order, so that a mistake is told before anything is touched, and an existing output file is replaced only when nothing
/// but the writing can be expected to fail.
pub(crate) fn run<S: Subject>(system: &System, options: &Trace, subject: &mut S) -> Result<u8> {
    let (destination, kind) = choose_output(options, S::KIND)?;
    command::check(&options.command)?;
    let device = module::open(system)?;
    let info = module::info(&device)?;
    module::require_self_test(&info)?;
    let (wake, woken) = channel();
    signals::report_to(wake.clone())?;

    // Takes a while, which the trace should not begin with.
    let symbols = subject.symbols(system);
    if symbols.is_none() {
        tell::no_symbols();
    }

    // Before anything is armed: a trace should not begin with what we do ourselves.
    let backlog = Backlog::new(system.available_memory());
    let geometry = session::start(&device, system, S::KIND, options.buffer)?;
    let mut rings = (0..geometry.rings)
        .map(|cpu| Ring::map(&device, &geometry, cpu).map_err(|source| Error::RingMap { cpu, source }))
        .collect::<Result<Vec<_>>>()?;
    let mut sources = rings.iter_mut().map(|ring| Ok(ring.reader()?)).collect::<Result<Vec<_>>>()?;
    subject.arm(&device, options.quiet)?;

    let mut header = header(system, geometry.rings);
    subject.describe(&mut header);
    let output = match subject.output() {
        Some(output) => output,
        None => open_sink(&destination, kind, &header, subject.registers())?,
    };
    let names = Names::new(&header.devices, subject.registers(), symbols);
    let live = tell::live_counter(options, &destination);
    let mut writer = Writer::new(sources.len(), names, output, live)
        .with_probes(&header.probes)
        .with_prepare(subject.prepare())
        .with_latency(subject.latency())
        .with_limit(subject.limit());

    let mut command = if options.command.is_empty() { None } else { Some(Traced::start(&options.command)?) };
    if let Some(command) = &command {
        tell_of_the_end(command, wake.clone());
    } else if !options.quiet {
        tell::how_to_stop(options);
    }
    if let Some(process) = subject.process() {
        tell_of_its_end(process, options.quiet, wake.clone());
    }
    let mut waiting = Waiting::new(&woken, command.as_ref());
    let deadline = options.duration.map(|duration| Instant::now() + duration);
    let wait = || waiting.for_the_end(deadline, || subject.look(&device));
    let stopped = session::run(&device, &mut sources, &backlog, &mut writer, wake, wait);
    subject.look(&device);
    let stopped = stopped.map(|counters| Stopped { counters, probes: subject.counted(&device) });
    let finished = writer.finish(stopped.as_ref().ok());
    let traced = match stopped {
        Ok(_) => tell::conclude(options, &destination, finished),
        Err(source) => Err(Error::Device { what: "stop the trace", source }),
    };
    // Before COMMAND is waited for, which may outlive the trace: somebody else may want to trace.
    drop(sources);
    drop(rings);
    drop(device);

    let impatient = waiting.for_the_command();
    let status = match (&mut command, impatient) {
        (Some(_), Some(signal)) => 128 + signal as u8,
        (Some(command), None) => command.wait().map_err(|source| Error::CommandLost { source })?,
        (None, _) => 0,
    };
    match traced {
        Ok(exit) if status == 0 => Ok(exit as u8),
        Ok(_) => Ok(status),
        Err(error) if status == 0 => Err(error),
        Err(error) => {
            tell::error(&error);
            Ok(status)
        }
    }
}

fn header(system: &System, cpus: u32) -> Header {
    Header {
        trapline: env!("CARGO_PKG_VERSION").into(),
        kernel: system.release().into(),
        cpus,
        started: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64),
        // No way is known to read the kernel log's clock from outside of the kernel.
        started_clock: 0,
        command: module::command_line(),
        ..Header::default()
    }
}

/// Sends a word when `process` has ended, which may be at once.
fn tell_of_its_end(process: u32, quiet: bool, wake: Sender<Wake>) {
    thread::spawn(move || {
        if !command::wait_for_stranger(process) {
            return;
        }
        if !quiet {
            eprintln!("process {process} has ended");
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
