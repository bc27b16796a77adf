//! What the faulting instruction did with memory: which operand faulted, which registers made its
//! address, what it read or wrote.
//!
//! `trapline-insn` says what an instruction accesses, which is compared with CPUs in its tests;
//! `iced-x86` adds the names of the registers, and 32-bit code.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use trapline_insn::{Direction, Segment};

use crate::fault::{is_canonical, pattern};
use crate::machine::Machine;
use crate::registers::Registers;
use crate::report::Report;

/// How far above a null pointer an access through it may be.
const NEAR_NULL: u64 = 0x1000;

/// The lowest bit of which a flip is told: below, two good pointers may differ in one bit only.
const FLIPPED: u32 = 32;

/// Registers and their values.
type Named = Vec<(&'static str, u64)>;

/// The operand that faulted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// What it did, and the registers that made the address.
    pub(crate) text: String,
    /// What the values of those registers say.
    pub(crate) said: Vec<String>,
}

/// The operand of `instruction` that faulted in `report`, if the registers that it printed show
/// one.
pub(crate) fn access(report: &Report, instruction: &Instruction) -> Option<Access> {
    let narrow = report.is_narrow();
    let (parts, explicit) = explicit(instruction, &report.registers, narrow)?;
    let operands = operands(report);
    let faulted = |address: u64, width: u64| match report.address {
        Some(fault) => address <= fault && fault - address < width.max(1),
        // The kernel tells none with a general protection fault in a program, or before 5.4.
        None => !narrow && report.is_general_protection() && !is_canonical(address, report.canonical_bits()),
    };
    let known = operands.iter().find(|(address, width, _)| faulted(*address, *width));
    let (at, width, direction) = match known {
        Some(&(address, width, direction)) => (address, width, Some(direction)),
        None => {
            let width = instruction.memory_size().size() as u64;
            (explicit.filter(|address| faulted(*address, width))?, width, None)
        }
    };
    let did = match direction {
        Some(Direction::Read) => "read of",
        Some(Direction::Write) => "write of",
        Some(Direction::ReadWrite) => "update of",
        None => explicit_use(instruction),
    };
    let mut text = match width {
        0 => did.trim_end_matches(" of").trim_end_matches(" to").to_owned(),
        1 => format!("{did} 1 byte"),
        width => format!("{did} {width} bytes"),
    };
    let named: Named = if explicit == Some(at) {
        parts
    } else {
        // A string's element, or the stack: the register that points there.
        let implicit = ["RSP", "RSI", "RDI"];
        implicit
            .into_iter()
            .filter_map(|name| Some((name, report.registers.get(name).filter(|v| *v == at)?)))
            .collect()
    };
    if let Some(shown) = operand_text(instruction, &named, explicit == Some(at)) {
        text += &format!(" through {shown}");
    }
    if let Some((name, value)) = stored(instruction, &report.registers)
        && direction == Some(Direction::Write)
    {
        text += &format!("; it would have written {name}, {value:#x}");
    }
    // An index counts, it does not point.
    let points = if explicit != Some(at) {
        named.len()
    } else {
        usize::from(instruction.memory_base() != Register::None)
    };
    let said = said(&named, points, report, at);
    Some(Access { text, said })
}

/// What an instruction does with its explicit memory operand.
fn explicit_use(instruction: &Instruction) -> &'static str {
    let mut factory = InstructionInfoFactory::new();
    let of_operand = (0..instruction.op_count()).find(|at| instruction.op_kind(*at) == OpKind::Memory);
    match of_operand.map(|at| factory.info(instruction).op_access(at)) {
        Some(OpAccess::Read | OpAccess::CondRead) => "read of",
        Some(OpAccess::Write | OpAccess::CondWrite) => "write of",
        Some(OpAccess::ReadWrite | OpAccess::ReadCondWrite) => "update of",
        _ => "access to",
    }
}

/// An operand that the code names by its distance from the instruction: what was done with it.
pub(crate) fn relative(instruction: &Instruction) -> Option<String> {
    if !instruction.is_ip_rel_memory_operand() {
        return None;
    }
    let did = explicit_use(instruction);
    let did = match instruction.memory_size().size() {
        0 => did.trim_end_matches(" of").trim_end_matches(" to").to_owned(),
        1 => format!("{did} 1 byte"),
        size => format!("{did} {size} bytes"),
    };
    let what = match instruction.memory_segment() {
        Register::GS | Register::FS => "a variable of the CPU's own (per-CPU data)",
        _ => "a variable of the code's own, named by the distance to it",
    };
    Some(format!("{did}: {what}; no register is the pointer"))
}

