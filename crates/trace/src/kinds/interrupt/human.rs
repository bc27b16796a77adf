//! An interrupt for a person: `IRQ   00:03.0 MSI-X 1  irq 26  handled  swapper/2-0
//! e1000_intr_msix_rx [e1000e]  3.2 us`, in the columns of accesses.

use std::fmt::{self, Write as _};

use super::{Interrupt, Outcome};
use crate::write::{ALARM, Line, NOTE, REGISTER, duration, task};
use crate::{Event, Site};

pub(super) fn write(interrupt: &Interrupt<'_>, event: &Event<'_>, line: &mut Line<'_>) -> fmt::Result {
    line.paint(NOTE, if interrupt.is_in_thread() { "IRQ t" } else { "IRQ  " })?;
    let place = format!("{} {}", interrupt.device.short(), interrupt.vector());
    write!(line, " {place:20} ")?;
    line.paint(REGISTER, &format!("{:18}", format!("irq {}", interrupt.irq)))?;
    line.write_char(' ')?;
    let style = if interrupt.outcome == Some(Outcome::Bad) { ALARM } else { NOTE };
    line.paint(style, &format!("{:>18}", result(interrupt)))?;
    write!(line, "  {:22} {}", task(event), handler(interrupt))?;
    if let Some(took) = interrupt.took {
        line.write_str("  ")?;
        line.paint(NOTE, &duration(took))?;
    }
    Ok(())
}

/// What it returned.
pub(super) fn result(interrupt: &Interrupt<'_>) -> &'static str {
    interrupt.outcome.map_or("no end seen", Outcome::words)
}

/// `e1000_msix_other [e1000e]`, or the address if no function is known.
pub(super) fn handler(interrupt: &Interrupt<'_>) -> String {
    match interrupt.site {
        Some(Site { function, module: Some(module), .. }) => format!("{function} [{module}]"),
        Some(Site { function, module: None, .. }) => function.into(),
        None => format!("{:#x}", interrupt.handler),
    }
}
