//! The few instructions beyond `trapline-insn`'s own that the simulated cores know: some that the
//! engine redirects, some that it has to step.
//!
//! What an instruction accesses beside its explicit operand is written down here anew, not taken
//! from the plan, so that the engine's idea of it is tested.

use trapline_engine::Fault;
use trapline_insn::{Gpr, Registers};

use crate::Vectors;

/// Memory as these instructions see it; each call is one access.
pub(crate) trait Bytes {
    /// Whether an access would fault; makes none.
    fn check(&mut self, address: u64, width: usize, write: bool) -> Result<(), Fault>;
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Fault>;
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault>;
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// `movups`, `movdqu`, `vmovdqu` and their like.
    Load {
        vector: usize,
        width: usize,
        clear: bool,
    },
    Store {
        vector: usize,
        width: usize,
    },
    /// `paddd`.
    Add {
        vector: usize,
    },
    /// `vpmaskmovd`: the elements that `mask` selects.
    MaskedLoad {
        vector: usize,
        mask: usize,
    },
    MaskedStore {
        vector: usize,
        mask: usize,
    },
    /// `div`: 4 or 8 bytes.
    Divide {
        width: usize,
    },
    /// `jmp` through memory.
    Jump,
    /// `call` through memory.
    Call,
    /// `xlatb`.
    Translate,
    /// `mov $imm,%reg`: 4 or 8 bytes.
    Immediate {
        register: Gpr,
        value: u64,
    },
    /// `lea offset(%rip),%rax`.
    Address {
        offset: u64,
    },
    /// `movdir64b` from `(source)` to `(target)`: a plan may not describe both.
    Move64 {
        source: Gpr,
        target: Gpr,
    },
}

/// The model of the instruction at the start of `code`; `None` if there is none.
pub(crate) fn recognise(code: &[u8]) -> Option<Model> {
    let (mut at, mut operand_size, mut repeat) = (0, false, None);
    while let Some(&prefix) = code.get(at).filter(|byte| matches!(byte, 0x64..=0x66 | 0xf2 | 0xf3)) {
        operand_size |= prefix == 0x66;
        repeat = Some(prefix).filter(|prefix| *prefix >= 0xf2).or(repeat);
        at += 1;
    }
    match *code.get(at)? {
        // VEX (Intel SDM volume 2, 2.3.5): R, vvvv inverted, L, pp.
        0xc5 => vex(!code.get(at + 1)? & 0x80, *code.get(at + 1)?, 1, code.get(at + 2..)?),
        0xc4 => {
            vex(!code.get(at + 1)? & 0x80, *code.get(at + 2)?, code.get(at + 1)? & 31, code.get(at + 3..)?)
        }
        first => {
            let rex = if first & 0xf0 == 0x40 { first } else { 0 };
            legacy(rex, operand_size, repeat, code.get(at + usize::from(rex != 0)..)?)
        }
    }
}

fn legacy(rex: u8, operand_size: bool, repeat: Option<u8>, code: &[u8]) -> Option<Model> {
    let group = |byte: u8| byte >> 3 & 7;
    let number = |byte: u8| usize::from(group(byte) | (rex & 4) << 1);
    Some(match (code, operand_size, repeat) {
        ([opcode @ 0xb8..=0xbf, value @ ..], ..) => {
            let value = value.get(..if rex & 8 != 0 { 8 } else { 4 })?;
            let value = value.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
            Model::Immediate { register: Gpr::from_number(opcode & 7 | (rex & 1) << 3), value }
        }
        ([0x8d, 0x05, offset @ ..], ..) if rex == 0x48 => {
            let offset = offset.first_chunk().copied()?;
            Model::Address { offset: i32::from_le_bytes(offset) as u64 }
        }
        ([0xd7, ..], ..) => Model::Translate,
        ([0xf7, modrm, ..], ..) if group(*modrm) == 6 => {
            Model::Divide { width: if rex & 8 != 0 { 8 } else { 4 } }
        }
        ([0xff, modrm, ..], ..) if group(*modrm) == 2 => Model::Call,
        ([0xff, modrm, ..], ..) if group(*modrm) == 4 => Model::Jump,
        ([0x0f, 0x10 | 0x28, modrm, ..], _, None) => {
            Model::Load { vector: number(*modrm), width: 16, clear: false }
        }
        ([0x0f, 0x11 | 0x29, modrm, ..], _, None) => Model::Store { vector: number(*modrm), width: 16 },
        ([0x0f, 0x6f, modrm, ..], true, None) | ([0x0f, 0x6f, modrm, ..], false, Some(0xf3)) => {
            Model::Load { vector: number(*modrm), width: 16, clear: false }
        }
        ([0x0f, 0x7f, modrm, ..], true, None) | ([0x0f, 0x7f, modrm, ..], false, Some(0xf3)) => {
            Model::Store { vector: number(*modrm), width: 16 }
        }
        ([0x0f, 0xfe, modrm, ..], true, None) => Model::Add { vector: number(*modrm) },
        ([0x0f, 0x38, 0xf8, modrm, ..], true, None) => Model::Move64 {
            source: Gpr::from_number(modrm & 7 | (rex & 1) << 3),
            target: Gpr::from_number(number(*modrm) as u8),
        },
        _ => return None,
    })
}

