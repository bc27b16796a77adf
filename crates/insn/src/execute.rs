//! Performing an instruction in Rust: the same accesses, registers and flags as the CPU's.

use crate::flags::condition;
use crate::operation::{Alu, Operation, Source};
use crate::plan::{Plan, Stack};
use crate::slot::{Slot, sign_extend};
use crate::{Gpr, Memory, Progress, Registers, alu, shift, strings};

/// `rflags.RF`. The frame of a fault has it set, so that the retried instruction passes its own
/// breakpoint; an instruction that completed clears it (Intel SDM volume 3, 18.3.1.1).
const RF: u64 = 1 << 16;

impl Plan {
    /// Performs the instruction on `registers` and `memory`.
    ///
    /// A repeated string instruction performs at most `limit` elements and then says
    /// [`Progress::More`]; call again, or let the CPU fault again on the next one. Every call of
    /// `memory` is one access of exactly the instruction's width.
    ///
    /// # Errors
    ///
    /// The memory's own fault, as it is. `registers` are then what the CPU would leave at that
    /// fault: unchanged, but for the elements of a string instruction that are done.
    #[inline]
    pub fn execute<M: Memory>(
        &self,
        registers: &mut Registers,
        memory: &mut M,
        limit: u32,
    ) -> Result<Progress, M::Fault> {
        match self.operation {
            // The two that drivers do most, first.
            Operation::Load => {
                let value = self.read(registers, memory)?;
                self.register.write(registers, value);
            }
            Operation::Store(source) => {
                let value = self.source(source, registers);
                self.write(registers, memory, value)?;
            }
            Operation::Text(text, repeat) => {
                let progress = strings::run(self, text, repeat, registers, memory, limit)?;
                if progress != Progress::Done {
                    return Ok(progress);
                }
            }
            Operation::Move64 | Operation::Foreign(_) => return Ok(Progress::Refused),
            _ => self.execute_other(registers, memory)?,
        }
        self.complete(registers);
        Ok(Progress::Done)
    }

    /// Moves `registers` on to the next instruction, as completing this one does; [`Plan::execute`]
    /// has done so, who performs it in another way has to.
    #[inline]
    pub const fn complete(&self, registers: &mut Registers) {
        registers.rip = registers.rip.wrapping_add(self.length as u64);
        registers.rflags &= !RF;
    }

