//! How a trace ended, and why a file can't be read as one.

use std::io;

use crate::Totals;
use crate::file::FORMATS_READ;

/// How a trace ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its totals: nothing is missing. mmiotrace's text has no end, so of that it means no
    /// more than that the last line is whole.
    Whole(Totals),
    /// It was cut off, or is damaged from some place on.
    Cut(Cut),
}

/// Where a trace was cut off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trace is cut off after {events} events{}: {why} (near byte {offset})", self.at())]
pub struct Cut {
    /// Events that could be read.
    pub events: u64,
    /// Time of the last of them.
    pub time: Option<u64>,
    /// Byte of the file up to which was read.
    pub offset: u64,
    /// What was found there.
    pub why: String,
}

impl Cut {
    fn at(&self) -> String {
        let Some(time) = self.time else { return String::new() };
        format!(", at {}.{:09} s", time / 1_000_000_000, time % 1_000_000_000)
    }
}

/// Lines of a text that are none of its format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} of its lines make no sense and are left out, line {first} the first: `{text}`")]
pub struct Strays {
    /// How many.
    pub count: u64,
    /// Number of the first, from 1.
    pub first: u64,
    /// What that says, shortened.
    pub text: String,
}

/// Why a file can't be read as a trace.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be opened or read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{file} is empty: expected {EXPECTED}")]
    Empty {
        /// The file.
        file: String,
    },
    /// It is something else.
    #[error("{file} is no trace: {found}; expected {EXPECTED}")]
    Foreign {
        /// The file.
        file: String,
        /// What it is.
        found: String,
    },
    /// It was made by a Trapline with another format.
    #[error(
        "{file} is a trace of format {found}, this command reads formats {FORMATS_READ}: use the Trapline that made it"
    )]
    Format {
        /// The file.
        file: String,
        /// Its format.
        found: String,
    },
    /// It ends before its first event.
    #[error("{file} is cut off in its header, at byte {offset}: there are no events in it")]
    NoHeader {
        /// The file.
        file: String,
        /// Where it ends.
        offset: u64,
    },
}

/// What can be read.
const EXPECTED: &str = "a trace made with `trapline mmio --output`, or mmiotrace's text";
