//! Fetch arguments become the program that the module runs at each hit, and the layout by which its words are read.

use trapline_abi::{MAX_ARGUMENTS, MAX_STACK, MAX_STEPS, MAX_STRING, MAX_WORDS, Op, Step};
use trapline_trace::{Item, Layout, Moment, Symbols};

use super::btf::Parameter;
use super::fetch_error::FetchError;
use super::form::{Form, FormKind};
use super::names;
use super::syntax::{Argument, Fetch};

/// What the arguments of a probe may refer to.
pub(super) struct Place<'a> {
    /// The kernel's symbols.
    pub(super) symbols: &'a Symbols,
    /// Whether the probe is where a function begins, so that its arguments are where its callers put them.
    pub(super) is_entry: bool,
    /// The function's parameters, or why they are not known.
    pub(super) parameters: Result<&'a [Parameter], &'a str>,
}

/// What a probe fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// The steps that the module runs.
    pub(super) steps: Vec<Step>,
    /// What they record.
    pub(super) layouts: Vec<Layout>,
}

/// Memory that a step reads: so many bytes from the value.
#[derive(Clone, Copy)]
struct Access {
    offset: i64,
    user: bool,
}

/// An argument on its way: what its value begins with, and what is read from there on.
struct Path {
    source: Step,
    accesses: Vec<Access>,
}

/// Whether a value is to be had at `moment`, one of those at which hits are recorded.
///
/// A function's arguments are there before it begins, its result when it is over, all else always. But when a function returns, its registers and its stack
/// hold something else than at its beginning, and whoever records both means the beginning.
fn is_there(fetch: &Fetch, moment: Moment, moments: &[Moment]) -> bool {
    match fetch {
        Fetch::Memory { base, .. } => is_there(base, moment, moments),
        Fetch::Parameter(_) | Fetch::Named(_) => moment == Moment::Before,
        Fetch::ReturnValue => moment == Moment::Return,
        Fetch::Register(_) | Fetch::Stack(_) | Fetch::StackAddress => {
            moment != Moment::Return || moments.len() == 1
        }
        _ => true,
    }
}

/// Refuses arguments that can be had at none of `moments`, and names given twice.
pub(super) fn check(arguments: &[Argument], moments: &[Moment]) -> Result<(), FetchError> {
    for (number, argument) in arguments.iter().enumerate() {
        let error = |at, why: &str| FetchError { text: argument.text.clone(), at, why: why.into() };
        if !moments.iter().any(|moment| is_there(&argument.fetch, *moment, moments)) {
            let why = if is_there(&argument.fetch, Moment::Return, moments) {
                "what a function returns is known when it returns only: add --return"
            } else {
                "a function's arguments are known where it begins, before its first instruction runs: add --pre, or leave --return and --post out"
            };
            return Err(error(argument.fetch_at.clone(), why));
        }
        if let Some(name) = &argument.name
            && arguments[..number].iter().any(|other| other.name.as_ref() == Some(name))
        {
            return Err(error(0..name.len(), "this name is taken by an argument before it"));
        }
    }
    Ok(())
}

/// Compiles those of `arguments` that are to be had at `moment`, one of `moments`; with the `stack`, which takes room of the same record.
///
/// # Errors
/// What does not fit: a type to its value, a parameter to the function, the whole to a record.
pub(super) fn compile(
    arguments: &[Argument],
    (moment, moments): (Moment, &[Moment]),
    stack: bool,
    place: &Place<'_>,
) -> Result<Program, FetchError> {
    let wanted =
        || arguments.iter().enumerate().filter(|(_, argument)| is_there(&argument.fetch, moment, moments));
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
                return Err(FetchError { text, at, why });
            }
        }
        limit = program.string_limit(stack);
    }
    Ok(program)
}

