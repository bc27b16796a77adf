//! An access to configuration space for a person: `CFG R 00:05.0 cfg+004  COMMAND  0x0107
//! modprobe-311  __pci_set_master+0x5e for e1000_probe+0x1d0 [e1000e]  IO=1 …`, in the columns of
//! accesses. How wide it is, the digits of the value tell.

use std::fmt::{self, Write as _};

use super::{ConfigAccess, Direction, caller};
use crate::Event;
use crate::write::{ALARM, DIM, Line, NOTE, READ, REGISTER, WRITE, site, task};

pub(super) fn write(access: &ConfigAccess<'_>, event: &Event<'_>, line: &mut Line<'_>) -> fmt::Result {
    let style = if access.direction == Direction::Read { READ } else { WRITE };
    line.paint(style, &format!("CFG {}", access.direction.letter()))?;
    let place = format!("{} {}", access.device.short(), access.place());
    write!(line, " {place:20} ")?;
    line.paint(REGISTER, &format!("{:18}", register(access.register.unwrap_or_default())))?;
    let value = access.digits().map_or_else(|| format!("{:#x}", access.value), |value| value.to_string());
    line.write_char(' ')?;
    line.paint(style, &format!("{value:>18}"))?;
    write!(line, "  {:22} {}", task(event), site(access.site.as_ref(), access.ip))?;
    if let Some(frame) = caller::PASSING.for_whom(&access.stack) {
        write!(line, " for {}", site(frame.site.as_ref(), frame.ip))?;
    }
    if access.error != 0 {
        line.write_str("  ")?;
        line.paint(ALARM, &format!("FAILED with error {}: the device was not accessed", access.error))?;
        return Ok(());
    }
    if access.is_all_ones() {
        line.write_str("  ")?;
        line.paint(NOTE, "all ones")?;
    }
    let fields = line.names.map(|names| access.fields(names)).unwrap_or_default();
    if !fields.is_empty() {
        line.write_str("  ")?;
        line.paint(DIM, &fields)?;
    }
    Ok(())
}

/// Bytes of the column of registers.
const COLUMN: usize = 18;

/// What an access touches: of more registers than there is room for, the first and how many others.
fn register(names: &str) -> String {
    match names.split_once(' ') {
        Some((first, rest)) if names.len() > COLUMN => format!("{first} +{}", rest.split(' ').count()),
        _ => names.into(),
    }
}
