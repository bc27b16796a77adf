//! Macros with parameters: arrays of registers, and fields that are read or made.

use crate::import::Options;
use crate::import::output::{Line, Output};

use super::bits::Bits;
use super::expression::{Evaluator, Macros, Shape};
use super::item::{Item, Kind};
use super::register::Owners;
use super::{NO_CONSTANT, Sorter, unsigned};

/// Registers that one macro may give.
const MOST: i128 = 65_536;

/// Elements of an array whose length a header does not tell.
const USUAL: u32 = 8;

/// An array, of which the first register was found.
#[derive(Debug)]
pub(super) struct Array<'a> {
    /// The register.
    owner: usize,
    /// The macro.
    name: &'a str,
    /// How many there are by each parameter.
    counts: Vec<u32>,
    /// Whether the header says so.
    is_told: bool,
}

impl<'a> Sorter<'_, '_, 'a> {
    /// A macro with parameters.
    pub(super) fn with_parameters(&mut self, item: &Item<'a>, parameters: &[&str]) {
        let Kind::Macro { found, .. } = &item.kind else { return };
        let of_field = item.name.strip_prefix("V_").or(item.name.strip_prefix("G_"));
        if of_field.is_some_and(|field| self.parts.has_low(&format!("S_{field}"))) {
            // S_ and M_ say all that it does.
            return;
        }
        self.parent = None;
        let call = |arguments: &[i128]| Evaluator::new(self.macros).call(item.name, arguments);
        let mut at = vec![0; parameters.len()];
        let first = match call(&at) {
            Ok(first) => first,
            Err(why) => return self.leave(item, NO_CONSTANT, why),
        };
        let shape = Evaluator::new(self.macros).shape(&found.body);
        let wanted = self.options.only.map(|only| only(item.name));
        let is_field = shape == Shape::Bits || shape == Shape::Placed || self.only_fields[item.file];
        if parameters.is_empty() || wanted == Some(false) || (wanted.is_none() && is_field) {
            return self.accessor(item, parameters.len());
        }
        if wanted.is_none() && !(0..super::LARGEST).contains(&first) {
            return self.leave(item, "too large for an offset", format!("{first:#x}"));
        }
        if let Some(last) = at.last_mut() {
            *last = 1;
        }
        let step = call(&at).ok().and_then(|second| second.checked_sub(first)).unwrap_or(0);
        if step < 2 && shape != Shape::Offset {
            return self.leave(
                item,
                "a macro that gives no array",
                format!("from one to the next it is {step}"),
            );
        }
        let told = self.told_counts(item, parameters.len());
        if told.is_none() && parameters.len() > 1 {
            return self.leave(item, "several parameters, and no word on how many there are of each", "");
        }
        self.register(item, item.name, first, None);
        let Some((_, owner)) = self.current else { return };
        let is_told = told.is_some();
        if !is_told {
            self.output.assume();
        }
        let counts = told.unwrap_or_else(|| vec![self.options.elements.unwrap_or(USUAL)]);
        self.arrays.push(Array { owner, name: item.name, counts, is_told });
    }

    /// How many there are by each parameter: from `NAME_MAX_INDEX`, or a comment with `=0...7`.
    fn told_counts(&self, item: &Item<'a>, parameters: usize) -> Option<Vec<u32>> {
        let end = |text: &str| {
            let digits = text.trim_start_matches('.').trim_start();
            let digits = digits.split(|char: char| !char.is_ascii_digit()).next()?;
            digits.parse::<u32>().ok()?.checked_add(1)
        };
        let parts = item.comment.split('=').skip(1);
        let ranges = parts.filter_map(|part| end(part.trim_start().strip_prefix("0.")?));
        let counts: Vec<u32> = ranges.take(parameters).collect();
        if counts.len() == parameters {
            return Some(counts);
        }
        let largest = Evaluator::new(self.macros).call(&format!("{}_MAX_INDEX", item.name), &[]).ok()?;
        let count = u32::try_from(largest).ok()?.checked_add(1)?;
        (parameters == 1).then(|| vec![count])
    }

