//! `trapline report`.

use std::path::PathBuf;

use clap::Args;

use super::Selection;

/// Summarise a trace: registers, probes, functions, tasks, time span, what was missed
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// A trace written with `--output`, or mmiotrace's text
    pub file: PathBuf,
    /// Draw page faults as an SVG picture too: when they came on which addresses, and how long they
    /// took
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write the report as a page too: one HTML file that needs no network, with a timeline to
    /// zoom, values over time, filters and search
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Show at most N rows of each table
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rows: usize,
    #[command(flatten)]
    pub selection: Selection,
}
