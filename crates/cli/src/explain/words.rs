//! The words of an explanation.

use std::io::{self, Write};

use trapline_abi::ErrorCode;
use trapline_trace::fault::{self, Cause, bits, oddities, pattern, region};

use super::Code;
use super::oops::Oops;
use crate::style::{STRONG, WARNING};

/// How far a register may be from the faulting address to be told of: a field of a structure.
const NEAR: u64 = 0x1000;

/// How many callers are told.
const CALLERS: usize = 8;

/// Explains an error code, with the address if there is one.
pub(crate) fn code(out: &mut impl Write, code: Code, address: Option<u64>) -> io::Result<()> {
    let Code { value, decimal } = code;
    writeln!(out, "{STRONG}error code {:#x}{STRONG:#}: {}", value.0, sentence(value, address))?;
    writeln!(out)?;
    for bit in bits(value) {
        writeln!(out, "  bit {:<2}  {:<4}  {}  {}", bit.number, bit.name, u8::from(bit.set), bit.meaning)?;
    }
    if let Some(address) = address {
        writeln!(out)?;
        write_row(out, "address", &place(address))?;
        write_address_oddities(out, value, address)?;
    }
    write_oddities(out, value)?;
    if decimal && value.0 > 9 {
        let digits = value.0;
        note(
            out,
            &format!("read as decimal; the kernel prints error codes in hexadecimal: was it 0x{digits}?"),
        )?;
    }
    Ok(())
}

/// Explains an oops.
pub(crate) fn oops(out: &mut impl Write, oops: &Oops) -> io::Result<()> {
    if let Some(headline) = &oops.headline {
        writeln!(out, "{STRONG}{headline}{STRONG:#}")?;
    }
    for hint in &oops.hints {
        writeln!(out, "{STRONG}{hint}{STRONG:#}")?;
    }
    writeln!(out)?;
    match (&oops.other, oops.error_code) {
        (Some(other), _) => {
            write_row(out, "what", &format!("{other}: no page fault, so there is no address in CR2"))?;
        }
        (None, Some(code)) => {
            let code = ErrorCode(code as u32);
            write_row(out, "what", &sentence(code, oops.address))?;
            let set: Vec<&str> = bits(code).filter(|bit| bit.set).map(|bit| bit.name).collect();
            let set = if set.is_empty() { "no bit set".into() } else { set.join(", ") };
            write_row(out, "error code", &format!("{:#x}: {set}", code.0))?;
        }
        (None, None) => {}
    }
    if let Some(address) = oops.address {
        write_row(out, "address", &place(address))?;
    }
    if let Some(instruction) = &oops.instruction {
        write_row(out, "instruction", instruction)?;
        if let Some(module) = module_of(oops, instruction) {
            write_row(out, "module", &module)?;
        }
    }
    if let Some((name, process)) = &oops.task {
        let cpu = oops.cpu.map(|cpu| format!(" on CPU {cpu}")).unwrap_or_default();
        write_row(out, "task", &format!("{name}[{process}]{cpu}"))?;
    }
    if let Some(kernel) = &oops.kernel {
        let taint = oops.taint.as_deref().map(|flags| format!(", tainted: {}", taint(flags)));
        write_row(out, "kernel", &format!("{kernel}{}", taint.unwrap_or_default()))?;
    }
    let (calls, by) =
        if oops.calls.is_empty() { (&oops.maybe_calls, "perhaps by") } else { (&oops.calls, "called by") };
    for (number, caller) in calls.iter().take(CALLERS).enumerate() {
        write_row(out, if number == 0 { by } else { "" }, caller)?;
    }
    write_registers(out, oops)?;
    if let (None, Some(code)) = (&oops.other, oops.error_code) {
        if let Some(address) = oops.address {
            write_address_oddities(out, ErrorCode(code as u32), address)?;
        }
        write_oddities(out, ErrorCode(code as u32))?;
    }
    if oops.more > 0 {
        let more = oops.more;
        note(
            out,
            &format!("{more} more follow in this text; they may be consequences of this one, the first"),
        )?;
    }
    Ok(())
}

/// What it was, in words. Without an address the half is guessed from the mode, and what that decides is said to be open.
fn sentence(code: ErrorCode, address: Option<u64>) -> String {
    let guess = if code.has(ErrorCode::USER) { 0 } else { u64::MAX };
    let cause = Cause::of(code, address.unwrap_or(guess));
    let other = Cause::of(code, !guess);
    let text = fault::sentence(code, cause);
    if address.is_none() && other != cause {
        return format!("{text} (or {}: the address would tell)", other.page());
    }
    text
}

/// An address with its region, or what its value says.
fn place(address: u64) -> String {
    let (region, moved) = region(address);
    let moved = if moved {
        "; with KASLR (of memory) direct map, vmalloc area and vmemmap lie elsewhere in this part"
    } else {
        ""
    };
    let said = pattern(address).map(|text| format!("\n{:14}{text}", "")).unwrap_or_default();
    format!("{address:#x}: {}{moved}{said}", region.name)
}

