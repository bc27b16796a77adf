//! `trapline mark`: a person's marker in the trace that is running.

use std::io::ErrorKind;

use rustix::io::Errno;
use trapline_abi::MARK_LENGTH;

use crate::module::{self, ModuleError};
use crate::system::System;

/// Why nothing was marked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MarkError {
    /// The marker does not fit.
    #[error("the marker has {length} bytes; it must be one line of 1 to {limit}")]
    Text {
        /// Its length.
        length: usize,
        /// What fits.
        limit: usize,
    },
    /// There is no session.
    #[error("no trace is running that could be marked; start one with `trapline mmio`")]
    NoSession,
    /// The module can't be asked.
    #[error(transparent)]
    Module(#[from] ModuleError),
}

/// Marks every running trace, whosever it is.
pub(crate) fn run(system: &System, text: &str) -> Result<(), MarkError> {
    if text.len() > MARK_LENGTH || text.is_empty() || text.contains(['\n', '\r', '\0']) {
        return Err(MarkError::Text { length: text.len(), limit: MARK_LENGTH });
    }
    if !module::is_loaded(system) {
        return Err(MarkError::NoSession);
    }
    let device = module::open(system)?;
    if module::info(&device)?.sessions == 0 {
        return Err(MarkError::NoSession);
    }
    device.mark(text).map_err(|source| match source.kind() {
        // It ended since we asked.
        ErrorKind::NotFound => MarkError::NoSession,
        _ if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => MarkError::NoSession,
        _ => ModuleError::Command { what: "take a marker", source }.into(),
    })
}
