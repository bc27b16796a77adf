//! Whether this crate and `iced-x86` say the same of some bytes. The fuzz target uses this file
//! too.

use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpAccess, OpKind,
    Register, UsedMemory,
};
use trapline_insn::{DecodeError, Direction, Gpr, Method, Operand, Operands, Registers, Segment, decode};

/// Base of `%fs` for the comparison.
pub(crate) const FS_BASE: u64 = 0x7f12_3456_7000;
/// Base of `%gs` for the comparison.
pub(crate) const GS_BASE: u64 = 0xffff_8880_0bad_0000;

/// The base of `segment`.
pub(crate) fn segment_base(segment: Segment) -> u64 {
    match segment {
        Segment::Fs => FS_BASE,
        Segment::Gs => GS_BASE,
    }
}

/// How a comparison went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// The same length and the same memory operands, all of them.
    Full(Method),
    /// This crate says that it does not know all the operands; those it knows are right.
    Partial,
    /// Only the other decoder knows the instruction.
    Unknown,
    /// Neither does.
    Neither,
    /// This crate knows an instruction that the other decoder refuses.
    Alone,
}

/// Compares what both decoders say of the instruction at the start of `bytes`, run with
/// `registers`.
pub(crate) fn compare(bytes: &[u8], registers: &Registers) -> Result<Agreement, String> {
    let bytes = &bytes[..bytes.len().min(15)];
    let mut decoder = Decoder::with_ip(64, bytes, registers.rip, DecoderOptions::NONE);
    let theirs = decoder.decode();
    let ours = decode(bytes);
    let plan = match (ours, theirs.is_invalid()) {
        (Err(_), true) => return Ok(Agreement::Neither),
        (Err(DecodeError::Truncated), false) => return Err(format!("truncated, but it is {theirs}")),
        (Err(DecodeError::Unknown), false) => return Ok(Agreement::Unknown),
        (Ok(_), true) => return Ok(Agreement::Alone),
        (Ok(plan), false) => plan,
    };
    if usize::from(plan.length()) != theirs.len() {
        return Err(format!("{theirs}: length {}, other decoder says {}", plan.length(), theirs.len()));
    }
    let ours = plan.operands(registers, segment_base);
    let expected = expected_operands(&theirs, registers);
    if ours.is_complete() {
        if !same(&ours, &expected) {
            return Err(format!("{theirs}: {:x?}, other decoder says {expected:x?}", ours.as_slice()));
        }
        return Ok(Agreement::Full(plan.method()));
    }
    if plan.method() != Method::Step {
        return Err(format!("{theirs}: incomplete, yet {:?}", plan.method()));
    }
    if let Some(wrong) = ours.iter().find(|one| one.width != 0 && !expected.contains(one)) {
        return Err(format!("{theirs}: {wrong:x?}, other decoder says {expected:x?}"));
    }
    Ok(Agreement::Partial)
}

fn same(ours: &Operands, theirs: &[Operand]) -> bool {
    ours.len() == theirs.len() && ours.iter().all(|one| theirs.contains(one))
}

/// The other decoder's memory operands, in this crate's terms.
fn expected_operands(instruction: &Instruction, registers: &Registers) -> Vec<Operand> {
    if instruction.has_rep_prefix() || instruction.has_repne_prefix() {
        let narrow = (0..instruction.op_count()).any(|operand| {
            matches!(
                instruction.op_kind(operand),
                OpKind::MemorySegESI | OpKind::MemoryESEDI | OpKind::MemorySegEDI
            )
        });
        let count = if narrow { registers.rcx & 0xffff_ffff } else { registers.rcx };
        if instruction.is_string_instruction() && count == 0 {
            return Vec::new();
        }
    }
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    info.used_memory().iter().filter_map(|memory| operand(instruction, memory, registers)).collect()
}

fn operand(instruction: &Instruction, memory: &UsedMemory, registers: &Registers) -> Option<Operand> {
    let direction = match memory.access() {
        OpAccess::None | OpAccess::NoMemAccess => return None,
        OpAccess::Read | OpAccess::CondRead => Direction::Read,
        OpAccess::Write | OpAccess::CondWrite => Direction::Write,
        OpAccess::ReadWrite | OpAccess::ReadCondWrite => Direction::ReadWrite,
    };
    let address = memory.virtual_address(0, |register, _, _| register_value(register, registers))?;
    // A repeated string instruction has no known size there; its element has.
    let size = match memory.memory_size() {
        MemorySize::Unknown if instruction.is_string_instruction() => instruction.memory_size(),
        size => size,
    };
    let width = size.size() as u16;
    Some(corrected(instruction, Operand { address, width, direction }, registers))
}

/// Where the other decoder says something else on purpose, or is wrong; each with the reason.
fn corrected(instruction: &Instruction, mut operand: Operand, registers: &Registers) -> Operand {
    // It gives the address form of a bit string instruction; the register's bit number moves on
    // from there (Intel SDM volume 2, `BT`).
    if matches!(instruction.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
        && instruction.op1_kind() == OpKind::Register
    {
        let bits = i64::from(operand.width) * 8;
        let number = register_value(instruction.op1_register(), registers).unwrap_or_default();
        let number = match operand.width {
            2 => i64::from(number as i16),
            4 => i64::from(number as i32),
            _ => number as i64,
        };
        let beyond = (number.div_euclid(bits) * i64::from(operand.width)) as u64;
        let base = match instruction.memory_segment() {
            Register::FS => FS_BASE,
            Register::GS => GS_BASE,
            _ => 0,
        };
        let offset = operand.address.wrapping_sub(base).wrapping_add(beyond);
        let narrow = instruction.memory_base().is_gpr32()
            || instruction.memory_index().is_gpr32()
            || instruction.memory_base() == Register::EIP
            || instruction.memory_displ_size() == 4;
        operand.address = base.wrapping_add(if narrow { offset & 0xffff_ffff } else { offset });
    }
    operand
}

/// The value of `register`, zero-extended; for a segment register its base.
pub(crate) fn register_value(register: Register, registers: &Registers) -> Option<u64> {
    Some(match register {
        Register::FS => FS_BASE,
        Register::GS => GS_BASE,
        Register::ES | Register::CS | Register::SS | Register::DS => 0,
        Register::RIP => registers.rip,
        Register::EIP => registers.rip & 0xffff_ffff,
        _ if register.is_gpr() => {
            let number = register.full_register().number() as u8;
            let value = registers.get(Gpr::from_number(number));
            match register.size() {
                8 => value,
                4 => value & 0xffff_ffff,
                2 => value & 0xffff,
                _ if matches!(register, Register::AH | Register::CH | Register::DH | Register::BH) => {
                    value >> 8 & 0xff
                }
                _ => value & 0xff,
            }
        }
        _ => return None,
    })
}
