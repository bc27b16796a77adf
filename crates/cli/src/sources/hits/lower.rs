//! What is to be fetched becomes a way to it: where it begins, what is read from there on, and what
//! is found at its end, by the kernel's own type information.

use std::ops::Range;

use trapline_abi::{Op, Step};
use trapline_trace::Symbols;

use super::btf::{Btf, Function, Id, Parameter, Shape, Slot};
use super::fetch::{Cast, Fetch, Link, To};
use super::names;
use crate::mistake::Mistake;
use crate::nearest::{nearest, suggestion};

/// What the arguments of a probe may refer to.
pub(super) struct Place<'a> {
    /// The kernel's symbols.
    pub(super) symbols: &'a Symbols,
    /// Whether the probe is where a function begins, so that its arguments are where its callers
    /// put them.
    pub(super) is_entry: bool,
    /// The types of the kernel, and of the module that is probed; or why they are not known.
    pub(super) types: Result<&'a Btf, &'a str>,
    /// What the function takes and gives, or why that is not known.
    pub(super) function: Result<&'a Function, &'a str>,
}

impl Place<'_> {
    /// Whether the function has such a parameter.
    pub(super) fn has_parameter(&self, name: &str) -> bool {
        self.function.is_ok_and(|function| function.parameters.iter().any(|one| one.name == name))
    }
}

/// Memory that a step reads: so many bytes from the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) offset: i64,
    pub(super) user: bool,
}

/// The way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// What it begins with.
    pub(super) source: Step,
    /// What is read, one from where the one before it leads; the last one gives the value, and
    /// those before it are pointers.
    pub(super) accesses: Vec<Access>,
    /// What is found there, if that is known.
    pub(super) shape: Option<Shape>,
    /// Of a bit field: its lowest bit in what is found there, and its width.
    pub(super) bits: Option<(u8, u8)>,
}

impl Path {
    /// Reads on from where it leads.
    pub(super) fn read(&mut self, offset: i64) {
        self.accesses.push(Access { offset, user: false });
    }
}

/// A step of a program.
pub(super) fn step(op: Op, width: u8, number: u16, operand: i64) -> Step {
    Step { op: op as u8, width, number, reserved: 0, operand }
}

/// What is lowered: a part of a text, at a place.
pub(super) struct Lower<'a> {
    /// The whole text, …
    pub(super) text: &'a str,
    /// … and where in it what is fetched stands.
    pub(super) at: &'a Range<usize>,
    /// What it may refer to.
    pub(super) place: &'a Place<'a>,
}

impl<'a> Lower<'a> {
    /// The way to what `fetch` names.
    ///
    /// # Errors
    /// What is not there: a symbol, a parameter, a member.
    pub(super) fn path(&self, fetch: &Fetch) -> Result<Path, Mistake> {
        let untyped = |source| Ok(Path { source, accesses: Vec::new(), shape: None, bits: None });
        match fetch {
            Fetch::Memory { base, offset, user } => {
                let mut path = self.path(base)?;
                path.accesses.push(Access { offset: *offset, user: *user });
                Ok(Path { shape: None, bits: None, ..path })
            }
            Fetch::Member { base, cast, links } => self.member(base, cast.as_ref(), links),
            Fetch::Named(name) => self.parameter(self.find(name)?),
            Fetch::Register(number) => untyped(step(Op::Register, 0, *number, 0)),
            Fetch::Stack(entry) => untyped(step(Op::Stack, 0, *entry, 0)),
            Fetch::StackAddress => untyped(step(Op::StackAddress, 0, 0, 0)),
            Fetch::ReturnValue => {
                let shape = match self.place.function {
                    Ok(Function { returns: None, .. }) => {
                        return Err(self.error(
                            "the function returns nothing: what is in its place can be fetched as %ax",
                        ));
                    }
                    Ok(Function { returns, .. }) => *returns,
                    Err(_) => None,
                };
                Ok(Path { shape, ..untyped(step(Op::ReturnValue, 0, 0, 0))? })
            }
            Fetch::Parameter(number) => {
                let source = self.argument(*number)?;
                let is_it = |one: &&Parameter| one.slot == Slot::Argument(*number);
                let known = self.place.function.ok().and_then(|all| all.parameters.iter().find(is_it));
                Ok(Path { shape: known.map(|one| one.shape), ..untyped(source)? })
            }
            Fetch::Immediate(value) => untyped(step(Op::Immediate, 0, 0, *value)),
            Fetch::Symbol(name, offset) => {
                let symbol = names::symbol(self.place.symbols, name).map_err(|why| self.error(why))?;
                untyped(step(Op::Immediate, 0, 0, (symbol.address as i64).wrapping_add(*offset)))
            }
            Fetch::Comm | Fetch::Text(_) => Err(self.error("this is a text, not an address")),
            Fetch::Parameters => Err(self.error("these are several values")),
        }
    }

    /// A mistake in the whole of it.
    fn error(&self, why: impl Into<String>) -> Mistake {
        self.error_at(self.at, why)
    }