    fn execute_other<M: Memory>(&self, registers: &mut Registers, memory: &mut M) -> Result<(), M::Fault> {
        let width = self.width as u8;
        match self.operation {
            Operation::LoadSigned => {
                let value = self.read(registers, memory)?;
                self.register.write(registers, sign_extend(value, width));
            }
            Operation::LoadSwapped => {
                let value = self.read(registers, memory)?;
                self.register.write(registers, swap(value, width));
            }
            Operation::Translate => {
                let value = self.read(registers, memory)?;
                self.register.write(registers, value);
            }
            Operation::StoreSwapped => {
                self.write(registers, memory, swap(self.register.read(registers), width))?;
            }
            Operation::AluToMemory(alu, source) => {
                let operand = self.source(source, registers);
                if alu.stores() {
                    self.modify(registers, memory, |old, rflags| {
                        alu::binary(alu, old, operand, width, rflags)
                    })?;
                } else {
                    let value = self.read(registers, memory)?;
                    registers.rflags = alu::binary(alu, value, operand, width, registers.rflags).1;
                }
            }
            Operation::AluToRegister(alu) => {
                let value = self.read(registers, memory)?;
                let first = self.register.read(registers);
                let (result, rflags) = alu::binary(alu, first, value, width, registers.rflags);
                if alu.stores() {
                    self.register.write(registers, result);
                }
                registers.rflags = rflags;
            }
            Operation::Unary(unary) => {
                self.modify(registers, memory, |old, rflags| alu::unary(unary, old, width, rflags))?;
            }
            Operation::Shift(kind, source) => {
                let count = self.count(source, registers);
                self.modify(registers, memory, |old, rflags| shift::shift(kind, old, count, width, rflags))?;
            }
            Operation::ShiftLeftDouble(source) | Operation::ShiftRightDouble(source) => {
                let to_left = matches!(self.operation, Operation::ShiftLeftDouble(_));
                let count = self.count(source, registers);
                let filler = self.register.read(registers);
                self.modify(registers, memory, |old, rflags| {
                    shift::double(to_left, old, filler, count, width, rflags)
                })?;
            }
            Operation::Bit(bit, source) => {
                let bits = width.wrapping_mul(8);
                let number = self.source(source, registers) as u8 & bits.wrapping_sub(1);
                if bit == crate::operation::Bit::Test {
                    let value = self.read(registers, memory)?;
                    registers.rflags = alu::bit(bit, value, number, registers.rflags).1;
                } else {
                    self.modify(registers, memory, |old, rflags| alu::bit(bit, old, number, rflags))?;
                }
            }
            Operation::Exchange => {
                let new = self.register.read(registers);
                let old = self.modify(registers, memory, |_, rflags| (new, rflags))?;
                self.register.write(registers, old);
            }
            Operation::ExchangeAdd => {
                let addend = self.register.read(registers);
                let old = self.modify(registers, memory, |old, rflags| {
                    alu::binary(Alu::Add, old, addend, width, rflags)
                })?;
                self.register.write(registers, old);
            }
            Operation::CompareExchange => self.compare_exchange(registers, memory)?,
            Operation::CompareExchangePair => self.compare_exchange_pair(registers, memory)?,
            Operation::SetIf(code) => {
                self.write(registers, memory, u64::from(condition(code, registers.rflags)))?;
            }
            Operation::MoveIf(code) => {
                let value = self.read(registers, memory)?;
                let old = self.register.read(registers);
                // Four bytes clear the upper half even where nothing is moved (Intel SDM volume 2,
                // `CMOVcc`).
                self.register.write(registers, if condition(code, registers.rflags) { value } else { old });
            }
            Operation::MultiplySigned(source) => {
                let value = self.read(registers, memory)?;
                let factor = self.source(source, registers);
                let (result, rflags) = alu::multiply_signed(factor, value, width, registers.rflags);
                self.register.write(registers, result);
                registers.rflags = rflags;
            }
            Operation::MultiplyWide(signed) => {
                let value = self.read(registers, memory)?;
                let factor = Slot::low(Gpr::Rax, width).read(registers);
                let (low, high, rflags) = alu::multiply_wide(factor, value, width, signed, registers.rflags);
                // One byte's product goes to %ah:%al, others' to %rdx:%rax in their width.
                let upper = if width == 1 { Slot::high(Gpr::Rax) } else { Slot::low(Gpr::Rdx, width) };
                Slot::low(Gpr::Rax, width).write(registers, low);
                upper.write(registers, high);
                registers.rflags = rflags;
            }
            Operation::PushMemory | Operation::Push(_) | Operation::PopMemory | Operation::Pop => {
                self.push_or_pop(registers, memory)?;
            }
            // `execute` did these.
            Operation::Load
            | Operation::Store(_)
            | Operation::Text(..)
            | Operation::Move64
            | Operation::Foreign(_) => {}
        }
        Ok(())
    }

    #[inline]
    fn linear<M: Memory>(&self, registers: &Registers, memory: &M) -> u64 {
        self.address.linear_beyond(registers, self.beyond(registers), |segment| memory.segment_base(segment))
    }

    #[inline]
    fn read<M: Memory>(&self, registers: &Registers, memory: &mut M) -> Result<u64, M::Fault> {
        let address = self.linear(registers, memory);
        memory.read(address, self.width as u8)
    }

    #[inline]
    fn write<M: Memory>(&self, registers: &Registers, memory: &mut M, value: u64) -> Result<(), M::Fault> {
        let address = self.linear(registers, memory);
        memory.write(address, self.width as u8, value & crate::slot::mask(self.width as u8))
    }

