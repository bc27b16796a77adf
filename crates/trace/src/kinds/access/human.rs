//! An access for a person: `R 4   00:03.0 0+00020  MDIC  0x18410000  modprobe-311  …`.

use std::fmt::{self, Write as _};

use trapline_abi::{Flags, Way};

use super::{Access, Direction, lies};
use crate::Event;
use crate::write::{DIM, Line, NOTE, READ, REGISTER, WRITE, place, site, task};

pub(super) fn write(access: &Access<'_>, event: &Event<'_>, line: &mut Line<'_>) -> fmt::Result {
    let style = if access.direction == Direction::Read { READ } else { WRITE };
    line.paint(style, &format!("{} {:<3}", access.direction.letter(), access.width))?;
    write!(line, " {:20} ", place(access.place.as_ref(), access.physical, access.address))?;
    let register = access.place.and_then(|place| place.register).unwrap_or_default();
    line.paint(REGISTER, &format!("{register:18}"))?;
    let value = access.value.map_or_else(|| "unknown".into(), |value| value.to_string());
    line.write_char(' ')?;
    line.paint(style, &format!("{value:>18}"))?;
    write!(line, "  {:22} {}", task(event), site(access.site.as_ref(), access.ip))?;
    let remarks = remarks(access);
    if !remarks.is_empty() {
        line.write_str("  ")?;
        line.paint(NOTE, &remarks)?;
    }
    let fields = line.names.map(|names| names.fields(access)).unwrap_or_default();
    if !fields.is_empty() {
        line.write_str("  ")?;
        line.paint(DIM, &fields)?;
    }
    Ok(())
}

/// What is out of the ordinary about an access.
fn remarks(access: &Access<'_>) -> String {
    let mut remarks = Vec::new();
    if access.flags.has(Flags::LOCKED) {
        remarks.push("locked".to_owned());
    }
    remarks.extend(lies::remark(access));
    match access.way {
        None | Some(Way::Emulate | Way::Redirect) => {}
        Some(Way::Step) => remarks.push("stepped".into()),
        Some(Way::Forbidden) => remarks.push("forbidden by the page's rights".into()),
    }
    remarks.join(", ")
}
