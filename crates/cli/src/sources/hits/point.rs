//! One place that is probed: what is fetched there, and its probes, one for each moment.

use std::io;
use std::rc::Rc;

use trapline_abi::{ANY, CODE_POST, CODE_RETURN, CODE_STACK, CodeProbe, NAME_LENGTH, ProbeError, Step};
use trapline_trace::Moment;

use super::HitsError;
use super::boundaries;
use super::btf::{Function, Slot};
use super::choice::Chosen;
use super::compile::{Program, check, compile};
use super::condition::Condition;
use super::fetch::{Argument, Fetch};
use super::kernel::Kernel;
use super::lower::Place;
use super::spec::Spot;
use super::syntax;
use crate::device::Control;
use crate::mistake::Mistake;
use crate::refusal::Refusal;

/// What is recorded of each hit, wherever it is: what all places of a probe have in common.
#[derive(Debug)]
pub(super) struct Recorded {
    /// What is to be fetched.
    pub(super) arguments: Vec<Argument>,
    /// Which hits.
    pub(super) condition: Option<Condition>,
    /// When.
    pub(super) moments: Vec<Moment>,
    /// The stack too.
    pub(super) stack: bool,
    /// In which process alone.
    pub(super) process: Option<u32>,
    /// On which CPU alone, or [`ANY`].
    pub(super) cpu: u32,
    /// Calls under way at once that are followed to their returns; 0 for the kernel's own choice.
    pub(super) active: u32,
}

/// A place, and its probes.
#[derive(Debug)]
pub(super) struct Point {
    /// What hits are told as: the place, or the name that a definition gave them.
    pub(super) name: String,
    pub(super) spot: Spot,
    /// The pattern that it was found by.
    pub(super) pattern: Option<Rc<str>>,
    /// The first steps of each program: which hits are recorded.
    pub(super) condition: Vec<Step>,
    pub(super) programs: Vec<(Moment, Program)>,
    /// Where the instructions around it begin, if that could be told.
    pub(super) around: Option<(u64, u64)>,
    /// The probes that were put, as the trace knows them, …
    pub(super) probes: Vec<trapline_trace::Probe>,
    /// … and as the module does.
    pub(super) ids: Vec<u64>,
}

impl Point {
    /// Compiles what is recorded at a place; and whether that is without the parameters that were
    /// asked for, of a function that a pattern matches and whose parameters are not known.
    pub(super) fn new(
        kernel: &Kernel<'_>,
        Chosen { spot, pattern }: Chosen,
        recorded: &Recorded,
    ) -> Result<(Self, bool), HitsError> {
        let Recorded { arguments, condition, moments, stack, .. } = recorded;
        if moments.contains(&Moment::Return) && !spot.is_entry() {
            return Err(HitsError::ReturnInside { name: spot.name });
        }
        let types = kernel.types(&spot);
        let function = match &types {
            Ok(types) => kernel.function(types, &spot),
            Err(why) => Err(why.clone()),
        };
        let mut arguments = arguments.clone();
        let unknown = pattern.is_some() && function.is_err();
        let lacks = unknown && arguments.iter().any(|argument| argument.value.fetch == Fetch::Parameters);
        arguments.retain(|argument| !(lacks && argument.value.fetch == Fetch::Parameters));
        let arguments = expand(arguments, &spot, function.as_ref())?;
        check(&arguments, moments)?;
        let place = Place {
            symbols: kernel.symbols,
            is_entry: spot.is_entry(),
            types: types.as_ref().map_err(String::as_str),
            function: function.as_ref().map_err(String::as_str),
        };
        let program = |&moment| Ok((moment, compile(&arguments, (moment, moments), *stack, &place)?));
        let programs = moments.iter().map(program).collect::<Result<Vec<_>, Mistake>>()?;
        let steps = programs.iter().map(|(_, program)| program.steps.len()).max().unwrap_or(0);
        let condition =
            condition.as_ref().map(|condition| condition.compile(&arguments, moments, steps, &place));
        let condition = condition.transpose()?.unwrap_or_default();
        let around = spot.function.as_ref().filter(|_| pattern.is_none()).and_then(|(_, _, start)| {
            // Read now, since nothing of it can be read once a lock is held elsewhere; and used
            // only if the kernel refuses.
            boundaries::around(&kernel.system.path("proc/kcore"), *start, spot.address)
        });
        let (name, probes, ids) = (spot.name.clone(), Vec::new(), Vec::new());
        Ok((Self { name, spot, pattern, condition, programs, around, probes, ids }, lacks))
    }

    /// Puts its probes.
    ///
    /// # Errors
    /// What the module refused; the probes before that are put.
    pub(super) fn arm(&mut self, control: &dyn Control, recorded: &Recorded) -> Result<(), Refusal> {
        let mut name = [0; NAME_LENGTH];
        for (to, from) in name.iter_mut().zip(self.name.bytes()) {
            *to = from;
        }
        let Recorded { stack, process, cpu, active, condition, .. } = recorded;
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
                flags: flag | if *stack { CODE_STACK } else { 0 },
                process: process.unwrap_or(ANY),
                cpu: *cpu,
                active: if *moment == Moment::Return { *active } else { 0 },
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
                stack: *stack,
                arguments: program.layouts.clone(),
                condition: condition.as_ref().map(|condition| condition.text().to_owned()),
            });
        }
        Ok(())
    }

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

    /// The module that it is in: `None` if it is in the kernel, or in nothing that is known.
    pub(super) fn module(&self) -> Option<&str> {
        self.spot.function.as_ref()?.1.as_deref()
    }
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
        for parameter in reachable {
            expanded.push(syntax::parse(&parameter.name)?);
        }
    }
    Ok(expanded)
}
