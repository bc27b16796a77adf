//! Registers that make no sense, and registers that lie on each other.

use std::collections::BTreeSet;
use std::fmt;

use crate::register::WIDEST;
use crate::{Register, RegisterFile};

/// Elements of all registers of one file at most, so that a file of a few lines can't fill the
/// memory.
pub(crate) const MOST_IN_ALL: u64 = 1_000_000;

/// So many registers that begin before one are looked at for whether they reach into it. More is
/// only possible where many lie on each other, and then some of them have been told.
const LOOK_BACK: usize = 128;

/// What makes no sense in a register file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A register that was left out.
    Absurd {
        /// Its name.
        register: String,
        /// Where it would be.
        offset: u64,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// A register that is answered by one that is not there.
    NoAnswer {
        /// Its name.
        register: String,
        /// Where it is.
        offset: u64,
        /// What is not there.
        answer: String,
    },
    /// Two registers that lie on each other; at each byte the first of them that starts there, else
    /// the first one, is named.
    Overlap {
        /// The one that was there before.
        first: Span,
        /// The one that lies on it.
        second: Span,
    },
}

/// Where a register lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its name, with the index if it is an element.
    pub name: String,
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub width: u8,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (offset {:#x}, {} bytes)", self.name, self.offset, self.width)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absurd { register, offset, problem } => {
                write!(f, "register {register} at offset {offset:#x} was left out: {problem}")
            }
            Self::NoAnswer { register, offset, answer } => {
                write!(
                    f,
                    "register {register} at offset {offset:#x} is answered by {answer}, which is not there"
                )
            }
            Self::Overlap { first, second } => write!(
                f,
                "register {second} overlaps {first}; correct one of them, or say `overlaps = true` if it is meant"
            ),
        }
    }
}

impl RegisterFile {
    /// Leaves out what makes no sense, and notes that and which registers lie on each other.
    pub(crate) fn check(&mut self) {
        let (mut wrong, mut elements) = (Vec::new(), 0);
        self.registers.retain(|register| {
            let within = elements + u64::from(register.count);
            let too_many = || (within > MOST_IN_ALL).then(|| format!("it would be more than {MOST_IN_ALL}"));
            let Some(problem) = register.problem().or_else(too_many) else {
                elements = within;
                return true;
            };
            let (register, offset) = (register.name.clone(), register.offset);
            wrong.push(Wrong::Absurd { register, offset, problem });
            false
        });
        let overlaps = overlapping(&self.registers).into_iter().map(|(first, second)| {
            let span = |element: Element| {
                let register = &self.registers[element.register];
                Span {
                    name: register.element_name(element.index),
                    offset: element.start,
                    width: register.width,
                }
            };
            Wrong::Overlap { first: span(first), second: span(second) }
        });
        wrong.extend(overlaps);
        wrong.extend(unanswered(&self.registers));
        self.wrong = wrong;
    }

    /// Says of each register that begins inside of another that this is meant, so that a file made
    /// by a program has nothing to warn of; how many those are.
    ///
    /// One pass, and not pair by pair: a vendor's file may have thousands at one place.
    pub(crate) fn allow_overlaps(&mut self) -> usize {
        let mut allowed = 0;
        let mut reach: Option<(Option<String>, u8, u64)> = None;
        for element in sorted_elements(&self.registers) {
            let register = &mut self.registers[element.register];
            if register.overlaps {
                continue;
            }
            let end = element.start + u64::from(register.width);
            let before =
                reach.take().filter(|(space, bar, _)| (space, *bar) == (&register.space, register.bar));
            match before {
                Some(before) if element.start < before.2 => {
                    register.overlaps = true;
                    allowed += 1;
                    reach = Some(before);
                }
                _ => reach = Some((register.space.clone(), register.bar, end)),
            }
        }
        allowed
    }
}

/// Registers that are answered by none of them.
fn unanswered(registers: &[Register]) -> Vec<Wrong> {
    let mut asking = registers.iter().filter(|register| register.answer.is_some()).peekable();
    if asking.peek().is_none() {
        return Vec::new();
    }
    let names = |register: &Register| (0..register.count).map(|index| register.element_name(index)).collect();
    let known: BTreeSet<String> =
        registers.iter().flat_map(|register| -> Vec<String> { names(register) }).collect();
    let wrong = asking.filter_map(|register| {
        let mut answers = (0..register.count).filter_map(|index| register.answer_name(index));
        let answer = answers.find(|answer| !known.contains(answer))?;
        Some(Wrong::NoAnswer { register: register.name.clone(), offset: register.offset, answer })
    });
    wrong.collect()
}

/// An element of a register.
#[derive(Clone, Copy, Debug)]
struct Element {
    /// Which register.
    register: usize,
    /// Which element of it.
    index: u32,
    /// Its offset.
    start: u64,
}

/// Pairs of registers that lie on each other and are not meant to, the one that begins first, or is
/// first in the file, first. One that is a part of a wider one is meant: halves have names of their
/// own.
fn overlapping(registers: &[Register]) -> Vec<(Element, Element)> {
    let all = sorted_elements(registers);
    let place = |element: &Element| {
        let register = &registers[element.register];
        (register.space.as_deref(), register.bar, element.start)
    };
    let (mut pairs, mut told) = (Vec::new(), BTreeSet::new());
    for (number, second) in all.iter().enumerate() {
        let end = |element: &Element| element.start + u64::from(registers[element.register].width);
        let before = all[..number].iter().rev().take(LOOK_BACK);
        let near =
            before.take_while(|first| place(first).0 == place(second).0 && place(first).1 == place(second).1);
        for first in near.take_while(|first| second.start - first.start < WIDEST) {
            let has_common = second.start < end(first);
            let same = (first.start, end(first)) == (second.start, end(second));
            let nested = first.start == second.start || end(second) <= end(first);
            if has_common && (same || !nested) && told.insert((first.register, second.register)) {
                pairs.push((*first, *second));
            }
        }
    }
    pairs
}

/// Elements of registers that are not meant to lie on others, by where they lie.
fn sorted_elements(registers: &[Register]) -> Vec<Element> {
    let mut all: Vec<Element> = Vec::new();
    for (number, register) in registers.iter().enumerate().filter(|(_, register)| !register.overlaps) {
        all.extend(register.elements().map(|(index, start)| Element { register: number, index, start }));
    }
    let place = |element: &Element| {
        let register = &registers[element.register];
        (register.space.as_deref(), register.bar, element.start)
    };
    all.sort_by(|one, other| place(one).cmp(&place(other)));
    all
}
