//! Why bytes gave no plan.

use core::fmt;

/// Why [`decode`](crate::decode()) gave no [`Plan`](crate::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the instruction does.
    Truncated,
    /// The CPU refuses these bytes (#UD), or they are an instruction newer than the decoder.
    Unknown,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the bytes end before the instruction does; give up to 15",
            Self::Unknown => "the bytes are not an instruction that the decoder knows; step it",
        })
    }
}

impl core::error::Error for DecodeError {}
