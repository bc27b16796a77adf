//! Registers under which an instruction's memory operands lie in the arena, worked out from the
//! second decoder's view of it.

use fastrand::Rng;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use trapline_insn::{Gpr, Registers, Segment};

use crate::machine::{ARENA, Machine};

/// Where the operands lie.
pub(crate) struct Steered {
    /// The explicit memory operand, or the first string's, or the stack.
    pub(crate) target: u64,
    /// The second string.
    pub(crate) other: u64,
}

fn gpr(register: Register) -> Option<Gpr> {
    register.is_gpr().then(|| Gpr::from_number(register.full_register().number() as u8))
}

/// Sets the registers of `instruction`'s addresses, for operands aligned to `alignment` bytes;
/// `None` if that cannot be done, as when the stack pointer is also an index.
pub(crate) fn steer(
    instruction: &Instruction,
    registers: &mut Registers,
    machine: &Machine,
    alignment: u64,
    rng: &mut Rng,
) -> Option<Steered> {
    let mut place = || machine.arena() + 1024 + rng.u64(..ARENA as u64 - 2048);
    let (mut target, other) = (place() & !(alignment - 1), place() & !(alignment - 1));
    let kinds: Vec<_> = (0..instruction.op_count()).map(|operand| instruction.op_kind(operand)).collect();
    let mut fixed = Vec::new();
    if instruction.is_string_instruction() {
        let narrow = kinds.iter().any(|kind| matches!(kind, OpKind::MemorySegESI | OpKind::MemoryESEDI));
        // What lies above 32 bits does not count there.
        let above = |rng: &mut Rng| if narrow { u64::from(rng.u32(..)) << 32 } else { 0 };
        let cut = |address: u64| if narrow { address & 0xffff_ffff } else { address };
        let mut base = base_of(instruction.segment_prefix(), machine);
        if narrow && base > u64::from(u32::MAX) {
            // The base of %fs lies high; 32 bits of offset do not lead back.
            return None;
        }
        if base != 0 && !kinds.iter().any(|kind| matches!(kind, OpKind::MemorySegESI | OpKind::MemorySegRSI))
        {
            base = 0;
        }
        registers.set(Gpr::Rsi, cut(target.wrapping_sub(base)) | above(rng));
        registers.set(Gpr::Rdi, other | above(rng));
        registers.set(Gpr::Rcx, rng.u64(..50) | above(rng));
        return Some(Steered { target, other });
    }
    if matches!(instruction.mnemonic(), Mnemonic::Push | Mnemonic::Pop) {
        registers.set(Gpr::Rsp, other);
        fixed.push(Gpr::Rsp);
    }
    if !kinds.contains(&OpKind::Memory) {
        return Some(Steered { target: other, other });
    }
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    let narrow = base.is_gpr32() || index.is_gpr32() || base == Register::EIP;
    let segment = base_of(instruction.segment_prefix(), machine);
    if segment > u64::from(u32::MAX) && narrow {
        return None;
    }
    // A register's bit number reaches beyond the address; keep it near.
    let mut beyond = 0i64;
    if let (Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc, OpKind::Register) =
        (instruction.mnemonic(), instruction.op1_kind())
    {
        let bits = instruction.memory_size().size() as i64 * 8;
        let register = gpr(instruction.op1_register())?;
        let number = rng.i64(-4000..4000);
        let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        registers.set(register, registers.get(register) & !mask | number as u64 & mask);
        fixed.push(register);
        beyond = number.div_euclid(bits) * bits / 8;
    }
    let displacement = instruction.memory_displacement64();
    let wanted = |target: u64| target.wrapping_sub(segment).wrapping_sub(beyond as u64);
    match (gpr(base), gpr(index)) {
        (None, None) => {
            // Absolute or RIP-relative: generated for the arena, so the operand is where it is.
            if segment != 0 || beyond != 0 {
                return None;
            }
            target = displacement;
        }
        (Some(base), Some(index)) if base == index => {
            // r * (1 + scale) = wanted: an odd factor has an inverse, two needs an even number.
            let factor = 1 + u64::from(instruction.memory_index_scale());
            if fixed.contains(&base) {
                return None;
            }
            if factor == 2 && wanted(target).wrapping_sub(displacement) & 1 != 0 {
                target += 1;
            }
            let sum = wanted(target).wrapping_sub(displacement);
            let value =
                if factor == 2 { (sum as i64 >> 1) as u64 } else { sum.wrapping_mul(inverse(factor)) };
            set(registers, base, value, narrow, rng);
        }
        (Some(base), index) => {
            if fixed.contains(&base) {
                return None;
            }
            let index = index.map_or(0, |index| registers.get(index));
            let scaled = index.wrapping_mul(u64::from(instruction.memory_index_scale()));
            let value = wanted(target).wrapping_sub(displacement).wrapping_sub(scaled);
            set(registers, base, value, narrow, rng);
        }
        (None, Some(index)) => {
            if fixed.contains(&index) {
                return None;
            }
            let scale = u64::from(instruction.memory_index_scale());
            let sum = wanted(target).wrapping_sub(displacement);
            target = target.wrapping_sub(sum % scale);
            set(registers, index, wanted(target).wrapping_sub(displacement) / scale, narrow, rng);
        }
    }
    if target & (alignment - 1) != 0 {
        return None;
    }
    // `pop` moves %rsp before it computes its address.
    if instruction.mnemonic() == Mnemonic::Pop && (gpr(base) == Some(Gpr::Rsp)) {
        return None;
    }
    Some(Steered { target, other })
}

/// Under 32-bit addressing the upper half is noise.
fn set(registers: &mut Registers, register: Gpr, value: u64, narrow: bool, rng: &mut Rng) {
    let value = if narrow { value & 0xffff_ffff | u64::from(rng.u32(..)) << 32 } else { value };
    registers.set(register, value);
}

/// Of an odd number, modulo 2^64 (Newton's iteration doubles the right bits).
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |guess, _| guess.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(guess))))
}

fn base_of(segment: Register, machine: &Machine) -> u64 {
    match segment {
        Register::FS => machine.segment_base(Segment::Fs),
        Register::GS => machine.segment_base(Segment::Gs),
        _ => 0,
    }
}
