//! Conditions as a person writes them: which hits are recorded.
//!
//! ```text
//! CONDITION:  COMPARISON   !CONDITION   (CONDITION)
//!             CONDITION && CONDITION   CONDITION || CONDITION
//! COMPARISON: OPERAND == != < <= > >= & ~ OPERAND
//! OPERAND:    FETCH[:TYPE]   NAME of what is fetched   comm   NUMBER   "TEXT"
//! ```
//!
//! What it means is as in the kernel's event filters (Documentation/trace/events.rst) and in C: `&`
//! is true if both have a bit in common, `~` compares with a pattern. The parser is our own, since
//! an operand is what a probe fetches, and the function that reads that reads both.

mod compile;

use std::ops::Range;

use super::cursor::Cursor;
use super::fetch::Value;
use crate::mistake::Mistake;

/// How deep parentheses and `!` may be nested: each recurses.
const MAX_DEPTH: usize = 64;

/// A condition, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// The whole text.
    text: String,
    tree: Tree,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tree {
    Compare(Box<Comparison>),
    Not(Box<Tree>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    left: Operand,
    relation: Relation,
    /// Where that stands.
    at: Range<usize>,
    right: Operand,
}

impl Condition {
    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// What is compared, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Operand {
    what: What,
    at: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Fetched(Value),
    Number(i128),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Test,
    Like,
}

/// Those that begin as another does come before it.
const RELATIONS: [(&str, Relation); 8] = [
    ("==", Relation::Equal),
    ("!=", Relation::Different),
    ("<=", Relation::LessOrEqual),
    (">=", Relation::GreaterOrEqual),
    ("<", Relation::Less),
    (">", Relation::Greater),
    ("&", Relation::Test),
    ("~", Relation::Like),
];

/// Divides the words of a probe: those before `if`, and what is behind it, as it was written.
pub(super) fn split(spec: &str, fetch: &[String]) -> (String, Vec<String>, Option<String>) {
    let behind = |first: &str, rest: &[String]| {
        let words: Vec<&str> = [first].into_iter().chain(rest.iter().map(String::as_str)).collect();
        Some(words.join(" ").trim().to_owned())
    };
    if let Some((before, condition)) = crate::args::at_condition(spec) {
        let mut words = before.split_whitespace().map(str::to_owned);
        return (words.next().unwrap_or_default(), words.collect(), behind(condition, fetch));
    }
    for (number, word) in fetch.iter().enumerate() {
        if let Some((before, condition)) = crate::args::at_condition(word) {
            let mut words = fetch[..number].to_vec();
            words.extend(Some(before.trim().to_owned()).filter(|word| !word.is_empty()));
            return (spec.into(), words, behind(condition, &fetch[number + 1..]));
        }
    }
    (spec.into(), fetch.to_vec(), None)
}

/// Parses a condition.
pub(super) fn parse(text: &str) -> Result<Condition, Mistake> {
    let mut cursor = Cursor::new(text);
    let tree = cursor.any()?;
    match cursor.rest().chars().next() {
        None => Ok(Condition { text: text.into(), tree }),
        Some(')') => Err(cursor.here("this ) closes nothing")),
        Some(_) => Err(cursor.here("expected &&, || or the end of the condition; options stand before `if`")),
    }
}

impl Cursor<'_> {
    fn blanks(&mut self) {
        self.word(char::is_whitespace);
    }

    /// Takes `sign`, if it is next, and the blanks behind it.
    fn sign(&mut self, sign: &str) -> bool {
        let taken = self.rest().starts_with(sign);
        if taken {
            self.at += sign.len();
            self.blanks();
        }
        taken
    }

    fn any(&mut self) -> Result<Tree, Mistake> {
        self.blanks();
        let first = self.all()?;
        let mut trees = vec![first];
        while self.sign("||") {
            trees.push(self.all()?);
        }
        Ok(if trees.len() > 1 { Tree::Or(trees) } else { trees.remove(0) })
    }

    fn all(&mut self) -> Result<Tree, Mistake> {
        let mut trees = vec![self.one()?];
        while self.sign("&&") {
            trees.push(self.one()?);
        }
        Ok(if trees.len() > 1 { Tree::And(trees) } else { trees.remove(0) })
    }

    fn one(&mut self) -> Result<Tree, Mistake> {
        if self.depth == MAX_DEPTH {
            return Err(self.here(format!("this is nested too deep: {MAX_DEPTH} deep is possible")));
        }
        let open = self.at;
        if self.sign("!") {
            self.depth += 1;
            let tree = self.one();
            self.depth -= 1;
            return Ok(Tree::Not(Box::new(tree?)));
        }
        if !self.rest().starts_with('(') || is_cast(self.rest()) {
            return self.comparison().map(|comparison| Tree::Compare(Box::new(comparison)));
        }
        self.sign("(");
        self.depth += 1;
        let tree = self.any();
        self.depth -= 1;
        let tree = tree?;
        if self.sign(")") {
            return Ok(tree);
        }
        match self.rest() {
            "" => Err(self.error(open..open + 1, "this ( is not closed")),
            _ => Err(self.here("expected &&, || or )")),
        }
    }

    fn comparison(&mut self) -> Result<Comparison, Mistake> {
        let left = self.operand()?;
        let start = self.at;
        // `&&` joins, and does not test.
        let known = RELATIONS.iter().find(|(name, _)| {
            self.rest().starts_with(name) && !(*name == "&" && self.rest().starts_with("&&"))
        });
        let Some((name, relation)) = known else {
            let why = match self.rest().chars().next() {
                Some('=') => "expected ==: a single = compares nothing",
                _ => {
                    "expected a comparison behind this: ==, !=, <, <=, >, >=, & (a bit in common) or ~ (a pattern)"
                }
            };
            return Err(self.here(why));
        };
        self.sign(name);
        let right = self.operand()?;
        Ok(Comparison { left, relation: *relation, at: start..start + name.len(), right })
    }

    /// An operand and the blanks behind it.
    fn operand(&mut self) -> Result<Operand, Mistake> {
        let start = self.at;
        let rest = self.rest();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let after = digits.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        let what = if rest.starts_with('"') {
            What::Text(self.quoted()?)
        } else if digits.starts_with(|c: char| c.is_ascii_digit()) && !after.starts_with('(') {
            let negative = self.take('-');
            let number = i128::from(self.number()?);
            What::Number(if negative { -number } else { number })
        } else if rest.is_empty() {
            let why = "a condition has something to compare: expected what is fetched, its name, a number or a \"text\"";
            return Err(self.here(why));
        } else {
            What::Fetched(self.value()?)
        };
        let at = start..self.at;
        self.blanks();
        Ok(Operand { what, at })
    }

    fn quoted(&mut self) -> Result<String, Mistake> {
        let start = self.at;
        self.take('"');
        let (text, _) = self.word(|c| c != '"');
        if self.take('"') {
            Ok(text.into())
        } else {
            Err(self.error(start..start + 1, "this text has no end"))
        }
    }
}

/// Whether a parenthesis holds the name of a type, as in `(sk_buff)%di->len` and `(struct sock *)`.
fn is_cast(text: &str) -> bool {
    let name = text.strip_prefix('(').unwrap_or(text);
    let behind = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '*'));
    behind.len() < name.len() && behind.starts_with([')', ','])
}

#[cfg(test)]
mod tests;
