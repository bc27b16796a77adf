//! Decoder cases as text: `cases.txt` beside this file, `bytes | what the plan says`.
//!
//! Each register holds its number: `%rax` 0x1000, `%rcx` 0x2000, up to `%r15` 0x10000; `rip` is
//! 0x400000, the base of `%fs` 0x10000000, of `%gs` 0x20000000. `TRAPLINE_BLESS=1` rewrites what
//! the plans say; read the difference.

use std::fmt::Write as _;

use trapline_insn::{DecodeError, Direction, Gpr, Operands, Plan, Registers, Segment, decode, port_access};

const CASES: &str = include_str!("cases.txt");

fn registers() -> Registers {
    let mut registers = Registers { rip: 0x40_0000, rflags: 2, ..Registers::default() };
    for (number, register) in (1..).zip(Gpr::ALL) {
        registers.set(register, number << 12);
    }
    registers
}

fn segment_base(segment: Segment) -> u64 {
    match segment {
        Segment::Fs => 0x1000_0000,
        Segment::Gs => 0x2000_0000,
    }
}

fn bytes_of(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| {
            u8::from_str_radix(byte, 16)
                .unwrap_or_else(|_| panic!("{byte:?} in {text:?}: expected two hex digits"))
        })
        .collect()
}

fn describe(bytes: &[u8]) -> String {
    let plan: Plan = match decode(bytes) {
        Ok(plan) => plan,
        Err(error) => return error.to_string(),
    };
    let mut text = format!("{} {:?}", plan.length(), plan.method()).to_lowercase();
    let operands: Operands = plan.operands(&registers(), segment_base);
    for operand in operands.iter() {
        let direction = match operand.direction {
            Direction::Read => "read",
            Direction::Write => "write",
            Direction::ReadWrite => "update",
        };
        let _ = write!(text, ", {direction} {} at {:#x}", operand.width, operand.address);
    }
    if plan.locked() {
        text += ", locked";
    }
    if plan.partial() {
        text += ", partial";
    }
    if !operands.is_complete() {
        text += ", and more";
    }
    if let Some(redirect) = plan.redirect(bytes) {
        let _ =
            write!(text, ", as {:02x?} on {:?}", &redirect.code[..redirect.length.into()], redirect.scratch);
    }
    text
}

#[test]
fn plans_are_those_in_the_table() {
    let mut blessed = String::new();
    let mut wrong = 0;
    for line in CASES.lines() {
        let Some((case, expected)) = line.split_once('|') else {
            blessed += line;
            blessed.push('\n');
            continue;
        };
        let (bytes, name) = case.split_once('#').unwrap_or((case, ""));
        let actual = describe(&bytes_of(bytes));
        if actual != expected.trim() {
            println!("{bytes}\n  table {}\n  plan  {actual}", expected.trim());
            wrong += 1;
        }
        let _ = writeln!(blessed, "{bytes}#{name}| {actual}");
    }
    if std::env::var_os("TRAPLINE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/insn/cases.txt");
        std::fs::write(path, blessed).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    assert_eq!(wrong, 0, "lines that differ; TRAPLINE_BLESS=1 rewrites the table");
    assert!(CASES.lines().count() > 60);
}

#[test]
fn bytes_that_end_early_are_truncated_not_unknown() {
    for line in CASES.lines() {
        let Some((case, expected)) = line.split_once('|') else { continue };
        if !expected.trim().starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        let bytes = bytes_of(case.split('#').next().unwrap_or_default());
        for length in 0..bytes.len() {
            let cut = decode(&bytes[..length]);
            assert_eq!(cut, Err(DecodeError::Truncated), "{bytes:02x?} cut to {length}");
        }
    }
}

#[test]
fn an_unknown_xop_instruction_is_unknown_however_short() {
    // vpshaw %xmm7,%xmm11,%xmm0; found by the fuzz target, since a `pop` would be longer.
    let bytes = [0x8f, 0x89, 0x40, 0x99, 0xc3];
    assert_eq!(decode(&bytes), Err(DecodeError::Unknown));
}

#[test]
fn bytes_that_are_no_instruction_after_fifteen_are_unknown_not_truncated() {
    for prefixes in 5..=16 {
        // movq $0, 0(%rip): eleven bytes.
        let mut bytes = vec![0x2e; prefixes];
        bytes.extend([0x48, 0xc7, 0x05, 0, 0, 0, 0, 0, 0, 0, 0]);
        for length in 15..=bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(DecodeError::Unknown), "{:02x?}", &bytes[..length]);
            assert_eq!(port_access(&bytes[..length]), Err(DecodeError::Unknown), "{:02x?}", &bytes[..length]);
        }
        assert_eq!(decode(&bytes[..14]), Err(DecodeError::Truncated));
        assert_eq!(port_access(&bytes[..14]), Err(DecodeError::Truncated));
    }
}