impl Program {
    /// Adds the steps of `argument`, the `number`th; what they record.
    fn add(
        &mut self,
        argument: &Argument,
        number: usize,
        limit: u32,
        place: &Place<'_>,
    ) -> Result<Layout, FetchError> {
        let error = |at, why: String| FetchError { text: argument.text.clone(), at, why };
        let wrong_type = |why: &str| error(argument.form_at.clone(), why.into());
        let (fetch, form) = resolve(argument, place)?;
        let default_name = match &argument.fetch {
            Fetch::Named(name) => name.clone(),
            _ => format!("arg{number}"),
        };
        let layout = |item| Layout {
            name: argument.name.clone().unwrap_or(default_name),
            form: form.text.clone(),
            count: form.count,
            item,
        };
        if let Fetch::Comm | Fetch::Text(_) = fetch {
            if !matches!(form.kind, FormKind::Text { .. }) || form.count.is_some() {
                return Err(wrong_type("this is a text: its type can only be string"));
            }
            return Ok(layout(match fetch {
                Fetch::Text(text) => Item::Constant(text),
                _ => {
                    self.step(Op::Comm, 0, 0, 0);
                    Item::Text { limit: MAX_STRING }
                }
            }));
        }
        let path = path(&fetch, place).map_err(|why| error(argument.fetch_at.clone(), why))?;
        let Some((last, before)) = path.accesses.split_last() else {
            let FormKind::Number(_, format) = form.kind else {
                return Err(wrong_type(&format!(
                    "a string lies in memory: write +0({}):{}",
                    text(argument),
                    form.text
                )));
            };
            if form.count.is_some() {
                return Err(wrong_type(&format!(
                    "an array lies in memory: write +0({}):{}",
                    text(argument),
                    form.text
                )));
            }
            self.steps.push(path.source);
            self.step(Op::Emit, 0, 0, 0);
            return Ok(layout(Item::Number(format)));
        };
        match form.kind {
            FormKind::Number(bytes, format) => {
                self.begin(&path, before);
                let op = if last.user { Op::EmitUser } else { Op::EmitMemory };
                for index in 0..form.count.unwrap_or(1) {
                    let offset = last.offset.wrapping_add(i64::from(index) * i64::from(bytes));
                    self.step(op, bytes, 0, offset);
                }
                Ok(layout(Item::Number(format)))
            }
            FormKind::Text { user } => {
                let op = if user || last.user { Op::EmitUserString } else { Op::EmitString };
                match form.count {
                    None => {
                        self.begin(&path, before);
                        self.step(op, 0, limit as u16, last.offset);
                    }
                    // An array of pointers to strings; each is an argument of its own to the module, so that each may fault alone.
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
                Ok(layout(Item::Text { limit }))
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
        let taken = numbers + 3 * names + if stack { 1 + MAX_STACK } else { 0 };
        let words = MAX_WORDS.saturating_sub(taken).checked_div(strings).unwrap_or(MAX_WORDS);
        MAX_STRING.min(8 * words.saturating_sub(1) as u32)
    }
}

fn step(op: Op, width: u8, number: u16, operand: i64) -> Step {
    Step { op: op as u8, width, number, reserved: 0, operand }
}

/// What of the argument's text is fetched.
fn text(argument: &Argument) -> &str {
    &argument.text[argument.fetch_at.clone()]
}

/// What is fetched, parameters' names replaced by their places, and as what.
fn resolve(argument: &Argument, place: &Place<'_>) -> Result<(Fetch, Form), FetchError> {
    let simple = |name: &str| match Form::simple(name) {
        Some(form) => form,
        None => unreachable!("{name} is a type"),
    };
    let usual = match argument.fetch {
        Fetch::Comm | Fetch::Text(_) => "string",
        _ => "x64",
    };
    let given = || argument.form.clone();
    let Fetch::Named(name) = &argument.fetch else {
        let fetch = named(&argument.fetch, argument, place)?;
        return Ok((fetch, given().unwrap_or_else(|| simple(usual))));
    };
    let parameter = parameter(name, argument, place)?;
    let form = given().unwrap_or_else(|| simple(parameter.form()));
    let fetch = Fetch::Parameter(parameter.number);
    // A parameter that points to a string, or to an array, is followed: its name stands for what it is.
    let follow = matches!(form.kind, FormKind::Text { .. }) || form.count.is_some();
    if follow && let Some(width) = parameter.integer() {
        let mut why = format!(
            "`{name}` is an integer of {width} bytes, not a pointer: its type can't be {}",
            form.text
        );
        if width == 8 {
            why.push_str(&format!("; if it holds an address, write +0({name}):{}", form.text));
        }
        return Err(FetchError { text: argument.text.clone(), at: argument.form_at.clone(), why });
    }
    Ok(if follow {
        (Fetch::Memory { base: Box::new(fetch), offset: 0, user: false }, form)
    } else {
        (fetch, form)
    })
}

/// `fetch` with the parameter's name within it replaced.
fn named(fetch: &Fetch, argument: &Argument, place: &Place<'_>) -> Result<Fetch, FetchError> {
    Ok(match fetch {
        Fetch::Named(name) => Fetch::Parameter(parameter(name, argument, place)?.number),
        Fetch::Memory { base, offset, user } => {
            Fetch::Memory { base: Box::new(named(base, argument, place)?), offset: *offset, user: *user }
        }
        other => other.clone(),
    })
}

fn parameter<'a>(name: &str, argument: &Argument, place: &Place<'a>) -> Result<&'a Parameter, FetchError> {
    let error = |why: String| FetchError { text: argument.text.clone(), at: argument.fetch_at.clone(), why };
    let all = place.parameters.map_err(|why| {
        error(format!("`{name}` would be a parameter of the function, but {why}; fetch a register (%di) or $argN instead"))
    })?;
    let found = all.iter().find(|parameter| parameter.name == name).ok_or_else(|| {
        let list: Vec<String> = all.iter().map(Parameter::to_string).collect();
        let list =
            if list.is_empty() { "it has none".into() } else { format!("it has: {}", list.join(", ")) };
        error(format!("the function has no parameter `{name}`; {list}"))
    })?;
    if let Some(why) = found.unreachable() {
        return Err(error(format!("the parameter `{name}` can't be fetched by its name: {why}")));
    }
    Ok(found)
}

/// The source and the accesses of `fetch`, the first one first.
fn path(fetch: &Fetch, place: &Place<'_>) -> Result<Path, String> {
    let source = match fetch {
        Fetch::Memory { base, offset, user } => {
            let mut path = path(base, place)?;
            path.accesses.push(Access { offset: *offset, user: *user });
            return Ok(path);
        }
        Fetch::Register(number) => step(Op::Register, 0, *number, 0),
        Fetch::Stack(entry) => step(Op::Stack, 0, *entry, 0),
        Fetch::StackAddress => step(Op::StackAddress, 0, 0, 0),
        Fetch::ReturnValue => step(Op::ReturnValue, 0, 0, 0),
        Fetch::Parameter(number) => parameter_source(*number, place)?,
        Fetch::Immediate(value) => step(Op::Immediate, 0, 0, *value),
        Fetch::Symbol(name, offset) => {
            let symbol = names::symbol(place.symbols, name)?;
            step(Op::Immediate, 0, 0, (symbol.address as i64).wrapping_add(*offset))
        }
        Fetch::Comm | Fetch::Text(_) | Fetch::Named(_) => unreachable!("replaced, or dealt with, before"),
    };
    Ok(Path { source, accesses: Vec::new() })
}

/// Where argument `number` is when a function begins (System V ABI for x86-64, 3.2.3; the kernel's `regs_get_kernel_argument`).
fn parameter_source(number: u16, place: &Place<'_>) -> Result<Step, String> {
    /// rdi, rsi, rdx, rcx, r8, r9.
    const REGISTERS: [u16; 6] = [7, 6, 2, 1, 8, 9];
    if !place.is_entry {
        return Err(
            "a function's arguments are known at its first instruction only; inside it, fetch a register"
                .into(),
        );
    }
    let index = usize::from(number) - 1;
    Ok(match REGISTERS.get(index) {
        Some(register) => step(Op::Register, 0, *register, 0),
        // Behind the return address, which is entry 0.
        None => step(Op::Stack, 0, number - REGISTERS.len() as u16, 0),
    })
}

#[cfg(test)]
mod tests;
