//! What a header defines, in its order.

use super::expression::{Macro, Macros};
use super::token::{Comment, Lexed, Token, lex};

/// Something with a name that a header defines.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    /// Number of the file among the sources.
    pub file: usize,
    /// Its line, from 1.
    pub line: u32,
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind<'a>,
    /// The comment beside it, or right above it.
    pub comment: String,
}

/// What an item is.
#[derive(Clone, Debug)]
pub(super) enum Kind<'a> {
    /// `#define`, or a constant of an enum.
    Macro {
        /// What it stands for.
        found: Macro<'a>,
        /// How much further right than usual it stands, as fields do below their register, and
        /// their values below them.
        indent: u32,
    },
    /// `REG_FIELD(register, low, high)`.
    RegField([Vec<Lexed<'a>>; 3]),
    /// `REG32(name, offset)` with the width in bytes.
    Reg(u8, Vec<Lexed<'a>>),
    /// `FIELD(register, name, low, width)`.
    Field(&'a str, [Vec<Lexed<'a>>; 2]),
}

/// All that `text` defines; its macros are added to `macros`, where the first of a name stays.
pub(super) fn items<'a>(file: usize, text: &'a str, macros: &mut Macros<'a>) -> Vec<Item<'a>> {
    let (tokens, comments) = lex(text);
    let mut reader =
        Reader { file, tokens: &tokens, comments: &comments, items: Vec::new(), skipping: Vec::new() };
    reader.all();
    let mut items = reader.items;
    for item in &mut items {
        if let Kind::Macro { found, .. } = &item.kind {
            macros.entry(item.name).or_insert_with(|| found.clone());
        }
    }
    items
}

/// Tokens that are looked through for the end of arguments.
const MOST_TOKENS: usize = 512;

struct Reader<'t, 'a> {
    file: usize,
    tokens: &'t [Lexed<'a>],
    comments: &'t [Comment],
    items: Vec<Item<'a>>,
    /// Of each `#if` around here whether its text is left out: that of `#if 0` is.
    skipping: Vec<bool>,
}

