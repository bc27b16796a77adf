//! Bits of a header's registers, and which are fields, which their values.

use std::collections::{HashMap, HashSet};

use crate::Field;
use crate::import::output::{Line, MOST_FIELDS, Output};

use super::arithmetic::unsigned;
use super::expression::{Evaluator, Macro, Macros};
use super::item::{Item, Kind};
use super::token::Token;

/// What is said of numbers whose bits no field has.
pub(super) const NOT_IN_A_ROW: &str = "its bits are not in a row";

/// What may be a field.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Its register, if where it stands says so.
    pub owner: Option<usize>,
    /// Its name.
    pub name: String,
    /// Its name in the header.
    pub full: String,
    /// The name in the header of the field that it is a value of.
    pub parent: Option<String>,
    /// Its bits.
    pub bits: Bits,
    /// Whether it is written as bits, and not as a number.
    pub is_explicit: bool,
    /// The file that it is in.
    pub file: String,
    /// Its line there.
    pub line: u32,
    /// The comment beside it.
    pub comment: String,
}

/// Bits of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    /// These.
    Mask(u64),
    /// A value of those of a mask, in its place.
    Placed {
        /// The field's bits.
        mask: u64,
        /// The value among them.
        value: u64,
    },
}

impl Candidate {
    /// Its highest bit.
    pub(super) fn highest(&self) -> Option<u32> {
        let (Bits::Mask(mask) | Bits::Placed { mask, .. }) = self.bits;
        mask.checked_ilog2()
    }

    /// Its bits, if they are bits of one field.
    fn row(&self) -> Option<u64> {
        match self.bits {
            Bits::Mask(mask) if is_row(mask) => Some(mask),
            _ => None,
        }
    }
}

/// Whether the bits that are set are in one row.
pub(super) fn is_row(mask: u64) -> bool {
    mask != 0 && mask.count_ones() + mask.leading_zeros() + mask.trailing_zeros() == 64
}

/// What `FIELD_PREP(mask, value)` stands for, of which `placed` is the value in its place.
pub(super) fn placed<'a>(found: &Macro<'a>, macros: &Macros<'a>, placed: u64) -> Bits {
    let mut level = 0_usize;
    let open =
        found.body.iter().position(|lexed| lexed.token == Token::Punct("(")).map_or(0, |open| open + 1);
    let length = found.body[open..].iter().position(|lexed| {
        match lexed.token {
            Token::Punct("(") => level += 1,
            Token::Punct(")") => level = level.saturating_sub(1),
            _ => {}
        }
        level == 0 && lexed.token == Token::Punct(",")
    });
    let mask = length.and_then(|length| Evaluator::new(macros).value(&found.body[open..open + length]).ok());
    match mask.and_then(unsigned) {
        Some(mask) => Bits::Placed { mask, value: placed },
        None => Bits::Mask(placed),
    }
}

/// Which part of a field a constant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its lowest bit.
    Low,
    /// Its bits, in their place or from 0 on.
    Mask,
    /// How many bits.
    Width,
}

/// Fields that two constants give together.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    names: HashMap<&'a str, (usize, u32)>,
    values: HashMap<String, [Option<i128>; 3]>,
    complete: HashSet<String>,
}