/// The value of the register that points to the explicit operand, if that operand faulted.
pub(crate) fn pointer(report: &Report, instruction: &Instruction) -> Option<u64> {
    let (parts, explicit) = explicit(instruction, &report.registers, report.is_narrow())?;
    let (fault, at) = (report.address?, explicit?);
    let width = (instruction.memory_size().size() as u64).max(1);
    let is_it = at <= fault && fault - at < width && instruction.memory_base() != Register::None;
    parts.first().filter(|_| is_it).map(|(_, value)| *value)
}

/// The accesses of the marked instruction with the registers of `report`, as `trapline-insn` knows
/// them: address, width, direction.
fn operands(report: &Report) -> Vec<(u64, u64, Direction)> {
    let (Machine::X86_64, Some(code), Some(context)) =
        (report.machine, &report.code, report.registers.context())
    else {
        return Vec::new();
    };
    if report.is_narrow() {
        return Vec::new();
    }
    let Ok(plan) = trapline_insn::decode(code.marked()) else { return Vec::new() };
    // Without the base of a segment its operand lies somewhere else, and matches nothing.
    let base = |segment| match segment {
        Segment::Fs => report.registers.get("FS").unwrap_or(0),
        Segment::Gs => report.registers.get("GS").unwrap_or(0),
    };
    let operands = plan.operands(&context, base);
    operands.iter().map(|operand| (operand.address, u64::from(operand.width), operand.direction)).collect()
}

/// The registers that make the address of the explicit memory operand with their values, and that
/// address if all are known. `None` if there is no such operand or a register of it is not known.
fn explicit(instruction: &Instruction, registers: &Registers, narrow: bool) -> Option<(Named, Option<u64>)> {
    let has = (0..instruction.op_count()).any(|at| instruction.op_kind(at) == OpKind::Memory);
    if !has {
        return Some((Vec::new(), None));
    }
    let mut parts = Vec::new();
    let mut sum = instruction.memory_displacement64();
    let mut known = true;
    for (register, scale) in [
        (instruction.memory_base(), 1),
        (instruction.memory_index(), u64::from(instruction.memory_index_scale())),
    ] {
        if register == Register::None {
            continue;
        }
        let Some((name, value)) = named(register, registers) else {
            known = false;
            continue;
        };
        parts.push((name, value));
        sum = sum.wrapping_add(value.wrapping_mul(scale));
    }
    let segment = match instruction.memory_segment() {
        Register::FS => registers.get("FS"),
        Register::GS => registers.get("GS"),
        _ => Some(0),
    };
    let sum = if narrow { sum & 0xffff_ffff } else { sum };
    Some((parts, segment.filter(|_| known).map(|base| base.wrapping_add(sum))))
}

/// A register's name and value, as far as it was printed.
fn named(register: Register, registers: &Registers) -> Option<(&'static str, u64)> {
    const WIDE: [(Register, &str); 16] = [
        (Register::RAX, "RAX"),
        (Register::RCX, "RCX"),
        (Register::RDX, "RDX"),
        (Register::RBX, "RBX"),
        (Register::RSP, "RSP"),
        (Register::RBP, "RBP"),
        (Register::RSI, "RSI"),
        (Register::RDI, "RDI"),
        (Register::R8, "R8"),
        (Register::R9, "R9"),
        (Register::R10, "R10"),
        (Register::R11, "R11"),
        (Register::R12, "R12"),
        (Register::R13, "R13"),
        (Register::R14, "R14"),
        (Register::R15, "R15"),
    ];
    const NARROW: [&str; 8] = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"];
    let (at, (_, wide)) = WIDE.iter().enumerate().find(|(_, (full, _))| *full == register.full_register())?;
    let narrow = NARROW.get(at).copied().unwrap_or(wide);
    registers
        .get(wide)
        .map(|value| (*wide, value))
        .or_else(|| registers.get(narrow).map(|value| (narrow, value)))
}

