//! What can go wrong on the control side.

use crate::{Linear, PageError};

/// There is no memory for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl From<alloc::collections::TryReserveError> for OutOfMemory {
    fn from(_: alloc::collections::TryReserveError) -> Self {
        Self
    }
}

/// Why an access probe or a mapping was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The range has length 0 or wraps around the end of the address space.
    BadRange {
        /// First address of the range.
        start: Linear,
        /// Its length in bytes.
        length: u64,
    },
    /// No mapping that was added holds the whole range.
    NoMapping {
        /// First address of the range.
        start: Linear,
        /// Its length in bytes.
        length: u64,
    },
    /// The range overlaps a mapping that was added before.
    Overlap {
        /// First address of the new mapping.
        start: Linear,
    },
    /// A page of the range can't be armed.
    Page {
        /// The address it failed at.
        address: Linear,
        /// Why.
        error: PageError,
    },
    /// No memory for the tables.
    OutOfMemory,
}

impl From<OutOfMemory> for ControlError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<alloc::collections::TryReserveError> for ControlError {
    fn from(_: alloc::collections::TryReserveError) -> Self {
        Self::OutOfMemory
    }
}
