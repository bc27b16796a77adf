//! Which instructions the words of a probe name: one, several, or all functions that a pattern
//! matches; and where among the words what is to be fetched begins.

use std::collections::HashSet;
use std::rc::Rc;

use super::definition::Definition;
use super::form::Form;
use super::kernel::Kernel;
use super::notes::{Note, Notes, some};
use super::pattern::Pattern;
use super::spec::{self, OWN, SpecError, Spot};
use super::syntax::{is_name, is_of_name};
use super::target::Target;
use crate::mistake::Mistake;
use crate::nearest::{nearest, suggestion};

/// What marks a place as the return of its function.
const RETURN: &str = "%return";

/// What the words say.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Where to probe, each address once, in the order of the words; not empty.
    pub(super) places: Vec<Chosen>,
    /// Whether that is of the functions' returns.
    pub(super) at_return: bool,
    /// What is to be fetched.
    pub(super) fetch: Vec<String>,
    /// What the patterns match besides.
    pub(super) notes: Notes,
}

/// A place to probe.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Where it is.
    pub(super) spot: Spot,
    /// The pattern that it was found by.
    pub(super) pattern: Option<Rc<str>>,
}

/// Finds what the words of `definition` name, at most `at_most` places.
///
/// Words are places as long as they can be; the first that is a parameter of the first function, or
/// can be no place, is what to fetch, with all behind it.
pub(super) fn choose(
    kernel: &Kernel<'_>,
    definition: &Definition,
    at_most: u32,
) -> Result<Choice, SpecError> {
    let mut choosing = Choosing::new(kernel);
    let mut parameters = Vec::new();
    let mut returns = Vec::new();
    for (number, word) in definition.words.iter().enumerate() {
        if number > 0 && (definition.is_of_kernel || !is_place(kernel, word, &parameters)) {
            break;
        }
        let place = word.strip_suffix(RETURN).unwrap_or(word);
        if definition.is_of_kernel && Pattern::is_one(place) {
            return Err(no_patterns(definition, place));
        }
        choosing.add(place)?;
        returns.push((word, place.len() < word.len()));
        if number == 0 {
            parameters =
                choosing.choice.places.first().map(|first| names(kernel, &first.spot)).unwrap_or_default();
        }
    }
    let Choosing { mut choice, patterns, .. } = choosing;
    choice.fetch = definition.words[returns.len()..].to_vec();
    choice.at_return = returns.iter().any(|(_, is_return)| *is_return);
    if let Some((word, _)) = returns.iter().find(|(_, is_return)| choice.at_return && !is_return) {
        let why = "%return is behind another place and not behind this one: one probe records all of its places at the same time, so write --return instead".into();
        return Err(Mistake { text: (*word).clone(), at: 0..word.len(), why }.into());
    }
    if !patterns.is_empty() && choice.places.len() > at_most as usize {
        let names: Vec<&str> = choice.places.iter().map(|place| place.spot.name.as_str()).collect();
        let (count, examples) = (names.len(), some(&names));
        return Err(SpecError::TooMany { patterns: patterns.join("` and `"), count, examples, at_most });
    }
    Ok(choice)
}

/// The words that may be places if nothing is known of the kernel, which are no mistakes yet.
pub(super) fn may_be_place(word: &str) -> bool {
    let place = word.strip_suffix(RETURN).unwrap_or(word);
    let is_pattern = || Pattern::is_one(place) && Pattern::parse(place).is_ok();
    !word.starts_with('$') && (Target::parse(place).is_ok() || is_pattern())
}

/// Whether `word`, behind a place, is another one: if its name is none of the first function's
/// `parameters`, and a function has it, or it has a form that what is fetched never has.
fn is_place(kernel: &Kernel<'_>, word: &str, parameters: &[String]) -> bool {
    let name = word.split(|char| !is_of_name(char)).next().unwrap_or_default();
    let is_parameter = parameters.iter().any(|parameter| parameter == name);
    if !may_be_place(word) || is_parameter && may_be_fetched(kernel, name, &word[name.len()..]) {
        return false;
    }
    let place = word.strip_suffix(RETURN).unwrap_or(word);
    if let Some((_, number)) = place.strip_suffix(']').and_then(|rest| rest.split_once('['))
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        // An element of what the function does not have, and no class of one digit.
        return false;
    }
    if Pattern::is_one(place) || place.contains('+') || place.len() < word.len() {
        return true;
    }
    if let Some((module, behind)) = place.split_once(':') {
        return kernel.has_module(module) || Form::parse(behind).is_err();
    }
    if place.starts_with(|char: char| char.is_ascii_digit()) {
        return true;
    }
    let name = spec::known_as(kernel.symbols, place);
    kernel.symbols.named(name).any(|symbol| symbol.is_code)
}

