//! Programs that decide whether a hit is recorded and fetch its arguments: checked once, run at
//! each hit.
//!
//! A program comes from a person, by way of the command; [`Program::check`] turns it into actions
//! that need no further check, so that [`Program::condition`] and [`Program::run`] run in the trap
//! without a case that could not be answered. It has no jumps, so it ends after as many steps as it
//! has; a string ends at its limit. What the steps mean is the contract in
//! [`trapline_abi::Step`].

mod glob;
mod machine;
mod truth;
mod words;

use crate::{Linear, OutOfMemory, Platform};
use alloc::boxed::Box;
use alloc::vec::Vec;
use machine::{Action, Judgement, Machine, action};
use trapline_abi::{
    MAX_ARGUMENTS, MAX_COMPARED, MAX_COMPARISONS, MAX_STEPS, MAX_WORDS, Op, Step, mask_words,
};
use trapline_insn::Registers;
pub use truth::Truth;
use truth::Truths;

/// What a program reads beside the registers. In the trap: nothing of it may fault, wait or
/// allocate.
pub trait Reader {
    /// The `width` bytes (1, 2, 4 or 8) at `address`, of the kernel or of user space,
    /// zero-extended; `None` if they can't be read without waiting.
    fn read(&self, address: u64, width: u8) -> Option<u64>;

    /// The name of the interrupted task, zero-padded, as little endian words.
    fn task_name(&self) -> [u64; 2];
}

impl<P: Platform> Reader for P {
    #[inline(always)]
    fn read(&self, address: u64, width: u8) -> Option<u64> {
        self.read_other(Linear(address), width).ok()
    }

    fn task_name(&self) -> [u64; 2] {
        self.task().name
    }
}

/// Why a program is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// A step has an unknown code, a number, width or limit out of range, or a reserved field that
    /// is not zero; an argument does not begin with a source; or it is no step of a condition, or
    /// lacks the operands that it compares or the truths that it joins.
    Malformed {
        /// Which step, from 0 on; as many as there are if the condition has no end.
        step: usize,
    },
    /// More than [`MAX_STEPS`] steps, [`MAX_ARGUMENTS`] arguments, [`MAX_COMPARISONS`] comparisons
    /// or [`MAX_WORDS`] words.
    TooLong,
    /// No memory for it.
    OutOfMemory,
}

impl From<OutOfMemory> for ProgramError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What [`Program::run`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Words that were appended.
    pub words: usize,
    /// A bit for each argument that faulted.
    pub faults: u128,
}

/// A checked program.
#[derive(Debug, Default)]
pub struct Program {
    /// Whether a hit is recorded; every one if it is empty.
    condition: Box<[Judgement]>,
    /// What fetches the arguments.
    actions: Box<[Action]>,
    /// Words before those that are fetched: bits of arguments that faulted.
    masks: usize,
    words: usize,
}

const _: () = assert!(MAX_ARGUMENTS <= u128::BITS as usize, "an argument has a bit in the mask of faults");

/// Room for what is made of so many steps.
fn room_for<T>(steps: &[Step]) -> Result<Vec<T>, OutOfMemory> {
    let mut room = Vec::new();
    room.try_reserve_exact(steps.len())?;
    Ok(room)
}

impl Program {
    /// Checks `steps`, of which the first `condition` are the condition.
    pub fn check(steps: &[Step], condition: usize) -> Result<Self, ProgramError> {
        if steps.len() > MAX_STEPS {
            return Err(ProgramError::TooLong);
        }
        let (judging, fetching) =
            steps.split_at_checked(condition).ok_or(ProgramError::Malformed { step: steps.len() })?;
        let (condition, compared) = check_condition(judging)?;
        let mut actions = room_for(fetching)?;
        let (mut arguments, mut words) = (0, 0);
        let mut fetch = Fetch::default();
        for (number, step) in (judging.len()..).zip(fetching) {
            let action = fetch.check(step).ok_or(ProgramError::Malformed { step: number })?;
            arguments += usize::from(action.is_source());
            words += action.most_words();
            actions.push(action);
        }
        let masks = mask_words(arguments);
        let words = compared.max(masks + words);
        if arguments > MAX_ARGUMENTS || words > MAX_WORDS {
            return Err(ProgramError::TooLong);
        }
        Ok(Self { condition, actions: actions.into_boxed_slice(), masks, words })
    }

