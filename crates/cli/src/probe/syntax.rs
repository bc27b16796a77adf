//! Fetch arguments as a person writes them: the syntax of the kernel's own probe events (Documentation/trace/kprobetrace.rst), and parameters by name.
//!
//! ```text
//! [NAME=]FETCH[:TYPE]     FETCH: %REG  $stack  $stackN  $argN  $retval  $comm  @ADDRESS  @SYMBOL[+-OFFSET]  +-[u]OFFSET(FETCH)  \NUMBER  \"TEXT"  PARAMETER
//!                         TYPE:  u8 … u64  s8 … s64  x8 … x64  char  string  ustring  symbol  symstr  bWIDTH@OFFSET/CONTAINER, and [N] behind one for an array
//! ```
//!
//! By hand: the language is regular but for one pair of parentheses, and what takes the lines is what to say about mistakes, which no parser library
//! writes.

use std::ops::Range;

use trapline_abi::MAX_STEPS;

use super::fetch_error::FetchError;
use super::form::Form;

/// How deep `+OFFSET(…)` may be nested: a program has a step for each, and one for what is innermost.
const MAX_DEPTH: usize = MAX_STEPS - 1;

/// The last entry of the kernel stack, of 16 KiB (the kernel's probe events have `PARAM_MAX_STACK`).
const LAST_STACK_ENTRY: u16 = 2047;

/// The last argument of a function: more than any has, fewer than the kernel's `PARAM_MAX_STACK`.
const LAST_ARGUMENT: u16 = 128;

/// An argument, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    /// The whole text.
    pub(super) text: String,
    /// The name given.
    pub(super) name: Option<String>,
    /// What to fetch.
    pub(super) fetch: Fetch,
    /// Where in the text that stands.
    pub(super) fetch_at: Range<usize>,
    /// As what, if that was said.
    pub(super) form: Option<Form>,
    /// Where in the text that stands.
    pub(super) form_at: Range<usize>,
}

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// A register, by the CPU's number.
    Register(u16),
    /// An entry of the kernel stack.
    Stack(u16),
    /// The stack pointer.
    StackAddress,
    /// What the function returns.
    ReturnValue,
    /// The task's name.
    Comm,
    /// An argument of the function, the first being 1.
    Parameter(u16),
    /// An argument of the function by its name.
    Named(String),
    /// A number.
    Immediate(i64),
    /// A text.
    Text(String),
    /// The address of a symbol and so many bytes.
    Symbol(String, i64),
    /// Memory at an address.
    Memory {
        /// What gives the address.
        base: Box<Fetch>,
        /// Bytes from there.
        offset: i64,
        /// In user space whatever the address.
        user: bool,
    },
}

impl Fetch {
    /// Whether it is what lies at a symbol: `@SYMBOL`.
    fn is_symbol(&self) -> bool {
        matches!(self, Self::Memory { base, .. } if matches!(**base, Self::Symbol(..)))
    }
}

/// Parses one fetch argument.
pub(super) fn parse(text: &str) -> Result<Argument, FetchError> {
    let mut cursor = Cursor { text, at: 0, depth: 0 };
    let name = cursor.name()?;
    let start = cursor.at;
    let fetch = cursor.fetch()?;
    let fetch_at = start..cursor.at;
    let (form, form_at) = if cursor.take(':') {
        let at = cursor.at..text.len();
        let form = Form::parse(cursor.rest()).map_err(|why| {
            let why = if fetch.is_symbol() { format!("{why}; {NO_MODULE}") } else { why };
            cursor.error(at.clone(), why)
        })?;
        (Some(form), at)
    } else if cursor.rest().is_empty() {
        (None, cursor.at..cursor.at)
    } else {
        let found = cursor.rest().chars().next().unwrap_or_default();
        return Err(cursor.here(format!("`{found}` is not expected here: expected :TYPE or the end")));
    };
    Ok(Argument { text: text.into(), name, fetch, fetch_at, form, form_at })
}

