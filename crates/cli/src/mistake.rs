//! A mistake in something typed that has a syntax of its own, with its place: a fetch argument, a
//! rule of injection.

use std::fmt;
use std::ops::Range;

/// Characters that are shown before and behind the place of a mistake at most.
const MOST_AROUND: usize = 60;

/// A mistake in what a person typed: shown with a mark under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The whole text.
    pub text: String,
    /// Bytes of it that are wrong.
    pub at: Range<usize>,
    /// What is wrong, and what to write instead.
    pub why: String,
}

/// What is shown for `c`: another character of as many bytes and one column if it is a control.
fn shown(c: char) -> char {
    match c {
        _ if !c.is_control() => c,
        _ if c.is_ascii() => ' ',
        _ => '\u{a0}',
    }
}

impl std::error::Error for Mistake {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, marked, behind) = self.around();
        let columns = |text: &str| text.chars().count();
        writeln!(f, "{}", self.why)?;
        writeln!(f, "  {before}{marked}{behind}")?;
        write!(f, "  {:1$}{2}", "", columns(&before), "^".repeat(columns(&marked).max(1)))
    }
}

impl Mistake {
    /// What is before, at and behind the place, shortened where it is long.
    fn around(&self) -> (String, String, String) {
        // What would move the mark, or the terminal's cursor, is shown as a space.
        let shown: String = self.text.chars().map(shown).collect();
        let text = |range: Range<usize>| shown.get(range).unwrap_or_default();
        let shorten = |text: &str| match text.char_indices().nth(MOST_AROUND) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.into(),
        };
        let before = text(0..self.at.start);
        let before = match before.char_indices().rev().nth(MOST_AROUND - 1) {
            Some((start, _)) if start > 0 => format!("…{}", &before[start..]),
            _ => before.into(),
        };
        (before, shorten(text(self.at.clone())), shorten(text(self.at.end..shown.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stays_under_its_place_whatever_the_text_holds() {
        let text = "ab\n\u{85}\x1b[2Jé x";
        let at = text.find('x').map_or(0..0, |at| at..at + 1);
        let mistake = Mistake { text: text.into(), at, why: "no".into() };
        assert_eq!(mistake.to_string(), "no\n  ab \u{a0} [2Jé x\n            ^");
    }
}
