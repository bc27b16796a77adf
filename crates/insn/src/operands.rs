//! The memory operands of an instruction about to run, implicit ones included.

use crate::address::locate;
use crate::flags::sign_bit;
use crate::operation::{Operation, Repeat, Source, Text};
use crate::plan::{Plan, Stack};
use crate::slot::sign_extend;
use crate::{Direction, Operand, Registers, Segment};

/// The memory operands of one instruction, in the order in which they are accessed; at most two.
///
/// No instruction that is not also [incomplete](Operands::is_complete) has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands {
    items: [Operand; 2],
    count: u8,
    complete: bool,
}

impl Operands {
    const fn new(complete: bool) -> Self {
        let unused = Operand { address: 0, width: 0, direction: Direction::Read };
        Self { items: [unused; 2], count: 0, complete }
    }

    fn push(&mut self, address: u64, width: u16, direction: Direction) {
        if let Some(item) = self.items.get_mut(usize::from(self.count)) {
            *item = Operand { address, width, direction };
            self.count = self.count.wrapping_add(1);
        }
    }

    /// The operands.
    #[inline]
    pub fn as_slice(&self) -> &[Operand] {
        self.items.get(..usize::from(self.count)).unwrap_or(&self.items)
    }

    /// Whether these are all that the instruction accesses: false for gathers, `iret` and the like,
    /// whose further accesses depend on more than its bytes and the general registers or are not
    /// described.
    #[inline]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }
}

impl core::ops::Deref for Operands {
    type Target = [Operand];

    fn deref(&self) -> &[Operand] {
        self.as_slice()
    }
}

impl Plan {
    /// The operands that the instruction accesses when it runs with `registers`: for a repeated
    /// string instruction those of the element at hand, none if no element is left.
    ///
    /// `rip` must be the instruction's own address, as it is at a fault.
    #[inline]
    pub fn operands(&self, registers: &Registers, segment_base: impl Fn(Segment) -> u64) -> Operands {
        let mut operands = Operands::new(self.complete);
        if let Operation::Text(text, repeat) = self.operation {
            self.text_operands(text, repeat, registers, segment_base, &mut operands);
            return operands;
        }
        if let Stack::Pop(width) = self.stack {
            operands.push(registers.rsp, u16::from(width), Direction::Read);
        }
        if let Some(direction) = self.operation.direction() {
            let address = match (self.operation, self.stack) {
                // `pop` computes its address after it moved %rsp (Intel SDM volume 2, `POP`).
                (Operation::PopMemory, Stack::Pop(width)) => {
                    let mut after = *registers;
                    after.rsp = after.rsp.wrapping_add(u64::from(width));
                    self.address.linear(&after, segment_base)
                }
                _ => self.address.linear_beyond(registers, self.beyond(registers), segment_base),
            };
            operands.push(address, self.width, direction);
        }
        if self.operation == Operation::Move64 {
            // In %es, whose base is zero.
            let pointer = registers.get(self.register.register());
            operands.push(locate(pointer, self.address.narrow, None, |_| 0), self.width, Direction::Write);
        }
        if let Stack::Push(width) = self.stack {
            operands.push(registers.rsp.wrapping_sub(u64::from(width)), u16::from(width), Direction::Write);
        }
        operands
    }

    /// How far beyond its address form an instruction reaches: by the number in `%al` for `xlatb`;
    /// for a bit string by a register's bit number, which is signed and not bounded by the
    /// operand's width (Intel SDM volume 2, `XLATB`, `BT`).
    #[inline]
    pub(crate) fn beyond(&self, registers: &Registers) -> u64 {
        match self.operation {
            Operation::Bit(_, Source::Register) => {}
            Operation::Translate => return registers.rax & 0xff,
            _ => return 0,
        }
        let width = self.register.width();
        let number = sign_extend(self.register.read(registers), width) as i64;
        let elements = number >> sign_bit(width).trailing_zeros().wrapping_add(1).trailing_zeros();
        (elements as u64).wrapping_mul(u64::from(width))
    }

    #[inline]
    fn text_operands(
        &self,
        text: Text,
        repeat: Repeat,
        registers: &Registers,
        segment_base: impl Fn(Segment) -> u64,
        operands: &mut Operands,
    ) {
        let narrow = self.address.narrow;
        if repeat != Repeat::Once && locate(registers.rcx, narrow, None, |_| 0) == 0 {
            return;
        }
        // A segment prefix moves the source alone; the destination is in %es, whose base is zero.
        let source = || locate(registers.rsi, narrow, self.address.segment, &segment_base);
        let target = locate(registers.rdi, narrow, None, |_| 0);
        match text {
            Text::Movs => {
                operands.push(source(), self.width, Direction::Read);
                operands.push(target, self.width, Direction::Write);
            }
            Text::Stos => operands.push(target, self.width, Direction::Write),
            Text::Lods => operands.push(source(), self.width, Direction::Read),
            Text::Scas => operands.push(target, self.width, Direction::Read),
            Text::Cmps => {
                operands.push(source(), self.width, Direction::Read);
                operands.push(target, self.width, Direction::Read);
            }
        }
    }
}
