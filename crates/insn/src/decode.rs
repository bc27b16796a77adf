//! Bytes to a plan: what `yaxpeax-x86` says of them, turned into what this crate performs.
//!
//! Of the decoder is taken: length, opcode, operands and the width of the memory operand; for what
//! is not emulated, also how that operand is accessed. Anything it leaves open makes the
//! instruction one to step. The figures it was chosen by are in `docs/decoder.md`.

use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::long_mode::{
    DecodeError as Refusal, InstDecoder, Instruction, Opcode, Operand as Raw, RegSpec, Segment as RawSegment,
    register_class,
};

use crate::address::{Address, Base};
use crate::layout::{Encoding, Layout};
use crate::opcodes::{alu, bit, shift, text};
use crate::operation::{Operation, Repeat, Source, Text, Unary};
use crate::plan::{Plan, Stack};
use crate::slot::Slot;
use crate::{DecodeError, Gpr, MAX_LENGTH, Method, Segment, corrections, foreign};

/// Decodes the instruction at the start of `bytes`, as a CPU in 64-bit mode does.
///
/// `bytes` are up to 15 of the site's; fewer will do if the instruction is shorter.
///
/// # Errors
///
/// [`DecodeError::Truncated`] if the bytes end early, [`DecodeError::Unknown`] if they are no
/// instruction that is known.
pub fn decode(bytes: &[u8]) -> Result<Plan, DecodeError> {
    let bytes = bytes.get(..MAX_LENGTH).unwrap_or(bytes);
    let instruction = InstDecoder::default().decode_slice(bytes).map_err(|refusal| match refusal {
        Refusal::ExhaustedInput if bytes.len() < MAX_LENGTH && !is_xop(bytes) => DecodeError::Truncated,
        _ => DecodeError::Unknown,
    })?;
    let length = instruction.len().to_const() as u8;
    let bytes = bytes.get(..usize::from(length)).ok_or(DecodeError::Truncated)?;
    let layout = Layout::of(bytes).ok_or(DecodeError::Unknown)?;
    Ok(Reading::new(&instruction, length, layout).plan(bytes))
}

/// Whether `bytes` are AMD's XOP escape (8Fh with a map of 8 or more where `pop` has /0), which the
/// decoder reads as a longer `pop`.
fn is_xop(bytes: &[u8]) -> bool {
    Layout::of(bytes).is_some_and(|layout| {
        layout.encoding == Encoding::Legacy
            && (layout.map, layout.opcode) == (0, 0x8f)
            && bytes.get(layout.modrm).is_some_and(|modrm| modrm & 0x38 != 0)
    })
}

/// An operand, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Absent,
    Register(Slot),
    Immediate(u64),
    Memory,
    /// A segment or vector register and the like.
    Other,
}

impl Part {
    /// What it is beside a memory operand.
    fn source(self) -> Option<Source> {
        match self {
            Self::Register(_) => Some(Source::Register),
            Self::Immediate(_) => Some(Source::Immediate),
            _ => None,
        }
    }
}

/// A decoded instruction while its plan is made.
struct Reading<'a> {
    instruction: &'a Instruction,
    layout: Layout,
    parts: [Part; 4],
    address: Address,
    width: u16,
    length: u8,
}

impl<'a> Reading<'a> {
    fn new(instruction: &'a Instruction, length: u8, layout: Layout) -> Self {
        let mut reading = Self {
            instruction,
            layout,
            parts: [Part::Absent; 4],
            address: Address::NONE,
            width: corrections::width(instruction, &layout, told_width(instruction)),
            length,
        };
        reading.address.narrow = instruction.prefixes.address_size();
        reading.address.segment = match instruction.prefixes.segment() {
            // `ins` writes to %es whatever the prefix says (Intel SDM volume 2, `INS`).
            _ if instruction.opcode() == Opcode::INS => None,
            RawSegment::FS => Some(Segment::Fs),
            RawSegment::GS => Some(Segment::Gs),
            _ => None,
        };
        for number in 0..instruction.operand_count().min(4) {
            let part = reading.part(instruction.operand(number));
            if let Some(slot) = reading.parts.get_mut(usize::from(number)) {
                *slot = part;
            }
        }
        reading
    }

