//! C headers: offsets by `#define`, and what their bits mean.
//!
//! A header does not say which of its constants are registers. What is gone by is how drivers of
//! the kernel and DPDK are written, in this order:
//!
//! - `_MMIO(...)`, `REG32(...)`: a register. `BIT()`, `GENMASK()`, shifts, `FIELD_PREP()`, a pair
//!   of `_SHIFT` and `_MASK` (`_S` and `_M`, `_INDEX` and `_WIDTH`, `S_` and `M_`): bits of one.
//! - Indented after `#define`, below a register: bits of that.
//! - A decimal number is a count, a very large number no offset.
//! - A name that continues a register's is bits of that if its value can be, unless the comment,
//!   the end of the name or the offset right after the register's say that it is a register.
//! - What is left is a register. A macro with a parameter is an array of them.
//!
//! Bits belong to the register whose name theirs continues. `--only` and `--fields` decide where
//! this goes wrong.

mod arithmetic;
mod array;
mod bits;
mod expression;
mod item;
mod pci;
mod register;
mod token;

use std::collections::HashMap;

use crate::Register;

use super::output::{Line, Output};
use super::{Options, Source};

use arithmetic::unsigned;
use bits::{Candidate, Part, Parts};
use expression::{Evaluator, Macros, Shape};
use item::{Item, Kind, items};
use register::{Found, Owners, access_of, width_of};

/// Offsets from here on are taken for something else, unless their registers are named by
/// `--only`.
const LARGEST: i128 = 0x1000_0000;

/// Takes the registers of headers that belong together.
pub(super) fn import(sources: &[&Source], options: &Options<'_>, output: &mut Output) {
    let mut macros = Macros::new();
    let mut all = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        all.extend(items(number, &source.text, &mut macros));
    }
    let files: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    if let Some(first) = files.first() {
        output.title(|| first.rsplit('/').next().unwrap_or(first).to_owned());
    }
    let only_fields = sources.iter().map(|source| source.only_fields).collect();
    let parts = Parts::of(&all);
    let spaces = pci::Spaces::of(&all);
    let mut sorter = Sorter {
        files,
        only_fields,
        options,
        output,
        macros: &macros,
        parts,
        spaces,
        owners: Owners::default(),
        bits: Vec::new(),
        current: None,
        field: None,
        parent: None,
        seen: HashMap::new(),
        arrays: Vec::new(),
    };
    all.iter().for_each(|item| sorter.sort(item));
    sorter.finish();
}

/// Tells registers from bits.
struct Sorter<'s, 'o, 'a> {
    files: Vec<&'s str>,
    /// Of each file whether nothing in it is a register.
    only_fields: Vec<bool>,
    options: &'o Options<'o>,
    output: &'o mut Output,
    macros: &'o Macros<'a>,
    parts: Parts<'a>,
    spaces: Option<pci::Spaces>,
    owners: Owners,
    bits: Vec<Candidate>,
    /// The register that was found last, in which file and line.
    current: Option<(usize, usize)>,
    /// The field that was found last below it, how far it is indented and its number.
    field: Option<(u32, usize)>,
    /// The field of which the item is a value, as its indentation says.
    parent: Option<String>,
    /// Of what was defined before its line.
    seen: HashMap<&'a str, (usize, u32)>,
    arrays: Vec<array::Array<'a>>,
}

