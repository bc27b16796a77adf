//! A mistake in a fetch argument, with its place.

use std::fmt;
use std::ops::Range;

/// Characters that are shown before and behind the place of a mistake at most.
const MOST_AROUND: usize = 60;

/// A mistake in a fetch argument: shown with a mark under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchError {
    /// The whole argument.
    pub text: String,
    /// Bytes of it that are wrong.
    pub at: Range<usize>,
    /// What is wrong, and what to write instead.
    pub why: String,
}

impl std::error::Error for FetchError {}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, marked, behind) = self.around();
        let columns = |text: &str| text.chars().count();
        writeln!(f, "{}", self.why)?;
        writeln!(f, "  {before}{marked}{behind}")?;
        write!(f, "  {:1$}{2}", "", columns(&before), "^".repeat(columns(&marked).max(1)))
    }
}

impl FetchError {
    /// What is before, at and behind the place, shortened where it is long.
    fn around(&self) -> (String, String, String) {
        let text = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        let shorten = |text: &str| match text.char_indices().nth(MOST_AROUND) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.into(),
        };
        let before = text(0..self.at.start);
        let before = match before.char_indices().rev().nth(MOST_AROUND - 1) {
            Some((start, _)) if start > 0 => format!("…{}", &before[start..]),
            _ => before.into(),
        };
        (before, shorten(text(self.at.clone())), shorten(text(self.at.end..self.text.len())))
    }
}
