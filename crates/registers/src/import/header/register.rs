//! Registers of a header, by name and by offset.

use std::collections::HashMap;

use crate::{AccessRule, Register};

use super::bits::Candidate;

/// A register as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its offset.
    pub offset: u64,
    /// Number of the file among the sources.
    pub file: usize,
    /// Its line, from 1.
    pub line: u32,
    /// Whether the header says how wide it is.
    pub has_width: bool,
    /// The register.
    pub register: Register,
    /// What may be its fields.
    pub bits: Vec<Candidate>,
}

/// All registers.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// In the order in which they were found.
    pub all: Vec<Found>,
    names: HashMap<String, usize>,
    offsets: HashMap<u64, usize>,
}

impl Owners {
    /// Adds one; its number.
    pub(super) fn add(&mut self, found: Found) -> usize {
        let number = self.all.len();
        let name = found.register.name.clone();
        for name in [name.replace("_REG_", "_"), name.trim_end_matches("_REG").into(), name] {
            self.names.entry(name).or_insert(number);
        }
        self.offsets.entry(found.offset).or_insert(number);
        self.all.push(found);
        number
    }

    /// The register of this name.
    pub(super) fn exactly(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The first register at this offset.
    pub(super) fn at(&self, offset: u64) -> Option<usize> {
        self.offsets.get(&offset).copied()
    }

    /// The register whose name `name` continues, the longest, and how it continues; the last word
    /// of the register's own if not at all.
    pub(super) fn of(&self, name: &str) -> Option<(usize, String)> {
        if let Some(owner) = self.exactly(name) {
            return Some((owner, name.rsplit('_').next().unwrap_or(name).into()));
        }
        let ends = name.rmatch_indices('_').map(|(at, _)| at);
        ends.filter(|at| *at > 0 && at + 1 < name.len())
            .find_map(|at| Some((self.exactly(&name[..at])?, name[at + 1..].to_owned())))
    }
}

/// What may be done with a register, as comments of data sheets say it: `- RW`, `[R 19]`, `R/clr`.
pub(super) fn access_of(comment: &str) -> Option<AccessRule> {
    let first = comment.strip_prefix('[').and_then(|rest| rest.split([' ', ']']).next());
    let last = comment.rsplit([' ', '-', '(']).next().map(|word| word.trim_end_matches([')', '.']));
    [first, last].into_iter().flatten().find_map(|word| match word {
        "R" if first == Some("R") => Some(AccessRule::Ro),
        "W" if first == Some("W") => Some(AccessRule::Wo),
        "RO" | "R/O" => Some(AccessRule::Ro),
        "WO" | "W/O" => Some(AccessRule::Wo),
        "RC" | "R/clr" | "R/C" => Some(AccessRule::Rc),
        "W1C" | "RW1C" | "R/W1C" | "WC" => Some(AccessRule::W1c),
        "RW" | "R/W" => Some(AccessRule::Rw),
        _ => None,
    })
}

/// Bytes, where a comment says `16 bits`.
pub(super) fn width_of(comment: &str) -> Option<u8> {
    let (before, _) = comment.split_once(" bits")?;
    match before.rsplit([' ', '(', ',']).next()? {
        "8" => Some(1),
        "16" => Some(2),
        "32" => Some(4),
        "64" => Some(8),
        _ => None,
    }
}

/// Makes registers as wide as their fields need, and no wider than to the next one.
pub(super) fn fit_widths(all: &mut [Found]) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    let place = |found: &Found| (found.register.space.clone(), found.offset);
    order.sort_by_key(|number| place(&all[*number]));
    // Where the next one lies that is not at the same place.
    let mut next: Option<(Option<String>, u64)> = None;
    let mut last: Option<(Option<String>, u64)> = None;
    for number in order.into_iter().rev() {
        let here = place(&all[number]);
        if last.as_ref() != Some(&here) {
            next = last.replace(here.clone());
        }
        let found = &all[number];
        if found.has_width {
            continue;
        }
        let next = next.as_ref().filter(|(space, _)| *space == here.0).map(|(_, offset)| *offset);
        let room = power_below(next.map_or(4, |next| next - found.offset).clamp(1, 4));
        let aligned = 1 << found.offset.trailing_zeros().min(2);
        let highest = found.bits.iter().filter_map(Candidate::highest).max().unwrap_or(0);
        let needed = (u64::from(highest / 8) + 1).next_power_of_two();
        let mut width = room.min(aligned).max(needed);
        let register = &mut all[number].register;
        if register.count > 1 {
            width = width.min(power_below(register.stride().clamp(1, 8)));
        }
        register.width = u8::try_from(width).unwrap_or(8);
    }
}

/// The largest power of two that is not larger.
fn power_below(value: u64) -> u64 {
    if value.is_power_of_two() { value } else { value.next_power_of_two() / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_tell_access_and_width() {
        for (comment, access) in [
            ("Device Status - RO", Some(AccessRule::Ro)),
            ("Interrupt Cause Read - R/clr", Some(AccessRule::Rc)),
            ("[RW 6] Interrupt mask", Some(AccessRule::Rw)),
            ("[R 19] Interrupt", Some(AccessRule::Ro)),
            ("Packet filter R", None),
            ("", None),
        ] {
            assert_eq!(access_of(comment), access, "{comment}");
        }
        for (comment, width) in
            [("16 bits", Some(2)), ("8 bits, of many", Some(1)), ("6 bits", None), ("", None)]
        {
            assert_eq!(width_of(comment), width, "{comment}");
        }
    }
}
