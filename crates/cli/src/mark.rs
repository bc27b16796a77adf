//! `trapline mark`: a person's marker in the trace that is running.

use std::io::ErrorKind;

use rustix::io::Errno;
use trapline_abi::MARK_LENGTH;

use crate::error::{Error, Result};
use crate::module;
use crate::system::System;

/// Marks the running trace, whosever it is.
pub(crate) fn run(system: &System, text: &str) -> Result<()> {
    if text.len() > MARK_LENGTH || text.is_empty() || text.contains(['\n', '\r', '\0']) {
        return Err(Error::MarkText { length: text.len(), limit: MARK_LENGTH });
    }
    if !module::is_loaded(system) {
        return Err(Error::NoSession);
    }
    let device = module::open(system)?;
    if module::info(&device)?.session == 0 {
        return Err(Error::NoSession);
    }
    device.mark(text).map_err(|source| match source.kind() {
        // It ended since we asked.
        ErrorKind::NotFound => Error::NoSession,
        _ if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Error::NoSession,
        _ => Error::Device { what: "take a marker", source },
    })
}
