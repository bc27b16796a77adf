//! `trapline explain`: what an error code, or a whole oops, says. Needs no kernel module.

mod oops;
mod words;

use std::io::{self, IsTerminal, Read};

use anstream::eprintln;
use trapline_abi::ErrorCode;

use crate::args::{CodeOrDash, Explain};
use crate::error::{Error, Result};
use crate::output;

/// Explains the error code that was given, or the oops on standard input.
pub(crate) fn run(args: &Explain) -> Result<()> {
    match args.code {
        Some(CodeOrDash::Code(code)) => output::print(|out| words::code(out, code, args.address)),
        Some(CodeOrDash::Dash) | None => explain_oops(),
    }
}

fn explain_oops() -> Result<()> {
    if io::stdin().is_terminal() {
        eprintln!("reading an oops from standard input; Ctrl-D ends it");
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|source| Error::Read { path: "standard input".into(), source })?;
    let oops = oops::parse(&String::from_utf8_lossy(&bytes)).ok_or(Error::NoOops)?;
    output::print(|out| words::oops(out, &oops))?;
    let missing = oops.missing();
    if missing.is_empty() { Ok(()) } else { Err(Error::OopsCut { missing: missing.join(", ") }) }
}

/// An error code on the command line.
///
/// Hexadecimal with `0x`, and with leading zeros as an oops prints it (`0010`); else decimal.
pub(crate) fn parse_code(text: &str) -> Result<Code, String> {
    let wrong = |what: &str| {
        format!(
            "`{text}` is no error code: {what}; expected 32 bits, as in 0x7, 0007 (as an oops prints it) or 7"
        )
    };
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 16),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(wrong("not a number"));
    }
    let value = u64::from_str_radix(digits, radix).ok().and_then(|value| u32::try_from(value).ok());
    let value = value.ok_or_else(|| wrong("it has more than 32 bits"))?;
    Ok(Code { value: ErrorCode(value), decimal: radix == 10 })
}

/// An address on the command line: hexadecimal, with `0x` or without, as the kernel prints it.
pub(crate) fn parse_address(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let known = digits.len() <= 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| known).ok_or_else(|| {
        format!("`{text}` is no address: expected up to 16 hexadecimal digits, with 0x or without")
    })
}

/// An error code, and how it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// The code.
    pub value: ErrorCode,
    /// Whether it was given in decimal, which the kernel never prints.
    pub decimal: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_is_printed_somewhere() {
        let value = |text| parse_code(text).map(|code| code.value.0);
        assert_eq!(value("0x14"), Ok(0x14));
        assert_eq!(value("0011"), Ok(0x11));
        assert_eq!(value("14"), Ok(14));
        assert_eq!(value("0"), Ok(0));
        assert_eq!(value("0x80000003"), Ok(0x8000_0003));
    }

    #[test]
    fn what_is_no_code_or_address_is_refused_by_name() {
        for text in ["", "0x", "x", "1f", "-1", "+1", "0x100000000", "4294967296", "99999999999999999999999"]
        {
            assert!(parse_code(text).unwrap_err().contains(&format!("`{text}` is no error code")), "{text}");
        }
        for text in ["", "0x", "+1", "zz", "0x11112222333344445"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
        assert_eq!(parse_address("ffff888004f2ed40"), Ok(0xffff_8880_04f2_ed40));
    }
}
