//! Instructions to test with: every form that `iced-x86` can encode, with random operands.

use fastrand::Rng;
use iced_x86::{Code, Encoder, EncodingKind, Instruction, OpCodeOperandKind as Kind, OpKind, Register};

/// Where memory operands of generated instructions lie that have no register to steer them by.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Address of the instruction.
    pub(crate) rip: u64,
    /// Address that absolute and RIP-relative operands name; below 2 GiB, so that all forms reach
    /// it.
    pub(crate) target: u64,
}

/// All forms that exist in 64-bit mode.
pub(crate) fn all() -> impl Iterator<Item = Code> {
    Code::values().filter(|code| {
        let form = code.op_code();
        form.mode64() && form.is_instruction()
    })
}

/// One instruction of `code`'s form with random operands, and its bytes; `None` where this
/// generator cannot make one.
///
/// Where an operand may be memory or a register it is memory.
pub(crate) fn random(code: Code, rng: &mut Rng, place: Place) -> Option<(Instruction, Vec<u8>)> {
    let form = code.op_code();
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let mut memory = false;
    let vectors = if form.encoding() == EncodingKind::EVEX { 32 } else { 16 };
    for operand in 0..form.op_count() {
        memory |= set_operand(&mut instruction, operand, form.op_kind(operand), vectors, rng, place)?;
    }
    if memory {
        if form.can_use_lock_prefix() && rng.bool() {
            instruction.set_has_lock_prefix(true);
        }
        if form.can_broadcast() && rng.bool() {
            instruction.set_is_broadcast(true);
        }
        if rng.u8(..8) == 0 {
            const SEGMENTS: [Register; 6] =
                [Register::FS, Register::GS, Register::DS, Register::ES, Register::CS, Register::SS];
            instruction.set_segment_prefix(SEGMENTS[rng.usize(..6)]);
        }
    }
    if form.can_use_rep_prefix() && rng.u8(..3) != 0 {
        match form.can_use_repne_prefix() && rng.bool() {
            true => instruction.set_has_repne_prefix(true),
            false => instruction.set_has_rep_prefix(true),
        }
    }
    if form.can_use_op_mask_register() && (form.require_op_mask_register() || rng.bool()) {
        instruction.set_op_mask(Register::K1 + rng.u32(..7));
        if form.can_use_zeroing_masking() && instruction.op0_kind() == OpKind::Register && rng.bool() {
            instruction.set_zeroing_masking(true);
        }
    }
    let mut encoder = Encoder::new(64);
    encoder.set_prevent_vex2(rng.bool());
    encoder.encode(&instruction, place.rip).ok()?;
    let bytes = encoder.take_buffer();
    Some((instruction, bytes))
}

