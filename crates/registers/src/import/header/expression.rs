//! What an expression of constants amounts to.
//!
//! Our own, since macros with parameters are what register arrays are made of, with `?:` where a
//! chip has its later queues elsewhere; `cexpr`, which bindgen uses, knows neither. Arguments are
//! passed as values, not as text. Everything is 128 bits wide, so that neither `~` nor the sign
//! matters until it is known what the value is for.

use std::collections::HashMap;

use super::arithmetic::{TOO_LARGE, built_in, is_bits, operate, shift_left};
use super::token::{Base, Lexed, Token};

/// Macros within macros, and brackets within brackets, at most.
const DEEPEST: u32 = 48;

/// Macros that one expression may expand.
const MOST: u32 = 4096;

/// A macro, or a constant of an enum.
#[derive(Clone, Debug)]
pub(super) struct Macro<'a> {
    /// Its parameters, if it is called with some.
    pub parameters: Option<Vec<&'a str>>,
    /// What it stands for.
    pub body: Vec<Lexed<'a>>,
    /// What is added to that: enums count on.
    pub plus: i128,
}

/// All macros by name.
pub(super) type Macros<'a> = HashMap<&'a str, Macro<'a>>;

/// What the outermost operation of an expression says about what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A number in hexadecimal.
    Hexadecimal,
    /// A number in decimal.
    Decimal,
    /// Bits: shifts, `|`, `~`, `BIT()`, `GENMASK()`.
    Bits,
    /// A value in its place: `FIELD_PREP()`.
    Placed,
    /// An offset: `_MMIO()`.
    Offset,
    /// Anything else.
    Other,
}

/// Why there is no value.
pub(super) type Why = String;

/// Evaluates expressions.
pub(super) struct Evaluator<'m, 'a> {
    macros: &'m Macros<'a>,
    left: u32,
}

impl<'m, 'a> Evaluator<'m, 'a> {
    /// With these macros.
    pub(super) fn new(macros: &'m Macros<'a>) -> Self {
        Self { macros, left: MOST }
    }

    /// What `name` stands for; with arguments if it has parameters.
    pub(super) fn call(&mut self, name: &str, arguments: &[i128]) -> Result<i128, Why> {
        self.left = MOST;
        self.expand(name, arguments, 0)
    }