/// What is strange about this code on this address.
fn write_address_oddities(out: &mut impl Write, code: ErrorCode, address: u64) -> io::Result<()> {
    let (region, _) = region(address);
    if region.is_hole() {
        note(
            out,
            "impossible with four levels of page tables: an access there is a general protection fault, not a page fault",
        )?;
    }
    if Cause::of(code, address) == Cause::Unclear {
        note(
            out,
            "surprising: the kernel may read its own pages; a stale TLB entry, or a protection key of the supervisor's",
        )?;
    }
    let kernel_half = address >> 63 != 0;
    if code.has(ErrorCode::USER) && code.has(ErrorCode::PRESENT) && kernel_half {
        note(
            out,
            "if a signal or a `segfault at` line told this code, the page may as well not be present: there the kernel sets P for every address of its half (sanitize_error_code)",
        )?;
    }
    let by_kernel = ErrorCode::PRESENT | ErrorCode::WRITE | ErrorCode::USER | ErrorCode::PROTECTION_KEY;
    if code.0 & by_kernel == ErrorCode::PRESENT | ErrorCode::WRITE && !kernel_half {
        note(
            out,
            "the code is the same where the page is writable and SMAP forbids the kernel's access: likelier in an oops, since a write to a read-only page would have been resolved or refused",
        )?;
    }
    if code.has(ErrorCode::USER) && kernel_half && !code.has(ErrorCode::PRESENT) {
        note(
            out,
            "user mode tried an address of the kernel's half: a wild pointer, or a probe of the kernel's layout",
        )?;
    }
    Ok(())
}

fn write_oddities(out: &mut impl Write, code: ErrorCode) -> io::Result<()> {
    oddities(code).iter().try_for_each(|text| note(out, text))
}

/// The registers that explain the address, and those that hold a pattern.
fn write_registers(out: &mut impl Write, oops: &Oops) -> io::Result<()> {
    let general = || oops.registers.iter().filter(|(name, _)| name != "CR2");
    if let Some(address) = oops.address {
        let near = |value: u64| {
            let is_error = value != 0 && value.wrapping_neg() < NEAR && address.wrapping_sub(value) < NEAR;
            is_error || address >= NEAR && value.abs_diff(address) < NEAR
        };
        let zero: Vec<&str> = general().filter(|(_, v)| *v == 0).map(|(name, _)| name.as_str()).collect();
        if address < NEAR && !zero.is_empty() && !general().any(|(_, value)| near(*value)) {
            let which = if zero.len() == 1 { "holds 0: probably" } else { "hold 0: one of them probably" };
            let text = format!("{} {which} the null pointer, {address:#x} the offset in it", zero.join(", "));
            write_row(out, "registers", &text)?;
        }
        for (name, value) in general().filter(|(_, value)| *value != 0 && near(*value)) {
            let relation = match address.wrapping_sub(*value) as i64 {
                0 => "the address".to_owned(),
                more if more > 0 => format!("the address is {more:#x} above it"),
                less => format!("the address is {:#x} below it", less.unsigned_abs()),
            };
            write_row(out, name, &format!("{value:#x}: {relation}"))?;
        }
    }
    for (name, value) in general() {
        if let Some(meaning) = pattern(*value) {
            write_row(out, name, &meaning)?;
        }
    }
    let printed = oops.registers.iter().find(|(name, _)| name == "CR2").map(|(_, value)| *value);
    if let (Some(printed), Some(address), None) = (printed, oops.address, &oops.other)
        && printed != address
    {
        let text =
            "among the registers CR2 holds a later address: that of a fault while this oops was printed";
        note(out, text)?;
    }
    Ok(())
}

/// The module that the instruction is in, with what its taint flags mean.
fn module_of(oops: &Oops, instruction: &str) -> Option<String> {
    let name = instruction.rsplit_once('[')?.1.strip_suffix(']')?;
    let listed = oops.modules.iter().find(|module| module.split('(').next() == Some(name));
    let flags =
        listed.and_then(|module| module.split_once('(')).map_or("", |(_, flags)| flags.trim_end_matches(')'));
    let meant = if flags.is_empty() { String::new() } else { format!(": {}", taint(flags)) };
    Some(format!("{name}{meant}"))
}

/// What taint flags mean: Documentation/admin-guide/tainted-kernels.rst.
fn taint(flags: &str) -> String {
    let meanings = flags.chars().filter_map(|flag| {
        Some(match flag {
            'P' => "proprietary module",
            'F' => "module loaded by force",
            'S' => "out of specification",
            'R' => "module unloaded by force",
            'M' => "machine check",
            'B' => "bad page",
            'U' => "user's request",
            'D' => "oopsed before",
            'A' => "ACPI table overridden",
            'W' => "warned before",
            'C' => "staging driver",
            'I' => "firmware workaround",
            'O' => "out-of-tree module",
            'E' => "unsigned module",
            'L' => "soft lockup before",
            'K' => "live-patched",
            'X' => "distribution's own flag",
            'T' => "struct randomisation",
            'N' => "test",
            '+' => "being loaded",
            '-' => "being unloaded",
            _ => return None,
        })
    });
    let meanings: Vec<&str> = meanings.collect();
    if meanings.is_empty() { flags.to_owned() } else { meanings.join(", ") }
}

fn write_row(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {name:<11} {text}")
}

fn note(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{WARNING}note{WARNING:#}: {text}")
}
