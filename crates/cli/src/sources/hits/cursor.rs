//! A place in a text that is being read, and the words and numbers there.

use std::ops::Range;

use crate::mistake::Mistake;

/// Where in a text a reader is.
pub(super) struct Cursor<'a> {
    /// The whole text.
    pub(super) text: &'a str,
    /// What is read next.
    pub(super) at: usize,
    /// Parentheses that are open.
    pub(super) depth: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// What is not yet read.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes `char`, if it is next.
    pub(super) fn take(&mut self, char: char) -> bool {
        let taken = self.rest().starts_with(char);
        self.at += if taken { char.len_utf8() } else { 0 };
        taken
    }

    /// Takes what fits.
    pub(super) fn word(&mut self, fits: impl Fn(char) -> bool) -> (&'a str, Range<usize>) {
        let rest = self.rest();
        let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let at = self.at..self.at + length;
        self.at = at.end;
        (&rest[..length], at)
    }

    /// A mistake at `at`.
    pub(super) fn error(&self, at: Range<usize>, why: impl Into<String>) -> Mistake {
        Mistake { text: self.text.into(), at, why: why.into() }
    }

    /// An error about the next character, or the end.
    pub(super) fn here(&self, why: impl Into<String>) -> Mistake {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        self.error(self.at..self.at + length, why)
    }

    /// Decimal, `0x` hexadecimal, or octal behind a 0, as in C.
    pub(super) fn number(&mut self) -> Result<u64, Mistake> {
        let (digits, at) = self.word(|c| c.is_ascii_alphanumeric());
        let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(&digits[1..], 8),
            None => digits.parse(),
        };
        parsed.map_err(|_| self.error(at, "expected a number of at most 64 bits, as 16, 0x10 or 020"))
    }
}