    /// The most words that it needs, for its condition or for what it appends.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Bytes of memory it takes beside itself.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.condition) + size_of_val(&*self.actions)
    }

    /// Whether the hit is to be recorded; `None` if it can't be told, since something could not be
    /// fetched. Uses `words`, and leaves nothing there.
    ///
    /// In the trap: a pass over the steps, each of which is bounded.
    #[inline]
    pub fn condition(&self, registers: &Registers, reader: &impl Reader, words: &mut [u64]) -> Truth {
        if self.condition.is_empty() {
            return Some(true);
        }
        let mut machine = Machine::new(registers, reader, words, 0);
        let mut truths = Truths::default();
        // Where the second of the operands that are compared begins, and whether one faulted.
        let (mut second, mut faulted) = (0, false);
        for &judgement in &self.condition {
            match judgement {
                Judgement::Fetch(action) => {
                    if action.is_source() {
                        second = machine.at();
                    }
                    machine.perform(action);
                    faulted |= machine.faulted();
                }
                Judgement::Compare(comparison) => {
                    let holds =
                        || machine.appended().split_at_checked(second).map(|two| comparison.holds(two));
                    truths.push(if faulted { None } else { holds() });
                    machine.clear();
                    (second, faulted) = (0, false);
                }
                Judgement::Join(join) => truths.join(join),
            }
        }
        truths.pop()
    }

    /// Fetches the arguments, and puts the words of the record at the beginning of `words`; those
    /// that do not fit there are left out.
    #[inline]
    pub fn run(&self, registers: &Registers, reader: &impl Reader, words: &mut [u64]) -> Fetched {
        let mut machine = Machine::new(registers, reader, words, self.masks);
        // The bit of the argument that is fetched.
        let (mut bit, mut faults) = (0_u128, 0);
        for &action in &self.actions {
            machine.perform(action);
            if action.is_source() {
                // The first argument's bit is 0; there are no more arguments than bits.
                bit = if bit == 0 { 1 } else { bit << 1 };
            } else if machine.faulted() {
                faults |= bit;
            }
        }
        let fetched = Fetched { words: machine.at(), faults };
        let mut rest = faults >> u32::BITS;
        for mask in words.iter_mut().take(self.masks) {
            *mask = rest as u64;
            rest >>= u64::BITS;
        }
        fetched
    }
}

/// Checks what fetches.
#[derive(Default)]
struct Fetch {
    /// Whether there is a value for a step to work on.
    has_value: bool,
}

impl Fetch {
    /// The checked form of `step`; `None` if it is malformed, or compares or joins.
    fn check(&mut self, step: &Step) -> Option<Action> {
        let op = Op::from_code(step.op)?;
        if step.reserved != 0 || !(op.is_source() || self.has_value) {
            return None;
        }
        if op.is_source() {
            self.has_value = op != Op::Comm;
        }
        action(op, step)
    }
}

/// Checks a condition; it, and the most words that it needs.
fn check_condition(steps: &[Step]) -> Result<(Box<[Judgement]>, usize), ProgramError> {
    let mut judgements = room_for(steps)?;
    let mut fetch = Fetch::default();
    let (mut comparisons, mut truths, mut operands) = (0, 0, 0);
    // Of the operands that are compared next, and the most of any two.
    let (mut words, mut most) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        let malformed = ProgramError::Malformed { step: number };
        let judgement = match Judgement::of(step) {
            Some(judgement) if step.reserved == 0 => judgement,
            Some(_) => return Err(malformed),
            None => Judgement::Fetch(fetch.check(step).ok_or(malformed)?),
        };
        match judgement {
            Judgement::Fetch(action) => {
                if action.most_words() > 1 + MAX_COMPARED.div_ceil(u64::BITS / 8) as usize {
                    return Err(malformed);
                }
                operands += u32::from(action.is_source());
                words += action.most_words();
            }
            Judgement::Compare(_) => {
                if operands != 2 {
                    return Err(malformed);
                }
                most = most.max(words);
                (operands, words) = (0, 0);
                fetch = Fetch::default();
                (comparisons, truths) = (comparisons + 1, truths + 1);
            }
            Judgement::Join(join) => {
                if operands != 0 || truths < join.operands() {
                    return Err(malformed);
                }
                truths = truths + 1 - join.operands();
            }
        }
        judgements.push(judgement);
    }
    if !steps.is_empty() && (operands, truths) != (0, 1) {
        return Err(ProgramError::Malformed { step: steps.len() });
    }
    // So there are never more truths than there is room for.
    if comparisons > MAX_COMPARISONS {
        return Err(ProgramError::TooLong);
    }
    Ok((judgements.into_boxed_slice(), most))
}

const _: () = assert!(MAX_COMPARISONS <= Truths::ROOM);

#[cfg(all(test, not(loom)))]
mod tests;
