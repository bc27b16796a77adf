//! Numbers as a person types them: sizes, addresses, ranges, durations, PCI addresses.
//!
//! Our own, because a physical address wants hexadecimal and a size wants `64K`, in one notation;
//! the crates for sizes know decimal only.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number, decimal or `0x` hexadecimal, with `K`, `M` or `G` (1024 each time, `KiB` and `KB` mean
/// the same) behind it.
///
/// A hexadecimal number takes the long suffixes only (`0x10KiB`) where the short one would read as
/// a digit; none of K, M and G is one.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (rest, 16),
        None => (text, 10),
    };
    let end = digits.find(|c: char| !(c.is_digit(radix) || c == '_')).unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => {
            return Err(format!(
                "`{text}` is not a number: expected digits or 0x…, then K, M or G if wanted"
            ));
        }
    };
    let number = number.replace('_', "");
    if number.is_empty() {
        return Err(format!("`{text}` is not a number: expected digits or 0x…, then K, M or G if wanted"));
    }
    u64::from_str_radix(&number, radix)
        .ok()
        .and_then(|value| value.checked_mul(1 << shift))
        .ok_or_else(|| format!("`{text}` does not fit into 64 bits"))
}

/// A number as registers have it: decimal or `0x` hexadecimal, with `_` between digits if wanted.
pub(crate) fn parse_number(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (rest, 16),
        None => (text, 10),
    };
    let has_digits = digits.starts_with(|c: char| c.is_digit(radix));
    if !has_digits || !digits.chars().all(|c| c.is_digit(radix) || c == '_') {
        return Err(format!("`{text}` is not a number: expected digits or 0x…"));
    }
    u64::from_str_radix(&digits.replace('_', ""), radix)
        .map_err(|_| format!("`{text}` does not fit into 64 bits"))
}

/// A length of time with its unit: `10s`, `500ms`, `1m 30s`; longer than zero.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected a number with its unit, as in 10s, 500ms or 2m"))?;
    if duration.is_zero() {
        return Err("a trace of no time would hold nothing; expected more than 0".into());
    }
    Ok(duration)
}

/// Bytes as a person reads them: exact, in the largest unit that divides them evenly, else with one
/// decimal.
pub(crate) fn format_size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in UNITS {
        let unit = 1 << shift;
        if bytes >= unit {
            return if bytes.is_multiple_of(unit) {
                format!("{} {name}", bytes / unit)
            } else {
                format!("{:.1} {name}", bytes as f64 / unit as f64)
            };
        }
    }
    format!("{bytes} B")
}

/// Physical addresses from `physical` on; at least one byte, and the end does not wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PhysicalRange {
    /// First address.
    pub physical: u64,
    /// Bytes.
    pub length: u64,
}

impl PhysicalRange {
    /// What of it lies outside `other`: nothing, one piece, or one on each side.
    pub(crate) fn outside(&self, other: &Self) -> Vec<Self> {
        let (end, other_end) = (self.physical + self.length, other.physical + other.length);
        [(self.physical, end.min(other.physical)), (self.physical.max(other_end), end)]
            .into_iter()
            .filter(|(start, end)| start < end)
            .map(|(start, end)| Self { physical: start, length: end - start })
            .collect()
    }
}

impl fmt::Display for PhysicalRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.physical, self.length)
    }
}

impl FromStr for PhysicalRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, length) = text
            .split_once('+')
            .ok_or_else(|| format!("`{text}` is not PHYS+LEN, as in 0xfebc0000+0x1000 or 0xfebc0000+128K"))?;
        let (physical, length) = (parse_size(start)?, parse_size(length)?);
        if length == 0 {
            return Err(format!("the range {text} has length 0; it needs at least 1 byte"));
        }
        if physical.checked_add(length).is_none() {
            return Err(format!("the range {text} wraps around the end of the address space"));
        }
        Ok(Self { physical, length })
    }
}

/// The highest address of the lower half that translation by five levels of page tables knows
/// (Intel SDM volume 1, 3.3.7.1).
const CANONICAL: u64 = (1 << 56) - 1;

/// Linear addresses, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressRange {
    /// The first.
    pub(crate) first: u64,
    /// The last.
    pub(crate) last: u64,
}

impl FromStr for AddressRange {
    type Err = String;