    /// The operand; a memory operand also fills in the address, of which an instruction has one.
    fn part(&mut self, operand: Raw) -> Part {
        match operand {
            // The unsigned ones are those of instructions that are not emulated.
            Raw::ImmediateI8 { imm } => Part::Immediate(imm as u64),
            Raw::ImmediateI16 { imm } => Part::Immediate(imm as u64),
            Raw::ImmediateI32 { imm } => Part::Immediate(imm as u64),
            Raw::ImmediateI64 { imm } => Part::Immediate(imm as u64),
            Raw::Register { reg } => {
                let slot = slot(reg).map(|slot| corrections::register(self.instruction, slot));
                slot.map_or(Part::Other, Part::Register)
            }
            // Four bytes of displacement are sign-extended; 32-bit addressing cuts that off again.
            Raw::AbsoluteU32 { addr } => self.memory(None, None, 1, addr as i32),
            Raw::AbsoluteU64 { addr } => {
                self.address.displacement = addr;
                Part::Memory
            }
            Raw::MemDeref { base } | Raw::MemDerefMasked { base, .. } => self.memory(Some(base), None, 1, 0),
            Raw::Disp { base, disp } | Raw::DispMasked { base, disp, .. } => {
                self.memory(Some(base), None, 1, disp)
            }
            Raw::MemIndexScale { index, scale } | Raw::MemIndexScaleMasked { index, scale, .. } => {
                self.memory(None, Some(index), scale, 0)
            }
            Raw::MemIndexScaleDisp { index, scale, disp }
            | Raw::MemIndexScaleDispMasked { index, scale, disp, .. } => {
                self.memory(None, Some(index), scale, disp)
            }
            Raw::MemBaseIndexScale { base, index, scale }
            | Raw::MemBaseIndexScaleMasked { base, index, scale, .. } => {
                self.memory(Some(base), Some(index), scale, 0)
            }
            Raw::MemBaseIndexScaleDisp { base, index, scale, disp }
            | Raw::MemBaseIndexScaleDispMasked { base, index, scale, disp, .. } => {
                self.memory(Some(base), Some(index), scale, disp)
            }
            _ => Part::Other,
        }
    }

    /// `Other` where an index is a vector register: a gather or scatter.
    fn memory(
        &mut self,
        base: Option<RegSpec>,
        index: Option<RegSpec>,
        scale: u8,
        displacement: i32,
    ) -> Part {
        self.address.displacement = displacement as u64;
        self.address.scale = scale.trailing_zeros() as u8 & 3;
        self.address.base = match base {
            None => Base::None,
            Some(base) if matches!(base.class(), register_class::RIP | register_class::EIP) => {
                self.address.displacement = self.address.displacement.wrapping_add(self.length.into());
                Base::Rip
            }
            Some(base) => match slot(base) {
                Some(slot) => Base::Register(slot.register()),
                None => return Part::Other,
            },
        };
        self.address.index = match index {
            None => None,
            Some(index) => match slot(index) {
                Some(slot) => Some(slot.register()),
                None => return Part::Other,
            },
        };
        Part::Memory
    }

    fn plan(&self, bytes: &[u8]) -> Plan {
        let mut plan = Plan {
            address: self.address,
            immediate: self.immediate(),
            width: self.width,
            operation: Operation::Foreign(None),
            register: self.register(),
            stack: Stack::None,
            length: self.length,
            method: Method::Step,
            scratch: Gpr::Rax,
            locked: self.instruction.prefixes.lock(),
            partial: false,
            complete: true,
        };
        match self.emulated() {
            Some(operation) => {
                plan.operation = operation;
                plan.method = Method::Emulate;
                // `xchg` with memory is atomic without being told (Intel SDM volume 2, `XCHG`).
                plan.locked |= operation == Operation::Exchange;
                plan.stack = match operation {
                    Operation::PushMemory | Operation::Push(_) => Stack::Push(self.stack_width()),
                    Operation::PopMemory | Operation::Pop => Stack::Pop(self.stack_width()),
                    _ => Stack::None,
                };
                if operation == Operation::Translate {
                    plan.address.base = Base::Register(Gpr::Rbx);
                    plan.register = Slot::low(Gpr::Rax, 1);
                }
            }
            None => foreign::fill_in(&mut plan, self.instruction, &self.layout, self.memory_at(), bytes),
        }
        plan
    }

