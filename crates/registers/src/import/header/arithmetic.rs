//! What operators and the kernel's own macros give.

use super::expression::Why;

/// Whether a macro of this name gives bits of the numbers that it is called with.
pub(super) fn is_bits(name: &str) -> bool {
    matches!(
        name,
        "BIT"
            | "BIT_ULL"
            | "_BITUL"
            | "_BITULL"
            | "GENMASK"
            | "GENMASK_ULL"
            | "BIT_MASK"
            | "REG_BIT"
            | "REG_GENMASK"
            | "REG_BIT8"
            | "REG_GENMASK8"
            | "REG_BIT16"
            | "REG_GENMASK16"
            | "REG_GENMASK64"
    )
}

/// Macros of the kernel that no driver's header defines.
pub(super) fn built_in(name: &str, arguments: &[i128]) -> Option<Result<i128, Why>> {
    Some(match (name, arguments) {
        (_, [bit]) if is_bits(name) => shift_left(1, *bit),
        (_, [high, low]) if is_bits(name) => {
            let width = high.checked_sub(*low).filter(|more| (0..64).contains(more));
            match width {
                Some(more) => shift_left((1 << (more + 1)) - 1, *low),
                None => Err(format!("{name}({high}, {low}) has no bits")),
            }
        }
        ("_MMIO" | "UL" | "ULL" | "U" | "cpu_to_le32" | "cpu_to_be32", [value]) => Ok(*value),
        // i915: two of a row of registers give the others.
        (_, [index, first, second])
            if name.starts_with("_MMIO_")
                || matches!(name, "_PIPE" | "_PLANE" | "_TRANS" | "_PORT" | "_PLL") =>
        {
            let step = second.checked_sub(*first).and_then(|step| step.checked_mul(*index));
            step.and_then(|step| step.checked_add(*first)).ok_or_else(|| TOO_LARGE.into())
        }
        ("_UL" | "_ULL" | "_AC" | "_UC", [value, ..]) => Ok(*value),
        ("FIELD_PREP" | "REG_FIELD_PREP", [mask, value]) if *mask > 0 => {
            shift_left(*value, mask.trailing_zeros().into()).map(|placed| placed & mask)
        }
        _ => return None,
    })
}

pub(super) const TOO_LARGE: &str = "it is too large a number";

pub(super) fn shift_left(value: i128, by: i128) -> Result<i128, Why> {
    let by = u32::try_from(by).ok().filter(|by| *by < 64).ok_or("it shifts by more than 63 bits")?;
    value.checked_mul(1 << by).ok_or_else(|| TOO_LARGE.into())
}

/// What a binary operator gives.
pub(super) fn operate(operator: &str, left: i128, right: i128) -> Result<i128, Why> {
    let value = match operator {
        "||" => Some((left != 0 || right != 0).into()),
        "&&" => Some((left != 0 && right != 0).into()),
        "|" => Some(left | right),
        "^" => Some(left ^ right),
        "&" => Some(left & right),
        "==" => Some((left == right).into()),
        "!=" => Some((left != right).into()),
        "<" => Some((left < right).into()),
        ">" => Some((left > right).into()),
        "<=" => Some((left <= right).into()),
        ">=" => Some((left >= right).into()),
        "<<" => return shift_left(left, right),
        ">>" => u32::try_from(right).ok().and_then(|by| left.checked_shr(by)),
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "/" => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    value.ok_or_else(|| format!("{left} {operator} {right} has no value"))
}

/// A value as bits: what `~` gives is negative before its width is known.
pub(super) fn unsigned(value: i128) -> Option<u64> {
    match i32::try_from(value) {
        Ok(value) if value < 0 => Some(u64::from(value.cast_unsigned())),
        _ => u64::try_from(value).ok().or_else(|| i64::try_from(value).ok().map(i64::cast_unsigned)),
    }
}