    /// Reads `0x1000-0x1fff` or `0x1000+4K`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no range of addresses, as in 0x7f0000000000-0x7f00000fffff or 0x7f0000000000+1M"
            )
        };
        let range = if let Some((first, last)) = text.split_once('-') {
            Self { first: parse_size(first)?, last: parse_size(last)? }
        } else {
            let (first, length) = text.split_once('+').ok_or_else(wrong)?;
            let (first, length) = (parse_size(first)?, parse_size(length)?);
            let last = length.checked_sub(1).and_then(|rest| first.checked_add(rest));
            Self { first, last: last.ok_or_else(|| format!("the range {text} is empty or wraps around"))? }
        };
        if range.first > range.last {
            return Err(format!("the range {text} ends before it begins"));
        }
        if range.first > CANONICAL && range.last < !CANONICAL {
            return Err(format!(
                "the range {text} lies where no address is: a linear address has at most 57 bits, the others are all like the highest of them"
            ));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_decimal_and_hexadecimal_with_binary_suffixes() {
        for (text, value) in [
            ("0", 0),
            ("4096", 4096),
            ("0x1000", 4096),
            ("0xFEBC_0000", 0xfebc_0000),
            ("8MiB", 8 << 20),
            ("8M", 8 << 20),
            ("64k", 64 << 10),
            ("0x10K", 16 << 10),
            ("1G", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_text_named() {
        for text in ["", "K", "0x", "12Q", "-1", "1.5M", "0xffffffffffffffffK"] {
            assert!(parse_size(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_of_64_bits() {
        for (text, value) in [("0", 0), ("10", 10), ("0xff_FF", 0xffff), ("0xffffffffffffffff", u64::MAX)] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        for text in ["", "0x", "_1", "0x_", "+1", "-1", "1K", "ff", " 1", "18446744073709551616", "٣"] {
            assert!(parse_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_of_length_0_or_one_that_wraps_is_refused() {
        assert_eq!("0x1000+4K".parse(), Ok(PhysicalRange { physical: 0x1000, length: 0x1000 }));
        assert!("0x1000+0".parse::<PhysicalRange>().unwrap_err().contains("length 0"));
        assert!("0xffffffffffffff00+0x200".parse::<PhysicalRange>().unwrap_err().contains("wraps"));
        assert!("0x1000".parse::<PhysicalRange>().unwrap_err().contains("PHYS+LEN"));
    }

    #[test]
    fn addresses_are_given_by_both_ends_or_by_length() {
        assert_eq!("0x1000-0x1fff".parse(), Ok(AddressRange { first: 0x1000, last: 0x1fff }));
        assert_eq!("0x1000+4K".parse(), Ok(AddressRange { first: 0x1000, last: 0x1fff }));
        // Partly where addresses are: the lower half's end, and the upper half's beginning.
        assert!("0xfffffffffff000-0x0100000000000fff".parse::<AddressRange>().is_ok());
        assert!("0xfe00000000000000-0xff00000000000000".parse::<AddressRange>().is_ok());
        assert_eq!("0-0xffffffffffffffff".parse(), Ok(AddressRange { first: 0, last: u64::MAX }));
        for (text, word) in [
            ("0x1000", "no range"),
            ("0x2000-0x1000", "ends before"),
            ("0x1000+0", "empty"),
            ("0xffffffffffffffff+2", "wraps"),
            ("0x0100000000000000+4K", "no address is"),
            ("0xdead000000000000-0xdead000000000fff", "no address is"),
        ] {
            assert!(text.parse::<AddressRange>().unwrap_err().contains(word), "{text}");
        }
    }

    #[test]
    fn what_lies_outside_another_range_is_up_to_two_pieces() {
        let range = |physical, length| PhysicalRange { physical, length };
        let outside = |other| range(0x1000, 0x1000).outside(&other);
        assert_eq!(outside(range(0x1000, 0x1000)), []);
        assert_eq!(outside(range(0, 0x10000)), []);
        assert_eq!(outside(range(0x3000, 1)), [range(0x1000, 0x1000)]);
        assert_eq!(outside(range(0x800, 0x900)), [range(0x1100, 0xf00)]);
        assert_eq!(outside(range(0x1800, 0x1000)), [range(0x1000, 0x800)]);
        assert_eq!(outside(range(0x1100, 0x100)), [range(0x1000, 0x100), range(0x1200, 0xe00)]);
    }

    #[test]
    fn a_duration_needs_a_unit_and_more_than_nothing() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_duration("10").is_err());
        assert!(parse_duration("0s").unwrap_err().contains("more than 0"));
    }

    #[test]
    fn sizes_are_written_exactly_when_a_unit_divides_them() {
        assert_eq!(format_size(100), "100 B");
        assert_eq!(format_size(128 << 10), "128 KiB");
        assert_eq!(format_size(1536), "1.5 KiB");
        assert_eq!(format_size(8 << 20), "8 MiB");
    }
}
