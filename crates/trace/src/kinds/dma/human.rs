//! What was done to a buffer for a person: `DMA   00:02.0 0x12345000  map to device  1,514 bytes
//! ping-311  e1000_xmit_frame+0x5e [e1000e]`, in the columns of accesses: the address by which the
//! device finds it where theirs have the place, what was done where theirs have the register.

use std::fmt::{self, Write as _};

use trapline_abi::{DmaDirection, DmaOp};

use super::words::{direction_words, op_words};
use super::{DmaCall, caller};
use crate::Event;
use crate::write::{ALARM, DIM, Line, NOTE, READ, REGISTER, WRITE, grouped, site, task};

pub(super) fn write(call: &DmaCall<'_>, event: &Event<'_>, line: &mut Line<'_>) -> fmt::Result {
    let style = match call.direction {
        DmaDirection::ToDevice => WRITE,
        DmaDirection::FromDevice => READ,
        DmaDirection::Both | DmaDirection::None => NOTE,
    };
    line.paint(style, "DMA  ")?;
    let dma = call.dma.map_or_else(String::new, |dma| format!("{dma:#x}"));
    let place = format!("{} {dma}", call.device.short());
    write!(line, " {place:20} ")?;
    line.paint(REGISTER, &format!("{:18}", done(call)))?;
    line.write_char(' ')?;
    line.paint(style, &format!("{:>18}", format!("{} bytes", grouped(call.size.into()))))?;
    write!(line, "  {:22} {}", task(event), site(call.site.as_ref(), call.ip))?;
    if let Some(frame) = caller::PASSING.for_whom(&call.stack) {
        write!(line, " for {}", site(frame.site.as_ref(), frame.ip))?;
    }
    if call.pieces > 0 {
        line.write_str("  ")?;
        line.paint(NOTE, &format!("{}/{}", u32::from(call.piece) + 1, call.pieces))?;
    }
    if call.is_failed() {
        line.write_str("  ")?;
        return line.paint(ALARM, "FAILED: the device was given nothing");
    }
    if call.is_of_failed() {
        line.write_str("  ")?;
        line.paint(ALARM, "NEVER GIVEN: this is the address that a failed call returns")?;
    }
    let remarks = remarks(call);
    if !remarks.is_empty() {
        line.write_str("  ")?;
        line.paint(DIM, &remarks)?;
    }
    Ok(())
}

/// Whether the column has room for the direction too.
const fn tells_direction(op: DmaOp) -> bool {
    matches!(op, DmaOp::Map | DmaOp::Unmap)
}

/// `map to device`, `sync for cpu`.
pub(super) fn done(call: &DmaCall<'_>) -> String {
    let direction = if tells_direction(call.op) { direction_words(call.direction) } else { "" };
    format!("{} {direction}", op_words(call.op)).trim_end().to_owned()
}

/// What else is told: the direction, other addresses, data.
fn remarks(call: &DmaCall<'_>) -> String {
    let mut remarks = Vec::new();
    let direction = direction_words(call.direction);
    if !tells_direction(call.op) && !direction.is_empty() {
        remarks.push(direction.to_owned());
    }
    // Without an IOMMU or a copy both are the same.
    if let Some(physical) = call.physical.filter(|physical| Some(*physical) != call.dma) {
        remarks.push(format!("phys {physical:#x}"));
    }
    if let Some(address) = call.address {
        remarks.push(format!("linear {address:#x}"));
    }
    if !call.data.is_empty() {
        remarks.push(call.excerpt());
    }
    remarks.join("  ")
}
