//! Injection: rules that a person typed become rules that the module carries out, and what these
//! have counted a table.

mod clash;
mod compile;
mod file;
mod place;
mod rule;
mod syntax;
mod told;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use trapline_abi::{Inject, InjectRule, MAX_RULES};
use trapline_trace::{Device, Injected, Registers, Symbols};

use super::accesses::Target;
use crate::args::Lies;
use crate::device::Control;
use crate::held::{self, Held};
use crate::mistake::Mistake;
use crate::refusal::Refusal;
use crate::say::say;
use crate::style::{BAD, STRONG, WARNING};
use crate::system::{NoCpu, NoProcess, System};
use clash::{Clash, clashes};
use compile::{Compiled, compile};
use file::RulesFile;
pub(crate) use file::RulesFileError;
use place::Map;
use rule::Rule;
use told::Counts;

/// Why nothing is injected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InjectError {
    /// A rule can't be understood, or can't be carried out.
    #[error("{}{mistake}", source_of(.file))]
    Rule {
        /// The file that it is in, and its number there; nothing for one of the command line.
        file: Option<(PathBuf, usize)>,
        /// What is wrong with it.
        mistake: Mistake,
    },
    /// A file of rules can't be used.
    #[error(transparent)]
    File(#[from] RulesFileError),
    /// Two files have a seed each.
    #[error("{} says seed {second}, a file before it {first}: say which by --seed", path.display())]
    Seeds {
        /// The second file.
        path: PathBuf,
        /// The seed of the first.
        first: u64,
        /// And of the second.
        second: u64,
    },
    /// More rules than the module takes.
    #[error(
        "these are {count} rules, counted once for each device that they are about: expected {MAX_RULES} at most"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A rule is in the way of another.
    #[error(
        "rule {yields} `{yielding}` can never apply: rule {decides} `{deciding}` decides of all that it is about; leave one of them out, or say when each applies"
    )]
    Never {
        /// Number of the rule that decides, from 1 on.
        decides: usize,
        /// Its text.
        deciding: String,
        /// Number of the rule that never applies.
        yields: usize,
        /// Its text.
        yielding: String,
    },
    /// The machine needs the device.
    #[error(
        "{device} is in use: it holds {held}; what is injected there can destroy data or hang this machine. If that may be, say --yes"
    )]
    Held {
        /// The device.
        device: String,
        /// What it holds.
        held: String,
    },
    /// `pid` of nobody.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// `cpu` of a machine that has fewer.
    #[error(transparent)]
    NoCpu(#[from] NoCpu),
}

fn source_of(file: &Option<(PathBuf, usize)>) -> String {
    file.as_ref().map(|(path, number)| format!("{}, rule {number}: ", path.display())).unwrap_or_default()
}

/// A rule, and where it was typed.
#[derive(Debug)]
struct Typed {
    rule: Rule,
    file: Option<(PathBuf, usize)>,
}

impl Typed {
    fn wrong(&self, mistake: Mistake) -> InjectError {
        InjectError::Rule { file: self.file.clone(), mistake }
    }
}

/// Rules that are understood, before anything is looked up for them.
#[derive(Debug)]
pub(crate) struct Rules {
    typed: Vec<Typed>,
    seed: u64,
    yes: bool,
}

