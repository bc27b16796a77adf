//! `trapline probe`: record each time that an instruction of the kernel is executed, and what it works on.

mod boundaries;
mod btf;
mod compile;
mod fetch_error;
mod form;
mod names;
mod spec;
mod syntax;

use std::fs;
use std::io;

use anstream::eprintln;
use trapline_abi::{
    ANY, CODE_POST, CODE_RETURN, CODE_STACK, CodeProbe, LIST_GONE, NAME_LENGTH, ProbeError, SessionKind,
};
use trapline_trace::{Header, Moment, ProbeTotals, Registers, Symbols};

use crate::args::Probe as Options;
use crate::device::Control;
use crate::error::{Error, Result};
use crate::module;
use crate::system::System;
use crate::tell;
use crate::trace::{self, Subject, choose_output};
use btf::{Btf, Parameter};
use compile::{Place, Program, check, compile};
use spec::Spot;

pub(crate) use fetch_error::FetchError;
pub(crate) use spec::SpecError;

/// Probes; gives the exit status, which is COMMAND's if there is one.
///
/// Everything that can be wrong with what was typed is found before the module is asked for anything.
pub(crate) fn run(system: &System, options: &Options) -> Result<u8> {
    let mut fetches = options.fetch.clone();
    let mut arguments = parse(&fetches)?;
    let moments = moments(options);
    choose_output(&options.trace, SessionKind::Code)?;
    let process = options.pid.map(|pid| system.process_of(pid)).transpose()?;
    check_cpu(system, options.cpu)?;

    let symbols = Symbols::load(&system.path("proc")).unwrap_or_default();
    if symbols.is_empty() {
        module::require_root("find the kernel's functions")?;
        return Err(Error::HiddenSymbols);
    }
    let spot = spec::resolve(system, &symbols, &options.spec)?;
    if moments.contains(&Moment::Return) && !spot.is_entry() {
        return Err(Error::ReturnInside { name: spot.name });
    }
    let parameters = parameters(system, &spot);
    if options.args {
        let all = parameters
            .as_ref()
            .map_err(|why| Error::NoParameters { name: spot.name.clone(), why: why.clone() })?;
        fetches.extend(all.iter().filter(|one| one.unreachable().is_none()).map(|one| one.name.clone()));
        arguments = parse(&fetches)?;
    }
    check(&arguments, &moments)?;
    let place = Place {
        symbols: &symbols,
        is_entry: spot.is_entry(),
        parameters: parameters.as_deref().map_err(String::as_str),
    };
    let program = |&moment| Ok((moment, compile(&arguments, (moment, &moments), options.stack, &place)?));
    let programs = moments.iter().map(program).collect::<Result<Vec<_>>>()?;

    let kcore = spot.function.as_ref().and_then(|(_, _, start)| {
        // Read now, since nothing of it can be read once a lock is held elsewhere; and used only if the kernel refuses.
        boundaries::around(&system.path("proc/kcore"), *start, spot.address)
    });
    let mut subject = Hits {
        spot,
        programs,
        around: kcore,
        stack: options.stack,
        process,
        cpu: options.cpu.unwrap_or(ANY),
        active: options.active.unwrap_or(0),
        limit: options.max,
        symbols: Some(symbols),
        registers: Registers::none(),
        is_gone: false,
        probes: Vec::new(),
        ids: Vec::new(),
    };
    trace::run(system, &options.trace, &mut subject)
}

fn parse(fetches: &[String]) -> Result<Vec<syntax::Argument>> {
    Ok(fetches.iter().map(|text| syntax::parse(text)).collect::<Result<_, FetchError>>()?)
}

/// When hits are recorded: before the instruction unless told otherwise.
fn moments(options: &Options) -> Vec<Moment> {
    let Options { pre, post, at_return, .. } = *options;
    [(Moment::Before, pre || !(post || at_return)), (Moment::After, post), (Moment::Return, at_return)]
        .into_iter()
        .filter_map(|(moment, wanted)| wanted.then_some(moment))
        .collect()
}

fn check_cpu(system: &System, cpu: Option<u32>) -> Result<()> {
    // `0-3`, or with holes: the last number is the highest.
    let possible = system.read("sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    match (cpu, last) {
        (Some(cpu), Some(last)) if cpu > last => Err(Error::NoCpu { cpu, possible }),
        _ => Ok(()),
    }
}

/// The parameters of the function at `spot`, or why they are not known.
fn parameters(system: &System, spot: &Spot) -> Result<Vec<Parameter>, String> {
    let Some((function, module, _)) = &spot.function else {
        return Err("there is no function that is known".into());
    };
    if !spot.is_entry() {
        return Err(format!("this is inside of {function}, where its parameters may be anywhere"));
    }
    let read = |name: &str| fs::read(system.path("sys/kernel/btf").join(name));
    let unknown = |name: &str, error: io::Error| {
        format!("the types of {name} can't be read (/sys/kernel/btf/{name}: {error})")
    };
    let kernel = read("vmlinux").map_err(|error| unknown("the kernel", error))?;
    let mut types = Btf::new(kernel).ok_or("/sys/kernel/btf/vmlinux is damaged")?;
    if let Some(module) = module {
        let more = read(module).map_err(|error| unknown(module, error))?;
        types = types.and(more).ok_or_else(|| format!("/sys/kernel/btf/{module} is damaged"))?;
    }
    types
        .parameters(function)
        .ok_or_else(|| format!("the kernel's type information has no function {function}"))
}

