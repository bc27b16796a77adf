//! A condition becomes the first steps of a program.

use std::ops::Range;

use trapline_abi::{MAX_COMPARED, MAX_COMPARISONS, MAX_STEPS, Op, Step};
use trapline_trace::{Format, Item, Layout, Moment};

use super::super::compile::{Program, is_there};
use super::super::fetch::{Argument, Fetch, Value};
use super::super::lower::{Place, step};
use super::{Comparison, Condition, Operand, Relation, Tree, What};
use crate::mistake::Mistake;

/// What a condition may refer to.
struct Scope<'a> {
    condition: &'a Condition,
    /// What is fetched, which it may name.
    arguments: &'a [Argument],
    place: &'a Place<'a>,
}

/// How a number is compared.
#[derive(Clone, Copy)]
struct Number {
    bits: u8,
    signed: bool,
}

/// An operand on its way.
enum Kind {
    /// A number that is fetched.
    Number(Number),
    /// A text that is fetched.
    Text,
    Constant(i128),
    Literal,
}

impl Condition {
    /// The steps of it, for a probe that records at `moments` with as many as `others` more.
    ///
    /// # Errors
    /// What can't be compared, or is not there at one of these moments.
    pub(in crate::sources::hits) fn compile(
        &self,
        arguments: &[Argument],
        moments: &[Moment],
        others: usize,
        place: &Place<'_>,
    ) -> Result<Vec<Step>, Mistake> {
        let scope = Scope { condition: self, arguments, place };
        let mut steps = Vec::new();
        scope.tree(&self.tree, moments, &mut steps)?;
        let comparisons = steps.iter().filter(|step| Op::from_code(step.op).is_some_and(Op::is_comparison));
        let comparisons = comparisons.count();
        if comparisons > MAX_COMPARISONS {
            let why = format!("this condition has {comparisons} comparisons; {MAX_COMPARISONS} are possible");
            return Err(scope.error(0..self.text.len(), why));
        }
        if steps.len() + others > MAX_STEPS {
            let why = format!(
                "with this condition the program has {} steps; {MAX_STEPS} are possible",
                steps.len() + others
            );
            return Err(scope.error(0..self.text.len(), why));
        }
        Ok(steps)
    }
}