impl Rules {
    /// Understands what is asked for. Everything that can be told of it without the device is.
    pub(crate) fn new(system: &System, wanted: &Lies) -> Result<Self, InjectError> {
        let mut typed = Vec::new();
        let mut add = |text: &str, file: Option<(&Path, usize)>| {
            let file = file.map(|(path, number)| (path.to_owned(), number));
            match syntax::parse(text) {
                Ok(rule) => {
                    typed.push(Typed { rule, file });
                    Ok(())
                }
                Err(mistake) => Err(InjectError::Rule { file, mistake }),
            }
        };
        wanted.rules.iter().try_for_each(|text| add(text, None))?;
        let mut of_files: Option<u64> = None;
        for path in &wanted.files {
            let RulesFile { seed, rules } = RulesFile::read(path)?;
            for (number, text) in (1..).zip(&rules) {
                add(text, Some((path, number)))?;
            }
            if let (Some(second), None) = (seed, wanted.seed) {
                let first = *of_files.get_or_insert(second);
                if first != second {
                    return Err(InjectError::Seeds { path: path.clone(), first, second });
                }
            }
        }
        if typed.len() > MAX_RULES {
            return Err(InjectError::TooMany { count: typed.len() });
        }
        for Typed { rule, .. } in &typed {
            if let Some(task) = &rule.when.task {
                system.process_of(task.value)?;
            }
            if let Some(cpu) = &rule.when.cpu {
                system.check_cpu(cpu.value)?;
            }
        }
        // Short enough to be typed again.
        let any = || RandomState::new().hash_one(0) >> 32;
        Ok(Self { typed, seed: wanted.seed.or(of_files).unwrap_or_else(any), yes: wanted.yes })
    }

    /// Whether one of them names a function.
    pub(crate) fn name_functions(&self) -> bool {
        self.typed.iter().any(|typed| typed.rule.when.function.is_some())
    }
}

/// Rules for what is traced.
#[derive(Debug)]
pub(crate) struct Injection {
    /// As they were typed.
    texts: Vec<String>,
    seed: u64,
    /// As the module takes them, each with the number of the one that was typed.
    compiled: Vec<(usize, Compiled)>,
    clashes: Vec<Clash>,
    /// The devices, with what the machine uses of each.
    devices: Vec<(String, Vec<Held>)>,
    counts: Vec<Option<Counts>>,
}

impl Injection {
    /// Finds where `rules` are in what is traced, and whether that may be touched.
    pub(super) fn new(
        system: &System,
        rules: Rules,
        (devices, targets): (&[Device], &[Target]),
        registers: &Registers,
        symbols: Option<&Symbols>,
    ) -> Result<Self, InjectError> {
        let Rules { typed, seed, yes } = rules;
        let map = Map::new(targets, registers);
        let mut compiled = Vec::new();
        for (number, one) in typed.iter().enumerate() {
            let places = compile(&one.rule, &map, symbols).map_err(|mistake| one.wrong(mistake))?;
            compiled.extend(places.into_iter().map(|place| (number, place)));
        }
        if compiled.len() > MAX_RULES {
            return Err(InjectError::TooMany { count: compiled.len() });
        }
        for (number, (_, one)) in compiled.iter_mut().enumerate() {
            one.rule.seed = own_seed(seed, number);
        }
        let clashes = clashes(compiled.iter().map(|(number, one)| (*number, &one.rule)));
        let text = |number: usize| typed.get(number).map(|one| one.rule.text.clone()).unwrap_or_default();
        if let Some(&Clash { decides, yields, .. }) = clashes.iter().find(|clash| clash.never) {
            let (deciding, yielding) = (text(decides), text(yields));
            return Err(InjectError::Never { decides: decides + 1, deciding, yields: yields + 1, yielding });
        }
        let devices: Vec<(String, Vec<Held>)> = touched(devices, targets)
            .into_iter()
            .map(|device| (super::devices::describe(device), held::by(system, &device.address)))
            .collect();
        if !yes {
            devices.iter().try_for_each(|(device, all)| refuse_held(device, all))?;
        }
        let counts = vec![None; typed.len()];
        Ok(Self {
            texts: typed.into_iter().map(|one| one.rule.text).collect(),
            seed,
            compiled,
            clashes,
            devices,
            counts,
        })
    }

    /// Says what will be done, and gives the session the rules.
    pub(super) fn arm(&self, control: &dyn Control) -> Result<(), Refusal> {
        self.announce();
        let rules: Vec<InjectRule> = self.compiled.iter().map(|(_, one)| one.rule).collect();
        let mut inject = Inject::default();
        control.inject(&mut inject, &rules).map_err(|source| {
            let refused = self.compiled.get(inject.failed_at as usize);
            let rule = refused.and_then(|(number, _)| self.texts.get(*number));
            Refusal::Inject { rule: rule.cloned(), source }
        })
    }

