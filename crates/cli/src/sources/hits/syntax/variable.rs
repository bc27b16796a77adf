//! Registers, and what the kernel's probe events call variables: `%REG`, `$stackN`, `$argN`, …

use super::{Cursor, Fetch};
use crate::mistake::Mistake;

/// The last entry of the kernel stack, of 16 KiB (the kernel's probe events have
/// `PARAM_MAX_STACK`).
const LAST_STACK_ENTRY: u16 = 2047;

/// The last argument of a function: more than any has, fewer than the kernel's `PARAM_MAX_STACK`.
const LAST_ARGUMENT: u16 = 128;

impl Cursor<'_> {
    pub(super) fn register(&mut self) -> Result<Fetch, Mistake> {
        let start = self.at;
        self.at += 1;
        let (name, _) = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        let number = register(name).ok_or_else(|| {
            let why = "no such register: expected %ax, %bx, %cx, %dx, %si, %di, %bp, %sp, %r8 to %r15, %ip, %flags, %cs or %ss";
            self.error(start..self.at, why)
        })?;
        Ok(Fetch::Register(number))
    }

    pub(super) fn variable(&mut self) -> Result<Fetch, Mistake> {
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
            "arg" if self.take('*') => return Ok(Fetch::Parameters),
            "current" => {
                let why = "the task's structure can't be fetched; its name can ($comm), and its number is told with every hit";
                return Err(self.error(at, why));
            }
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
                let why = "no such variable: expected $argN, $arg*, $retval, $stackN, $stack or $comm";
                Err(self.error(at, why))
            }
        }
    }
}

/// A register's number, as the CPU counts; by the name that the kernel's probe events have for it,
/// or the assembler's.
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