impl<'s, 'a> Sorter<'s, '_, 'a> {
    fn line(&self, item: &Item<'_>) -> Line<'s> {
        Line { file: self.files[item.file], line: item.line }
    }

    fn leave(&mut self, item: &Item<'_>, why: &'static str, detail: impl std::fmt::Display) {
        let line = self.line(item);
        self.output.leave(line, item.name, why, detail);
    }

    fn value(&self, tokens: &[token::Lexed<'a>]) -> Result<i128, String> {
        Evaluator::new(self.macros).value(tokens)
    }

    fn sort(&mut self, item: &Item<'a>) {
        match &item.kind {
            Kind::Macro { found, .. } if found.body.is_empty() => {}
            Kind::Macro { found, indent } => {
                if let Some((file, line)) = self.seen.get(item.name) {
                    let first = self.macros.get(item.name).and_then(|first| self.value(&first.body).ok());
                    if first.is_some() && first == self.value(&found.body).ok() {
                        return;
                    }
                    let detail = format!("the first is in line {line} of {}", self.files[*file]);
                    return self.leave(item, "it is defined twice", detail);
                }
                self.seen.insert(item.name, (item.file, item.line));
                match &found.parameters {
                    Some(parameters) => self.with_parameters(item, parameters),
                    None => self.constant(item, *indent, found),
                }
            }
            Kind::Reg(width, offset) => match self.value(offset) {
                Ok(offset) => self.register(item, item.name, offset, Some(*width)),
                Err(why) => self.leave(item, NO_CONSTANT, why),
            },
            Kind::RegField([register, low, high]) => {
                let values = [self.value(low), self.value(high)];
                let owner = self.owner_of_reg_field(item, register);
                let ([Ok(low), Ok(high)], Some(owner)) = (values, owner) else {
                    return self.leave(item, NO_CONSTANT, "");
                };
                self.field(item, item.name, owner, low, high.saturating_sub(low).saturating_add(1));
            }
            Kind::Field(register, [low, width]) => {
                let Some(owner) = self.owners.exactly(register) else {
                    return self.leave(item, NO_OWNER, register);
                };
                let (Ok(low), Ok(width)) = (self.value(low), self.value(width)) else {
                    return self.leave(item, NO_CONSTANT, "");
                };
                self.field(item, item.name, owner, low, width);
            }
        }
    }

    /// The register of a `REG_FIELD`: by its name, else by its offset.
    fn owner_of_reg_field(&mut self, item: &Item<'a>, tokens: &[token::Lexed<'a>]) -> Option<usize> {
        if let [token::Lexed { token: token::Token::Name(name), .. }] = tokens
            && let Some(owner) = self.owners.exactly(name)
        {
            return Some(owner);
        }
        let offset = self.value(tokens).ok().and_then(|offset| u64::try_from(offset).ok())?;
        // Registers are known by where they lie from the base on.
        let place = offset.checked_sub(self.options.base.unwrap_or(0))?;
        if let Some(owner) = self.owners.at(place) {
            return Some(owner);
        }
        self.register(item, &format!("REG_{offset:02X}"), offset.into(), None);
        self.owners.at(place)
    }

    fn field(&mut self, item: &Item<'a>, name: &str, owner: usize, low: i128, width: i128) {
        let mask = u32::try_from(low).ok().zip(u32::try_from(width).ok());
        let fits = |(low, width): &(u32, u32)| low.checked_add(*width).is_some_and(|end| end <= 64);
        let mask = mask.filter(|mask| fits(mask) && mask.1 > 0);
        match mask {
            Some((low, width)) => {
                let mask = (u64::MAX >> (64 - width)) << low;
                self.candidate(item, Some(owner), name, bits::Bits::Mask(mask), true);
            }
            None => self.leave(item, "its bits make no sense", format!("{width} bits from bit {low} on")),
        }
    }

    fn candidate(
        &mut self,
        item: &Item<'a>,
        owner: Option<usize>,
        name: &str,
        bits: bits::Bits,
        is_explicit: bool,
    ) {
        let file = self.files[item.file].to_owned();
        self.bits.push(Candidate {
            owner,
            name: name.to_owned(),
            full: item.name.to_owned(),
            parent: self.parent.clone(),
            bits,
            is_explicit,
            file,
            line: item.line,
            comment: item.comment.clone(),
        });
    }

    /// A constant without parameters.
    fn constant(&mut self, item: &Item<'a>, indent: u32, found: &expression::Macro<'a>) {
        let value = Evaluator::new(self.macros).call(item.name, &[]);
        let evaluator = Evaluator::new(self.macros);
        let shape = if found.plus == 0 { evaluator.shape(&found.body) } else { Shape::Decimal };
        let below = self.current.filter(|(file, _)| indent > 0 && *file == item.file).map(|(_, owner)| owner);
        self.parent = match (below, self.field) {
            (Some(_), Some((level, candidate))) if indent > level => {
                self.bits.get(candidate).map(|one| one.full.clone())
            }
            (Some(_), _) => {
                self.field = Some((indent, self.bits.len()));
                None
            }
            (None, _) => None,
        };
        if let Some((stem, part)) = self.parts.part(item.name) {
            return self.part(item, stem, part, value, below);
        }
        let value = match value {
            Ok(value) => value,
            Err(why) => return self.leave(item, NO_CONSTANT, why),
        };
        let wanted = self.options.only.map(|only| only(item.name));
        let is_register = match (wanted, shape) {
            (Some(wanted), _) => wanted,
            (None, Shape::Offset) => true,
            (None, Shape::Bits | Shape::Placed) => false,
            (None, _) if self.only_fields[item.file] || below.is_some() => false,
            (None, _) => match self.spaces {
                Some(_) => pci::is_register(item.name, value),
                None if item
                    .name
                    .strip_suffix("_MAX_INDEX")
                    .is_some_and(|array| self.macros.contains_key(array)) =>
                {
                    return;
                }
                None if shape == Shape::Decimal => {
                    return self.leave(item, "a decimal number, taken for a count", value);
                }
                None => !self.continues(item, value),
            },
        };
        if is_register {
            if wanted.is_none() && !(0..LARGEST).contains(&value) {
                return self.leave(item, "too large for an offset", format!("{value:#x}"));
            }
            return self.register(item, item.name, value, None);
        }
        let Some(value) = unsigned(value) else {
            return self.leave(item, "it is more than 64 bits", value);
        };
        if let Some(flag) =
            item.name.strip_prefix("F_").filter(|flag| self.parts.has_low(&format!("S_{flag}")))
        {
            let owner = below.or(self.current.filter(|(file, _)| *file == item.file).map(|(_, owner)| owner));
            return self.candidate(item, owner, flag, bits::Bits::Mask(value), true);
        }
        let bits = match shape {
            Shape::Placed => bits::placed(found, self.macros, value),
            _ => bits::Bits::Mask(value),
        };
        self.candidate(item, below, item.name, bits, matches!(shape, Shape::Bits | Shape::Placed));
    }

    /// Whether a number is bits of the register that its name continues.
    fn continues(&self, item: &Item<'a>, value: i128) -> bool {
        let Some((owner, _)) = self.owners.of(item.name) else { return false };
        let found = &self.owners.all[owner];
        if found.file != item.file {
            return true;
        }
        let is_next = self.current.is_some_and(|(_, current)| current == owner)
            && [4, 8].contains(
                &value
                    .saturating_sub(self.options.base.unwrap_or(0).into())
                    .saturating_sub(found.offset.into()),
            );
        let rest = item.name.rsplit('_').next().unwrap_or_default();
        let is_named =
            matches!(rest, "HI" | "LO" | "HIGH" | "LOW" | "H" | "L" | "SET" | "CLR" | "REG" | "ADDR");
        let is_said = access_of(&item.comment).is_some() || item.comment.to_lowercase().contains("register");
        !is_next && !is_named && !is_said && unsigned(value).is_some_and(bits::is_row)
    }

    fn part(
        &mut self,
        item: &Item<'a>,
        stem: String,
        part: Part,
        value: Result<i128, String>,
        below: Option<usize>,
    ) {
        let value = match value {
            Ok(value) => value,
            Err(why) => return self.leave(item, NO_CONSTANT, why),
        };
        let wanted = self.options.only.is_some_and(|only| only(item.name));
        // A register may be called a mask, of interrupts for one.
        let is_mask = unsigned(value).is_some_and(bits::is_row);
        let is_alone = part == Part::Mask && !self.parts.has_low(&stem);
        if wanted || (is_alone && !is_mask && self.options.only.is_none() && !self.only_fields[item.file]) {
            if wanted || (0..LARGEST).contains(&value) && below.is_none() {
                return self.register(item, item.name, value, None);
            }
            return self.leave(item, bits::NOT_IN_A_ROW, format!("{value:#x}"));
        }
        self.parent = None;
        let complete = self.parts.add(&stem, part, value);
        if let Some(mask) = complete {
            let name = stem.strip_prefix("S_").unwrap_or(&stem).to_owned();
            self.candidate(item, below, &name, bits::Bits::Mask(mask), true);
            if let Some(last) = self.bits.last_mut() {
                // S_ and M_ go with the register above them: the name of that is A_.
                if last.owner.is_none() && stem.starts_with("S_") {
                    last.owner = self.current.filter(|(file, _)| *file == item.file).map(|(_, owner)| owner);
                }
            }
        }
    }

    fn register(&mut self, item: &Item<'a>, name: &str, offset: i128, width: Option<u8>) {
        let base = self.options.base.unwrap_or(0);
        let Some(offset) = u64::try_from(offset).ok().and_then(|offset| offset.checked_sub(base)) else {
            return self.leave(item, "it lies before the base", format!("{offset:#x}"));
        };
        let width = width.or_else(|| width_of(&item.comment));
        let mut register = Register::new(name, offset, width.unwrap_or(4));
        register.description = item.comment.clone();
        register.access = access_of(&item.comment).unwrap_or_default();
        if let Some(spaces) = &self.spaces {
            register.space = Some(spaces.of_register(name));
        }
        self.add(item, register, width.is_some());
    }

    fn add(&mut self, item: &Item<'a>, register: Register, has_width: bool) {
        let owner = self.owners.add(Found {
            offset: register.offset,
            file: item.file,
            line: item.line,
            has_width,
            register,
            bits: Vec::new(),
        });
        self.current = Some((item.file, owner));
        self.field = None;
    }

    /// Gives the bits to their registers, and those to the file.
    fn finish(mut self) {
        for stem in self.parts.incomplete() {
            let item = &stem.1;
            let line = Line { file: self.files[item.0], line: item.1 };
            self.output.leave(line, &stem.0, "a shift without a mask", "");
        }
        for mut candidate in std::mem::take(&mut self.bits) {
            let owner = self.owners.of(&candidate.name);
            let (owner, name) = match (owner, candidate.owner) {
                (Some((owner, name)), _) => (owner, name),
                (None, Some(owner)) => (owner, candidate.name.clone()),
                (None, None) => {
                    let line = Line { file: &candidate.file, line: candidate.line };
                    let why = if candidate.is_explicit { NO_OWNER } else { NO_REGISTER };
                    self.output.leave(line, &candidate.name, why, "");
                    continue;
                }
            };
            candidate.name = name;
            self.owners.all[owner].bits.push(candidate);
        }
        // Bits are known by now: each element has those of the first.
        array::extend(&self.arrays, &mut self.owners, self.macros, &self.files, self.options, self.output);
        register::fit_widths(&mut self.owners.all);
        for found in self.owners.all {
            let Found { mut register, bits, file, line, .. } = found;
            let line = Line { file: self.files[file], line };
            register.fields = bits::fields(bits, self.output);
            self.output.add(line, register);
        }
    }
}

const NO_CONSTANT: &str = "it is no constant";
const NO_OWNER: &str = "bits of no register that is known";
const NO_REGISTER: &str = "a number of no register that is known";

#[cfg(test)]
mod tests;
