//! A line of mmiotrace's text: its keyword, its time, and the words that its kind of event reads.

use std::str::SplitAsciiWhitespace;

use hashbrown::HashMap;

/// The mappings that MAP lines told of: physical and linear address of the first byte, by number.
pub(crate) type Mappings = HashMap<u32, (u64, u64)>;

/// A line that tells of something that happened.
#[derive(Clone, Debug)]
pub(crate) struct TextLine<'l> {
    /// `R`, `W`, `MAP`, …
    pub(crate) keyword: &'l str,
    /// Bytes accessed, of `R` and `W`.
    pub(crate) width: u8,
    /// Nanoseconds.
    pub(crate) time: u64,
    /// What follows the time.
    rest: &'l str,
}

/// The keywords of such lines; `R` and `W` have a width before the time.
const KEYWORDS: [&str; 6] = ["R", "W", "MAP", "UNMAP", "UNKNOWN", "MARK"];

impl<'l> TextLine<'l> {
    /// The line that a text is; `None` if it is none or tells of nothing that happened.
    pub(crate) fn parse(text: &'l str) -> Option<Self> {
        let (keyword, mut rest) = word(text)?;
        if !KEYWORDS.contains(&keyword) {
            return None;
        }
        let mut width = 0;
        if matches!(keyword, "R" | "W") {
            let (digits, after) = word(rest)?;
            (width, rest) = (digits.parse().ok()?, after);
        }
        let (time, rest) = word(rest)?;
        Some(Self { keyword, width, time: nanoseconds(time)?, rest })
    }

    /// The text of a `MARK`.
    pub(crate) fn mark(&self) -> Option<&'l str> {
        (self.keyword == "MARK").then(|| self.rest.trim_end())
    }

    /// What follows the time, word by word.
    pub(crate) fn words(&self) -> Words<'l> {
        Words(self.rest.split_ascii_whitespace())
    }
}

/// The words of a line.
pub(crate) struct Words<'l>(SplitAsciiWhitespace<'l>);

impl Words<'_> {
    /// The next one, a decimal number.
    pub(crate) fn decimal(&mut self) -> Option<u32> {
        self.0.next()?.parse().ok()
    }

    /// The next one, a hexadecimal number.
    pub(crate) fn hex(&mut self) -> Option<u64> {
        hex(self.0.next()?)
    }

    /// Passes over the next one, whatever it is.
    pub(crate) fn skip(&mut self) -> Option<()> {
        self.0.next().map(drop)
    }

    /// The last two of a line, which early versions leave out: the address of the instruction, 0 if
    /// it is not told, and the thread. `None` if they are there and no numbers.
    pub(crate) fn origin(mut self) -> Option<(u64, u32)> {
        let pc = self.0.next().map_or(Some(0), hex)?;
        let pid = self.0.next().map_or(Some(0), |text| text.parse().ok())?;
        self.0.next().is_none().then_some((pc, pid))
    }
}

/// The first word of a text, and what follows the blank behind it.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (!word.is_empty()).then_some((word, rest))
}

/// `12.345678` in nanoseconds. The kernel prints six digits; up to nine are taken.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let part = fraction.parse::<u64>().ok()? * 10_u64.pow(9 - fraction.len() as u32);
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(part)
}

/// A hexadecimal number, with or without `0x`.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    // `from_str_radix` takes a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_keyword_width_time_and_words() {
        let line = TextLine::parse("R 4 12.351851 1 0xfeb80008 0x80080 0xffffffffc0400107 42").unwrap();
        assert_eq!((line.keyword, line.width, line.time), ("R", 4, 12_351_851_000));
        let mut words = line.words();
        assert_eq!((words.decimal(), words.hex(), words.hex()), (Some(1), Some(0xfeb8_0008), Some(0x8_0080)));
        assert_eq!(words.origin(), Some((0xffff_ffff_c040_0107, 42)));
    }

    #[test]
    fn instruction_and_thread_may_be_missing_but_not_be_something_else() {
        let origin = |rest: &str| {
            let text = format!("UNMAP 1.0 3 {rest}");
            let mut words = TextLine::parse(&text).unwrap().words();
            words.skip()?;
            words.origin()
        };
        assert_eq!(origin(""), Some((0, 0)));
        assert_eq!(origin("0x0 0"), Some((0, 0)));
        for wrong in ["here", "0x0 x", "0x0 0 0"] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_has_up_to_nine_digits_behind_its_point() {
        assert_eq!(nanoseconds("0.000001"), Some(1_000));
        assert_eq!(nanoseconds("1.5"), Some(1_500_000_000));
        for wrong in ["1", "1.", ".x", "1.0000000001", "-1.0", "1.+2", "99999999999999.0", ""] {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
    }
}
