//! What can be wrong with a ring.

use crate::writer::FEWEST;
use core::error::Error;
use core::fmt;
use trapline_abi::ABI_VERSION;

/// Why a ring can't be used.
// By hand and not by `thiserror`: the kernel module is built with as few crates as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// No ring can have this capacity.
    Size {
        /// The number of records that was asked for.
        capacity: u64,
    },
    /// Its writer speaks another version.
    Version {
        /// The ring's version.
        found: u32,
    },
    /// Its writer uses another capacity than the reader expects.
    Capacity {
        /// Whose ring.
        cpu: u32,
        /// What its control page says.
        found: u64,
        /// What the reader was told.
        expected: u64,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { capacity } => {
                write!(f, "a ring can't hold {capacity} records: expected a power of two from {FEWEST} on")
            }
            Self::Version { found } => write!(
                f,
                "the ring has ABI version {found}, this command has {ABI_VERSION}: load the module that was \
                 built with this command"
            ),
            Self::Capacity { cpu, found, expected } => {
                write!(f, "the ring of CPU {cpu} holds {found} records, expected {expected}")
            }
        }
    }
}

impl Error for RingError {}
