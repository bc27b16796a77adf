//! How a trace is taken, whatever it is of: what all commands that trace can be told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::units::{parse_duration, parse_size};

/// How a trace is taken.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Taking {
    /// Write the trace to FILE instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to write: human on standard output and arrow to a file if not given
    #[arg(long, short, value_enum)]
    pub format: Option<Format>,
    /// Memory for records that are not read yet, on each CPU
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_buffer)]
    pub buffer: u64,
    /// Stop after TIME, as in 10s or 500ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Stop after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: Option<u64>,
    /// Print no summary, no notes and no live counter; what was dropped or possibly missed is said
    /// all the same
    #[arg(long, short)]
    pub quiet: bool,
    /// Trace while COMMAND runs
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What a trace is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned lines, polling loops folded
    Human,
    /// JSON Lines, one object an event
    Json,
    /// The text format of the kernel's own mmiotrace
    Mmiotrace,
    /// Arrow IPC stream: what report and convert read
    Arrow,
}

/// A ring's size: at least a page of records, at most what a 32-bit length in the kernel's
/// allocator can be.
fn parse_buffer(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if !(4096..=1 << 30).contains(&size) {
        return Err(format!("a buffer of {text} on each CPU can't be: expected 4K to 1G"));
    }
    Ok(size)
}