impl Scope<'_> {
    fn error(&self, at: Range<usize>, why: impl Into<String>) -> Mistake {
        Mistake { text: self.condition.text.clone(), at, why: why.into() }
    }

    fn tree(&self, tree: &Tree, moments: &[Moment], steps: &mut Vec<Step>) -> Result<(), Mistake> {
        let join = |op| step(op, 0, 0, 0);
        match tree {
            Tree::Compare(comparison) => self.comparison(comparison, moments, steps)?,
            Tree::Not(tree) => {
                self.tree(tree, moments, steps)?;
                steps.push(join(Op::Not));
            }
            Tree::And(trees) | Tree::Or(trees) => {
                let op = if matches!(tree, Tree::And(_)) { Op::And } else { Op::Or };
                for (number, tree) in trees.iter().enumerate() {
                    self.tree(tree, moments, steps)?;
                    steps.extend((number > 0).then(|| join(op)));
                }
            }
        }
        Ok(())
    }

    fn comparison(
        &self,
        Comparison { left, relation, at, right }: &Comparison,
        moments: &[Moment],
        steps: &mut Vec<Step>,
    ) -> Result<(), Mistake> {
        let length = |operand: &Operand| match &operand.what {
            // One byte more, so that a longer one is told from it.
            What::Text(text) if *relation != Relation::Like => text.len() as u32 + 1,
            _ => MAX_COMPARED,
        };
        let limit = length(left).min(length(right)).min(MAX_COMPARED);
        let (mut first, kind) = self.operand(left, moments, limit)?;
        let (mut second, other) = self.operand(right, moments, limit)?;
        let (op, swapped, negated) = match (&kind, &other) {
            (Kind::Number(_) | Kind::Constant(_), Kind::Number(_) | Kind::Constant(_)) => {
                let signed = self.signed((&kind, left), (&other, right), at)?;
                let less = if signed { Op::Less } else { Op::Below };
                match relation {
                    Relation::Equal => (Op::Equal, false, false),
                    Relation::Different => (Op::Equal, false, true),
                    Relation::Less => (less, false, false),
                    Relation::Greater => (less, true, false),
                    Relation::LessOrEqual => (less, true, true),
                    Relation::GreaterOrEqual => (less, false, true),
                    Relation::Test => (Op::Test, false, false),
                    Relation::Like => {
                        return Err(self.error(at.clone(), "a pattern is of a text: these are numbers"));
                    }
                }
            }
            (Kind::Text | Kind::Literal, Kind::Text | Kind::Literal) => match (relation, &kind, &other) {
                (_, Kind::Literal, Kind::Literal) => {
                    return Err(self.error(at.clone(), "these are two texts that never change"));
                }
                (Relation::Equal, ..) => (Op::Same, false, false),
                (Relation::Different, ..) => (Op::Same, false, true),
                (Relation::Like, _, Kind::Literal) => (Op::Match, false, false),
                (Relation::Like, ..) => {
                    let why = "expected a pattern in quotes behind ~, as in comm ~ \"kworker*\"";
                    return Err(self.error(right.at.clone(), why));
                }
                _ => return Err(self.error(at.clone(), "texts are compared with ==, != and ~ only")),
            },
            _ => {
                let mut why = String::from("a number can't be compared with a text");
                if let What::Fetched(Value { form: None, .. }) = left.what {
                    why += "; if it is the address of a text, give it a type: :string";
                }
                return Err(self.error(at.clone(), why));
            }
        };
        if swapped {
            std::mem::swap(&mut first, &mut second);
        }
        steps.append(&mut first);
        steps.append(&mut second);
        steps.push(step(op, 0, 0, 0));
        steps.extend(negated.then(|| step(Op::Not, 0, 0, 0)));
        Ok(())
    }

    /// Whether two numbers are compared with their sign.
    fn signed(
        &self,
        (one, left): (&Kind, &Operand),
        (other, right): (&Kind, &Operand),
        at: &Range<usize>,
    ) -> Result<bool, Mistake> {
        match (one, other) {
            (Kind::Number(number), Kind::Constant(value)) => self.fits(*number, *value, left, right),
            (Kind::Constant(value), Kind::Number(number)) => self.fits(*number, *value, right, left),
            (Kind::Number(one), Kind::Number(other)) => {
                let too_wide = |one: &Number, other: &Number| one.signed && !other.signed && other.bits == 64;
                if too_wide(one, other) || too_wide(other, one) {
                    let why = "one of these has a sign and the other, of 64 bits, has none: give one of them another type, as in :s64 or :u64";
                    return Err(self.error(at.clone(), why));
                }
                Ok(one.signed || other.signed)
            }
            _ => Err(self.error(at.clone(), "these are two numbers that never change")),
        }
    }

    /// Whether `number`, which `constant` is compared with, has a sign; it must be able to be that.
    fn fits(
        &self,
        Number { bits, signed }: Number,
        constant: i128,
        number: &Operand,
        place: &Operand,
    ) -> Result<bool, Mistake> {
        let (least, most) = match signed {
            true => (-1_i128 << (bits - 1), (1_i128 << (bits - 1)) - 1),
            false => (0, (1_i128 << bits) - 1),
        };
        if (least..=most).contains(&constant) {
            return Ok(signed);
        }
        let text = &self.condition.text[number.at.clone()];
        let mut why = format!("`{text}` is never {constant}: it is from {least} to {most}");
        if constant < 0 && !signed {
            let bare = text.split(':').next().unwrap_or(text);
            why += &format!("; for one with a sign write {bare}:s{}", bits.next_power_of_two().max(8));
        }
        Err(self.error(place.at.clone(), why))
    }

    /// What fetches an operand, a text of at most `limit` bytes, and what it is.
    fn operand(
        &self,
        operand: &Operand,
        moments: &[Moment],
        limit: u32,
    ) -> Result<(Vec<Step>, Kind), Mistake> {
        match &operand.what {
            What::Number(value) => {
                let steps = vec![step(Op::Immediate, 0, 0, *value as i64), step(Op::Emit, 0, 0, 0)];
                Ok((steps, Kind::Constant(*value)))
            }
            What::Text(text) => {
                if text.len() as u32 >= MAX_COMPARED {
                    let why =
                        format!("this text has {} bytes; fewer than {MAX_COMPARED} are possible", text.len());
                    return Err(self.error(operand.at.clone(), why));
                }
                Ok((literal(text), Kind::Literal))
            }
            What::Fetched(value) => self.fetched(operand, value, moments, limit),
        }
    }

    fn fetched(
        &self,
        operand: &Operand,
        value: &Value,
        moments: &[Moment],
        limit: u32,
    ) -> Result<(Vec<Step>, Kind), Mistake> {
        let argument = self.meant(value);
        if !moments.iter().all(|moment| is_there(&argument.value.fetch, *moment, moments)) {
            let why = match (moments, is_there(&argument.value.fetch, Moment::Return, moments)) {
                ([_, _, ..], _) => {
                    "a condition holds for every record of the probe, and this is not there before and after as well: record at one of the two"
                }
                (_, true) => "what a function returns is known when it returns only: add --return",
                _ => {
                    "a function's arguments are known where it begins, before its first instruction runs: leave --return and --post out"
                }
            };
            return Err(self.error(operand.at.clone(), why));
        }
        let mut program = Program::default();
        let Layout { count, item, .. } = program.add(&argument, 0, limit, self.place)?;
        let mut steps = program.steps;
        if count.is_some() {
            return Err(
                self.error(operand.at.clone(), "an array can't be compared: compare one of its elements")
            );
        }
        let number = match item {
            Item::Text { .. } => return Ok((steps, Kind::Text)),
            Item::Constant(text) => return Ok((literal(&text), Kind::Text)),
            Item::Number(format) => format,
        };
        let (bits, lowest, signed) = match number {
            Format::Unsigned(bytes) | Format::Hex(bytes) => (8 * bytes, 0, false),
            Format::Signed(bytes) => (8 * bytes, 0, true),
            Format::Char => (8, 0, false),
            Format::Symbol => (64, 0, false),
            Format::Bits { width, offset } => (width, offset, false),
        };
        // The last step appends it: what is in memory is loaded instead, to be narrowed first.
        if let Some(last) = steps.pop() {
            match Op::from_code(last.op) {
                Some(Op::EmitMemory) => steps.push(Step { op: Op::Load as u8, ..last }),
                Some(Op::EmitUser) => steps.push(Step { op: Op::LoadUser as u8, ..last }),
                _ => {}
            }
        }
        steps.push(step(Op::Narrow, bits, lowest.into(), i64::from(signed)));
        steps.push(step(Op::Emit, 0, 0, 0));
        Ok((steps, Kind::Number(Number { bits, signed })))
    }

    /// The argument that `value` names, or one of its own.
    fn meant(&self, value: &Value) -> Argument {
        let name = match (&value.fetch, &value.form) {
            (Fetch::Named(name), None) => Some(name),
            _ => None,
        };
        let called = |argument: &&Argument| match (&argument.name, &argument.value.fetch) {
            (Some(own), _) => Some(own) == name,
            (None, Fetch::Named(own)) => Some(own) == name,
            _ => false,
        };
        if let Some(argument) = self.arguments.iter().find(called) {
            return argument.clone();
        }
        let mut value = value.clone();
        if name.is_some_and(|name| name == "comm" && !self.place.has_parameter(name)) {
            value.fetch = Fetch::Comm;
        }
        Argument { text: self.condition.text.clone(), name: None, value }
    }
}

/// What appends `text` as a string that was fetched.
fn literal(text: &str) -> Vec<Step> {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        step(Op::EmitWord, 0, 0, i64::from_le_bytes(word))
    };
    let length = step(Op::Immediate, 0, 0, text.len() as i64);
    [length, step(Op::Emit, 0, 0, 0)].into_iter().chain(text.as_bytes().chunks(8).map(word)).collect()
}