    /// Says what will be done, to which device: also to who wants no notes.
    fn announce(&self) {
        let names: Vec<&str> = self.devices.iter().map(|(device, _)| device.as_str()).collect();
        let names = if names.is_empty() { "memory of no PCI device".into() } else { names.join(", ") };
        say!("{WARNING}injecting{WARNING:#} into {STRONG}{names}{STRONG:#}, seed {}:", self.seed);
        for (number, text) in self.texts.iter().enumerate() {
            let of_rule = self.compiled.iter().filter(|(of, _)| *of == number);
            let places: BTreeSet<&str> = of_rule.map(|(_, one)| one.place.as_str()).collect();
            let places: Vec<&str> = places.into_iter().collect();
            say!("{:>4}  {text}  ({})", number + 1, places.join("; "));
        }
        for Clash { decides, yields, .. } in &self.clashes {
            let (decides, yields) = (decides + 1, yields + 1);
            say!(
                "rules {decides} and {yields} are about the same accesses: where both apply, {decides} decides"
            );
        }
        for (device, held) in &self.devices {
            for held in held {
                say!("{WARNING}warning{WARNING:#}: {device} holds {held}");
            }
        }
    }

    /// Asks what each rule has counted.
    pub(super) fn count(&mut self, control: &dyn Control) {
        self.counts.fill(None);
        for (index, (number, _)) in (0..).zip(&self.compiled) {
            // A rule that the module can't tell of has no counts, and that is told.
            let Ok(counts) = control.inject_counts(index) else { continue };
            if let Some(sum) = self.counts.get_mut(*number) {
                let sum = sum.get_or_insert_default();
                sum.matched = sum.matched.saturating_add(counts.matched);
                sum.applied = sum.applied.saturating_add(counts.applied);
                sum.impossible = sum.impossible.saturating_add(counts.impossible);
            }
        }
    }

    /// The table of what each rule has come to; only the rules that have come to nothing if
    /// `quiet`.
    pub(super) fn table(&self, quiet: bool) -> Option<String> {
        let all = self.texts.iter().map(String::as_str).zip(self.counts.iter().copied());
        if !quiet {
            return Some(told::table(&all.collect::<Vec<_>>(), self.seed));
        }
        let idle = all.filter(|(_, counts)| counts.is_none_or(|counts| counts.applied == 0));
        let lines: Vec<String> =
            idle.map(|(text, _)| format!("{BAD}trapline: never applied{BAD:#}: {text}")).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Whether no rule was applied to any access.
    pub(super) fn is_idle(&self) -> bool {
        self.counts.iter().all(|counts| counts.is_none_or(|counts| counts.applied == 0))
    }

    /// What a trace's header tells.
    pub(super) fn injected(&self) -> Injected {
        Injected { rules: self.texts.clone(), seed: self.seed }
    }
}

/// Refuses a device that holds something that the machine can't do without.
pub(crate) fn refuse_held(device: &str, all: &[Held]) -> Result<(), InjectError> {
    let vital: Vec<String> = all.iter().filter(|held| held.is_vital()).map(Held::to_string).collect();
    if vital.is_empty() {
        return Ok(());
    }
    Err(InjectError::Held { device: device.to_owned(), held: vital.join(", ") })
}

/// The seed of the rule of this number: such that no two rules have the same stream of numbers,
/// which those of seeds that differ by a step would (the finaliser of SplitMix64).
fn own_seed(seed: u64, number: usize) -> u64 {
    let mut word = seed ^ (number as u64).wrapping_add(1).wrapping_mul(0xd6e8_feb8_6659_fd93);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The devices that something of `targets` is in.
fn touched<'a>(devices: &'a [Device], targets: &[Target]) -> Vec<&'a Device> {
    let is_in = |device: &&Device| {
        targets.iter().any(|target| match &target.bar {
            Some((known, _)) => known.address == device.address,
            None => device.memory_bars().any(|(_, bar)| {
                let range = target.range;
                bar.start < range.physical.saturating_add(range.length)
                    && range.physical < bar.start.saturating_add(bar.length)
            }),
        })
    };
    devices.iter().filter(is_in).collect()
}

#[cfg(test)]
mod tests;