/// The operand with its registers' values: `RDX 0x0 + 0x20`.
fn operand_text(instruction: &Instruction, parts: &[(&str, u64)], explicit: bool) -> Option<String> {
    let mut text = String::new();
    for (at, (name, value)) in parts.iter().enumerate() {
        if at > 0 {
            text += " + ";
        }
        text += &format!("{name} {value:#x}");
        let scale = instruction.memory_index_scale();
        let is_index = at == 1 || instruction.memory_base() == Register::None;
        if explicit && is_index && scale > 1 {
            text += &format!(" times {scale}");
        }
    }
    let displacement = instruction.memory_displacement64() as i64;
    // A displacement alone is an address in the code, which stands there already.
    if explicit && displacement != 0 && !text.is_empty() {
        let displacement =
            if instruction.memory_displ_size() == 4 { displacement as i32 as i64 } else { displacement };
        let sign = if displacement < 0 { '-' } else { '+' };
        text += &format!(" {sign} {:#x}", displacement.unsigned_abs());
    }
    (!text.is_empty()).then_some(text)
}

/// The register that a plain store writes, by its own name, and as much of it as is written.
fn stored(instruction: &Instruction, registers: &Registers) -> Option<(String, u64)> {
    let plain = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register;
    let register = instruction.op1_register();
    let (_, value) = named(register, registers).filter(|_| plain)?;
    let mut name = format!("{register:?}");
    let is_high = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
    let value = if is_high { value >> 8 } else { value };
    // The bytes of R8 to R15 end in B where the code is listed.
    if name.starts_with('R') && name.ends_with('L') {
        name.pop();
        name.push('B');
    }
    Some((name, low_bytes(value, register.size())))
}

/// The low `size` bytes of `value`.
fn low_bytes(value: u64, size: usize) -> u64 {
    if size >= 8 { value } else { value & ((1 << (size * 8)) - 1) }
}

/// What the values of the registers that made the address `at` say: of the first `points` of them,
/// which are pointers.
fn said(parts: &[(&'static str, u64)], points: usize, report: &Report, at: u64) -> Vec<String> {
    let mut said = Vec::new();
    for &(name, value) in parts.iter().take(points) {
        let is_only = parts.len() == 1;
        let below = at.wrapping_neg();
        if value == 0 && is_only && at < NEAR_NULL {
            said.push(format!("{name} is a null pointer"));
        } else if value == 0 && is_only && below < NEAR_NULL {
            said.push(format!("{name} is a null pointer, and the access lies {below:#x} before it"));
        }
        // What the address itself says is told with it.
        if let Some(meaning) = pattern(value).filter(|_| value != at) {
            said.push(format!("{name}: {meaning}"));
        }
        let others: Vec<(&str, u32)> = report
            .registers
            .general()
            .filter(|(other, _)| *other != name)
            .filter_map(|(other, held)| {
                let different = held ^ value;
                let is_flip = different.is_power_of_two() && different.trailing_zeros() >= FLIPPED;
                let good = is_pointer(held) && is_canonical(held, report.canonical_bits());
                (is_flip && good && is_pointer(value)).then(|| (other, different.trailing_zeros()))
            })
            .collect();
        if let Some((_, bit)) = others.first() {
            let same: Vec<&str> = others.iter().filter(|(_, b)| b == bit).map(|(other, _)| *other).collect();
            said.push(format!(
                "{name} is {} with bit {bit} flipped: that is what a memory error looks like",
                and(&same)
            ));
        }
    }
    said
}

/// Whether a value is large enough for a pointer and no single bit: 0 and flags differ in one bit
/// from one another without any error.
fn is_pointer(value: u64) -> bool {
    value >> FLIPPED != 0 && !value.is_power_of_two()
}

/// `RDX, RDI and RBP`.
fn and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What a divide error says of its divisor.
pub(crate) fn divisor(report: &Report, instruction: &Instruction) -> Option<String> {
    if !matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv)
        || instruction.op0_kind() != OpKind::Register
    {
        return None;
    }
    let register = instruction.op0_register();
    let (name, value) = named(register, &report.registers)?;
    // The second byte of a register is another matter.
    if matches!(register, Register::AH | Register::BH | Register::CH | Register::DH) {
        return None;
    }
    Some(match low_bytes(value, register.size()) {
        0 => format!("the divisor, in {name}, is 0"),
        _ => format!("the divisor, in {name}, is not 0: the quotient does not fit its register"),
    })
}