    /// Reads and writes back; `compute` makes value and flags of value and flags. Returns the value
    /// read.
    #[inline]
    fn modify<M: Memory>(
        &self,
        registers: &mut Registers,
        memory: &mut M,
        compute: impl Fn(u64, u64) -> (u64, u64),
    ) -> Result<u64, M::Fault> {
        let address = self.linear(registers, memory);
        let before = registers.rflags;
        let mut after = before;
        let old = memory.update(address, self.width as u8, self.locked, &mut |old| {
            let (new, rflags) = compute(old as u64, before);
            after = rflags;
            u128::from(new)
        })?;
        registers.rflags = after;
        Ok(old as u64)
    }

    #[inline]
    fn source(&self, source: Source, registers: &Registers) -> u64 {
        match source {
            Source::Register => self.register.read(registers),
            Source::Immediate => self.immediate,
        }
    }

    #[inline]
    fn count(&self, source: Source, registers: &Registers) -> u64 {
        match source {
            Source::Register => registers.rcx & 0xff,
            Source::Immediate => self.immediate,
        }
    }

    fn compare_exchange<M: Memory>(&self, registers: &mut Registers, memory: &mut M) -> Result<(), M::Fault> {
        let width = self.width as u8;
        let accumulator = Slot::low(Gpr::Rax, width);
        let expected = accumulator.read(registers);
        let new = self.register.read(registers);
        // The CPU writes either way: what it found, if that is not what was expected (Intel SDM
        // volume 2, `CMPXCHG`).
        let old = self.modify(registers, memory, |old, rflags| {
            let rflags = alu::binary(Alu::Cmp, expected, old, width, rflags).1;
            (if old == expected { new } else { old }, rflags)
        })?;
        if old != expected {
            accumulator.write(registers, old);
        }
        Ok(())
    }

    fn compare_exchange_pair<M: Memory>(
        &self,
        registers: &mut Registers,
        memory: &mut M,
    ) -> Result<(), M::Fault> {
        let width = self.width as u8;
        let half = width >> 1;
        let bits = u32::from(half).wrapping_mul(8);
        let (low, high) = (Slot::low(Gpr::Rax, half), Slot::low(Gpr::Rdx, half));
        let join = |low: u64, high: u64| u128::from(low) | u128::from(high).wrapping_shl(bits);
        let expected = join(low.read(registers), high.read(registers));
        let new = join(Slot::low(Gpr::Rbx, half).read(registers), Slot::low(Gpr::Rcx, half).read(registers));
        let address = self.linear(registers, memory);
        let old =
            memory.update(address, width, self.locked, &mut |old| if old == expected { new } else { old })?;
        registers.rflags = alu::equal(old == expected, registers.rflags);
        if old != expected {
            low.write(registers, old as u64);
            high.write(registers, old.wrapping_shr(bits) as u64);
        }
        Ok(())
    }

    fn push_or_pop<M: Memory>(&self, registers: &mut Registers, memory: &mut M) -> Result<(), M::Fault> {
        let before = registers.rsp;
        match self.stack {
            Stack::None => {}
            Stack::Push(width) => {
                let value = match self.operation {
                    Operation::PushMemory => self.read(registers, memory)?,
                    Operation::Push(source) => self.source(source, registers),
                    _ => return Ok(()),
                };
                let below = before.wrapping_sub(u64::from(width));
                memory.write(below, width, value & crate::slot::mask(width))?;
                registers.rsp = below;
            }
            Stack::Pop(width) => {
                let value = memory.read(before, width)?;
                registers.rsp = before.wrapping_add(u64::from(width));
                if self.operation == Operation::PopMemory {
                    // The address may be made of %rsp, which counts as moved already.
                    if let Err(fault) = self.write(registers, memory, value) {
                        registers.rsp = before;
                        return Err(fault);
                    }
                } else {
                    self.register.write(registers, value);
                }
            }
        }
        Ok(())
    }
}

/// The low `width` bytes of `value` in the other order.
#[inline]
const fn swap(value: u64, width: u8) -> u64 {
    match width {
        2 => (value as u16).swap_bytes() as u64,
        4 => (value as u32).swap_bytes() as u64,
        _ => value.swap_bytes(),
    }
}
