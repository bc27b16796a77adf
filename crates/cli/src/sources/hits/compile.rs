//! Fetch arguments become the program that the module runs at each hit, and the layout by which its
//! words are read.

use trapline_abi::{MAX_ARGUMENTS, MAX_STACK, MAX_STEPS, MAX_STRING, MAX_WORDS, Op, Step, mask_words};
use trapline_trace::{Item, Layout, Moment};

use super::fetch::{Argument, Fetch, Value};
use super::form::{Form, FormKind};
use super::lower::{Access, Path, Place, step};
use super::typed::{Typed, typed};
use crate::mistake::Mistake;

/// What a probe fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// The steps that the module runs.
    pub(super) steps: Vec<Step>,
    /// What they record.
    pub(super) layouts: Vec<Layout>,
}

/// Whether a value is to be had at `moment`, one of those at which hits are recorded.
///
/// A function's arguments are there before it begins, its result when it is over, all else always.
/// But when a function returns, its registers and its stack hold something else than at its
/// beginning, and whoever records both means the beginning.
pub(super) fn is_there(fetch: &Fetch, moment: Moment, moments: &[Moment]) -> bool {
    match fetch {
        Fetch::Memory { base, .. } | Fetch::Member { base, .. } => is_there(base, moment, moments),
        Fetch::Parameter(_) | Fetch::Named(_) | Fetch::Parameters => moment == Moment::Before,
        Fetch::ReturnValue => moment == Moment::Return,
        Fetch::Register(_) | Fetch::Stack(_) | Fetch::StackAddress => {
            moment != Moment::Return || moments.len() == 1
        }
        _ => true,
    }
}

/// Refuses arguments that can be had at none of `moments`, and names given twice.
pub(super) fn check(arguments: &[Argument], moments: &[Moment]) -> Result<(), Mistake> {
    for (number, argument) in arguments.iter().enumerate() {
        let error = |at, why: &str| Mistake { text: argument.text.clone(), at, why: why.into() };
        if !moments.iter().any(|moment| is_there(&argument.value.fetch, *moment, moments)) {
            let why = if is_there(&argument.value.fetch, Moment::Return, moments) {
                "what a function returns is known when it returns only: add --return"
            } else {
                "a function's arguments are known where it begins, before its first instruction runs: add --pre, or leave --return and --post out"
            };
            return Err(error(argument.value.fetch_at.clone(), why));
        }
        if let Some(name) = &argument.name
            && arguments[..number].iter().any(|other| other.name.as_ref() == Some(name))
        {
            return Err(error(0..name.len(), "this name is taken by an argument before it"));
        }
    }
    Ok(())
}

/// Compiles those of `arguments` that are to be had at `moment`, one of `moments`; with the
/// `stack`, which takes room of the same record.
///
/// # Errors
/// What does not fit: a type to its value, a parameter to the function, the whole to a record.
pub(super) fn compile(
    arguments: &[Argument],
    (moment, moments): (Moment, &[Moment]),
    stack: bool,
    place: &Place<'_>,
) -> Result<Program, Mistake> {
    let wanted = || {
        arguments.iter().enumerate().filter(|(_, argument)| is_there(&argument.value.fetch, moment, moments))
    };
    let mut program = Program::default();
    // Once to see how many strings there are, and again with what room that leaves for each.
    let mut limit = MAX_STRING;
    for _ in 0..2 {
        program = Program::default();
        for (number, argument) in wanted() {
            let layout = program.add(argument, number + 1, limit, place)?;
            program.layouts.push(layout);
            if let Some(why) = program.excess() {
                let (text, at) = (argument.text.clone(), 0..argument.text.len());
                return Err(Mistake { text, at, why });
            }
        }
        limit = program.string_limit(stack);
    }
    Ok(program)
}