    /// A macro that takes a field from a value, or makes one: which bits it does that with.
    fn accessor(&mut self, item: &Item<'a>, parameters: usize) {
        let call = |argument: i128| Evaluator::new(self.macros).call(item.name, &[argument]).ok();
        let ones = if parameters == 1 { call(u64::MAX.into()).and_then(unsigned) } else { None };
        let Some(ones) = ones.filter(|ones| super::bits::is_row(*ones)) else {
            return self.leave(item, "a macro of whose bits it does not say how many", "");
        };
        let low = (0..64).find(|bit| call(1 << bit) == Some(1));
        // What shifts all that it is given has no width of its own.
        if ones >> ones.trailing_zeros() == u64::MAX >> ones.trailing_zeros() || call(0) != Some(0) {
            return self.leave(item, "a macro of whose bits it does not say how many", "");
        }
        let mask = if ones & 1 == 1 { low.and_then(|low| ones.checked_mul(1 << low)) } else { Some(ones) };
        match mask {
            Some(mask) => self.candidate(item, None, item.name, Bits::Mask(mask), true),
            None => self.leave(item, "a macro of whose bits it does not say how many", ""),
        }
    }
}

/// Gives the first registers of arrays the others.
pub(super) fn extend(
    arrays: &[Array<'_>],
    owners: &mut Owners,
    macros: &Macros<'_>,
    files: &[&str],
    options: &Options<'_>,
    output: &mut Output,
) {
    let base = i128::from(options.base.unwrap_or(0));
    for array in arrays {
        if output.is_full() {
            return;
        }
        let found = &owners.all[array.owner];
        let (line, name) = (Line { file: files[found.file], line: found.line }, found.register.name.clone());
        let total = array.counts.iter().try_fold(1_i128, |total, count| total.checked_mul((*count).into()));
        let Some(total) = total.filter(|total| *total <= MOST) else {
            output.leave(line, &name, "an array of too many", format!("at most {MOST}"));
            continue;
        };
        let mut evaluator = Evaluator::new(macros);
        let mut offset_of = |number: i128| {
            let mut arguments = vec![0; array.counts.len()];
            let mut rest = number;
            for (argument, count) in arguments.iter_mut().zip(&array.counts).rev() {
                let count = i128::from(*count).max(1);
                (*argument, rest) = (rest % count, rest / count);
            }
            let offset = evaluator.call(array.name, &arguments).ok()?.checked_sub(base)?;
            Some((u64::try_from(offset).ok()?, arguments))
        };
        // Rows of the same step.
        let mut rows: Vec<(Vec<i128>, u64, u32, u64)> = Vec::new();
        for number in 0..total {
            let Some((offset, arguments)) = offset_of(number) else { break };
            let is_others = owners.at(offset).is_some_and(|other| other != array.owner);
            if !array.is_told && is_others {
                break;
            }
            let starts_row = arguments.last() == Some(&0);
            match rows.last_mut().filter(|_| !starts_row) {
                Some((_, start, count @ 1, stride)) if offset > *start => {
                    (*count, *stride) = (2, offset - *start);
                }
                Some((_, start, count, stride))
                    if u64::from(*count).checked_mul(*stride).and_then(|all| all.checked_add(*start))
                        == Some(offset) =>
                {
                    *count += 1;
                }
                _ => rows.push((arguments, offset, 1, 0)),
            }
        }
        let made = rows.iter().map(|(arguments, _, count, _)| match arguments.last() {
            Some(0) | None => 1,
            Some(_) => *count as usize,
        });
        output.spend(line, &name, made.sum());
        if output.is_full() {
            return;
        }
        let several = rows.len() > 1;
        for (number, (arguments, offset, count, stride)) in rows.into_iter().enumerate() {
            let outer = arguments.len() - 1;
            let from = *arguments.last().unwrap_or(&0);
            let mut name: String = name.clone();
            arguments[..outer].iter().for_each(|index| name += &format!("[{index}]"));
            if several && count == 1 {
                name += &format!("[{from}]");
            } else if from > 0 {
                // The index of a file's array counts from 0.
                for index in 0..count {
                    let mut found = owners.all[array.owner].clone();
                    found.offset = offset + u64::from(index) * stride;
                    (found.register.offset, found.register.count) = (found.offset, 1);
                    found.register.name = format!("{name}[{}]", from + i128::from(index));
                    found.register.stride = None;
                    owners.all.push(found);
                }
                continue;
            }
            let mut found = owners.all[array.owner].clone();
            (found.offset, found.register.offset) = (offset, offset);
            found.register.name = name;
            (found.register.count, found.register.stride) = (count, (count > 1).then_some(stride));
            if number == 0 {
                owners.all[array.owner] = found;
            } else {
                owners.all.push(found);
            }
        }
    }
}
