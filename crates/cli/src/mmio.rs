//! `trapline mmio`: trace accesses to device registers.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Instant, SystemTime};

use trapline_trace::{Device, Header, Names, RegisterFile, Registers, Symbols};

use crate::args::{Format, Mmio};
use crate::command::{Traced, wait_for_end};
use crate::device::Ring;
use crate::error::{Error, Result};
use crate::module;
use crate::output::{Destination, Kind, open_sink};
use crate::pump::Backlog;
use crate::session::{self, Directions, Waiting, Wake};
use crate::signals;
use crate::system::System;
use crate::targets::{self, Wanted};
use crate::tell;
use crate::writer::Writer;

/// Traces; gives the exit status, which is COMMAND's if there is one.
///
/// In this order, so that a mistake is told before anything is touched, and an existing output file is replaced only when nothing
/// but the writing can fail any more.
pub(crate) fn run(system: &System, args: &Mmio) -> Result<u8> {
    let devices = trapline_trace::devices(&system.path("sys"))?;
    let wanted =
        Wanted { devices: args.devices.clone(), drivers: args.drivers.clone(), ranges: args.ranges.clone() };
    let targets = targets::resolve(system, &devices, &wanted)?;
    let registers = load_registers(&args.registers)?;
    let (destination, kind) = choose_output(args)?;
    if system.current_tracer().as_deref() == Some("mmiotrace") {
        return Err(Error::Mmiotrace);
    }

    let device = module::open(system)?;
    let info = module::info(&device)?;
    module::require_self_test(&info)?;
    let (wake, woken) = channel();
    signals::report_to(wake.clone())?;

    // Takes a while, which the trace should not begin with.
    let symbols = Symbols::load(&system.path("proc")).ok().filter(|symbols| !symbols.is_empty());
    if symbols.is_none() {
        tell::no_symbols();
    }

    let geometry = session::start(&device, system, args.buffer)?;
    let mut rings = (0..geometry.rings)
        .map(|cpu| Ring::map(&device, &geometry, cpu).map_err(|source| Error::RingMap { cpu, source }))
        .collect::<Result<Vec<_>>>()?;
    let mut sources = rings.iter_mut().map(|ring| Ok(ring.reader()?)).collect::<Result<Vec<_>>>()?;
    let directions = Directions::new(args.reads, args.writes);
    for target in &targets {
        let watch = session::watch(&device, target, directions)?;
        if !args.quiet {
            tell::watching(target, &watch);
        }
    }

    let header = header(system, geometry.rings, &devices);
    let output = open_sink(&destination, kind, &header, &registers)?;
    let names = Names::new(&devices, &registers, symbols);
    let live = tell::live_counter(args, &destination);
    let mut writer = Writer::new(sources.len(), names, output, live);

    let mut command = if args.command.is_empty() { None } else { Some(Traced::start(&args.command)?) };
    if let Some(command) = &command {
        tell_of_the_end(command, wake.clone());
    } else if !args.quiet {
        tell::how_to_stop(args);
    }
    let backlog = Backlog::new(system.available_memory());
    let mut waiting = Waiting::new(&woken, command.as_ref());
    let deadline = args.duration.map(|duration| Instant::now() + duration);
    let stopped =
        session::run(&device, &mut sources, &backlog, &mut writer, wake, || waiting.for_the_end(deadline));
    let finished = writer.finish(stopped.as_ref().ok());
    let traced = match stopped {
        Ok(_) => tell::conclude(args, &destination, finished),
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

/// The register files that Trapline comes with, and those given, the last one first.
pub(crate) fn load_registers(files: &[PathBuf]) -> Result<Registers> {
    let mut registers = Registers::shipped();
    for path in files {
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        registers.add(RegisterFile::parse(&path.display().to_string(), &text)?);
    }
    Ok(registers)
}

/// Where the trace goes, and as what: for a person on standard output and for `report` in a file, unless told otherwise.
fn choose_output(args: &Mmio) -> Result<(Destination, Kind)> {
    let destination = Destination::new(args.output.as_deref());
    let usual = if destination == Destination::Stdout { Format::Human } else { Format::Arrow };
    let kind = Kind::from(args.format.unwrap_or(usual));
    kind.check(&destination)?;
    Ok((destination, kind))
}

fn header(system: &System, cpus: u32, devices: &[Device]) -> Header {
    Header {
        trapline: env!("CARGO_PKG_VERSION").into(),
        kernel: system.release().into(),
        cpus,
        started: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64),
        // No way is known to read the kernel log's clock from outside of the kernel.
        started_clock: 0,
        command: module::command_line(),
        devices: devices.into(),
        probes: Vec::new(),
    }
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
