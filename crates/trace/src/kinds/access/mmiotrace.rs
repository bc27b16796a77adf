//! An access in mmiotrace's format, which knows values of up to 8 bytes: a wider access becomes
//! several lines, lowest address first. One whose value is not known is an `UNKNOWN` line, whose
//! three opcode bytes are 0 here. The format has no word for an access that was changed, supplied,
//! dropped or repeated: behind its line, whose value is what the driver read or the device was
//! given, comes a marker that tells it.
//!
//! Read back, it is an access of unknown width, and taken for a read: the line does not say what it
//! was. A wider access stays several.

use std::io;

use trapline_abi::{Change, Flags, Way};

use super::{Access, Direction, Value, lies};
use crate::mmiotrace::{Mappings, TextLine};
use crate::write::MmiotraceLines;

/// Bytes of the widest value that the format knows.
const WIDEST: usize = 8;

pub(super) fn write(access: &Access<'_>, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
    let Access { mapping, ip, .. } = access;
    let time = lines.time;
    let pc = if lines.program_counters { *ip } else { 0 };
    if access.way == Some(Way::Forbidden) {
        // It did not take place, and the format has no word for that.
        let address = access.address;
        return writeln!(lines.out, "MARK {time} forbidden: access of linear 0x{address:x} by 0x{ip:x}");
    }
    let Some(physical) = access.physical else {
        let address = access.address;
        return writeln!(lines.out, "MARK {time} access to linear 0x{address:x}, whose MAP was lost");
    };
    let Some(value) = access.value else {
        writeln!(lines.out, "UNKNOWN {time} {mapping} 0x{physical:x} 00,00,00 0x{pc:x} 0")?;
        return mark(access, physical, lines);
    };
    let letter = if access.direction == Direction::Read { 'R' } else { 'W' };
    for (index, bytes) in value.bytes().chunks(WIDEST).enumerate() {
        let physical = physical.wrapping_add((index * WIDEST) as u64);
        let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let width = bytes.len();
        writeln!(lines.out, "{letter} {width} {time} {mapping} 0x{physical:x} 0x{value:x} 0x{pc:x} 0")?;
    }
    mark(access, physical, lines)
}

/// Tells what was made of the access before, if anything.
fn mark(access: &Access<'_>, physical: u64, lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
    match lies::remark(access) {
        Some(remark) => writeln!(lines.out, "MARK {} access of 0x{physical:x} was {remark}", lines.time),
        None => Ok(()),
    }
}

pub(super) fn read<'a>(line: &TextLine<'_>, mappings: &Mappings) -> Option<(Access<'a>, u32)> {
    let direction = match line.keyword {
        "R" | "UNKNOWN" => Direction::Read,
        "W" => Direction::Write,
        _ => return None,
    };
    let mut words = line.words();
    let (mapping, physical) = (words.decimal()?, words.hex()?);
    let value = if line.keyword == "UNKNOWN" {
        // The instruction's first bytes.
        words.skip()?;
        None
    } else {
        Some(Value::from_u64(words.hex()?, line.width)?)
    };
    let (ip, pid) = words.origin()?;
    // That the line of the mapping was lost leaves the physical address, which names the place.
    let address = mappings.get(&mapping).map_or(0, |(start, linear)| {
        linear.wrapping_add(physical.wrapping_sub(*start))
    });
    let access = Access {
        direction,
        width: line.width,
        value,
        change: Change::None,
        original: None,
        mapping,
        address,
        physical: Some(physical),
        flags: Flags(if value.is_none() { Flags::UNKNOWN } else { 0 }),
        way: None,
        ip,
        place: None,
        site: None,
    };
    Some((access, pid))
}
