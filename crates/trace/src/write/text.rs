//! The words and colours in which a person reads of events, whatever their kind.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::{Event, Names, Place, Site};

pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const READ: Style = AnsiColor::Green.on_default();
pub(crate) const WRITE: Style = AnsiColor::Yellow.on_default();
pub(crate) const REGISTER: Style = AnsiColor::Cyan.on_default();
pub(crate) const NOTE: Style = AnsiColor::Blue.on_default();
pub(crate) const LOG: Style = AnsiColor::Magenta.on_default();
pub(crate) const ALARM: Style = AnsiColor::Red.on_default().bold();

/// The line of an event, which is being written. Writing to it does not fail.
pub(crate) struct Line<'l> {
    /// What there is of it.
    pub(super) text: String,
    /// Whether to use terminal colours.
    pub(super) colour: bool,
    /// What knows the fields of registers, if those are to be shown.
    pub(crate) names: Option<&'l Names>,
}

impl Line<'_> {
    /// Appends a text in a style.
    pub(crate) fn paint(&mut self, style: Style, text: &str) -> fmt::Result {
        if self.colour { write!(self, "{style}{text}{style:#}") } else { self.write_str(text) }
    }

    /// Appends something that is no record of the machine's doing.
    pub(crate) fn note(&mut self, text: &str) -> fmt::Result {
        self.paint(NOTE, text)
    }

    /// Appends that something is missing, or may be.
    pub(crate) fn alarm(&mut self, text: &str) -> fmt::Result {
        self.paint(ALARM, text)
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.write_str(text)
    }
}

/// `00:03.0 0+00020`, or the physical address outside of every device.
pub(crate) fn place(place: Option<&Place<'_>>, physical: Option<u64>, linear: u64) -> String {
    match (place, physical) {
        (Some(Place { device, bar, offset, .. }), _) => {
            format!("{} {bar}+{offset:05x}", device.strip_prefix("0000:").unwrap_or(device))
        }
        (None, Some(physical)) => format!("phys {physical:#x}"),
        (None, None) => format!("linear {linear:#x}"),
    }
}

/// `modprobe-311`; nothing if the trace does not tell.
pub(crate) fn task(event: &Event<'_>) -> String {
    if !event.has_task() {
        return String::new();
    }
    format!("{}-{}", printable(event.comm), event.pid)
}

/// `e1000_probe+0x20 [e1000e]`, or the address if no function is known; nothing if that is not
/// known either.
pub(crate) fn site(site: Option<&Site<'_>>, ip: u64) -> String {
    match site {
        Some(Site { function, offset, module: Some(module) }) => format!("{function}+{offset:#x} [{module}]"),
        Some(Site { function, offset, module: None }) => format!("{function}+{offset:#x}"),
        None if ip == 0 => String::new(),
        None => format!("{ip:#x}"),
    }
}

/// A task, a marker or a line of the kernel log may hold anything, also what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

pub(crate) fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.into() }
}

/// `4,000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 ms`.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.3} s", value / 1e9),
    }
}
