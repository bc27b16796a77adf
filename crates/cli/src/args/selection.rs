//! What of a trace is looked at: options that the commands share which read one.

use std::path::PathBuf;

use clap::Args;

/// What of a trace is looked at, and by which names.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Name registers as FILE says, or the files of a folder, whatever they were named when traced
    /// (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub registers: Vec<PathBuf>,
    /// Begin at the first marker with this text (see `trapline mark`)
    #[arg(long, value_name = "MARK")]
    pub begin: Option<String>,
    /// End at the first marker with this text that comes after the beginning
    #[arg(long, value_name = "MARK")]
    pub end: Option<String>,
}
