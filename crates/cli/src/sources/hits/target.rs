//! A place to probe as a person writes it: `SYMBOL[+OFFSET]`, `MODULE:SYMBOL[+OFFSET]` or an
//! address.

use super::cursor::Cursor;
use crate::mistake::Mistake;

/// What is expected, in every mistake.
const EXPECTED: &str = "expected SYMBOL, SYMBOL+OFFSET, MODULE:SYMBOL or an address as 0xffffffff81234567";

/// A place, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// An address.
    Address(u64),
    /// A symbol.
    Symbol {
        /// In which module, if that was said.
        module: Option<&'a str>,
        /// Its name.
        name: &'a str,
        /// Bytes from there.
        offset: u64,
    },
}

impl<'a> Target<'a> {
    /// Reads `text`.
    pub(super) fn parse(text: &'a str) -> Result<Self, Mistake> {
        let mut cursor = Cursor::new(text);
        let target = cursor.target()?;
        match cursor.rest().chars().next() {
            None => Ok(target),
            Some(found) => Err(cursor.here(format!("`{found}` is not expected here: {EXPECTED}"))),
        }
    }
}

impl<'a> Cursor<'a> {
    fn target(&mut self) -> Result<Target<'a>, Mistake> {
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            // Decimal, an address is none that anybody writes.
            let start = self.at;
            let address = self.number()?;
            let is_hex = self.text[start..].starts_with("0x");
            return if is_hex {
                Ok(Target::Address(address))
            } else {
                Err(self.error(start..self.at, format!("this is no place to probe: {EXPECTED}")))
            };
        }
        let mut name = self.symbol()?;
        let module = if self.take(':') { Some(std::mem::replace(&mut name, self.symbol()?)) } else { None };
        let offset = if self.take('+') { self.number()? } else { 0 };
        Ok(Target::Symbol { module, name, offset })
    }

    fn symbol(&mut self) -> Result<&'a str, Mistake> {
        let (name, _) = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '-'));
        if name.is_empty() {
            Err(self.here(format!("this is no place to probe: {EXPECTED}")))
        } else {
            Ok(name)
        }
    }
}
