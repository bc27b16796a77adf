//! String instructions, element by element (Intel SDM volume 2, `REP`, `MOVS`, `STOS`, `LODS`,
//! `SCAS`, `CMPS`).

use crate::address::locate;
use crate::flags::{DF, ZF};
use crate::operation::{Alu, Repeat, Text};
use crate::plan::Plan;
use crate::slot::Slot;
use crate::{Gpr, Memory, Progress, Registers, alu};

/// Performs at most `limit` elements, or the one element of an instruction that does not repeat.
///
/// Registers move on with every element, so a fault in the middle leaves them where the CPU would:
/// at the element that faulted, with the flags of before (Intel SDM volume 2, `REP`).
pub(crate) fn run<M: Memory>(
    plan: &Plan,
    text: Text,
    repeat: Repeat,
    registers: &mut Registers,
    memory: &mut M,
    limit: u32,
) -> Result<Progress, M::Fault> {
    let pointer_width = if plan.address.narrow { 4 } else { 8 };
    let count = Slot::low(Gpr::Rcx, pointer_width);
    let mut rflags = registers.rflags;
    if repeat == Repeat::Once {
        element(plan, text, pointer_width, registers, memory, &mut rflags)?;
        registers.rflags = rflags;
        return Ok(Progress::Done);
    }
    let mut left = count.read(registers);
    let mut progress = if left == 0 { Progress::Done } else { Progress::More };
    let mut allowed = limit;
    while progress == Progress::More && allowed != 0 {
        element(plan, text, pointer_width, registers, memory, &mut rflags)?;
        left = left.wrapping_sub(1);
        allowed = allowed.wrapping_sub(1);
        count.write(registers, left);
        let ended = match repeat {
            Repeat::Once | Repeat::Count => false,
            Repeat::WhileEqual => rflags & ZF == 0,
            Repeat::WhileNotEqual => rflags & ZF != 0,
        };
        if ended || left == 0 {
            progress = Progress::Done;
        }
    }
    registers.rflags = rflags;
    Ok(progress)
}

#[inline]
fn element<M: Memory>(
    plan: &Plan,
    text: Text,
    pointer_width: u8,
    registers: &mut Registers,
    memory: &mut M,
    rflags: &mut u64,
) -> Result<(), M::Fault> {
    let width = plan.width as u8;
    let narrow = plan.address.narrow;
    let accumulator = Slot::low(Gpr::Rax, width);
    let source = Slot::low(Gpr::Rsi, pointer_width);
    let target = Slot::low(Gpr::Rdi, pointer_width);
    let from = locate(registers.rsi, narrow, plan.address.segment, |segment| memory.segment_base(segment));
    let to = target.read(registers);
    match text {
        Text::Movs => {
            let value = memory.read(from, width)?;
            memory.write(to, width, value)?;
        }
        Text::Stos => memory.write(to, width, accumulator.read(registers))?,
        Text::Lods => {
            let value = memory.read(from, width)?;
            accumulator.write(registers, value);
        }
        Text::Scas => {
            let value = memory.read(to, width)?;
            *rflags = alu::binary(Alu::Cmp, accumulator.read(registers), value, width, *rflags).1;
        }
        Text::Cmps => {
            let first = memory.read(from, width)?;
            let second = memory.read(to, width)?;
            *rflags = alu::binary(Alu::Cmp, first, second, width, *rflags).1;
        }
    }
    let step = if registers.rflags & DF == 0 { u64::from(width) } else { u64::from(width).wrapping_neg() };
    if matches!(text, Text::Movs | Text::Lods | Text::Cmps) {
        source.write(registers, source.read(registers).wrapping_add(step));
    }
    if matches!(text, Text::Movs | Text::Stos | Text::Scas | Text::Cmps) {
        target.write(registers, target.read(registers).wrapping_add(step));
    }
    Ok(())
}
