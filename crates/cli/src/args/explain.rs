//! `trapline explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use trapline_abi::ErrorCode;

/// Say what a page fault's error code means, or what happened in an oops
///
/// Decodes CODE by the manuals' names of its bits and says what is impossible about it; with
/// ADDRESS, says where in the address space that is. Without CODE, or with `-`, reads a kernel's
/// log from standard input, with whatever stands before its lines, and explains its first oops:
/// what faulted where, with the instruction decoded and the registers that it used. Without an oops
/// that is the first of its other reports (KASAN, KFENCE, a warning, a lockup, a stall, a machine
/// check), or of the exceptions of programs. Needs neither root nor the kernel module.
#[derive(Debug, Args)]
#[command(after_long_help = EXPLAIN_HELP)]
pub(crate) struct Explain {
    /// The error code: 0x7, 0007 as an oops prints it, or 7 in decimal
    #[arg(value_name = "CODE", value_parser = parse_code_or_dash)]
    pub code: Option<CodeOrDash>,
    /// The address, in hexadecimal
    #[arg(value_parser = parse_address)]
    pub address: Option<u64>,
    /// Explain each report of the text, not only the one that matters most
    #[arg(long)]
    pub all: bool,
    /// The kernel's uncompressed image with debugging information: file and line of each call, with
    /// what was inlined; must be of the kernel that the report is of
    #[arg(long, value_name = "FILE")]
    pub vmlinux: Option<PathBuf>,
    /// The same of a module (repeatable): its .ko with debugging information, uncompressed
    #[arg(long, value_name = "FILE")]
    pub module: Vec<PathBuf>,
    /// How to tell it: text, or one JSON object a line for each report
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ExplainFormat,
}

/// How an explanation is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    /// Text
    #[default]
    Human,
    /// One JSON object a line for each report
    Json,
}

const EXPLAIN_HELP: &str = "\
Examples:
  trapline explain 0x7 7ffd1c2f4ff8
  dmesg | trapline explain
  trapline explain < oops.txt
  journalctl -k -b -1 | trapline explain --all
  trapline explain --vmlinux /usr/lib/debug/boot/vmlinux-6.12.95+deb12-amd64 < oops.txt

An oops that is cut off is explained as far as it goes; the exit status is then 4.";

/// An error code, or `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeOrDash {
    /// The code.
    Code(Code),
    /// An oops on standard input.
    Dash,
}

fn parse_code_or_dash(text: &str) -> Result<CodeOrDash, String> {
    if text == "-" { Ok(CodeOrDash::Dash) } else { parse_code(text).map(CodeOrDash::Code) }
}

/// An error code on the command line.
///
/// Hexadecimal with `0x`, and with leading zeros as an oops prints it (`0010`); else decimal.
fn parse_code(text: &str) -> Result<Code, String> {
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
fn parse_address(text: &str) -> Result<u64, String> {
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
