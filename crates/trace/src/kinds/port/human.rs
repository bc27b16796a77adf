//! An access to an I/O port for a person: `IN  1 00:1f.3 4+00002  HST_CNT  0x44  modprobe-311
//! i801_access+0x5e [i2c_i801]  START=1 …`, in the columns of accesses.

use std::fmt::{self, Write as _};

use super::{Direction, PortAccess};
use crate::Event;
use crate::write::{DIM, Line, NOTE, READ, REGISTER, WRITE, site, task};

pub(super) fn write(access: &PortAccess<'_>, event: &Event<'_>, line: &mut Line<'_>) -> fmt::Result {
    let (style, verb) = match access.direction {
        Direction::Read => (READ, "IN"),
        Direction::Write => (WRITE, "OUT"),
    };
    line.paint(style, &format!("{verb:<3} {}", access.width))?;
    let register = access.place.and_then(|place| place.register).unwrap_or_default();
    write!(line, " {:20} ", access.at())?;
    line.paint(REGISTER, &format!("{register:18}"))?;
    let value = access.value.map_or_else(|| "unknown".into(), |value| value.to_string());
    line.write_char(' ')?;
    line.paint(style, &format!("{value:>18}"))?;
    let (asked, ip) = access.asked();
    write!(line, "  {:22} {}", task(event), site(asked, ip))?;
    if let Some(function) = access.site.filter(|_| access.passes_on() && access.caller.is_some()) {
        write!(line, " by {}", function.function)?;
    }
    if access.is_string() {
        line.write_str("  ")?;
        line.paint(NOTE, "string")?;
    }
    let fields = line.names.map(|names| names.port_fields(access)).unwrap_or_default();
    if !fields.is_empty() {
        line.write_str("  ")?;
        line.paint(DIM, &fields)?;
    }
    Ok(())
}