    fn error_at(&self, at: &Range<usize>, why: impl Into<String>) -> Mistake {
        Mistake { text: self.text.into(), at: at.clone(), why: why.into() }
    }

    /// Where argument `number` is when a function begins (System V ABI for x86-64, 3.2.3; the
    /// kernel's `regs_get_kernel_argument`).
    fn argument(&self, number: u16) -> Result<Step, Mistake> {
        /// rdi, rsi, rdx, rcx, r8, r9.
        const REGISTERS: [u16; 6] = [7, 6, 2, 1, 8, 9];
        if !self.place.is_entry {
            return Err(self.error(
                "a function's arguments are known at its first instruction only; inside it, fetch a register",
            ));
        }
        Ok(match REGISTERS.get(usize::from(number) - 1) {
            Some(register) => step(Op::Register, 0, *register, 0),
            // Behind the return address, which is entry 0.
            None => step(Op::Stack, 0, number - REGISTERS.len() as u16, 0),
        })
    }

    /// The parameter called `name`.
    fn find(&self, name: &str) -> Result<&'a Parameter, Mistake> {
        let function = self.place.function.map_err(|why| {
            self.error(format!("`{name}` would be a parameter of the function, but {why}; fetch a register (%di) or $argN instead"))
        })?;
        function.parameters.iter().find(|parameter| parameter.name == name).ok_or_else(|| {
            let list: Vec<String> = function.parameters.iter().map(Parameter::to_string).collect();
            let list =
                if list.is_empty() { "it has none".into() } else { format!("it has: {}", list.join(", ")) };
            let names = function.parameters.iter().map(|one| one.name.as_str());
            let is_alone = self.text == name && nearest(name, names).is_empty();
            let hint = if is_alone { self.as_place(name) } else { String::new() };
            self.error(format!("the function has no parameter `{name}`; {list}{hint}"))
        })
    }

    /// What to say if `name` was meant for another function to probe.
    fn as_place(&self, name: &str) -> String {
        let code = || self.place.symbols.all().filter(|symbol| symbol.is_code).map(|symbol| symbol.name);
        if code().any(|function| function == name) {
            return format!("; to probe the function {name} too: the places stand before what is fetched");
        }
        let near = suggestion(&nearest(name, code()));
        near.map(|near| format!("; nor is there a function of that name, to be probed too: {near}"))
            .unwrap_or_default()
    }

    fn parameter(&self, Parameter { name, shape, slot }: &Parameter) -> Result<Path, Mistake> {
        let (number, saved) = match slot {
            Slot::Argument(number) => (*number, None),
            Slot::Saved(offset) => (1, Some(*offset)),
            Slot::Nowhere(why) => {
                return Err(self.error(format!("the parameter `{name}` can't be fetched by its name: {why}")));
            }
        };
        let mut path =
            Path { source: self.argument(number)?, accesses: Vec::new(), shape: Some(*shape), bits: None };
        saved.into_iter().for_each(|offset| path.read(offset));
        Ok(path)
    }

    /// The way to a member of what `base` points to.
    fn member(&self, base: &Fetch, cast: Option<&Cast>, links: &[Link]) -> Result<Path, Mistake> {
        let types = self.types()?;
        let mut path = self.path(base)?;
        let at = &links[0].at;
        // To what the pointer points, and how many bits before that it points to.
        let (to, before) = match (cast, path.shape) {
            (Some(cast), _) => {
                let structure = self.structure(cast)?;
                (Some(structure), self.bits_before(cast, structure)?)
            }
            (None, Some(Shape::Pointer { to, .. })) => (to, 0),
            (None, Some(shape)) => {
                let instead = match shape {
                    Shape::Structure(_) => "a structure in its place, no pointer: write . before it, not ->",
                    Shape::Array { .. } => "an array: write which element, as in [0], and . before it",
                    _ => "no pointer: it has no members",
                };
                return Err(self.error_at(at, format!("what this is looked for in is {instead}")));
            }
            (None, None) => {
                return Err(self.error_at(at, format!("what this is looked for in has no type: {SAY}")));
            }
        };
        let to = to.ok_or_else(|| self.error_at(at, format!("a void * has no members: {SAY}")))?;
        let mut reach = Reach { bit: -before, ..Reach::begin(types.shape(to)) };
        let rest = match &links[0].to {
            To::Element(number) => {
                self.element(&mut reach, to, *number, at)?;
                &links[1..]
            }
            To::Field(_) => links,
        };
        for link in rest {
            // An element behind a pointer that is a member itself.
            if let (To::Element(number), Shape::Pointer { to: Some(to), .. }) = (&link.to, reach.shape) {
                path.read(reach.bit / 8);
                reach = Reach::begin(types.shape(to));
                self.element(&mut reach, to, *number, &link.at)?;
            } else {
                self.step_in(&mut reach, link)?;
            }
        }
        path.read(reach.bit.div_euclid(8));
        path.shape = Some(reach.shape);
        path.bits = reach.width.map(|width| (reach.bit.rem_euclid(8) as u8, width));
        Ok(path)
    }

    /// Bits of `structure` before the field that `cast` says is pointed to.
    fn bits_before(&self, cast: &Cast, structure: Id) -> Result<i64, Mistake> {
        let mut field = Reach::begin(Shape::Structure(structure));
        for link in &cast.field {
            self.step_in(&mut field, link)?;
        }
        match field.width {
            None => Ok(field.bit),
            Some(_) => Err(self.error_at(&cast.at, "a bit field has no address, so nothing points to it")),
        }
    }

    /// Goes on to element `number` of those that are `of` a type.
    fn element(&self, reach: &mut Reach, of: Id, number: u32, at: &Range<usize>) -> Result<(), Mistake> {
        if number == 0 {
            return Ok(());
        }
        let size = self.types()?.size(of).filter(|size| *size > 0);
        let bit = size.and_then(|size| i64::try_from(size).ok()?.checked_mul(8 * i64::from(number)));
        let bit = bit.and_then(|bit| reach.bit.checked_add(bit));
        reach.bit =
            bit.ok_or_else(|| self.error_at(at, "what there would be several of has no size that is known"))?;
        Ok(())
    }

    /// Goes on to what lies in place of what was reached.
    fn step_in(&self, reach: &mut Reach, Link { to, at }: &Link) -> Result<(), Mistake> {
        let types = self.types()?;
        let error = |why: String| self.error_at(at, why);
        match (to, reach.shape) {
            (To::Field(name), Shape::Structure(id)) => {
                let member = types.member(id, name).ok_or_else(|| {
                    let all = types.members(id);
                    let hint = suggestion(&nearest(name, all.iter().map(String::as_str)));
                    let hint = hint.unwrap_or_else(|| format!("it has: {}", listed(&all)));
                    error(format!("{} has no member `{name}`: {hint}", types.spelled(id)))
                })?;
                // A structure has fewer bits than 2 to the 31st, and there are as many steps as
                // fit into a text.
                reach.bit = reach.bit.saturating_add_unsigned(member.bit);
                (reach.shape, reach.width) = (types.shape(member.of), member.width);
                Ok(())
            }
            (To::Element(number), Shape::Array { of, count, .. }) => {
                // An array of no length is one whose length is known elsewhere.
                if count != 0 && *number >= count {
                    return Err(error(format!("it has {count} elements: the last one is [{}]", count - 1)));
                }
                self.element(reach, of, *number, at)?;
                reach.shape = types.shape(of);
                Ok(())
            }
            (To::Field(_), Shape::Pointer { .. }) => {
                Err(error("what this is looked for in is a pointer: write -> before it, not .".into()))
            }
            (To::Field(_), Shape::Array { .. }) => Err(error(
                "what this is looked for in is an array: write which element before it, as in [0]".into(),
            )),
            (To::Field(_), _) => Err(error("what this is looked for in has no members".into())),
            (To::Element(_), _) => {
                Err(error("what this would be an element of is neither an array nor a pointer to one".into()))
            }
        }
    }

    /// The structure that `cast` names.
    fn structure(&self, cast: &Cast) -> Result<Id, Mistake> {
        let types = self.types()?;
        types.structure(&cast.structure).ok_or_else(|| {
            let near = nearest(&cast.structure, types.structures());
            let hint = suggestion(&near).map(|hint| format!(": {hint}")).unwrap_or_default();
            self.error_at(
                &cast.at,
                format!("the kernel's types have no structure `{}`{hint}", cast.structure),
            )
        })
    }

    /// Reads on from a pointer to `structure` along `fields`; used for what the kernel's own types
    /// are known to have.
    pub(super) fn follow(&self, path: &mut Path, structure: &str, fields: &[&str]) -> Result<(), Mistake> {
        let types = self.types()?;
        let id = types.structure(structure);
        let bit = id.and_then(|id| {
            let begin = (Shape::Structure(id), 0);
            fields.iter().try_fold(begin, |(shape, bit), name| {
                let Shape::Structure(id) = shape else { return None };
                let member = types.member(id, name)?;
                Some((types.shape(member.of), bit + member.bit))
            })
        });
        let (_, bit) = bit.ok_or_else(|| {
            self.error(format!("the kernel's types have no struct {structure} with {}", fields.join(".")))
        })?;
        path.read((bit / 8) as i64);
        Ok(())
    }

    fn types(&self) -> Result<&'a Btf, Mistake> {
        self.place.types.map_err(|why| {
            self.error(format!(
                "where members lie is not known: {why}; write the offset instead, as in +8(%di)"
            ))
        })
    }
}

/// How to give a pointer a type.
const SAY: &str = "say to what it points, as in (sk_buff)%di->len";

/// What was reached within memory that a pointer points to.
struct Reach {
    shape: Shape,
    /// Bits from where the pointer points.
    bit: i64,
    /// Its width, if it is a bit field.
    width: Option<u8>,
}

impl Reach {
    fn begin(shape: Shape) -> Self {
        Self { shape, bit: 0, width: None }
    }
}

/// Some of `names`, or all.
fn listed(names: &[String]) -> String {
    /// Names that are listed at most.
    const MOST: usize = 20;
    let list = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST { format!("{list}, …") } else { list }
}
