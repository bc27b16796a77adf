//! Hits of code probes: each time that an instruction of the kernel is executed, and what it works
//! on.

mod boundaries;
mod btf;
mod choice;
mod compile;
mod condition;
mod cursor;
mod definition;
mod fetch;
mod form;
mod kernel;
mod lower;
mod names;
mod notes;
mod pattern;
mod point;
mod spec;
mod syntax;
mod syscall;
mod target;
mod typed;

use std::collections::HashSet;

use trapline_abi::{ANY, LIST_GONE};
use trapline_trace::{Header, Moment, ProbeTotals, Probed};

use crate::args;
use crate::device::Control;
use crate::mistake::Mistake;
use crate::refusal::Refusal;
use crate::say::say;
use crate::style::BAD;
use crate::system::{NoCpu, NoProcess, System};
use crate::trace::{Arming, Counted, Source};
use choice::{Choice, choose, may_be_place};
use definition::Definition;
use fetch::Argument;
pub(crate) use kernel::Kernel;
use notes::{Note, Notes, some};
use point::{Point, Recorded};
pub(crate) use spec::SpecError;

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
    /// One of several places can't be had as asked for.
    #[error("in `{name}`: {error}\n{WAYS_OUT}")]
    OfSeveral {
        /// The first of which that is so.
        name: String,
        /// Why it can't.
        error: Box<HitsError>,
    },
    /// `--pid` of nobody.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// `--cpu` of a machine that has fewer.
    #[error(transparent)]
    NoCpu(#[from] NoCpu),
}

/// What to do if one of several functions lacks what others have.
const WAYS_OUT: &str = "what is fetched is fetched of each function: leave this one out, or fetch what all have ($arg1 is the first argument, --args what each has); \
    `trapline trace` takes a --probe for each";

/// Refuses what can't be understood, before anything is looked up for it.
pub(crate) fn check_words(system: &System, wanted: &args::Hits) -> Result<(), HitsError> {
    let (spec, fetch, condition) = condition::split(&wanted.spec, &wanted.fetch);
    condition.as_deref().map(condition::parse).transpose()?;
    // A letter alone may be the name of a function, which is not known yet.
    let mut is_sure = true;
    let defined = Definition::read(&spec, &fetch, |head| {
        is_sure = head.contains(':');
        in_module(system, head)
    });
    if is_sure {
        let Definition { words, is_of_kernel, .. } = defined?;
        // Which words are places is not known yet either.
        let fetch = words[1..].iter().skip_while(|word| !is_of_kernel && may_be_place(word));
        fetch.map(|word| syntax::parse(word)).collect::<Result<Vec<_>, _>>()?;
    }
    wanted.pid.map(|pid| system.process_of(pid)).transpose()?;
    wanted.cpu.map(|cpu| system.check_cpu(cpu)).transpose()?;
    Ok(())
}

