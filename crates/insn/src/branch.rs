//! Direct branches, to see which function another one calls.

use crate::DecodeError;
use crate::layout::{Encoding, Layout};
use crate::ports::whole;

/// How many bytes the instruction at the start of `bytes` has, and where it leads if it is a call,
/// a jump or a conditional jump whose target is told by 32 bits (Intel SDM volume 2, CALL, JMP and
/// Jcc with rel32): those that functions call each other by. `at` is the instruction's address.
///
/// `bytes` are up to 15; fewer will do if the instruction is shorter.
///
/// # Errors
///
/// As for [`port_access`](crate::port_access).
pub fn branch(bytes: &[u8], at: u64) -> Result<(u8, Option<u64>), DecodeError> {
    let bytes = whole(bytes)?;
    Ok((bytes.len() as u8, target(bytes, at)))
}

/// `bytes` are one instruction.
fn target(bytes: &[u8], at: u64) -> Option<u64> {
    let layout = Layout::of(bytes)?;
    let is_branch = layout.encoding == Encoding::Legacy
        && matches!((layout.map, layout.opcode), (0, 0xe8 | 0xe9) | (1, 0x80..=0x8f));
    // Intel's CPUs ignore an operand-size prefix there, AMD's take 16 bits then. No compiler writes
    // one.
    let is_plain = !bytes.get(..layout.start)?.contains(&0x66);
    let displacement = bytes.last_chunk().filter(|_| is_branch && is_plain)?;
    let next = at.wrapping_add(bytes.len() as u64);
    Some(next.wrapping_add_signed(i64::from(i32::from_le_bytes(*displacement))))
}
