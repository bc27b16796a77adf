//! `trapline convert`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Selection;

/// Write a trace in another format
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// A trace written with `--output`, or mmiotrace's text; with --partition any number of them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The format to write
    #[arg(long, value_enum)]
    pub to: ConvertTo,
    /// Write to FILE instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// With `--to parquet`: --output names a folder, and each trace becomes a file of its own in
    /// it, below folders that tell its machine, kernel and file, which engines read as columns:
    /// machine=web1/kernel=6.12.0/trace=load.trace/events.parquet
    #[arg(long, requires = "output")]
    pub partition: bool,
    #[command(flatten)]
    pub selection: Selection,
}

/// What a trace is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertTo {
    /// Aligned lines, polling loops folded
    Human,
    /// JSON Lines, one object an event
    Json,
    /// The text format of the kernel's own mmiotrace
    Mmiotrace,
    /// Apache Parquet
    Parquet,
    /// A timeline for https://ui.perfetto.dev
    Perfetto,
}
