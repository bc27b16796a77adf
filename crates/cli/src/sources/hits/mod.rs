//! Hits of code probes: each time that an instruction of the kernel is executed, and what it works
//! on.

mod boundaries;
mod btf;
mod compile;
mod condition;
mod cursor;
mod definition;
mod fetch;
mod form;
mod lower;
mod names;
mod spec;
mod syntax;
mod syscall;
mod target;
mod typed;

use std::fs;
use std::io;

use trapline_abi::{
    ANY, CODE_POST, CODE_RETURN, CODE_STACK, CodeProbe, LIST_GONE, NAME_LENGTH, ProbeError, Step,
};
use trapline_trace::{Header, Moment, ProbeTotals, Probed, Symbols};

use crate::args;
use crate::device::Control;
use crate::mistake::Mistake;
use crate::refusal::Refusal;
use crate::say::say;
use crate::style::BAD;
use crate::system::{NoCpu, NoProcess, System};
use crate::trace::{Counted, Source};
use btf::{Btf, Function, Slot};
use compile::{Program, check, compile};
use definition::Definition;
use fetch::{Argument, Fetch};
use lower::Place;
pub(crate) use spec::SpecError;
use spec::Spot;

/// Why there is nothing to probe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HitsError {
    /// What to fetch can't be understood, or can't be had.
    #[error(transparent)]
    Fetch(#[from] Mistake),
    /// There is no such place.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A return of something that does not return.
    #[error("`{name}` is inside of a function: --return needs the function itself, SYMBOL without an offset")]
    ReturnInside {
        /// The place.
        name: String,
    },
    /// `--args` where they are not known.
    #[error("the parameters of `{name}` are not known: {why}")]
    NoParameters {
        /// The place.
        name: String,
        /// Why.
        why: String,
    },
    /// `--pid` of nobody.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// `--cpu` of a machine that has fewer.
    #[error(transparent)]
    NoCpu(#[from] NoCpu),
}

/// Refuses what can't be understood, before anything is looked up for it.
pub(crate) fn check_words(system: &System, wanted: &args::Hits) -> Result<(), HitsError> {
    let (spec, fetch, condition) = condition::split(&wanted.spec, &wanted.fetch);
    condition.as_deref().map(condition::parse).transpose()?;
    // A letter alone may be the name of a function, which is not known yet.
    let mut is_sure = true;
    let defined = Definition::read(&spec, &fetch, |head| {
        is_sure = head.contains(':');
        is_module(system, head)
    });
    if is_sure {
        parse(&defined?.fetch)?;
    }
    wanted.pid.map(|pid| system.process_of(pid)).transpose()?;
    wanted.cpu.map(|cpu| system.check_cpu(cpu)).transpose()?;
    Ok(())
}

/// Whether `word` names a module that is loaded, as `MODULE:SYMBOL` does.
fn is_module(system: &System, word: &str) -> bool {
    word.split_once(':').is_some_and(|(module, _)| system.path("sys/module").join(module).exists())
}

impl Hits {
    /// Finds the place that is asked for, and compiles what is to be fetched there.
    pub(crate) fn new(system: &System, symbols: &Symbols, wanted: &args::Hits) -> Result<Self, HitsError> {
        let is_place = |word: &str| is_module(system, word) || symbols.named(word).next().is_some();
        let (spec, fetch, condition) = condition::split(&wanted.spec, &wanted.fetch);
        let condition = condition.as_deref().map(condition::parse).transpose()?;
        let defined = Definition::read(&spec, &fetch, is_place)?;
        let mut arguments = parse(&defined.fetch)?;
        let moments = moments(wanted, defined.at_return);
        let process = wanted.pid.map(|pid| system.process_of(pid)).transpose()?;
        let spot = spec::resolve(system, symbols, &defined.place)?;
        if moments.contains(&Moment::Return) && !spot.is_entry() {
            return Err(HitsError::ReturnInside { name: spot.name });
        }
        let types = types(system, &spot);
        let function = match &types {
            Ok(types) => function(system, types, &spot),
            Err(why) => Err(why.clone()),
        };
        if wanted.args {
            arguments.extend(parse(&["$arg*".into()])?);
        }
        let arguments = expand(arguments, &spot, function.as_ref())?;
        check(&arguments, &moments)?;
        let place = Place {
            symbols,
            is_entry: spot.is_entry(),
            types: types.as_ref().map_err(String::as_str),
            function: function.as_ref().map_err(String::as_str),
        };
        let program = |&moment| Ok((moment, compile(&arguments, (moment, &moments), wanted.stack, &place)?));
        let programs = moments.iter().map(program).collect::<Result<Vec<_>, Mistake>>()?;
        let steps = programs.iter().map(|(_, program)| program.steps.len()).max().unwrap_or(0);
        let condition = condition.map(|condition| condition.compile(&arguments, &moments, steps, &place));
        let condition = condition.transpose()?.unwrap_or_default();
        let around = spot.function.as_ref().and_then(|(_, _, start)| {
            // Read now, since nothing of it can be read once a lock is held elsewhere; and used
            // only if the kernel refuses.
            boundaries::around(&system.path("proc/kcore"), *start, spot.address)
        });
        Ok(Self {
            name: defined.event.unwrap_or_else(|| spot.name.clone()),
            spot,
            condition,
            programs,
            around,
            stack: wanted.stack,
            process,
            cpu: wanted.cpu.unwrap_or(ANY),
            active: wanted.active.or(defined.active).unwrap_or(0),
            is_gone: false,
            probes: Vec::new(),
            ids: Vec::new(),
        })
    }
}

fn parse(fetches: &[String]) -> Result<Vec<Argument>, Mistake> {
    fetches.iter().map(|text| syntax::parse(text)).collect()
}

/// `arguments`, with the parameters of the function in place of `$arg*`.
fn expand(
    arguments: Vec<Argument>,
    spot: &Spot,
    function: Result<&Function, &String>,
) -> Result<Vec<Argument>, HitsError> {
    let mut expanded = Vec::new();
    for argument in arguments {
        if argument.value.fetch != Fetch::Parameters {
            expanded.push(argument);
            continue;
        }
        let unknown = |why: &String| HitsError::NoParameters { name: spot.name.clone(), why: why.clone() };
        let all = function.map_err(unknown)?.parameters.iter();
        let reachable = all.filter(|one| !matches!(one.slot, Slot::Nowhere(_)) && !one.name.is_empty());
        expanded.extend(parse(&reachable.map(|one| one.name.clone()).collect::<Vec<_>>())?);
    }
    Ok(expanded)
}

/// When hits are recorded: before the instruction unless told otherwise.
fn moments(wanted: &args::Hits, defined_at_return: bool) -> Vec<Moment> {
    let args::Hits { pre, post, .. } = *wanted;
    let at_return = wanted.at_return || defined_at_return;
    [(Moment::Before, pre || !(post || at_return)), (Moment::After, post), (Moment::Return, at_return)]
        .into_iter()
        .filter_map(|(moment, wanted)| wanted.then_some(moment))
        .collect()
}

/// The types of the kernel, and of the module that `spot` is in, or why they are not known.
fn types(system: &System, spot: &Spot) -> Result<Btf, String> {
    let read = |name: &str| fs::read(system.path("sys/kernel/btf").join(name));
    let unknown = |name: &str, error: io::Error| {
        format!("the types of {name} can't be read (/sys/kernel/btf/{name}: {error})")
    };
    let kernel = read("vmlinux").map_err(|error| unknown("the kernel", error))?;
    let types = Btf::new(kernel).ok_or("/sys/kernel/btf/vmlinux is damaged")?;
    let Some((_, Some(module), _)) = &spot.function else { return Ok(types) };
    let more = read(module).map_err(|error| unknown(module, error))?;
    types.and(more).ok_or_else(|| format!("/sys/kernel/btf/{module} is damaged"))
}

/// The function at `spot`, or why nothing is known of it.
fn function(system: &System, types: &Btf, spot: &Spot) -> Result<Function, String> {
    let Some((name, ..)) = &spot.function else {
        return Err("there is no function that is known".into());
    };
    if !spot.is_entry() {
        return Err(format!("this is inside of {name}, where its parameters may be anywhere"));
    }
    let mut function = types
        .function(name)
        .ok_or_else(|| format!("the kernel's type information has no function {name}"))?;
    let mut parameters = syscall::arguments(system, types, name);
    parameters.append(&mut function.parameters);
    Ok(Function { parameters, ..function })
}

/// The hits of a probe: one for each moment at which it records.
pub(crate) struct Hits {
    /// What they are told as: the place, or the name that a definition gave them.
    name: String,
    spot: Spot,
    /// The first steps of each program: which hits are recorded.
    condition: Vec<Step>,
    programs: Vec<(Moment, Program)>,
    /// Where the instructions around it begin, if that could be told.
    around: Option<(u64, u64)>,
    stack: bool,
    process: Option<u32>,
    cpu: u32,
    /// Calls under way at once that are followed to their returns; 0 for the kernel's own choice.
    active: u32,
    /// Whether it was told that their module is gone.
    is_gone: bool,
    /// The probes that were put, as the trace knows them, …
    probes: Vec<trapline_trace::Probe>,
    /// … and as the module does.
    ids: Vec<u64>,
}

impl Hits {
    /// Why the module refused `probe`.
    fn refused(&self, probe: &CodeProbe, source: io::Error) -> Refusal {
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
        Refusal::Probe {
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
    fn gone(&mut self, control: &dyn Control) -> Option<String> {
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

impl Source for Hits {
    fn arm(&mut self, control: &dyn Control, quiet: bool) -> Result<(), Refusal> {
        let mut name = [0; NAME_LENGTH];
        for (to, from) in name.iter_mut().zip(self.name.bytes()) {
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
                condition: self.condition.len() as u32,
                id: 0,
                error: 0,
                errno: 0,
                name,
            };
            let steps = [self.condition.as_slice(), &program.steps].concat();
            control.probe(&mut probe, &steps).map_err(|source| self.refused(&probe, source))?;
            self.ids.push(probe.id);
            self.probes.push(trapline_trace::Probe {
                id: probe.id as u32,
                name: self.name.clone(),
                address: self.spot.address,
                moment: *moment,
                stack: self.stack,
                arguments: program.layouts.clone(),
            });
        }
        if !quiet {
            let when: Vec<&str> = self.programs.iter().map(|(moment, _)| moment.name()).collect();
            say!("probing {} ({:#x}): {}", self.spot, self.spot.address, when.join(", "));
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        header.probes.extend(self.probes.iter().cloned());
        header.sources.push(trapline_trace::Source::Hit(Probed {
            probes: self.probes.iter().map(|probe| probe.id).collect(),
            process: self.process,
            cpu: (self.cpu != ANY).then_some(self.cpu),
        }));
    }

    fn process(&self) -> Option<u32> {
        self.process
    }

    fn look(&mut self, control: &dyn Control) {
        if let Some(what) = self.gone(control) {
            say!("{BAD}trapline: {what}: the trace is not complete{BAD:#}; {GONE}");
        }
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        let mut totals = ProbeTotals::default();
        for id in &self.ids {
            // One that the module can't tell of has counted nothing that could be told.
            if let Ok(Some(entry)) = control.list(*id)
                && entry.id == *id
            {
                totals.add(&entry);
            }
        }
        Counted { probes: totals, faults: None }
    }
}

#[cfg(test)]
mod tests;