/// The hits of a probe: one for each moment at which it records.
struct Hits {
    spot: Spot,
    programs: Vec<(Moment, Program)>,
    /// Where the instructions around it begin, if that could be told.
    around: Option<(u64, u64)>,
    stack: bool,
    process: Option<u32>,
    cpu: u32,
    /// Calls under way at once that are followed to their returns; 0 for the kernel's own choice.
    active: u32,
    limit: Option<u64>,
    symbols: Option<Symbols>,
    registers: Registers,
    /// Whether it was told that their module is gone.
    is_gone: bool,
    /// The probes that were put, as the trace knows them, …
    probes: Vec<trapline_trace::Probe>,
    /// … and as the module does.
    ids: Vec<u64>,
}

impl Hits {
    /// Why the module refused `probe`.
    fn refused(&self, probe: &CodeProbe, source: io::Error) -> Error {
        let Spot { name, address, function } = &self.spot;
        let nearby = match (self.around, function) {
            (Some((before, after)), Some((function, _, start))) => {
                format!(
                    "; instructions begin at {function}+{:#x} and {function}+{:#x}",
                    before - start,
                    after - start
                )
            }
            _ => String::new(),
        };
        Error::Probe {
            name: name.clone(),
            address: *address,
            reason: ProbeError::from_code(probe.error),
            nearby,
            source: if probe.errno == 0 { source } else { io::Error::from_raw_os_error(probe.errno as i32) },
        }
    }
}

/// What comes of it that a module goes away.
const GONE: &str = "nothing is recorded of it any more, also if it is loaded again: probe it anew then";

impl Hits {
    /// That the module which is probed is gone, if it is since it was asked last.
    fn gone(&mut self, control: &impl Control) -> Option<String> {
        let module = match &self.spot.function {
            // The kernel itself stays; and asking may be a hit.
            Some((_, None, _)) => return None,
            Some((_, Some(module), _)) => format!("the module {module}"),
            None => "the module".into(),
        };
        let gone = |id: &u64| {
            let entry = control.list(*id).ok().flatten();
            entry.is_some_and(|entry| entry.id == *id && entry.flags & LIST_GONE != 0)
        };
        if self.is_gone || !self.ids.iter().any(gone) {
            return None;
        }
        self.is_gone = true;
        Some(format!("{module}, in which {} is probed, is gone", self.spot))
    }
}

impl Subject for Hits {
    const KIND: SessionKind = SessionKind::Code;

    fn symbols(&mut self, _system: &System) -> Option<Symbols> {
        self.symbols.take()
    }

    fn arm(&mut self, control: &impl Control, quiet: bool) -> Result<()> {
        let mut name = [0; NAME_LENGTH];
        for (to, from) in name.iter_mut().zip(self.spot.name.bytes()) {
            *to = from;
        }
        for (moment, program) in &self.programs {
            let flag = match moment {
                Moment::Before => 0,
                Moment::After => CODE_POST,
                Moment::Return => CODE_RETURN,
            };
            let mut probe = CodeProbe {
                address: self.spot.address,
                program: 0,
                steps: 0,
                flags: flag | if self.stack { CODE_STACK } else { 0 },
                process: self.process.unwrap_or(ANY),
                cpu: self.cpu,
                active: if *moment == Moment::Return { self.active } else { 0 },
                reserved: 0,
                id: 0,
                error: 0,
                errno: 0,
                name,
            };
            control.probe(&mut probe, &program.steps).map_err(|source| self.refused(&probe, source))?;
            self.ids.push(probe.id);
            self.probes.push(trapline_trace::Probe {
                id: probe.id as u32,
                name: self.spot.name.clone(),
                address: self.spot.address,
                moment: *moment,
                stack: self.stack,
                arguments: program.layouts.clone(),
            });
        }
        if !quiet {
            let when: Vec<&str> = self.programs.iter().map(|(moment, _)| moment.name()).collect();
            eprintln!("probing {} ({:#x}): {}", self.spot, self.spot.address, when.join(", "));
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        header.probes.clone_from(&self.probes);
    }

    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn process(&self) -> Option<u32> {
        self.process
    }

    fn limit(&self) -> Option<u64> {
        self.limit
    }

    fn look(&mut self, control: &impl Control) {
        if let Some(what) = self.gone(control) {
            tell::loss(&what, GONE);
        }
    }

    fn counted(&self, control: &impl Control) -> ProbeTotals {
        let mut totals = ProbeTotals::default();
        for id in &self.ids {
            // One that the module can't tell of has counted nothing that could be told.
            if let Ok(Some(entry)) = control.list(*id)
                && entry.id == *id
            {
                totals.add(&entry);
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests;
