//! Patterns of texts, as the kernel's event filters have them.

use super::words::Text;

/// Whether `text` is as `pattern` says: all of it. As the kernel's `glob_match()` (lib/glob.c),
/// whose shape this has; what is no class, since it has no end, stands for itself.
///
/// After a mismatch the last `*` takes one more byte, those before it never need to again. So the
/// pattern is walked at most once for each byte of the text: in the trap, as many steps as their
/// lengths multiplied.
pub(super) fn matches(text: Text<'_>, pattern: Text<'_>) -> bool {
    let (mut at, mut next) = (0, 0);
    // Behind the last `*`, and where in the text that was tried.
    let mut star = None;
    loop {
        let char = text.byte(at);
        let mut wanted = pattern.byte(next);
        (at, next) = (at + 1, next + 1);
        let fits = match wanted {
            Some(b'*') => {
                at -= 1;
                star = Some((next, at));
                continue;
            }
            Some(b'?') => char.is_some(),
            Some(b'[') => match (class(pattern, next), char) {
                (Some(class), Some(char)) => {
                    next = class.end;
                    class.holds(pattern, char)
                }
                (Some(_), None) => false,
                (None, _) => char == wanted,
            },
            _ => {
                if wanted == Some(b'\\') {
                    wanted = pattern.byte(next);
                    next += 1;
                }
                char == wanted
            }
        };
        if fits && char.is_none() {
            return true;
        }
        if !fits {
            let (Some((behind, tried)), Some(_)) = (star, char) else { return false };
            (at, next) = (tried + 1, behind);
            star = Some((behind, at));
        }
    }
}

/// A class of a pattern: its first byte, and the one behind its `]`.
struct Class {
    start: usize,
    end: usize,
    is_inverted: bool,
}

/// A range of a class, whose first byte is at `at`; and where the next one begins.
fn range(pattern: Text<'_>, at: usize) -> Option<(u8, u8, usize)> {
    let first = pattern.byte(at)?;
    match (pattern.byte(at + 1), pattern.byte(at + 2)) {
        (Some(b'-'), Some(b']')) => Some((first, first, at + 1)),
        (Some(b'-'), last) => Some((first, last?, at + 3)),
        _ => Some((first, first, at + 1)),
    }
}

/// The class behind a `[`; `None` if it has no end.
fn class(pattern: Text<'_>, at: usize) -> Option<Class> {
    let is_inverted = pattern.byte(at) == Some(b'!');
    let start = at + usize::from(is_inverted);
    // A `]` that comes first is one of them.
    let (.., mut end) = range(pattern, start)?;
    while pattern.byte(end)? != b']' {
        (.., end) = range(pattern, end)?;
    }
    Some(Class { start, end: end + 1, is_inverted })
}

impl Class {
    fn holds(&self, pattern: Text<'_>, char: u8) -> bool {
        let (mut at, mut is_one) = (self.start, false);
        while at + 1 < self.end
            && let Some((first, last, next)) = range(pattern, at)
        {
            is_one |= (first..=last).contains(&char);
            at = next;
        }
        is_one != self.is_inverted
    }
}