impl Program {
    /// Adds the steps of `argument`, the `number`th; what they record.
    pub(super) fn add(
        &mut self,
        argument: &Argument,
        number: usize,
        limit: u32,
        place: &Place<'_>,
    ) -> Result<Layout, Mistake> {
        let default_name = match &argument.value {
            // As the kernel's probe events have it, for which this is short for a longer form.
            Value { form: Some(Form { kind: FormKind::Name { .. }, .. }), .. } => format!("arg{number}"),
            Value { fetch: Fetch::Named(name), .. } => name.clone(),
            _ => format!("arg{number}"),
        };
        let name = argument.name.clone().unwrap_or(default_name);
        let layout = |form: Form, item| Layout { name, form: form.text, count: form.count, item };
        if let Fetch::Comm | Fetch::Text(_) = argument.value.fetch {
            let form = text_form(argument)?;
            return Ok(layout(
                form,
                match &argument.value.fetch {
                    Fetch::Text(text) => Item::Constant(text.clone()),
                    _ => {
                        self.step(Op::Comm, 0, 0, 0);
                        Item::Text { limit: MAX_STRING }
                    }
                },
            ));
        }
        let Typed { path, form } = typed(&argument.value, &argument.text, place)?;
        let Some((last, before)) = path.accesses.split_last() else {
            let FormKind::Number(_, format) = form.kind else { unreachable!("a text lies in memory") };
            self.steps.push(path.source);
            self.step(Op::Emit, 0, 0, 0);
            return Ok(layout(form, Item::Number(format)));
        };
        match form.kind {
            FormKind::Name { .. } => unreachable!("it was given the type of a text"),
            FormKind::Number(bytes, format) => {
                self.begin(&path, before);
                let op = if last.user { Op::EmitUser } else { Op::EmitMemory };
                for index in 0..form.count.unwrap_or(1) {
                    let offset = last.offset.wrapping_add(i64::from(index) * i64::from(bytes));
                    self.step(op, bytes, 0, offset);
                }
                Ok(layout(form, Item::Number(format)))
            }
            FormKind::Text { user } => {
                let op = if user || last.user { Op::EmitUserString } else { Op::EmitString };
                match form.count {
                    None => {
                        self.begin(&path, before);
                        self.step(op, 0, limit as u16, last.offset);
                    }
                    // An array of pointers to strings; each is an argument of its own to the
                    // module, so that each may fault alone.
                    Some(count) => {
                        for index in 0..count {
                            self.begin(&path, before);
                            self.load(Access {
                                offset: last.offset.wrapping_add(8 * i64::from(index)),
                                ..*last
                            });
                            self.step(op, 0, limit as u16, 0);
                        }
                    }
                }
                Ok(layout(form, Item::Text { limit }))
            }
        }
    }

    /// The source and what is read on the way.
    fn begin(&mut self, path: &Path, accesses: &[Access]) {
        self.steps.push(path.source);
        accesses.iter().for_each(|access| self.load(*access));
    }

    fn load(&mut self, Access { offset, user }: Access) {
        self.step(if user { Op::LoadUser } else { Op::Load }, 8, 0, offset);
    }

    fn step(&mut self, op: Op, width: u8, number: u16, operand: i64) {
        self.steps.push(step(op, width, number, operand));
    }

    /// Why the module would not take it.
    fn excess(&self) -> Option<String> {
        let sources = self.sources();
        if sources > MAX_ARGUMENTS {
            return Some(format!(
                "with this there are {sources} values to fetch (each string of an array is one); {MAX_ARGUMENTS} are possible"
            ));
        }
        if self.steps.len() > MAX_STEPS {
            return Some(format!(
                "with this the program has {} steps; {MAX_STEPS} are possible",
                self.steps.len()
            ));
        }
        None
    }

    fn sources(&self) -> usize {
        self.steps.iter().filter(|step| Op::from_code(step.op).is_some_and(Op::is_source)).count()
    }

    /// Bytes of each string for which there is room in a record.
    fn string_limit(&self, stack: bool) -> u32 {
        let ops = || self.steps.iter().filter_map(|step| Op::from_code(step.op));
        let strings = ops().filter(|op| matches!(op, Op::EmitString | Op::EmitUserString)).count();
        let numbers = ops().filter(|op| matches!(op, Op::Emit | Op::EmitMemory | Op::EmitUser)).count();
        let names = ops().filter(|op| *op == Op::Comm).count();
        let taken = mask_words(self.sources()) + numbers + 3 * names + if stack { 1 + MAX_STACK } else { 0 };
        let words = MAX_WORDS.saturating_sub(taken).checked_div(strings).unwrap_or(MAX_WORDS);
        MAX_STRING.min(8 * words.saturating_sub(1) as u32)
    }
}

/// The type of what is a text by itself: the one that was asked for, if it fits.
fn text_form(Argument { text, value, .. }: &Argument) -> Result<Form, Mistake> {
    let Some(form) = value.form.clone().or_else(|| Form::simple("string")) else {
        unreachable!("string is a type");
    };
    if matches!(form.kind, FormKind::Text { .. }) && form.count.is_none() {
        return Ok(form);
    }
    let why = "this is a text: its type can only be string".into();
    Err(Mistake { text: text.clone(), at: value.form_at.clone(), why })
}

#[cfg(test)]
mod tests;