impl<'a> Parts<'a> {
    /// Of all that is defined.
    pub(super) fn of(items: &[Item<'a>]) -> Self {
        let names = items.iter().filter_map(|item| match &item.kind {
            Kind::Macro { found, .. } if found.parameters.is_none() => {
                Some((item.name, (item.file, item.line)))
            }
            _ => None,
        });
        Self { names: names.collect(), ..Self::default() }
    }

    fn has(&self, start: &str, stem: &str, end: &str) -> bool {
        self.names.contains_key(format!("{start}{stem}{end}").as_str())
    }

    /// The field of which `name` is a part, and which.
    pub(super) fn part(&self, name: &str) -> Option<(String, Part)> {
        for (end, other, part) in [
            ("_SHIFT", "", Part::Low),
            ("_SHFT", "", Part::Low),
            ("_MASK", "", Part::Mask),
            ("_MSK", "", Part::Mask),
            ("_S", "_M", Part::Low),
            ("_M", "_S", Part::Mask),
            ("_INDEX", "_WIDTH", Part::Low),
            ("_WIDTH", "_INDEX", Part::Width),
            ("_WIDTH", "_SHIFT", Part::Width),
            ("_LBN", "_WIDTH", Part::Low),
            ("_WIDTH", "_LBN", Part::Width),
        ] {
            if let Some(stem) = name.strip_suffix(end)
                && (other.is_empty() || self.has("", stem, other))
            {
                return Some((stem.into(), part));
            }
        }
        for (start, other, part) in [("S_", "M_", Part::Low), ("M_", "S_", Part::Mask)] {
            if let Some(stem) = name.strip_prefix(start)
                && self.has(other, stem, "")
            {
                return Some((format!("S_{stem}"), part));
            }
        }
        None
    }

    /// Whether a constant gives the field's lowest bit.
    pub(super) fn has_low(&self, stem: &str) -> bool {
        stem.starts_with("S_") && self.names.contains_key(stem)
            || ["_SHIFT", "_SHFT", "_S", "_INDEX", "_LBN"].iter().any(|end| self.has("", stem, end))
    }

    /// Adds what a constant says; the field's bits when all is known.
    pub(super) fn add(&mut self, stem: &str, part: Part, value: i128) -> Option<u64> {
        let has_low = self.has_low(stem);
        let values = self.values.entry(stem.to_owned()).or_default();
        values[part as usize] = Some(value);
        let mask = match *values {
            [_, Some(mask), _] if !has_low => unsigned(mask)?,
            [Some(low), Some(mask), _] => {
                let (mask, low) = (unsigned(mask)?, u32::try_from(low).ok().filter(|low| *low < 64)?);
                let is_in_place = mask.trailing_zeros() == low || mask & 1 == 0;
                if is_in_place { mask } else { mask.checked_mul(1 << low)? }
            }
            [Some(low), None, Some(width)] => {
                let (low, width) = (u32::try_from(low).ok()?, u32::try_from(width).ok()?);
                (1..=64).contains(&width).then_some(())?;
                (u64::MAX >> (64 - width)).checked_shl(low).filter(|mask| mask.count_ones() == width)?
            }
            _ => return None,
        };
        self.complete.insert(stem.to_owned()).then_some(mask)
    }

    /// Fields that were begun and not completed, with file and line.
    pub(super) fn incomplete(&self) -> Vec<(String, (usize, u32))> {
        let open = self.values.keys().filter(|stem| !self.complete.contains(*stem));
        // The bits may have no ending: X and X_SHIFT.
        let open = open.filter(|stem| !self.names.contains_key(stem.as_str()));
        let place = |stem: &String| {
            let ends = ["_SHIFT", "_SHFT", "_INDEX", "_WIDTH", "_LBN", "_S"];
            ends.iter().find_map(|end| self.names.get(format!("{stem}{end}").as_str())).copied()
        };
        let mut all: Vec<_> = open.map(|stem| (stem.clone(), place(stem).unwrap_or_default())).collect();
        all.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
        all
    }
}

/// Whether the name of a value belongs to that of a field: it continues it, or begins alike.
fn is_related(field: &str, value: &str) -> bool {
    let first = |name: &str| name.split('_').next().map(ToOwned::to_owned);
    value.starts_with(field) || first(field) == first(value)
}

/// The fields of one register, the highest first; what is none is left out.
pub(super) fn fields(mut all: Vec<Candidate>, output: &mut Output) -> Vec<Field> {
    let mut leave = |candidate: &Candidate, why: &'static str, detail: String| {
        let line = Line { file: &candidate.file, line: candidate.line };
        output.leave(line, &candidate.name, why, detail);
    };
    for candidate in all.drain(all.len().min(MOST_FIELDS)..) {
        leave(&candidate, "its register has too many fields", format!("at most {MOST_FIELDS}"));
    }
    let values: Vec<Candidate> = all.extract_if(.., |candidate| candidate.parent.is_some()).collect();
    if are_values(&all) {
        all.retain(|candidate| {
            if !candidate.is_explicit {
                leave(candidate, "a number, and no word on which bits it is", String::new());
            }
            candidate.is_explicit
        });
    }
    // Wide ones before those inside of them.
    all.sort_by_key(|candidate| std::cmp::Reverse(candidate.row().map_or(0, u64::count_ones)));
    let rows: Vec<(u64, String, bool)> = all
        .iter()
        .filter_map(|candidate| Some((candidate.row()?, candidate.name.clone(), candidate.is_explicit)))
        .collect();
    let mut fields: Vec<Field> = Vec::new();
    let mut later = Vec::new();
    for candidate in &all {
        let Some(mask) = candidate.row() else {
            later.push(candidate);
            continue;
        };
        let mut inside =
            rows.iter().filter(|(other, ..)| *other != mask && other & mask == *other).peekable();
        if inside.peek().is_some() {
            let inside: Vec<_> = inside.collect();
            // Values have names that begin alike, whatever the field's.
            let (first, others) = (&inside[0].1, &inside[1..]);
            let are_alike = !others.is_empty() && others.iter().all(|(_, name, _)| is_related(first, name));
            let are_named = are_alike || inside.iter().any(|(_, name, _)| is_related(&candidate.name, name));
            let are_bits = inside.iter().all(|(bits, _, is_explicit)| *is_explicit && bits.is_power_of_two());
            if !are_named && (are_bits || !candidate.is_explicit) {
                leave(candidate, "the bits of several fields", String::new());
                continue;
            }
        }
        match fields.iter_mut().find(|field| field.mask() & mask != 0) {
            None => {
                let low = mask.trailing_zeros();
                let mut field = Field::new(candidate.name.clone(), mask.ilog2(), low);
                field.description = candidate.comment.clone();
                fields.push(field);
            }
            Some(field) if field.mask() == mask => {
                let detail = format!("those of {}", field.name);
                leave(candidate, "another name of the same bits", detail);
            }
            Some(field) if field.mask() & mask == mask => add_value(field, mask, candidate),
            Some(field) => {
                let detail = format!("and of {}", field.name);
                leave(candidate, "its bits are partly another field's", detail);
            }
        }
    }
    for candidate in later {
        let field = match candidate.bits {
            Bits::Placed { mask, .. } => fields.iter_mut().find(|field| field.mask() == mask),
            Bits::Mask(0) => fields
                .iter_mut()
                .find(|field| field.high > field.low && is_related(&field.name, &candidate.name)),
            Bits::Mask(mask) => fields.iter_mut().find(|field| field.mask() & mask == mask),
        };
        let (Bits::Mask(value) | Bits::Placed { value, .. }) = candidate.bits;
        match field {
            Some(field) => add_value(field, value, candidate),
            None => leave(candidate, NOT_IN_A_ROW, format!("{value:#x}")),
        }
    }
    for candidate in &values {
        let parent = all.iter().find(|parent| Some(&parent.full) == candidate.parent.as_ref());
        let mask = parent.and_then(Candidate::row);
        let field = fields.iter_mut().find(|field| Some(field.mask()) == mask);
        let (Bits::Mask(value) | Bits::Placed { value, .. }) = candidate.bits;
        match field {
            Some(field) if value & field.mask() == value => add_value(field, value, candidate),
            Some(field) if value <= field.mask() >> field.low => {
                field.values.entry(value).or_insert_with(|| candidate.name.clone());
            }
            _ => leave(candidate, "a value of no field that is known", format!("{value:#x}")),
        }
    }
    fields.sort_by_key(|field| std::cmp::Reverse(field.high));
    fields
}