/// Whether `word` begins with the name of a module that is loaded, as `MODULE:SYMBOL` does.
fn in_module(system: &System, word: &str) -> bool {
    word.split_once(':').is_some_and(|(module, _)| kernel::is_module(system, module))
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

/// The hits of a probe: of one place or of several, one for each moment at which it records.
pub(crate) struct Hits {
    recorded: Recorded,
    points: Vec<Point>,
    /// What is told of functions that patterns match.
    notes: Notes,
    /// Modules that it was told of that they are gone; a probe's name where the module's is not
    /// known.
    gone: HashSet<String>,
}

impl Hits {
    /// Finds the places that are asked for, and compiles what is to be fetched there.
    pub(crate) fn new(kernel: &Kernel<'_>, wanted: &args::Hits) -> Result<Self, HitsError> {
        let is_place =
            |word: &str| in_module(kernel.system, word) || kernel.symbols.named(word).next().is_some();
        let (spec, fetch, condition) = condition::split(&wanted.spec, &wanted.fetch);
        let condition = condition.as_deref().map(condition::parse).transpose()?;
        let defined = Definition::read(&spec, &fetch, is_place)?;
        let process = wanted.pid.map(|pid| kernel.system.process_of(pid)).transpose()?;
        let Choice { places, at_return, fetch, mut notes } = choose(kernel, &defined, wanted.at_most)?;
        let all = wanted.args.then(|| "$arg*".to_owned());
        let arguments = fetch.iter().chain(&all).map(|text| syntax::parse(text));
        let recorded = Recorded {
            arguments: arguments.collect::<Result<Vec<Argument>, Mistake>>()?,
            condition,
            moments: moments(wanted, at_return || defined.at_return),
            stack: wanted.stack,
            process,
            cpu: wanted.cpu.unwrap_or(ANY),
            active: wanted.active.or(defined.active).unwrap_or(0),
        };
        let is_one = places.len() == 1;
        let mut points = Vec::new();
        for place in places {
            let name = place.spot.name.clone();
            match Point::new(kernel, place, &recorded) {
                Ok((point, lacks)) => {
                    if lacks {
                        notes.add(Note::WithoutArguments, name);
                    }
                    points.push(point);
                }
                Err(error) if is_one => return Err(error),
                Err(error) => return Err(HitsError::OfSeveral { name, error: Box::new(error) }),
            }
        }
        if let (Some(event), [point]) = (defined.event, &mut points[..]) {
            point.name = event;
        }
        Ok(Self { recorded, points, notes, gone: HashSet::new() })
    }

    /// Puts the probes of each place. What a pattern matches and the module refuses is noted.
    fn put(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        let mut progress = arming.progress(self.points.len());
        let mut last = None;
        for point in &mut self.points {
            progress.step()?;
            let Err(refusal) = point.arm(control, &self.recorded) else { continue };
            let note = match &refusal {
                Refusal::Probe { reason, .. } if point.pattern.is_some() => Note::of(*reason),
                _ => None,
            };
            let Some(note) = note else { return Err(refusal) };
            let part = if point.ids.is_empty() { "" } else { " (its return)" };
            self.notes.add(note, format!("{}{part}", point.spot.name));
            last = Some(refusal);
        }
        self.points.retain(|point| !point.ids.is_empty());
        last.filter(|_| self.points.is_empty()).map_or(Ok(()), Err)
    }

    /// Says what is probed, pattern by pattern.
    fn tell(&self) {
        let when: Vec<&str> = self.recorded.moments.iter().map(|moment| moment.name()).collect();
        let when = when.join(", ");
        let mut told: Option<&str> = None;
        for point in &self.points {
            let Some(pattern) = point.pattern.as_deref() else {
                say!("probing {} ({:#x}): {when}", point.spot, point.spot.address);
                continue;
            };
            if told.replace(pattern) != Some(pattern) {
                let of_it = self.points.iter().filter(|other| other.pattern.as_deref() == Some(pattern));
                let names: Vec<&str> = of_it.map(|point| point.spot.name.as_str()).collect();
                let functions = if names.len() == 1 { "function" } else { "functions" };
                say!("probing {} {functions} of `{pattern}` ({}): {when}", names.len(), some(&names));
            }
        }
    }

    /// Which modules that are probed are gone, of those that were there when they were asked last.
    fn gone(&mut self, control: &dyn Control) -> Vec<String> {
        let mut told = Vec::new();
        let mut asked = HashSet::new();
        for point in &self.points {
            let (module, whose) = match (&point.spot.function, point.module()) {
                // The kernel itself stays; and asking may be a hit.
                (Some(_), None) => continue,
                (_, Some(module)) => (module, format!("the module {module}")),
                (None, None) => (point.name.as_str(), "the module".into()),
            };
            // They go together.
            if self.gone.contains(module)
                || !asked.insert(module)
                || !point.ids.iter().any(|id| is_gone(control, *id))
            {
                continue;
            }
            self.gone.insert(module.to_owned());
            let count = self.points.iter().filter(|other| other.module() == Some(module)).count();
            let what = match count {
                0 | 1 => format!("{} is probed", point.spot),
                _ => format!("{count} functions are probed"),
            };
            told.push(format!("{whose}, in which {what}, is gone"));
        }
        told
    }
}

/// Whether the module of probe `id` is gone.
fn is_gone(control: &dyn Control, id: u64) -> bool {
    let entry = control.list(id).ok().flatten();
    entry.is_some_and(|entry| entry.id == id && entry.flags & LIST_GONE != 0)
}

/// What comes of it that a module goes away.
const GONE: &str = "nothing is recorded of it any more, also if it is loaded again: probe it anew then";

impl Source for Hits {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        let put = self.put(control, arming);
        // What is left out is told in any case: its hits are missing.
        self.notes.lines().for_each(|line| say!("trapline: {line}"));
        put?;
        if !arming.quiet {
            self.tell();
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        let probes = || self.points.iter().flat_map(|point| &point.probes);
        header.probes.extend(probes().cloned());
        header.sources.push(trapline_trace::Source::Hit(Probed {
            probes: probes().map(|probe| probe.id).collect(),
            process: self.recorded.process,
            cpu: (self.recorded.cpu != ANY).then_some(self.recorded.cpu),
        }));
    }

    fn process(&self) -> Option<u32> {
        self.recorded.process
    }

    fn look(&mut self, control: &dyn Control) {
        for what in self.gone(control) {
            say!("{BAD}trapline: {what}: the trace is not complete{BAD:#}; {GONE}");
        }
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        let mut totals = ProbeTotals::default();
        for id in self.points.iter().flat_map(|point| &point.ids) {
            // One that the module can't tell of has counted nothing that could be told.
            if let Ok(Some(entry)) = control.list(*id)
                && entry.id == *id
            {
                totals.add(&entry);
            }
        }
        Counted { probes: totals, ..Counted::default() }
    }
}

#[cfg(test)]
mod tests;
