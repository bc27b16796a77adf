//! An access on a timeline: on the track of its register, whose value it tells, of its task and of
//! its CPU. Equal reads of a polling loop are one slice.

use super::{Access, Direction, Value, lies};
use crate::write::{Drawing, register};

/// Bytes of the widest value that is a number there.
const WIDEST: usize = 8;

pub(super) fn draw(access: &Access<'_>, drawing: &mut Drawing<'_>) {
    let &Access { physical, address, ip, .. } = access;
    let at = access.place.as_ref();
    let label = register(at, physical, address);
    let name = at.and_then(|place| place.register).unwrap_or(&label);
    match access.direction {
        Direction::Read => drawing.names(&format!("R {name}"), &format!("poll {name}")),
        Direction::Write => drawing.name(&format!("W {name}")),
    }
    let number = access.value.filter(|value| value.bytes().len() <= WIDEST);
    match (number, access.value) {
        (Some(value), _) => drawing.hex("value", value.low()),
        (None, Some(wide)) => drawing.text("value", &wide.to_string()),
        (None, None) => drawing.word("value", "unknown"),
    }
    if let Some(remark) = lies::remark(access) {
        drawing.text("lie", &remark);
    }
    drawing.number("width", access.width.into());
    drawing.origin(access.site.as_ref(), ip);
    drawing.on_register(at, physical, address, number.as_ref().map(Value::low));
    drawing.on_task();
    drawing.on_cpu();
}