impl<'a> Reader<'_, 'a> {
    fn all(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            let first = self.tokens[at];
            if first.token == Token::Punct("#") && first.begins {
                let length = self.tokens[at + 1..].iter().take_while(|lexed| !lexed.begins).count();
                self.directive(at + 1, at + 1 + length);
                at += 1 + length;
            } else {
                at = if self.skipping.contains(&true) { at + 1 } else { self.text(at) };
            }
        }
    }

    /// The name at `at`.
    fn name(&self, at: usize) -> Option<&'a str> {
        match self.tokens.get(at)?.token {
            Token::Name(name) => Some(name),
            _ => None,
        }
    }

    fn is(&self, at: usize, punct: &'static str) -> bool {
        self.tokens.get(at).is_some_and(|lexed| lexed.token == Token::Punct(punct))
    }

    /// A directive whose word is at `at`, and which ends before `end`.
    fn directive(&mut self, at: usize, end: usize) {
        match self.name(at).unwrap_or_default() {
            "if" => {
                let is_never = end == at + 2 && matches!(self.tokens[at + 1].token, Token::Number(0, _));
                self.skipping.push(is_never);
            }
            "ifdef" | "ifndef" => self.skipping.push(false),
            "else" | "elif" => {
                if let Some(last) = self.skipping.last_mut() {
                    *last = false;
                }
            }
            "endif" => drop(self.skipping.pop()),
            "define" if !self.skipping.contains(&true) => self.define(at + 1, end),
            _ => {}
        }
    }

    fn define(&mut self, at: usize, end: usize) {
        let Some(name) = self.name(at).filter(|_| at < end) else { return };
        let mut body = at + 1;
        let mut parameters = None;
        if body < end && self.is(body, "(") && self.tokens[body].blanks == 0 {
            let Some(close) = (body..end).find(|at| self.is(*at, ")")) else { return };
            parameters = Some((body + 1..close).filter_map(|at| self.name(at)).collect());
            body = close + 1;
        }
        // `#  define X` and `#define   X` both are indented.
        let indent = self.tokens[at].blanks.saturating_sub(1) + self.tokens[at - 1].blanks;
        let line = self.tokens[at].line;
        let last = self.tokens[end - 1].line;
        let found = Macro { parameters, body: self.tokens[body..end].to_vec(), plus: 0 };
        self.push(line, last, name, Kind::Macro { found, indent });
    }

    fn push(&mut self, line: u32, last: u32, name: &'a str, kind: Kind<'a>) {
        let comment = self.comment(line, last);
        self.items.push(Item { file: self.file, line, name, kind, comment });
    }

    /// The comment that begins on the lines of something; else the one right above it, unless that
    /// stands beside what comes before.
    fn comment(&self, line: u32, last: u32) -> String {
        let after = self.comments.partition_point(|comment| comment.first < line);
        if let Some(comment) = self.comments.get(after).filter(|comment| comment.first <= last) {
            return comment.text.clone();
        }
        let above = after.checked_sub(1).map(|at| &self.comments[at]);
        let above = above.filter(|comment| comment.last + 1 == line && !self.has_code(comment.first));
        above.map(|comment| comment.text.clone()).unwrap_or_default()
    }

    fn has_code(&self, line: u32) -> bool {
        let at = self.tokens.partition_point(|lexed| lexed.line < line);
        self.tokens.get(at).is_some_and(|lexed| lexed.line == line)
    }

    /// What is no directive; where it ends.
    fn text(&mut self, at: usize) -> usize {
        match self.name(at) {
            Some("enum") => {
                let open = at + 1 + usize::from(self.name(at + 1).is_some());
                if self.is(open, "{") { self.constants(open + 1) } else { at + 1 }
            }
            Some("REG_FIELD") => {
                let Some((arguments, after)) = self.arguments(at + 1) else { return at + 1 };
                let name = self.assigned(at);
                if let (Ok(arguments), Some(name)) = (<[_; 3]>::try_from(arguments), name) {
                    self.push(self.tokens[at].line, self.tokens[at].line, name, Kind::RegField(arguments));
                }
                after
            }
            Some(word @ ("REG8" | "REG16" | "REG32" | "REG64")) => {
                let Some((arguments, after)) = self.arguments(at + 1) else { return at + 1 };
                if let Ok([name, offset]) = <[_; 2]>::try_from(arguments)
                    && let [Lexed { token: Token::Name(name), line, .. }] = name[..]
                {
                    let width = match word {
                        "REG8" => 1,
                        "REG16" => 2,
                        "REG32" => 4,
                        _ => 8,
                    };
                    self.push(line, line, name, Kind::Reg(width, offset));
                }
                after
            }
            Some("FIELD") => {
                let Some((arguments, after)) = self.arguments(at + 1) else { return at + 1 };
                if let Ok([register, name, low, width]) = <[_; 4]>::try_from(arguments)
                    && let [Lexed { token: Token::Name(register), .. }] = register[..]
                    && let [Lexed { token: Token::Name(name), line, .. }] = name[..]
                {
                    self.push(line, line, name, Kind::Field(register, [low, width]));
                }
                after
            }
            _ => at + 1,
        }
    }

    /// `[NAME] =` or `NAME =` before `at`.
    fn assigned(&self, at: usize) -> Option<&'a str> {
        let equals = at.checked_sub(1).filter(|at| self.is(*at, "="))?;
        let before = equals.checked_sub(1)?;
        if self.is(before, "]") { self.name(before.checked_sub(1)?) } else { self.name(before) }
    }

    /// Arguments in brackets that open at `at`, and where they end.
    fn arguments(&self, at: usize) -> Option<(Vec<Vec<Lexed<'a>>>, usize)> {
        if !self.is(at, "(") {
            return None;
        }
        let near = &self.tokens[..self.tokens.len().min(at + MOST_TOKENS)];
        let close = super::expression::closing(near, at)?;
        let (mut all, mut one, mut level) = (Vec::new(), Vec::new(), 0_usize);
        for lexed in &self.tokens[at + 1..close] {
            match lexed.token {
                Token::Punct("(") => level += 1,
                Token::Punct(")") => level = level.saturating_sub(1),
                Token::Punct(",") if level == 0 => {
                    all.push(std::mem::take(&mut one));
                    continue;
                }
                _ => {}
            }
            one.push(*lexed);
        }
        all.push(one);
        Some((all, close + 1))
    }

    /// Constants of an enum from `at` on; where it ends.
    fn constants(&mut self, mut at: usize) -> usize {
        // What a constant without a value counts on from.
        let (mut last, mut plus): (Vec<Lexed<'a>>, i128) = (Vec::new(), -1);
        while at < self.tokens.len() && !self.is(at, "}") {
            if self.is(at, "#") && self.tokens[at].begins {
                let length = self.tokens[at + 1..].iter().take_while(|lexed| !lexed.begins).count();
                self.directive(at + 1, at + 1 + length);
                at += 1 + length;
                continue;
            }
            let Some(name) = self.name(at).filter(|_| !self.skipping.contains(&true)) else {
                at += 1;
                continue;
            };
            let start = at;
            let mut level = 0_usize;
            at += 1;
            let body = at + 1;
            while at < self.tokens.len() && !(level == 0 && (self.is(at, ",") || self.is(at, "}"))) {
                if self.tokens[at].begins && self.is(at, "#") {
                    break;
                }
                level += usize::from(self.is(at, "("));
                level = level.saturating_sub(usize::from(self.is(at, ")")));
                at += 1;
            }
            if self.is(start + 1, "=") && body <= at {
                (last, plus) = (self.tokens[body..at].to_vec(), 0);
            } else {
                plus += 1;
            }
            let found = if last.is_empty() {
                let zero =
                    Lexed { token: Token::Number(0, super::token::Base::Decimal), ..self.tokens[start] };
                Macro { parameters: None, body: vec![zero], plus }
            } else {
                Macro { parameters: None, body: last.clone(), plus }
            };
            let line = self.tokens[start].line;
            // A comment stands after the comma, on the same line.
            let end = self.tokens.get(at).map_or(line, |lexed| lexed.line).max(line);
            self.push(line, end, name, Kind::Macro { found, indent: 0 });
        }
        at + 1
    }
}
