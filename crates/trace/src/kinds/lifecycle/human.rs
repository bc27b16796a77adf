//! What is done with a device for a person: `LIFE  00:03.0 e1000e  bind  begins  modprobe-80
//! really_probe`, and at its end `done` or why it failed, and how long it took, in the columns of
//! accesses.

use std::fmt::{self, Write as _};

use trapline_abi::POWER_UNKNOWN;

use super::Lifecycle;
use super::words::{error_words, is_failure, power_name};
use crate::Event;
use crate::write::{ALARM, Line, NOTE, REGISTER, duration, printable, site, task};

pub(super) fn write(life: &Lifecycle<'_>, event: &Event<'_>, line: &mut Line<'_>) -> fmt::Result {
    line.paint(NOTE, "LIFE ")?;
    let place = match life.driver() {
        Some(driver) => format!("{} {}", life.device.short(), printable(driver)),
        None => life.device.short().to_owned(),
    };
    write!(line, " {place:20} ")?;
    line.paint(REGISTER, &format!("{:18}", life.what()))?;
    line.write_char(' ')?;
    let fails = life.end.is_some_and(|(result, _)| is_failure(life.op, result));
    let style = if fails { ALARM } else { NOTE };
    line.paint(style, &format!("{:>18}", result(life)))?;
    write!(line, "  {:22} {}", task(event), site(life.site.as_ref(), life.ip))?;
    let mut notes: Vec<String> = Vec::new();
    if let Some(firmware) = life.firmware() {
        notes.push(printable(firmware));
    }
    if let Some((_, took)) = life.end {
        notes.push(duration(took));
    }
    match power_name(life.power) {
        Some(power) if life.power < POWER_UNKNOWN => notes.push(format!("in {power}")),
        _ => notes.push("power state not known".into()),
    }
    line.write_str("  ")?;
    line.paint(NOTE, &notes.join(", "))
}

/// How it went: `begins`, `done`, `No such device`.
pub(super) fn result(life: &Lifecycle<'_>) -> String {
    match life.end {
        None => "begins".into(),
        Some((result, _)) => match error_words(result) {
            Some(words) => words.into_owned(),
            None if result != 0 => format!("done: {result}"),
            None => "done".into(),
        },
    }
}
