//! C text as tokens.
//!
//! Comments are kept beside, for they say what a register is for, and so is whether a token begins
//! a line or is indented after `#define`: a convention by which kernel headers tell fields from
//! registers. What C forbids is no error here; it becomes [`Token::Other`].

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    /// A number, and how it is written: `0x` or not.
    Number(i128, Base),
    /// An operator or a bracket.
    Punct(&'static str),
    /// A string, a character, a fraction, or what is no C.
    Other,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Hexadecimal,
    Decimal,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexed<'a> {
    pub token: Token<'a>,
    /// From 1.
    pub line: u32,
    /// Whether it is the first of a line that does not continue the one before.
    pub begins: bool,
    /// Blanks before it; a tab counts as one.
    pub blanks: u32,
}

/// A comment.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    /// Where it begins, from 1.
    pub first: u32,
    /// Where it ends.
    pub last: u32,
    /// With single blanks.
    pub text: String,
}

/// The operators, those of more characters first.
const PUNCTS: [&str; 43] = [
    "...", "<<=", ">>=", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "##", "->", "++", "--", "+=", "-=",
    "|=", "&=", "(", ")", "{", "}", "[", "]", ",", ";", ":", "?", "+", "-", "*", "/", "%", "&", "|", "^",
    "~", "!", "<", ">", "=", ".",
];

/// Cuts `text` into tokens and comments.
pub(super) fn lex(text: &str) -> (Vec<Lexed<'_>>, Vec<Comment>) {
    let (mut tokens, mut comments) = (Vec::new(), Vec::new());
    let (mut rest, mut line, mut begins, mut blanks) = (text, 1_u32, true, 0_u32);
    let count = |text: &str| u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
    while let Some(first) = rest.chars().next() {
        let continued = rest.strip_prefix("\\\r\n").or_else(|| rest.strip_prefix("\\\n"));
        if let Some(after) = continued {
            (rest, line, blanks) = (after, line.saturating_add(1), blanks.saturating_add(1));
            continue;
        }
        if first == '\n' {
            (rest, line, begins, blanks) = (&rest[1..], line.saturating_add(1), true, 0);
            continue;
        }
        if first.is_whitespace() {
            (rest, blanks) = (&rest[first.len_utf8()..], blanks.saturating_add(1));
            continue;
        }
        if rest.starts_with("//") || rest.starts_with("/*") {
            let length = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else {
                rest[2..].find("*/").map_or(rest.len(), |end| end + 4)
            };
            let (comment, after) = rest.split_at(length);
            let last = line.saturating_add(count(comment));
            comments.push(Comment { first: line, last, text: plain(comment) });
            // A comment does not end a line, even one of several lines.
            (rest, line, blanks) = (after, last, blanks.saturating_add(1));
            continue;
        }
        let (token, length) = one(rest, first);
        tokens.push(Lexed { token, line, begins, blanks });
        line = line.saturating_add(count(&rest[..length]));
        (rest, begins, blanks) = (&rest[length..], false, 0);
    }
    (tokens, comments)
}

/// A comment's words.
fn plain(comment: &str) -> String {
    let text = comment.trim_start_matches(['/', '*', '!', '<']);
    let text = text.strip_suffix("*/").unwrap_or(text);
    let lines = text.lines().map(|line| line.trim().trim_start_matches(['*', '=']));
    crate::import::tree::words(&lines.collect::<Vec<_>>().join(" "))
}

/// The token that `rest` begins with, and its bytes.
fn one(rest: &str, first: char) -> (Token<'_>, usize) {
    let word = |more: fn(char) -> bool| rest.find(|char: char| !more(char)).unwrap_or(rest.len());
    if first.is_ascii_digit() {
        let length = word(|char| char.is_ascii_alphanumeric() || char == '.' || char == '_');
        return (number(&rest[..length]), length);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = word(|char| char.is_ascii_alphanumeric() || char == '_');
        return (Token::Name(&rest[..length]), length);
    }
    if first == '"' || first == '\'' {
        let mut is_escaped = false;
        let end = rest[1..].char_indices().find(|(_, char)| {
            let ends = (*char == first && !is_escaped) || *char == '\n';
            is_escaped = *char == '\\' && !is_escaped;
            ends
        });
        return (Token::Other, end.map_or(rest.len(), |(at, char)| at + 1 + usize::from(char == first)));
    }
    match PUNCTS.iter().find(|punct| rest.starts_with(**punct)) {
        Some(punct) => (Token::Punct(punct), punct.len()),
        None if first == '#' => (Token::Punct("#"), 1),
        None => (Token::Other, first.len_utf8()),
    }
}

fn number(text: &str) -> Token<'_> {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16),
        Some("0b" | "0B") => (&digits[2..], 2),
        Some(_) if digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    let base = if radix == 16 { Base::Hexadecimal } else { Base::Decimal };
    match u64::from_str_radix(digits, radix) {
        Ok(value) if !digits.starts_with('+') => Token::Number(value.into(), base),
        _ => Token::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_continuations_and_numbers_are_told_apart() {
        let (tokens, comments) = lex("#define  A\\\n 0x10UL /* one\n * two */ + 'x' 017 1.5\n// end");
        let found: Vec<Token<'_>> = tokens.iter().map(|lexed| lexed.token).collect();
        use Token::*;
        let number = Number(16, Base::Hexadecimal);
        let octal = Number(15, Base::Decimal);
        assert_eq!(found, [Punct("#"), Name("define"), Name("A"), number, Punct("+"), Other, octal, Other]);
        assert_eq!((tokens[2].blanks, tokens[3].line, tokens[4].line), (2, 2, 3));
        assert!(tokens[0].begins && !tokens[1..].iter().any(|lexed| lexed.begins));
        let texts: Vec<_> = comments.iter().map(|comment| (comment.last, &*comment.text)).collect();
        assert_eq!(texts, [(3, "one two"), (4, "end")]);
    }
}