    /// What tokens stand for.
    pub(super) fn value(&mut self, tokens: &[Lexed<'a>]) -> Result<i128, Why> {
        self.left = MOST;
        self.whole(tokens, &[], 0)
    }

    fn expand(&mut self, name: &str, arguments: &[i128], depth: u32) -> Result<i128, Why> {
        if let Some(value) = built_in(name, arguments) {
            return value;
        }
        let Some(found) = self.macros.get(name) else {
            return match arguments {
                // What drivers call their own GENMASK, in a header of its own: MASK(bits, shift).
                [bits, shift] if name.ends_with("MASK") => shift_left(*bits, *shift),
                _ => Err(format!("{name} is not known")),
            };
        };
        self.left = self.left.checked_sub(1).ok_or("it expands without an end")?;
        if depth > DEEPEST {
            return Err("it goes too deep".into());
        }
        let parameters = found.parameters.as_deref().unwrap_or_default();
        if parameters.len() != arguments.len() {
            return Err(format!("{name} takes {} parameters", parameters.len()));
        }
        let bound: Vec<_> = parameters.iter().copied().zip(arguments.iter().copied()).collect();
        let value = self.whole(&found.body, &bound, depth + 1)?;
        value.checked_add(found.plus).ok_or_else(|| TOO_LARGE.into())
    }

    fn whole(&mut self, tokens: &[Lexed<'a>], bound: &[(&str, i128)], depth: u32) -> Result<i128, Why> {
        let mut reader = Reader { evaluator: self, tokens, at: 0, bound, depth, dead: 0 };
        let value = reader.choice()?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err("it is no expression".into()),
        }
    }

    /// What the outermost operation says.
    pub(super) fn shape(&self, tokens: &[Lexed<'a>]) -> Shape {
        self.shape_within(tokens, 0)
    }

    fn shape_within(&self, tokens: &[Lexed<'a>], depth: u32) -> Shape {
        if depth > DEEPEST {
            return Shape::Other;
        }
        match tokens {
            [Lexed { token: Token::Number(_, Base::Hexadecimal), .. }] => return Shape::Hexadecimal,
            [Lexed { token: Token::Number(..), .. }] => return Shape::Decimal,
            [Lexed { token: Token::Name(name), .. }] => {
                return self.macros.get(name).map_or(Shape::Other, |found| match found.plus {
                    0 => self.shape_within(&found.body, depth + 1),
                    _ => Shape::Decimal,
                });
            }
            _ => {}
        }
        let opens = |lexed: &Lexed<'_>| lexed.token == Token::Punct("(");
        if tokens.first().is_some_and(opens) && closing(tokens, 0) == Some(tokens.len() - 1) {
            return self.shape_within(&tokens[1..tokens.len() - 1], depth + 1);
        }
        if let Some(Token::Name(name)) = tokens.first().map(|lexed| lexed.token)
            && tokens.get(1).is_some_and(opens)
            && closing(tokens, 1) == Some(tokens.len() - 1)
        {
            return match name {
                _ if name.starts_with("_MMIO") => Shape::Offset,
                "FIELD_PREP" | "REG_FIELD_PREP" => Shape::Placed,
                _ if is_bits(name) => Shape::Bits,
                _ => match self.macros.get(name) {
                    Some(found) => self.shape_within(&found.body, depth + 1),
                    None if name.ends_with("MASK") => Shape::Bits,
                    None => Shape::Other,
                },
            };
        }
        let mut level = 0_usize;
        let mut shape = Shape::Other;
        for lexed in tokens {
            match lexed.token {
                Token::Punct("(") => level += 1,
                Token::Punct(")") => level = level.saturating_sub(1),
                Token::Punct("?") if level == 0 => return Shape::Other,
                Token::Punct("<<" | ">>" | "|" | "~" | "&") if level == 0 => shape = Shape::Bits,
                _ => {}
            }
        }
        shape
    }
}

/// The bracket that closes the one at `open`.
pub(super) fn closing(tokens: &[Lexed<'_>], open: usize) -> Option<usize> {
    let mut level = 0_usize;
    for (at, lexed) in tokens.iter().enumerate().skip(open) {
        match lexed.token {
            Token::Punct("(") => level += 1,
            Token::Punct(")") => {
                level = level.checked_sub(1)?;
                if level == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// One expression on the way.
struct Reader<'e, 't, 'm, 'a> {
    evaluator: &'e mut Evaluator<'m, 'a>,
    tokens: &'t [Lexed<'a>],
    at: usize,
    bound: &'t [(&'t str, i128)],
    depth: u32,
    /// How many branches are not taken around here: nothing in them is an error.
    dead: u32,
}

/// Binary operators by rank, the weakest first.
const RANKS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<", ">", "<=", ">="],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl<'a> Reader<'_, '_, '_, 'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|lexed| lexed.token)
    }

    fn takes(&mut self, punct: &'static str) -> bool {
        let is_it = self.peek() == Some(Token::Punct(punct));
        self.at += usize::from(is_it);
        is_it
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Why>) -> Result<T, Why> {
        if self.depth > DEEPEST {
            return Err("it goes too deep".into());
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// `a ? b : c`, or less.
    fn choice(&mut self) -> Result<i128, Why> {
        let condition = self.deeper(|reader| reader.binary(0))?;
        if !self.takes("?") {
            return Ok(condition);
        }
        let branch = |reader: &mut Self, is_taken: bool| {
            reader.dead += u32::from(!is_taken);
            let value = reader.deeper(Self::choice);
            reader.dead -= u32::from(!is_taken);
            value
        };
        let yes = branch(self, condition != 0)?;
        if !self.takes(":") {
            return Err("a ? without its :".into());
        }
        let no = branch(self, condition == 0)?;
        Ok(if condition != 0 { yes } else { no })
    }

    fn binary(&mut self, rank: usize) -> Result<i128, Why> {
        let Some(operators) = RANKS.get(rank) else { return self.unary() };
        let mut left = self.binary(rank + 1)?;
        while let Some(Token::Punct(operator)) = self.peek() {
            if !operators.contains(&operator) {
                break;
            }
            self.at += 1;
            let right = self.binary(rank + 1)?;
            left = match operate(operator, left, right) {
                Err(_) if self.dead > 0 => 0,
                value => value?,
            };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<i128, Why> {
        for (punct, act) in [
            ("-", (|value| value.checked_neg()) as fn(i128) -> Option<i128>),
            ("+", Some),
            ("~", |value| Some(!value)),
            ("!", |value| Some((value == 0).into())),
        ] {
            if self.takes(punct) {
                let value = self.deeper(Self::unary)?;
                return act(value).ok_or_else(|| TOO_LARGE.into());
            }
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<i128, Why> {
        let token = self.peek();
        self.at += 1;
        match token {
            Some(Token::Number(value, _)) => Ok(value),
            Some(Token::Punct("(")) => {
                if let Some(after) = self.cast() {
                    self.at = after;
                    return self.deeper(Self::unary);
                }
                let value = self.deeper(Self::choice)?;
                if self.takes(")") { Ok(value) } else { Err("a bracket is not closed".into()) }
            }
            Some(Token::Name(name)) => self.name(name),
            _ => Err("it is no expression of constants".into()),
        }
    }

    /// Where a cast to a number's type ends, of which the bracket was taken.
    fn cast(&self) -> Option<usize> {
        let types = self.tokens[self.at..].iter().take_while(|lexed| match lexed.token {
            Token::Name(name) => matches!(
                name,
                "u8" | "u16"
                    | "u32"
                    | "u64"
                    | "s8"
                    | "s16"
                    | "s32"
                    | "s64"
                    | "__u8"
                    | "__u16"
                    | "__u32"
                    | "__u64"
                    | "uint8_t"
                    | "uint16_t"
                    | "uint32_t"
                    | "uint64_t"
                    | "int32_t"
                    | "int64_t"
                    | "unsigned"
                    | "signed"
                    | "int"
                    | "long"
                    | "short"
                    | "char"
                    | "const"
                    | "size_t"
            ),
            _ => false,
        });
        let after = self.at + types.count();
        let closes = self.tokens.get(after)?.token == Token::Punct(")");
        (closes && after > self.at).then_some(after + 1)
    }

    fn name(&mut self, name: &'a str) -> Result<i128, Why> {
        if let Some((_, value)) = self.bound.iter().find(|(parameter, _)| *parameter == name) {
            return Ok(*value);
        }
        let mut arguments = Vec::new();
        if self.takes("(") && !self.takes(")") {
            loop {
                arguments.push(self.deeper(Self::choice)?);
                if self.takes(")") {
                    break;
                }
                if !self.takes(",") {
                    return Err(format!("the arguments of {name} are no constants"));
                }
            }
        }
        if self.dead > 0 {
            return Ok(0);
        }
        let depth = self.depth;
        self.evaluator.expand(name, &arguments, depth)
    }
}
