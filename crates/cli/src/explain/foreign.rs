//! Input that is no text of the kernel's: what it is, and what reads it.

use trapline_trace::{FileFormat, Opener};

/// What `bytes` are, if they begin as another format does that is no text.
pub(crate) fn format_of(bytes: &[u8]) -> Option<String> {
    let FileFormat { name, opener } = FileFormat::of(bytes)?;
    match opener {
        Opener::Unpack(command) => Some(format!("{name}: {command} | trapline explain")),
        Opener::Other(words) => Some(format!("{name}: {words}")),
        Opener::Nothing => Some(format!("{name}; reports are text: dmesg | trapline explain")),
        // A log may be kept as JSON.
        Opener::Text(_) => None,
    }
}
