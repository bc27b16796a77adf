//! What a person asks to fetch, as a tree: what the parser makes, and what programs are compiled
//! from.

use std::ops::Range;

use super::form::Form;

/// What a hit is asked to record: `[NAME=]VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    /// The whole text.
    pub(super) text: String,
    /// The name given.
    pub(super) name: Option<String>,
    /// What to record.
    pub(super) value: Value,
}

/// A value and how it reads: `FETCH[:TYPE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// What to fetch.
    pub(super) fetch: Fetch,
    /// Where in the text that stands.
    pub(super) fetch_at: Range<usize>,
    /// As what, if that was said.
    pub(super) form: Option<Form>,
    /// Where in the text that stands.
    pub(super) form_at: Range<usize>,
}

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// A register, by the CPU's number.
    Register(u16),
    /// An entry of the kernel stack.
    Stack(u16),
    /// The stack pointer.
    StackAddress,
    /// What the function returns.
    ReturnValue,
    /// The task's name.
    Comm,
    /// An argument of the function, the first being 1.
    Parameter(u16),
    /// An argument of the function by its name.
    Named(String),
    /// All arguments of the function, each by its name: stands for as many of [`Fetch::Named`].
    Parameters,
    /// A number.
    Immediate(i64),
    /// A text.
    Text(String),
    /// The address of a symbol and so many bytes.
    Symbol(String, i64),
    /// Memory at an address.
    Memory {
        /// What gives the address.
        base: Box<Fetch>,
        /// Bytes from there.
        offset: i64,
        /// In user space whatever the address.
        user: bool,
    },
    /// A member of what a pointer points to: `BASE->A.B[2]`, or `BASE[2]`.
    Member {
        /// What gives the pointer.
        base: Box<Fetch>,
        /// What it points to, if that was said.
        cast: Option<Cast>,
        /// The way from there, not empty.
        links: Vec<Link>,
    },
}

/// What a pointer points to, as a person says it: `(STRUCTURE)`, or `(STRUCTURE,FIELD)` for a
/// pointer to a field of it, as `container_of()` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cast {
    /// The structure's name.
    pub(super) structure: String,
    /// Where in the text that stands.
    pub(super) at: Range<usize>,
    /// The way to the field; empty for the structure itself.
    pub(super) field: Vec<Link>,
}

/// One step on the way to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Where it leads.
    pub(super) to: To,
    /// Where in the text that stands.
    pub(super) at: Range<usize>,
}

/// Where a step leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// A member by its name.
    Field(String),
    /// An element of an array, or behind a pointer; 0 is the first.
    Element(u32),
}

impl Fetch {
    /// Whether it is what lies at a symbol: `@SYMBOL`.
    pub(super) fn is_symbol(&self) -> bool {
        matches!(self, Self::Memory { base, .. } if matches!(**base, Self::Symbol(..)))
    }
}