    /// Which operand is memory.
    fn memory_at(&self) -> Option<usize> {
        self.parts.iter().position(|part| *part == Part::Memory)
    }

    /// The first register operand; any register if there is none.
    fn register(&self) -> Slot {
        let named = self.parts.iter().find_map(|part| match part {
            Part::Register(slot) => Some(*slot),
            _ => None,
        });
        named.unwrap_or(Slot::low(Gpr::Rax, 8))
    }

    fn immediate(&self) -> u64 {
        let given = self.parts.iter().find_map(|part| match part {
            Part::Immediate(value) => Some(*value),
            _ => None,
        });
        given.unwrap_or(0)
    }

    /// Pushes and pops move eight bytes, or two with 66h (Intel SDM volume 2, `PUSH`); REX.W makes
    /// that eight again.
    fn stack_width(&self) -> u8 {
        let prefixes = &self.instruction.prefixes;
        let wide = prefixes.rex().is_some_and(|rex| rex.w());
        if prefixes.operand_size() && !wide { 2 } else { 8 }
    }

    /// What the instruction computes, if it is performed here; `None` leaves it to the CPU.
    fn emulated(&self) -> Option<Operation> {
        if self.layout.encoding != Encoding::Legacy {
            return None;
        }
        let opcode = self.instruction.opcode();
        if let Some(text) = text(opcode) {
            let known = matches!(self.width, 1 | 2 | 4 | 8);
            return known.then_some(Operation::Text(text, self.repeat(text)));
        }
        if opcode == Opcode::XLAT {
            return Some(Operation::Translate);
        }
        let operation = match self.parts {
            [Part::Memory, second, third, Part::Absent] => self.memory_first(opcode, second, third)?,
            [Part::Register(_), Part::Memory, third, Part::Absent] => self.memory_second(opcode, third)?,
            [Part::Register(slot), Part::Absent, ..] if slot.width() == self.stack_width() => match opcode {
                Opcode::PUSH => return Some(Operation::Push(Source::Register)),
                Opcode::POP => return Some(Operation::Pop),
                _ => return None,
            },
            [Part::Immediate(_), Part::Absent, ..] if opcode == Opcode::PUSH => {
                return Some(Operation::Push(Source::Immediate));
            }
            _ => return None,
        };
        self.has_emulated_width(operation).then_some(operation)
    }

    /// Whether the decoder's widths are ones that `operation` can have; anything else would be a
    /// guess.
    fn has_emulated_width(&self, operation: Operation) -> bool {
        let register = self.parts.iter().find_map(|part| match part {
            Part::Register(slot) => Some(u16::from(slot.width())),
            _ => None,
        });
        match operation {
            Operation::CompareExchangePair => matches!(self.width, 8 | 16),
            // Extension: the register may be wider.
            Operation::Load | Operation::LoadSigned => {
                matches!(self.width, 1 | 2 | 4 | 8) && register.is_some_and(|register| register >= self.width)
            }
            // What a count above 16 makes of two bytes is undefined, so only the CPU at hand can
            // tell.
            Operation::ShiftLeftDouble(_) | Operation::ShiftRightDouble(_) => {
                matches!(self.width, 4 | 8) && register == Some(self.width)
            }
            // The register, where there is one, is the count.
            Operation::Shift(..) => matches!(self.width, 1 | 2 | 4 | 8),
            Operation::PushMemory | Operation::PopMemory => self.width == self.stack_width().into(),
            _ => {
                matches!(self.width, 1 | 2 | 4 | 8) && register.is_none_or(|register| register == self.width)
            }
        }
    }

