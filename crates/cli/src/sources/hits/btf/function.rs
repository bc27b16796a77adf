//! Functions: what they are called with, and what they return.

use std::fmt;

use super::{Btf, Id, Shape, kind};

/// What a function takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sources::hits) struct Function {
    /// Its parameters, in their order.
    pub(in crate::sources::hits) parameters: Vec<Parameter>,
    /// What it returns; `None` if that is nothing.
    pub(in crate::sources::hits) returns: Option<Shape>,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sources::hits) struct Parameter {
    /// Its name; empty if it has none.
    pub(in crate::sources::hits) name: String,
    /// What it is.
    pub(in crate::sources::hits) shape: Shape,
    /// Where it is.
    pub(in crate::sources::hits) slot: Slot,
}

/// Where a parameter is when its function begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources::hits) enum Slot {
    /// Where the function's argument of this number is; 1 is the first.
    Argument(u16),
    /// So many bytes behind the registers that the first argument points to: a system call's.
    Saved(i64),
    /// Nowhere that is known, and why.
    Nowhere(&'static str),
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.slot, self.shape.form()) {
            (Slot::Nowhere(_), _) | (_, None) => write!(f, "{} (can't be fetched)", self.name),
            (_, Some(form)) => write!(f, "{form} {}", self.name),
        }
    }
}

impl Btf {
    /// The function called `name`; `None` if it is not known.
    pub(in crate::sources::hits) fn function(&self, name: &str) -> Option<Function> {
        let (_, function) = self.named(name, &[kind::FUNC]).next()?;
        let prototype = self.get(Id(function.size_or_type))?;
        if prototype.kind != kind::FUNC_PROTO {
            return None;
        }
        let mut slot = Slot::Argument(0);
        let parameter = |index: usize| {
            let (name, of) = (self.word(&prototype, 2 * index)?, self.word(&prototype, 2 * index + 1)?);
            // The last one of a function with any number of arguments is of no type.
            let shape = (of != 0).then(|| self.shape(Id(of)))?;
            slot = match (slot, shape) {
                (Slot::Argument(_), Shape::Integer { .. } | Shape::Pointer { .. }) => {
                    Slot::Argument(index as u16 + 1)
                }
                // More than a register holds, or what is passed elsewhere.
                (Slot::Argument(_), _) => Slot::Nowhere("it is passed as a whole, not in one register"),
                _ => Slot::Nowhere("one before it is passed as a whole, so its own place is not known"),
            };
            Some(Parameter { name: self.string(name)?.into(), shape, slot })
        };
        let parameters = (0..prototype.count).map_while(parameter).collect();
        let returns = prototype.size_or_type;
        Some(Function { parameters, returns: (returns != 0).then(|| self.shape(Id(returns))) })
    }
}
