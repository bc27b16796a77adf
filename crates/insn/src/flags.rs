//! The arithmetic flags of `rflags` (Intel SDM volume 1, 3.4.3.1) and the conditions made of them
//! (volume 1, appendix B).

use crate::slot::mask;

pub(crate) const CF: u64 = 1 << 0;
pub(crate) const PF: u64 = 1 << 2;
pub(crate) const AF: u64 = 1 << 4;
pub(crate) const ZF: u64 = 1 << 6;
pub(crate) const SF: u64 = 1 << 7;
pub(crate) const DF: u64 = 1 << 10;
pub(crate) const OF: u64 = 1 << 11;
/// All six that arithmetic sets.
pub(crate) const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// The top bit of `width` bytes.
#[inline]
pub(crate) const fn sign_bit(width: u8) -> u64 {
    mask(width) ^ (mask(width) >> 1)
}

/// `flag` if `condition` holds, else none.
#[inline]
pub(crate) const fn when(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

/// Sign, zero and parity of a result of `width` bytes, with nothing above them.
#[inline]
pub(crate) const fn of_result(result: u64, width: u8) -> u64 {
    when(result == 0, ZF)
        | when(result & sign_bit(width) != 0, SF)
        | when((result as u8).count_ones().is_multiple_of(2), PF)
}

/// `old` with the flags in `changed` replaced by those of `new`.
#[inline]
pub(crate) const fn replace(old: u64, changed: u64, new: u64) -> u64 {
    (old & !changed) | (new & changed)
}

/// Whether the condition with encoding number `code` holds under `flags`: the low four bits of the
/// opcodes of `setcc` and `cmovcc`.
#[inline]
pub(crate) const fn condition(code: u8, flags: u64) -> bool {
    let sign_is_not_overflow = (flags & SF != 0) != (flags & OF != 0);
    let holds = match (code >> 1) & 7 {
        0 => flags & OF != 0,
        1 => flags & CF != 0,
        2 => flags & ZF != 0,
        3 => flags & (CF | ZF) != 0,
        4 => flags & SF != 0,
        5 => flags & PF != 0,
        6 => sign_is_not_overflow,
        _ => sign_is_not_overflow || flags & ZF != 0,
    };
    holds != (code & 1 != 0)
}
