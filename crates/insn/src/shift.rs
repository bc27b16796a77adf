//! Shifts and rotates, results and flags (Intel SDM volume 2, `RCL/RCR/ROL/ROR`, `SAL/SAR/SHL/SHR`,
//! `SHLD`, `SHRD`).
//!
//! OF is defined for counts of one alone; for others it gets what the same formula gives, which is
//! what current CPUs do.

use crate::flags::{AF, CF, OF, STATUS, of_result, replace, sign_bit, when};
use crate::operation::Shift;
use crate::slot::{mask, sign_extend};

/// The bits of a count that the CPU looks at: five, six for eight-byte operands.
const fn masked(count: u64, width: u8) -> u32 {
    (count & if width == 8 { 0x3f } else { 0x1f }) as u32
}

/// `a` shifted or rotated by `count`, and `rflags` after it; a masked count of zero changes
/// nothing.
#[inline]
pub(crate) fn shift(shift: Shift, a: u64, count: u64, width: u8, rflags: u64) -> (u64, u64) {
    let a = a & mask(width);
    let count = masked(count, width);
    if count == 0 {
        return (a, rflags);
    }
    match shift {
        Shift::Rol | Shift::Ror => rotate(matches!(shift, Shift::Rol), a, count, width, rflags),
        Shift::Rcl | Shift::Rcr => rotate_through_carry(matches!(shift, Shift::Rcl), a, count, width, rflags),
        Shift::Shl => left(a, count, width, rflags),
        Shift::Shr | Shift::Sar => right(matches!(shift, Shift::Sar), a, count, width, rflags),
    }
}

fn rotate(to_left: bool, a: u64, count: u32, width: u8, rflags: u64) -> (u64, u64) {
    let bits = u32::from(width) * 8;
    let by = count & bits.wrapping_sub(1);
    let back = bits.wrapping_sub(by) & bits.wrapping_sub(1);
    let (left, right) = if to_left { (by, back) } else { (back, by) };
    let result = (a.wrapping_shl(left) | a.wrapping_shr(right)) & mask(width);
    let top = result & sign_bit(width) != 0;
    let (carry, overflow) = if to_left {
        let carry = result & 1 != 0;
        (carry, carry != top)
    } else {
        (top, top != (result & (sign_bit(width) >> 1) != 0))
    };
    (result, replace(rflags, CF | OF, when(carry, CF) | when(overflow, OF)))
}

fn rotate_through_carry(to_left: bool, a: u64, count: u32, width: u8, rflags: u64) -> (u64, u64) {
    let bits = u32::from(width) * 8;
    // The carry flag is one more bit of the ring; only operands of one and two bytes can go around
    // it.
    let by = match width {
        1 => count % 9,
        2 => count % 17,
        _ => count,
    };
    if by == 0 {
        return (a, rflags);
    }
    let ring = u128::from(a) | u128::from(rflags & CF).wrapping_shl(bits);
    let back = bits.wrapping_add(1).wrapping_sub(by);
    let (left, right) = if to_left { (by, back) } else { (back, by) };
    let ring = ring.wrapping_shl(left) | ring.wrapping_shr(right);
    let result = ring as u64 & mask(width);
    let carry = ring.wrapping_shr(bits) & 1 != 0;
    let top = result & sign_bit(width) != 0;
    let overflow = if to_left { carry != top } else { top != (result & (sign_bit(width) >> 1) != 0) };
    (result, replace(rflags, CF | OF, when(carry, CF) | when(overflow, OF)))
}

fn left(a: u64, count: u32, width: u8, rflags: u64) -> (u64, u64) {
    let bits = u32::from(width) * 8;
    let wide = u128::from(a).wrapping_shl(count);
    let result = wide as u64 & mask(width);
    let carry = wide.wrapping_shr(bits) & 1 != 0;
    let overflow = carry != (result & sign_bit(width) != 0);
    (result, replace(rflags, STATUS & !AF, of_result(result, width) | when(carry, CF) | when(overflow, OF)))
}

fn right(signed: bool, a: u64, count: u32, width: u8, rflags: u64) -> (u64, u64) {
    let wide = if signed { i128::from(sign_extend(a, width) as i64) } else { i128::from(a) };
    let result = wide.wrapping_shr(count) as u64 & mask(width);
    let carry = wide.wrapping_shr(count.wrapping_sub(1)) & 1 != 0;
    let overflow = !signed && a & sign_bit(width) != 0;
    (result, replace(rflags, STATUS & !AF, of_result(result, width) | when(carry, CF) | when(overflow, OF)))
}

/// `shld` and `shrd` of four and eight bytes: `a` shifted by `count`, the bits of `filler` coming
/// in; and `rflags` after it.
#[inline]
pub(crate) fn double(to_left: bool, a: u64, filler: u64, count: u64, width: u8, rflags: u64) -> (u64, u64) {
    let bits = u32::from(width) * 8;
    let (a, filler) = (a & mask(width), filler & mask(width));
    let count = masked(count, width);
    if count == 0 {
        return (a, rflags);
    }
    let join = |high: u64, low: u64| u128::from(high).wrapping_shl(bits) | u128::from(low);
    let (result, carry) = if to_left {
        let back = bits.wrapping_sub(count);
        (join(a, filler).wrapping_shr(back), a.wrapping_shr(back))
    } else {
        (join(filler, a).wrapping_shr(count), a.wrapping_shr(count.wrapping_sub(1)))
    };
    let result = result as u64 & mask(width);
    let overflow = (result ^ a) & sign_bit(width) != 0;
    let new = of_result(result, width) | when(carry & 1 != 0, CF) | when(overflow, OF);
    (result, replace(rflags, STATUS & !AF, new))
}