/// Fills in one operand; whether it is memory.
fn set_operand(
    i: &mut Instruction,
    operand: u32,
    kind: Kind,
    vectors: u32,
    rng: &mut Rng,
    place: Place,
) -> Option<bool> {
    let mut register = |i: &mut Instruction, first: Register, count: u32| {
        i.set_op_kind(operand, OpKind::Register);
        i.set_op_register(operand, first + rng.u32(..count));
    };
    match kind {
        Kind::r8_reg | Kind::r8_opcode => register(i, Register::AL, 20),
        Kind::r16_reg | Kind::r16_opcode => register(i, Register::AX, 16),
        Kind::r32_reg | Kind::r32_opcode | Kind::r32_vvvv => register(i, Register::EAX, 16),
        Kind::r64_reg | Kind::r64_opcode | Kind::r64_vvvv => register(i, Register::RAX, 16),
        Kind::seg_reg => register(i, Register::ES, 6),
        Kind::k_reg | Kind::k_vvvv => register(i, Register::K0, 8),
        Kind::mm_reg => register(i, Register::MM0, 8),
        Kind::xmm_reg | Kind::xmm_vvvv | Kind::xmm_is4 => register(i, Register::XMM0, vectors),
        Kind::ymm_reg | Kind::ymm_vvvv | Kind::ymm_is4 => register(i, Register::YMM0, vectors),
        Kind::zmm_reg | Kind::zmm_vvvv => register(i, Register::ZMM0, 32),
        Kind::bnd_reg => register(i, Register::BND0, 4),
        Kind::al => i.set_op_register(operand, Register::AL),
        Kind::cl => i.set_op_register(operand, Register::CL),
        Kind::ax => i.set_op_register(operand, Register::AX),
        Kind::eax => i.set_op_register(operand, Register::EAX),
        Kind::rax => i.set_op_register(operand, Register::RAX),
        Kind::fs => i.set_op_register(operand, Register::FS),
        Kind::gs => i.set_op_register(operand, Register::GS),
        Kind::st0 => i.set_op_register(operand, Register::ST0),
        Kind::imm8_const_1 => immediate(i, operand, OpKind::Immediate8, 1),
        Kind::imm8 => immediate(i, operand, OpKind::Immediate8, rng.u8(..).into()),
        Kind::imm16 => immediate(i, operand, OpKind::Immediate16, rng.u16(..).into()),
        Kind::imm32 => immediate(i, operand, OpKind::Immediate32, rng.u32(..).into()),
        Kind::imm8sex16 => immediate(i, operand, OpKind::Immediate8to16, rng.i8(..) as u64),
        Kind::imm8sex32 => immediate(i, operand, OpKind::Immediate8to32, rng.i8(..) as u64),
        Kind::imm8sex64 => immediate(i, operand, OpKind::Immediate8to64, rng.i8(..) as u64),
        Kind::imm32sex64 => immediate(i, operand, OpKind::Immediate32to64, rng.i32(..) as u64),
        Kind::seg_rSI => {
            i.set_op_kind(
                operand,
                if rng.u8(..4) == 0 { OpKind::MemorySegESI } else { OpKind::MemorySegRSI },
            );
            return Some(true);
        }
        Kind::es_rDI => {
            // Both pointers of one instruction have the same width.
            let narrow = match operand {
                0 => rng.u8(..4) == 0,
                _ => i.op0_kind() == OpKind::MemorySegESI,
            };
            i.set_op_kind(operand, if narrow { OpKind::MemoryESEDI } else { OpKind::MemoryESRDI });
            return Some(true);
        }
        Kind::mem_offs => {
            i.set_op_kind(operand, OpKind::Memory);
            let narrow = rng.u8(..4) == 0;
            i.set_memory_displ_size(if narrow { 4 } else { 8 });
            i.set_memory_displacement64(place.target);
            return Some(true);
        }
        Kind::mem
        | Kind::mem_mpx
        | Kind::r8_or_mem
        | Kind::r16_or_mem
        | Kind::r32_or_mem
        | Kind::r32_or_mem_mpx
        | Kind::r64_or_mem
        | Kind::r64_or_mem_mpx
        | Kind::mm_or_mem
        | Kind::xmm_or_mem
        | Kind::ymm_or_mem
        | Kind::zmm_or_mem
        | Kind::bnd_or_mem_mpx
        | Kind::k_or_mem => {
            set_address(i, operand, rng, place);
            return Some(true);
        }
        _ => return None,
    }
    Some(false)
}

fn immediate(i: &mut Instruction, operand: u32, kind: OpKind, value: u64) {
    i.set_op_kind(operand, kind);
    match kind {
        OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => {
            i.set_immediate_i64(operand, value as i64);
        }
        _ => i.set_immediate_u64(operand, value),
    }
}

fn set_address(i: &mut Instruction, operand: u32, rng: &mut Rng, place: Place) {
    i.set_op_kind(operand, OpKind::Memory);
    let narrow = rng.u8(..6) == 0;
    let first = if narrow { Register::EAX } else { Register::RAX };
    let wide_displacement = if narrow { 4 } else { 8 };
    match rng.u8(..16) {
        0 | 1 => {
            i.set_memory_base(if narrow { Register::EIP } else { Register::RIP });
            i.set_memory_displ_size(wide_displacement);
            i.set_memory_displacement64(place.target);
        }
        2 => {
            i.set_memory_displ_size(wide_displacement);
            i.set_memory_displacement64(place.target);
        }
        way => {
            let displacement = match way {
                3..=6 => 0,
                7..=10 => i64::from(rng.i8(..)),
                _ => i64::from(rng.i32(..)),
            };
            let has_index = way & 1 == 0;
            if !has_index || rng.u8(..8) != 0 {
                i.set_memory_base(first + rng.u32(..16));
            }
            if has_index {
                let index = rng.u32(..15);
                // The fifth register cannot be an index.
                i.set_memory_index(first + if index >= 4 { index + 1 } else { index });
                i.set_memory_index_scale(1 << rng.u32(..4));
            }
            let size = match displacement {
                0 => 0,
                -128..=127 if i.memory_base() != Register::None => 1,
                _ => wide_displacement,
            };
            i.set_memory_displ_size(size);
            let cut = if narrow { displacement as u32 as u64 } else { displacement as u64 };
            i.set_memory_displacement64(cut);
        }
    }
}
