//! Arithmetic and logic, results and flags (Intel SDM volume 2, the instruction's "Operation" and
//! "Flags Affected").
//!
//! Operands come with nothing above their `width` bytes and results go so. A flag that the manual
//! leaves undefined gets the value that current CPUs give it where those agree (`and` clears AF),
//! else it is left alone.

use crate::flags::{AF, CF, OF, STATUS, ZF, of_result, replace, sign_bit, when};
use crate::operation::{Alu, Bit, Unary};
use crate::slot::{mask, sign_extend};

/// `a op b`, and `rflags` after it.
#[inline]
pub(crate) fn binary(alu: Alu, a: u64, b: u64, width: u8, rflags: u64) -> (u64, u64) {
    let carry = rflags & CF;
    let (result, new) = match alu {
        Alu::Add => add(a, b, 0, width),
        Alu::Adc => add(a, b, carry, width),
        Alu::Sub | Alu::Cmp => subtract(a, b, 0, width),
        Alu::Sbb => subtract(a, b, carry, width),
        Alu::Or => logic(a | b, width),
        Alu::And | Alu::Test => logic(a & b, width),
        Alu::Xor => logic(a ^ b, width),
    };
    (result, replace(rflags, STATUS, new))
}

/// `op a`, and `rflags` after it.
#[inline]
pub(crate) fn unary(unary: Unary, a: u64, width: u8, rflags: u64) -> (u64, u64) {
    match unary {
        Unary::Inc => {
            let (result, new) = add(a, 1, 0, width);
            (result, replace(rflags, STATUS & !CF, new))
        }
        Unary::Dec => {
            let (result, new) = subtract(a, 1, 0, width);
            (result, replace(rflags, STATUS & !CF, new))
        }
        Unary::Not => (!a & mask(width), rflags),
        Unary::Neg => {
            let (result, new) = subtract(0, a, 0, width);
            (result, replace(rflags, STATUS, new))
        }
    }
}

/// `a` with bit `number` changed, and `rflags` after it.
#[inline]
pub(crate) fn bit(bit: Bit, a: u64, number: u8, rflags: u64) -> (u64, u64) {
    let selected = 1u64 << (number & 63);
    let result = match bit {
        Bit::Test => a,
        Bit::Set => a | selected,
        Bit::Reset => a & !selected,
        Bit::Complement => a ^ selected,
    };
    (result, replace(rflags, CF, when(a & selected != 0, CF)))
}

/// The low half of the signed product, and `rflags` after it: CF and OF tell that the whole does
/// not fit.
#[inline]
pub(crate) fn multiply_signed(a: u64, b: u64, width: u8, rflags: u64) -> (u64, u64) {
    let whole =
        i128::from(sign_extend(a, width) as i64).wrapping_mul(i128::from(sign_extend(b, width) as i64));
    let result = whole as u64 & mask(width);
    let fits = i128::from(sign_extend(result, width) as i64) == whole;
    (result, replace(rflags, CF | OF, when(!fits, CF | OF)))
}

/// The low and the high half of the product, and `rflags` after it.
#[inline]
pub(crate) fn multiply_wide(a: u64, b: u64, width: u8, signed: bool, rflags: u64) -> (u64, u64, u64) {
    let bits = u32::from(width) * 8;
    if signed {
        let (low, rflags) = multiply_signed(a, b, width, rflags);
        let whole =
            i128::from(sign_extend(a, width) as i64).wrapping_mul(i128::from(sign_extend(b, width) as i64));
        return (low, whole.wrapping_shr(bits) as u64 & mask(width), rflags);
    }
    let whole = u128::from(a).wrapping_mul(u128::from(b));
    let high = whole.wrapping_shr(bits) as u64 & mask(width);
    (whole as u64 & mask(width), high, replace(rflags, CF | OF, when(high != 0, CF | OF)))
}

/// `rflags` after `cmpxchg8b` and `cmpxchg16b`, which touch ZF alone.
#[inline]
pub(crate) fn equal(equal: bool, rflags: u64) -> u64 {
    replace(rflags, ZF, when(equal, ZF))
}

fn add(a: u64, b: u64, carry: u64, width: u8) -> (u64, u64) {
    let (a, b) = (a & mask(width), b & mask(width));
    let result = a.wrapping_add(b).wrapping_add(carry) & mask(width);
    // Carries out of each bit, the top one last (Hacker's Delight, 2-16).
    let carries = (a & b) | ((a | b) & !result);
    let overflow = (a ^ result) & (b ^ result);
    let new = of_result(result, width)
        | when(carries & sign_bit(width) != 0, CF)
        | when(overflow & sign_bit(width) != 0, OF)
        | when((a ^ b ^ result) & 0x10 != 0, AF);
    (result, new)
}

fn subtract(a: u64, b: u64, borrow: u64, width: u8) -> (u64, u64) {
    let (a, b) = (a & mask(width), b & mask(width));
    let result = a.wrapping_sub(b).wrapping_sub(borrow) & mask(width);
    let borrows = (!a & b) | ((!a | b) & result);
    let overflow = (a ^ b) & (a ^ result);
    let new = of_result(result, width)
        | when(borrows & sign_bit(width) != 0, CF)
        | when(overflow & sign_bit(width) != 0, OF)
        | when((a ^ b ^ result) & 0x10 != 0, AF);
    (result, new)
}

fn logic(result: u64, width: u8) -> (u64, u64) {
    let result = result & mask(width);
    (result, of_result(result, width))
}
