//! Ctrl-C (and SIGTERM and SIGHUP): noted, so that a running machine is shut down and its files are
//! taken away before xtask ends.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

static SEEN: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C is noted instead of ending the process. Call it once.
pub fn catch() -> Result<()> {
    // Relaxed: the flag orders nothing, it is only looked at every few milliseconds.
    ctrlc::set_handler(|| SEEN.store(true, Ordering::Relaxed)).context("cannot catch Ctrl-C")
}

/// Whether Ctrl-C was typed.
pub fn seen() -> bool {
    SEEN.load(Ordering::Relaxed)
}