/// Why a symbol can't be told with its module, as a place to probe can.
const NO_MODULE: &str = "a symbol can't have its module before it here, as in MODULE:SYMBOL, since a type is behind the `:`: \
     of several of one name, fetch the address of one (@0xADDRESS)";

/// Whether `name` can name an argument: letters, digits and `_`, no digit first.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Parentheses that are open.
    depth: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, char: char) -> bool {
        let taken = self.rest().starts_with(char);
        self.at += if taken { char.len_utf8() } else { 0 };
        taken
    }

    /// Takes what fits.
    fn word(&mut self, fits: impl Fn(char) -> bool) -> (&'a str, Range<usize>) {
        let rest = self.rest();
        let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let at = self.at..self.at + length;
        self.at = at.end;
        (&rest[..length], at)
    }

    fn error(&self, at: Range<usize>, why: impl Into<String>) -> FetchError {
        FetchError { text: self.text.into(), at, why: why.into() }
    }

    /// An error about the next character, or the end.
    fn here(&self, why: impl Into<String>) -> FetchError {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        self.error(self.at..self.at + length, why)
    }

    /// `NAME=`, if it is there.
    fn name(&mut self) -> Result<Option<String>, FetchError> {
        let end = match self.text.find('=') {
            // One within a text is none of ours.
            Some(end) if !self.text[..end].contains('"') => end,
            _ => return Ok(None),
        };
        let name = &self.text[..end];
        if !is_name(name) {
            let why = "a name has letters, digits and _, and no digit first";
            return Err(self.error(0..end, why));
        }
        self.at = end + 1;
        Ok(Some(name.into()))
    }

    fn fetch(&mut self) -> Result<Fetch, FetchError> {
        match self.rest().chars().next() {
            Some('%') => self.register(),
            Some('$') => self.variable(),
            Some('@') => self.absolute(),
            Some('+' | '-') => self.memory(),
            Some('\\') => self.immediate(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let (name, _) = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
                Ok(Fetch::Named(name.into()))
            }
            _ => Err(self.here(
                "expected what to fetch: %REGISTER, $argN, $retval, $stackN, $comm, @SYMBOL, +OFFSET(…), \\NUMBER, or a parameter's name",
            )),
        }
    }

    fn register(&mut self) -> Result<Fetch, FetchError> {
        let start = self.at;
        self.at += 1;
        let (name, _) = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        let number = register(name).ok_or_else(|| {
            let why = "no such register: expected %ax, %bx, %cx, %dx, %si, %di, %bp, %sp, %r8 to %r15, %ip, %flags, %cs or %ss";
            self.error(start..self.at, why)
        })?;
        Ok(Fetch::Register(number))
    }

    fn variable(&mut self) -> Result<Fetch, FetchError> {
        let start = self.at;
        self.at += 1;
        let (name, _) = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        let at = start..self.at;
        // A number too large to be one is too large for any limit.
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse::<u16>().unwrap_or(u16::MAX))
        };
        match name {
            "retval" => return Ok(Fetch::ReturnValue),
            "comm" | "COMM" => return Ok(Fetch::Comm),
            "stack" => return Ok(Fetch::StackAddress),
            _ => {}
        }
        if let Some(entry) = name.strip_prefix("stack").and_then(number) {
            if entry > LAST_STACK_ENTRY {
                let why = format!(
                    "this number is out of range: entries of the stack are $stack0 to $stack{LAST_STACK_ENTRY}"
                );
                return Err(self.error(at, why));
            }
            return Ok(Fetch::Stack(entry));
        }
        match name.strip_prefix("arg").map(number) {
            Some(Some(0)) => Err(self.error(at, "arguments are counted from 1: $arg1 is the first")),
            Some(Some(argument)) if argument > LAST_ARGUMENT => {
                let why = format!("this number is out of range: arguments are $arg1 to $arg{LAST_ARGUMENT}");
                Err(self.error(at, why))
            }
            Some(Some(argument)) => Ok(Fetch::Parameter(argument)),
            _ => {
                let why = "no such variable: expected $argN, $retval, $stackN, $stack or $comm";
                Err(self.error(at, why))
            }
        }
    }

    fn absolute(&mut self) -> Result<Fetch, FetchError> {
        let start = self.at;
        self.at += 1;
        let memory = |base| Fetch::Memory { base: Box::new(base), offset: 0, user: false };
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(memory(Fetch::Immediate(self.number()? as i64)));
        }
        let (symbol, _) = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        if symbol.is_empty() {
            return Err(self.error(start..self.at, "expected an address or a symbol behind @"));
        }
        let offset = match self.rest().chars().next() {
            Some('+' | '-') => self.offset()?,
            _ => 0,
        };
        Ok(memory(Fetch::Symbol(symbol.into(), offset)))
    }

    fn memory(&mut self) -> Result<Fetch, FetchError> {
        let start = self.at;
        let user = matches!(self.rest().get(1..2), Some("u"));
        let offset = self.offset()?;
        if !self.take('(') {
            return Err(self.here("expected ( and what gives the address, as in +8(%si)"));
        }
        let open = self.at - 1;
        // What is parsed here, and walked and dropped later, recurses for each.
        if self.depth == MAX_DEPTH {
            let why = format!(
                "this is nested too deep: a program has no room for more than {MAX_DEPTH} of +OFFSET(…)"
            );
            return Err(self.error(start..open, why));
        }
        self.depth += 1;
        let base = Box::new(self.fetch()?);
        self.depth -= 1;
        if !self.take(')') {
            return Err(match self.rest().chars().next() {
                None => self.error(open..open + 1, "this ( is not closed"),
                Some(':') if base.is_symbol() => self.here(format!("expected ): {NO_MODULE}")),
                Some(_) => self.here("expected )"),
            });
        }
        if matches!(*base, Fetch::Comm | Fetch::Text(_)) {
            return Err(self.error(open + 1..self.at - 1, "this is a text, not an address"));
        }
        Ok(Fetch::Memory { base, offset, user })
    }

    /// A sign, perhaps `u`, and a number.
    fn offset(&mut self) -> Result<i64, FetchError> {
        let start = self.at;
        let negative = self.take('-') || !self.take('+');
        self.take('u');
        let number = self.number()?;
        let value =
            if negative { 0i64.checked_sub_unsigned(number) } else { 0i64.checked_add_unsigned(number) };
        value.ok_or_else(|| self.error(start..self.at, "this offset does not fit into 64 bits"))
    }

    /// Decimal, `0x` hexadecimal, or octal behind a 0, as in C.
    fn number(&mut self) -> Result<u64, FetchError> {
        let (digits, at) = self.word(|c| c.is_ascii_alphanumeric());
        let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(&digits[1..], 8),
            None => digits.parse(),
        };
        parsed.map_err(|_| self.error(at, "expected a number of at most 64 bits, as 16, 0x10 or 020"))
    }

    fn immediate(&mut self) -> Result<Fetch, FetchError> {
        let start = self.at;
        self.at += 1;
        if self.take('"') {
            let (text, _) = self.word(|c| c != '"');
            return if self.take('"') {
                Ok(Fetch::Text(text.into()))
            } else {
                Err(self.error(start + 1..start + 2, "this text has no end"))
            };
        }
        let negative = self.take('-');
        let number = self.number()?;
        Ok(Fetch::Immediate(if negative { number.wrapping_neg() } else { number } as i64))
    }
}

/// A register's number, as the CPU counts; by the name that the kernel's probe events have for it, or the assembler's.
fn register(name: &str) -> Option<u16> {
    const NAMES: [&str; 20] = [
        "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "ip", "flags", "cs", "ss",
    ];
    let short = match name.strip_prefix('r') {
        Some(short) if short.len() == 2 && short.starts_with(|c: char| c.is_ascii_alphabetic()) => short,
        _ => name,
    };
    NAMES.iter().position(|known| *known == short).map(|number| number as u16)
}

#[cfg(test)]
mod tests;