/// Whether `name`, a parameter, and what stands `behind` it may be to be fetched: there is no such
/// pattern or offset, and behind a `:` stands a type, unless it is a module's function.
fn may_be_fetched(kernel: &Kernel<'_>, name: &str, behind: &str) -> bool {
    match behind.strip_prefix(':') {
        Some(form) => Form::parse(form).is_ok() || !kernel.has_module(name),
        None => !behind.starts_with(['*', '?', '+']),
    }
}

/// The names of the parameters of the function at `spot`, as far as they are known.
fn names(kernel: &Kernel<'_>, spot: &Spot) -> Vec<String> {
    let function = kernel.types(spot).and_then(|types| kernel.function(&types, spot));
    let parameters = function.map(|function| function.parameters).unwrap_or_default();
    parameters.into_iter().map(|parameter| parameter.name).filter(|name| is_name(name)).collect()
}

/// That the kernel's definitions know no patterns.
fn no_patterns(definition: &Definition, place: &str) -> SpecError {
    let at = definition.text.find(place).map_or(0..0, |at| at..at + place.len());
    let why = "a definition of the kernel's is of one place, no pattern: leave out what is before it, p or r and a name (--return is for r)".into();
    Mistake { text: definition.text.clone(), at, why }.into()
}

/// A choice that is being made.
struct Choosing<'a> {
    kernel: &'a Kernel<'a>,
    choice: Choice,
    /// Addresses that are chosen.
    seen: HashSet<u64>,
    /// Addresses that are left out of a pattern.
    left_out: HashSet<u64>,
    patterns: Vec<String>,
}

impl<'a> Choosing<'a> {
    fn new(kernel: &'a Kernel<'a>) -> Self {
        let (seen, left_out) = (HashSet::new(), HashSet::new());
        Self { kernel, choice: Choice::default(), seen, left_out, patterns: Vec::new() }
    }

    /// Adds what `word` names.
    fn add(&mut self, word: &str) -> Result<(), SpecError> {
        if !Pattern::is_one(word) {
            let spot = spec::resolve(self.kernel, word)?;
            if self.seen.insert(spot.address) {
                self.choice.places.push(Chosen { spot, pattern: None });
            } else if let Some(known) =
                self.choice.places.iter_mut().find(|one| one.spot.address == spot.address)
            {
                // It was named itself too: that it can't be probed is an error then.
                known.pattern = None;
            }
            return Ok(());
        }
        let pattern = Pattern::parse(word)?;
        if let Some(module) = &pattern.module {
            spec::check_module(self.kernel, module)?;
        }
        self.patterns.push(word.to_owned());
        self.matching(&pattern)
    }

    /// Adds the functions that a pattern matches.
    fn matching(&mut self, pattern: &Pattern) -> Result<(), SpecError> {
        let (kernel, text) = (self.kernel, Rc::<str>::from(pattern.text.as_str()));
        let (mut matched, mut chosen) = (false, false);
        let mut notes = Notes::default();
        for function in kernel.symbols.all().filter(|symbol| pattern.holds(symbol)) {
            matched = true;
            let spot = Spot::of(&function);
            let note = if function.module == Some(OWN) {
                Note::Own
            } else if kernel.forbidden(function.address).is_some() {
                Note::Forbidden
            } else if kernel.is_traceable(&function) {
                chosen = true;
                if self.seen.insert(function.address) {
                    self.choice.places.push(Chosen { spot, pattern: Some(text.clone()) });
                }
                continue;
            } else {
                Note::NotTraceable
            };
            // One that was named itself is probed.
            if !self.seen.contains(&function.address) && self.left_out.insert(function.address) {
                self.choice.notes.add(note.clone(), spot.name.clone());
            }
            notes.add(note, spot.name);
        }
        if !matched {
            return Err(nothing(kernel, pattern));
        }
        if !chosen {
            let why = notes.lines().map(|line| format!("\n  {line}")).collect();
            return Err(SpecError::NoneLeft { pattern: pattern.text.clone(), why });
        }
        Ok(())
    }
}

/// That a pattern matches nothing, with names like it.
fn nothing(kernel: &Kernel<'_>, pattern: &Pattern) -> SpecError {
    let stem = pattern.stem();
    let names = kernel.symbols.all().filter(|symbol| symbol.is_code && pattern.is_about(symbol));
    let near = if stem.is_empty() { Vec::new() } else { nearest(&stem, names.map(|symbol| symbol.name)) };
    let hint = suggestion(&near).unwrap_or_else(|| {
        "a module's functions are there once it is loaded, and * stands for what may be before or behind a name".into()
    });
    SpecError::NoMatch { pattern: pattern.text.clone(), module: pattern.module.clone(), hint }
}

#[cfg(test)]
mod tests;
