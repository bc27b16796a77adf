//! The seam for file and line of a function's instruction: who has files tells them.

use crate::call::parts;

/// A place in the code as a report prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot<'a> {
    /// The function.
    pub function: &'a str,
    /// Bytes from its beginning.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// The module that it is of; `None` for the kernel.
    pub module: Option<&'a str>,
    /// Whether it is where a call returns to, so that the call ends there.
    pub returns: bool,
}

impl<'a> Spot<'a> {
    /// The place that `name+0x1/0x2 [module]` names.
    pub(crate) fn read(text: &'a str, returns: bool) -> Option<Self> {
        let (function, offset, size) = parts(text)?;
        let module = text.split_once(" [").and_then(|(_, rest)| rest.split([']', ' ']).next());
        Some(Self { function, offset, size, module, returns })
    }
}

/// Who knows lines.
pub trait Sources {
    /// The lines of a spot in a kernel of that release, the innermost inlined function first; empty
    /// if they are not known.
    fn lines(&self, spot: &Spot<'_>, kernel: Option<&str>) -> Vec<String>;

    /// What is to be said of the files beside a report that names these places, of a kernel of
    /// that release: that one has none of them, so that nobody takes silence for an answer, or is
    /// of another kernel.
    fn notes(&self, spots: &[Spot<'_>], kernel: Option<&str>) -> Vec<String>;
}

/// Knows none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Sources for NoSources {
    fn lines(&self, _: &Spot<'_>, _: Option<&str>) -> Vec<String> {
        Vec::new()
    }

    fn notes(&self, _: &[Spot<'_>], _: Option<&str>) -> Vec<String> {
        Vec::new()
    }
}