fn add_value(field: &mut Field, placed: u64, candidate: &Candidate) {
    field.values.entry((placed & field.mask()) >> field.low).or_insert_with(|| candidate.name.clone());
}

/// Whether the numbers among them, which are not written as bits, are values rather than bits: more
/// than a third of them are in no row, or have bits in common without being parts of each other.
fn are_values(all: &[Candidate]) -> bool {
    let plain: Vec<&Candidate> = all.iter().filter(|candidate| !candidate.is_explicit).collect();
    let explicit = all.iter().filter(|candidate| candidate.is_explicit).filter_map(Candidate::row);
    let explicit: Vec<u64> = explicit.collect();
    let is_odd = |candidate: &&&Candidate| {
        let Bits::Mask(mask) = candidate.bits else { return false };
        if mask == 0 || explicit.iter().any(|field| field & mask == mask) {
            return false;
        }
        !is_row(mask)
            || plain.iter().any(|other| match other.bits {
                Bits::Mask(other_mask) if other.name != candidate.name => {
                    let is_part = other_mask & mask == other_mask || other_mask & mask == mask;
                    other_mask & mask != 0 && !is_part
                }
                _ => false,
            })
    };
    plain.len() > 2 && plain.iter().filter(is_odd).count() * 3 > plain.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_in_a_row_are_told_from_others() {
        for mask in [1, 0x18, 0xff, u64::MAX, 0xf000_0000_0000_0000, 1 << 63] {
            assert!(is_row(mask), "{mask:#x}");
        }
        for mask in [0, 5, 0x101, 0x8000_0000_0000_0001] {
            assert!(!is_row(mask), "{mask:#x}");
        }
    }
}
