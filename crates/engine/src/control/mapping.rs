//! A stretch of memory that may be armed.

use crate::{Alias, Backing, Linear};

/// A range of linear addresses that may be armed, and where its second mapping lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its number, for events.
    pub id: u32,
    /// First address.
    pub start: Linear,
    /// Bytes; whole pages.
    pub length: u64,
    /// The alias of `start`; the alias is contiguous.
    pub alias: Alias,
    /// What is behind it.
    pub backing: Backing,
}

impl Mapping {
    pub(super) fn last(&self) -> Linear {
        self.start.plus(self.length - 1)
    }

    pub(super) fn holds(&self, start: Linear, last: Linear) -> bool {
        self.start <= start && last <= self.last()
    }
}
