//! `trapline diff`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use glob::Pattern;

use super::Selection;

/// Compare the accesses of two traces of the same work: what only one did, which values differ
///
/// Accesses are aligned by register, direction and order, those of each kind of task and those in
/// interrupts among themselves. Polling is folded: how often a register was read in a row is no
/// difference, what the last read gave is. Exit status 0 if there is no difference, 1 if there is.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// A trace written with `--output`, or mmiotrace's text
    pub first: PathBuf,
    /// Another one
    pub second: PathBuf,
    /// Leave out a register that counts or tells the time, by name or as BAR+OFFSET: `TSC*`,
    /// 0+0b600 (may be repeated)
    #[arg(long, value_name = "REGISTER")]
    pub ignore: Vec<Pattern>,
    /// How to tell it: text, or one JSON object a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: DiffFormat,
    /// Show at most N rows of each list (as text; JSON has all)
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rows: usize,
    #[command(flatten)]
    pub selection: Selection,
}

/// How differences are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// Aligned lines
    #[default]
    Human,
    /// JSON Lines, one object a difference
    Json,
}