    /// The first operand is memory.
    fn memory_first(&self, opcode: Opcode, second: Part, third: Part) -> Option<Operation> {
        let source = second.source();
        if third != Part::Absent && !matches!(opcode, Opcode::SHLD | Opcode::SHRD) {
            return None;
        }
        if let Some(alu) = alu(opcode) {
            return Some(Operation::AluToMemory(alu, source?));
        }
        if let Some(shift) = shift(opcode) {
            return Some(Operation::Shift(shift, source?));
        }
        if let Some(bit) = bit(opcode) {
            return Some(Operation::Bit(bit, source?));
        }
        if opcode.is_setcc() {
            return Some(Operation::SetIf(self.layout.opcode & 15));
        }
        match opcode {
            Opcode::MOV | Opcode::MOVNTI => Some(Operation::Store(source?)),
            Opcode::MOVBE => Some(Operation::StoreSwapped),
            Opcode::XCHG => Some(Operation::Exchange),
            Opcode::XADD => Some(Operation::ExchangeAdd),
            Opcode::CMPXCHG => Some(Operation::CompareExchange),
            Opcode::CMPXCHG8B | Opcode::CMPXCHG16B => Some(Operation::CompareExchangePair),
            Opcode::INC => Some(Operation::Unary(Unary::Inc)),
            Opcode::DEC => Some(Operation::Unary(Unary::Dec)),
            Opcode::NOT => Some(Operation::Unary(Unary::Not)),
            Opcode::NEG => Some(Operation::Unary(Unary::Neg)),
            Opcode::MUL => Some(Operation::MultiplyWide(false)),
            Opcode::IMUL => Some(Operation::MultiplyWide(true)),
            Opcode::PUSH => Some(Operation::PushMemory),
            Opcode::POP => Some(Operation::PopMemory),
            Opcode::SHLD => Some(Operation::ShiftLeftDouble(third.source()?)),
            Opcode::SHRD => Some(Operation::ShiftRightDouble(third.source()?)),
            _ => None,
        }
    }

    /// The first operand is a general register, the second is memory.
    fn memory_second(&self, opcode: Opcode, third: Part) -> Option<Operation> {
        match (opcode, third) {
            (Opcode::IMUL, Part::Absent) => return Some(Operation::MultiplySigned(Source::Register)),
            (Opcode::IMUL, Part::Immediate(_)) => return Some(Operation::MultiplySigned(Source::Immediate)),
            (_, Part::Absent) => {}
            _ => return None,
        }
        if let Some(alu) = alu(opcode) {
            return Some(Operation::AluToRegister(alu));
        }
        if opcode.is_cmovcc() {
            return Some(Operation::MoveIf(self.layout.opcode & 15));
        }
        match opcode {
            Opcode::MOV | Opcode::MOVZX => Some(Operation::Load),
            Opcode::MOVSX | Opcode::MOVSXD => Some(Operation::LoadSigned),
            Opcode::MOVBE => Some(Operation::LoadSwapped),
            _ => None,
        }
    }

    fn repeat(&self, text: Text) -> Repeat {
        let prefixes = &self.instruction.prefixes;
        let compares = matches!(text, Text::Scas | Text::Cmps);
        match (prefixes.rep_any(), compares, prefixes.repnz()) {
            (false, ..) => Repeat::Once,
            (true, false, _) => Repeat::Count,
            (true, true, false) => Repeat::WhileEqual,
            (true, true, true) => Repeat::WhileNotEqual,
        }
    }
}

/// The general register, or part of one, that `register` is.
pub(crate) fn slot(register: RegSpec) -> Option<Slot> {
    let number = register.num();
    let low = |width| Some(Slot::low(Gpr::from_number(number), width));
    match register.class() {
        register_class::Q => low(8),
        register_class::D => low(4),
        register_class::W => low(2),
        register_class::RB => low(1),
        register_class::B if number < 4 => low(1),
        register_class::B => Some(Slot::high(Gpr::from_number(number.wrapping_sub(4)))),
        _ => None,
    }
}

/// The width of the memory operand as the decoder has it; 0 where it depends on more than the
/// instruction (`xsave`).
fn told_width(instruction: &Instruction) -> u16 {
    instruction.mem_size().and_then(|size| size.bytes_size()).map_or(0, u16::from)
}

#[cfg(test)]
mod tests;
