//! Fetch arguments as a person writes them: the syntax of the kernel's own probe events
//! (Documentation/trace/kprobetrace.rst), and parameters by name.
//!
//! ```text
//! [NAME=]FETCH[:TYPE]
//! FETCH:  %REG  $stack  $stackN  $argN  $arg*  $retval  $comm  @ADDRESS  @SYMBOL[+-OFFSET]
//!         +-[u]OFFSET(FETCH)  \NUMBER  \"TEXT"  PARAMETER
//!         FETCH MEMBER  (STRUCT)FETCH MEMBER  (STRUCT,FIELD)FETCH MEMBER
//! MEMBER: ->FIELD or [N], and then any number of .FIELD and [N]
//! TYPE:   u8 … u64  s8 … s64  x8 … x64  char  string  ustring  symbol  symstr  %pd  %pD
//!         bWIDTH@OFFSET/CONTAINER, and [N] behind one for an array
//! ```
//!
//! By hand: the language is regular but for one pair of parentheses, and what takes the lines is
//! what to say about mistakes, which no parser library writes.

use super::cursor::Cursor;
use super::fetch::{Argument, Fetch, Value};
use super::form::Form;
use crate::mistake::Mistake;

mod member;
mod variable;

/// How deep `+OFFSET(…)` and `->MEMBER` may be nested. It bounds the stack that reading takes,
/// and is several times what the kernel's own probe events take (`FETCH_INSN_MAX`, 16 steps).
const MAX_DEPTH: usize = 64;

/// Parses one fetch argument.
pub(super) fn parse(text: &str) -> Result<Argument, Mistake> {
    let mut cursor = Cursor::new(text);
    let name = cursor.name()?;
    let value = cursor.value()?;
    if value.fetch == Fetch::Parameters && (name.is_some() || value.form.is_some()) {
        return Err(cursor.error(0..text.len(), "$arg* stands for all arguments, each with its own name and type: nothing can be before it or behind it"));
    }
    match cursor.rest().chars().next() {
        None => Ok(Argument { text: text.into(), name, value }),
        Some(found) => Err(cursor.here(format!("`{found}` is not expected here: expected :TYPE or the end"))),
    }
}

/// Why a symbol can't be told with its module, as a place to probe can.
const NO_MODULE: &str = "a symbol can't have its module before it here, as in MODULE:SYMBOL, since a type is behind the `:`: \
     of several of one name, fetch the address of one (@0xADDRESS)";

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Whether `c` may be within a name of C.
pub(super) fn is_of_name(c: char) -> bool {
    is_letter(c) || c.is_ascii_digit()
}

/// Whether `name` can name an argument: letters, digits and `_`, no digit first.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(is_letter) && name.chars().all(is_of_name)
}

impl Cursor<'_> {
    /// `NAME=`, if it is there.
    fn name(&mut self) -> Result<Option<String>, Mistake> {
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

    /// `FETCH[:TYPE]`, an argument's or an operand of a condition; what is behind it is left.
    pub(super) fn value(&mut self) -> Result<Value, Mistake> {
        let start = self.at;
        let fetch = self.fetch()?;
        let fetch_at = start..self.at;
        if !self.take(':') {
            return Ok(Value { fetch, fetch_at, form: None, form_at: self.at..self.at });
        }
        let (form, form_at) = self.word(Form::holds);
        let form = Form::parse(form).map_err(|why| {
            let why = if fetch.is_symbol() { format!("{why}; {NO_MODULE}") } else { why };
            self.error(form_at.clone(), why)
        })?;
        Ok(Value { fetch, fetch_at, form: Some(form), form_at })
    }

    /// What needs no type to be found.
    fn simple(&mut self) -> Result<Fetch, Mistake> {
        match self.rest().chars().next() {
            Some('%') => self.register(),
            Some('$') => self.variable(),
            Some('@') => self.absolute(),
            Some('+' | '-') => self.memory(),
            Some('\\') => self.immediate(),
            Some(c) if is_letter(c) => self.named(),
            _ => Err(self.here(
                "expected what to fetch: %REGISTER, $argN, $retval, $stackN, $comm, @SYMBOL, +OFFSET(…), \\NUMBER, or a parameter's name",
            )),
        }
    }

    fn named(&mut self) -> Result<Fetch, Mistake> {
        let (name, at) = self.word(is_of_name);
        if matches!(name, "this_cpu_read" | "this_cpu_ptr") && self.rest().starts_with('(') {
            let why = "a CPU's own variables can't be fetched: probe a function that has what they point to among its parameters";
            return Err(self.error(at, why));
        }
        Ok(Fetch::Named(name.into()))
    }

    fn absolute(&mut self) -> Result<Fetch, Mistake> {
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
            Some('+' | '-') if !self.rest().starts_with("->") => self.offset()?,
            _ => 0,
        };
        Ok(memory(Fetch::Symbol(symbol.into(), offset)))
    }

    fn memory(&mut self) -> Result<Fetch, Mistake> {
        let start = self.at;
        let user = matches!(self.rest().get(1..2), Some("u"));
        let offset = self.offset()?;
        if !self.take('(') {
            return Err(self.here("expected ( and what gives the address, as in +8(%si)"));
        }
        let open = self.at - 1;
        let base = Box::new(self.within(start..open, |cursor| cursor.fetch())?);
        self.close(open, &base)?;
        Ok(Fetch::Memory { base, offset, user })
    }

    /// The `)` to the `(` at `open`, between which `base` stands.
    fn close(&mut self, open: usize, base: &Fetch) -> Result<(), Mistake> {
        if !self.take(')') {
            return Err(match self.rest().chars().next() {
                None => self.error(open..open + 1, "this ( is not closed"),
                Some(':') if base.is_symbol() => self.here(format!("expected ): {NO_MODULE}")),
                Some(_) => self.here("expected )"),
            });
        }
        let why = match base {
            Fetch::Comm | Fetch::Text(_) => "this is a text, not an address",
            Fetch::Parameters => "these are several values, not an address",
            _ => return Ok(()),
        };
        Err(self.error(open + 1..self.at - 1, why))
    }

    /// A sign, perhaps `u`, and a number.
    fn offset(&mut self) -> Result<i64, Mistake> {
        let start = self.at;
        let negative = self.take('-') || !self.take('+');
        self.take('u');
        let number = self.number()?;
        let value =
            if negative { 0i64.checked_sub_unsigned(number) } else { 0i64.checked_add_unsigned(number) };
        value.ok_or_else(|| self.error(start..self.at, "this offset does not fit into 64 bits"))
    }

    fn immediate(&mut self) -> Result<Fetch, Mistake> {
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
        let _ = negative || self.take('+');
        let number = self.number()?;
        Ok(Fetch::Immediate(if negative { number.wrapping_neg() } else { number } as i64))
    }
}

#[cfg(test)]
mod tests;
