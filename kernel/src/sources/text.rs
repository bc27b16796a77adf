//! The kernel's code, read instruction by instruction from where it lies in memory.
//!
//! A stretch is decoded from its start, one instruction after another. Compilers put no data into
//! the kernel's code, and what fills the gaps between functions are instructions. Should it go out
//! of step all the same, then kprobes, which decode from the function's start, refuse what begins
//! inside of an instruction: nothing is ever patched that is none.
//!
//! Where a code probe on an instruction stands, its breakpoint has taken the place of a byte, which
//! is known. Another tracer's breakpoint hides an instruction, and a jump that the
//! kernel puts in a breakpoint's place hides several (optimised kprobes, ours too), and may hide
//! the next as well.
//!
//! Rejected: reading the module's file, which is compressed, may be another one by now, and does
//! not tell where the parts of a module that is being loaded came to lie.

use crate::glue;
use crate::locks::PatchingLock;
use trapline_engine::Linear;
use trapline_insn::MAX_LENGTH;

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

/// Instructions between two looks whether somebody else should run.
const AT_ONCE: u32 = 4096;

/// Calls `each` with the address of each instruction of the stretch and its bytes, as many as any
/// has, less at the stretch's end. It returns the instruction's length, `None` for what is none,
/// which is passed byte by byte. False if the stretch, or the rest of it, can't be read.
pub(super) fn walk(
    _: &mut PatchingLock<'_>,
    start: u64,
    length: u64,
    mut each: impl FnMut(u64, &[u8]) -> Option<u8>,
) -> bool {
    let end = start.saturating_add(length);
    let (mut at, mut count) = (start, 0u32);
    while at < end {
        let Some((mut bytes, known)) = read(at, end) else { return false };
        if let Some(first) = bytes.first_mut()
            && *first == BREAKPOINT
        {
            // SAFETY: room for the byte, which stays as it is if the breakpoint is not ours; the
            // patching lock is held.
            unsafe { glue::glue_original_byte(at, first) };
        }
        let length = each(at, bytes.get(..known).unwrap_or(&[])).unwrap_or(1).max(1);
        at = at.saturating_add(u64::from(length));
        count = count.wrapping_add(1);
        if count.is_multiple_of(AT_ONCE) {
            glue::glue_let_others_run();
        }
    }
    true
}

/// The bytes at an address, and how many of them lie before `end`.
fn read(at: u64, end: u64) -> Option<([u8; MAX_LENGTH], usize)> {
    let known = MAX_LENGTH.min((end - at) as usize);
    let mut bytes = [0; MAX_LENGTH];
    let (words, rest) = bytes.as_chunks_mut::<8>();
    if known == MAX_LENGTH {
        // The last byte but seven begins the second word, so that none behind the end is read.
        let (first, second) = (word(at, 8)?, word(at + (MAX_LENGTH - 8) as u64, 8)?);
        for whole in words {
            *whole = first.to_le_bytes();
        }
        for (byte, last) in rest.iter_mut().zip(second.to_le_bytes().iter().skip(8 - (MAX_LENGTH - 8))) {
            *byte = *last;
        }
    } else {
        for (byte, offset) in bytes.iter_mut().take(known).zip(0..) {
            *byte = word(at + offset, 1)? as u8;
        }
    }
    Some((bytes, known))
}

/// The word of so many bytes at an address, if it can be read.
fn word(at: u64, width: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: room for the value; whatever the address is, it is read with care.
    unsafe { glue::glue_get_inatomic(Linear(at), width, &mut value) }.then_some(value)
}
