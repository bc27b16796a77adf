//! Colours of what the command itself says.

use anstyle::{AnsiColor, Style};

/// Headings and names.
pub(crate) const STRONG: Style = Style::new().bold();
/// All is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Worth knowing, not in the way.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// In the way, or lost.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