fn vex(r: u8, last: u8, map: u8, code: &[u8]) -> Option<Model> {
    let &[opcode, modrm, ..] = code else { return None };
    let vector = usize::from(modrm >> 3 & 7) + if r != 0 { 8 } else { 0 };
    let width = if last & 4 != 0 { 32 } else { 16 };
    let mask = usize::from(!last >> 3 & 15);
    Some(match (map, last & 3, opcode) {
        (1, 0, 0x10 | 0x28) | (1, 1 | 2, 0x6f) => Model::Load { vector, width, clear: true },
        (1, 0, 0x11 | 0x29) | (1, 1 | 2, 0x7f) => Model::Store { vector, width },
        (2, 1, 0x8c) if width == 16 => Model::MaskedLoad { vector, mask },
        (2, 1, 0x8e) if width == 16 => Model::MaskedStore { vector, mask },
        _ => return None,
    })
}

impl Model {
    /// Performs it; its explicit operand is at `operand`. `length` is the instruction's. On a fault
    /// nothing has changed.
    pub(crate) fn run(
        self,
        length: u8,
        operand: u64,
        registers: &mut Registers,
        vectors: &mut Vectors,
        memory: &mut impl Bytes,
    ) -> Result<(), Fault> {
        let next = registers.rip.wrapping_add(length.into());
        let mut to = next;
        match self {
            Model::Load { vector, width, clear } => {
                let mut bytes = [0; 32];
                memory.read(operand, &mut bytes[..width])?;
                let kept = if clear { 32 } else { width };
                vectors[vector][..kept].copy_from_slice(&bytes[..kept]);
            }
            Model::Store { vector, width } => memory.write(operand, &vectors[vector][..width])?,
            Model::Add { vector } => {
                let mut bytes = [0; 16];
                memory.read(operand, &mut bytes)?;
                for (ours, theirs) in
                    vectors[vector].as_chunks_mut::<4>().0.iter_mut().zip(bytes.as_chunks::<4>().0)
                {
                    *ours = u32::from_le_bytes(*ours).wrapping_add(u32::from_le_bytes(*theirs)).to_le_bytes();
                }
            }
            Model::MaskedLoad { vector, mask } => {
                let mut loaded = [0; 32];
                for element in selected(&vectors[mask]) {
                    memory.read(operand + element as u64, &mut loaded[element..element + 4])?;
                }
                vectors[vector] = loaded;
            }
            Model::MaskedStore { vector, mask } => {
                for element in selected(&vectors[mask]) {
                    memory.write(operand + element as u64, &vectors[vector][element..element + 4])?;
                }
            }
            Model::Divide { width } => {
                let mut bytes = [0; 8];
                memory.read(operand, &mut bytes[..width])?;
                let divisor = u128::from(u64::from_le_bytes(bytes));
                let bits = width as u32 * 8;
                let ones = u64::MAX >> (64 - bits);
                let dividend = u128::from(registers.rdx & ones) << bits | u128::from(registers.rax & ones);
                assert!(divisor != 0 && dividend / divisor <= ones.into(), "the model raises no #DE");
                (registers.rax, registers.rdx) = ((dividend / divisor) as u64, (dividend % divisor) as u64);
            }
            Model::Jump | Model::Call => {
                let mut bytes = [0; 8];
                memory.read(operand, &mut bytes)?;
                if self == Model::Call {
                    memory.write(registers.rsp - 8, &next.to_le_bytes())?;
                    registers.rsp -= 8;
                }
                to = u64::from_le_bytes(bytes);
            }
            Model::Translate => {
                let mut byte = [0];
                memory.read(registers.rbx.wrapping_add(registers.rax & 0xff), &mut byte)?;
                registers.rax = registers.rax & !0xff | u64::from(byte[0]);
            }
            Model::Immediate { register, value } => registers.set(register, value),
            Model::Address { offset } => registers.rax = next.wrapping_add(offset),
            Model::Move64 { source, target } => {
                let mut bytes = [0; 64];
                memory.check(registers.get(source), 64, false)?;
                memory.check(registers.get(target), 64, true)?;
                memory.read(registers.get(source), &mut bytes)?;
                memory.write(registers.get(target), &bytes)?;
            }
        }
        registers.rip = to;
        Ok(())
    }
}

/// Offsets of the elements whose mask has its highest bit set.
fn selected(mask: &[u8; 32]) -> impl Iterator<Item = usize> + use<> {
    let mask = *mask;
    (0..16).step_by(4).filter(move |element| mask[element + 3] & 0x80 != 0)
}
