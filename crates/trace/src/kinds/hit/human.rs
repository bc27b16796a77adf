//! A hit for a person: its arguments, and its stack below it.

use std::fmt::{self, Write as _};

use trapline_abi::Flags;

use super::probe::FAULT;
use super::{Argument, Hit, Moment};
use crate::Event;
use crate::write::{ALARM, DIM, Line, READ, REGISTER, printable, site, task};

pub(super) fn write(hit: &Hit<'_>, event: &Event<'_>, line: &mut Line<'_>) -> fmt::Result {
    write!(line, "{:22} ", task(event))?;
    let at = match hit.moment {
        Moment::Before => hit.probe.to_owned(),
        Moment::After => format!("{} (after)", hit.probe),
        Moment::Return => format!("{} <- {}", site(hit.site.as_ref(), hit.ip), hit.probe),
    };
    line.paint(REGISTER, &format!("{at:32}"))?;
    for argument in &hit.arguments {
        write!(line, " {}=", printable(argument.name))?;
        line.paint(if argument.value.is_some() { READ } else { ALARM }, &argument_text(argument))?;
    }
    if hit.flags.has(Flags::INTERRUPT) {
        line.write_str("  ")?;
        line.note("in an interrupt")?;
    }
    for frame in hit.stack.iter().flatten() {
        line.paint(DIM, &format!("\n{:24}{}", "", site(frame.site.as_ref(), frame.ip)))?;
    }
    Ok(())
}

/// A value as the kernel's probe events print it: a string in quotes.
fn argument_text(argument: &Argument<'_>) -> String {
    match &argument.value {
        None => FAULT.into(),
        Some(value) if matches!(argument.form, "string" | "ustring" | "symstr") => {
            format!("\"{}\"", printable(value))
        }
        Some(value) => printable(value),
    }
}
