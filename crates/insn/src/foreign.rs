//! Plans for instructions that only the CPU can perform: what they access, and whether a copy may
//! perform it.

use yaxpeax_x86::Access;
use yaxpeax_x86::long_mode::{Instruction, Opcode, Operand as Raw};

use crate::decode::slot;
use crate::layout::{Encoding, Layout};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::redirect::{choose_scratch, is_redirectable};
use crate::{Direction, Method, corrections};

/// What is known of an instruction's accesses.
struct Accesses {
    /// What is done to the explicit memory operand.
    explicit: Option<Direction>,
    /// Whether that operand, or none, is all.
    alone: bool,
    /// The general registers that it uses beside addresses, a bit each.
    used: u16,
}

/// Fills in what `plan`, of an instruction that is not emulated, leaves open. `at` is which operand
/// is memory.
pub(crate) fn fill_in(
    plan: &mut Plan,
    instruction: &Instruction,
    layout: &Layout,
    at: Option<usize>,
    bytes: &[u8],
) {
    let opcode = instruction.opcode();
    if corrections::is_quiet(opcode) {
        return;
    }
    plan.complete = false;
    // Repeated port strings touch memory only if %rcx says so, which an explicit operand cannot
    // tell.
    if matches!(opcode, Opcode::INS | Opcode::OUTS) && instruction.prefixes.rep_any() {
        return;
    }
    if matches!(opcode, Opcode::MOVDIR64B | Opcode::ENQCMD | Opcode::ENQCMDS) {
        // The register operand is the address of a second one, so no copy with one operand will do.
        plan.operation = Operation::Move64;
        plan.complete = plan.width == 64;
        return;
    }
    let accesses = match known(opcode, is_16_bit(instruction)) {
        Some((direction, width)) if at.is_some() => {
            plan.width = width;
            Accesses { explicit: Some(direction), alone: true, used: 0 }
        }
        _ => match accesses(instruction, at) {
            Some(accesses) => accesses,
            None => return,
        },
    };
    plan.operation = Operation::Foreign(accesses.explicit);
    plan.complete = accesses.alone && (accesses.explicit.is_none() || plan.width != 0);
    if !plan.complete || accesses.explicit.is_none() {
        return;
    }
    plan.partial = is_partial(instruction, layout);
    let fits = is_redirectable(layout, bytes) && !plan.locked;
    if let (true, Some(scratch)) = (fits, choose_scratch(accesses.used)) {
        plan.scratch = scratch;
        plan.method = Method::Redirect;
    }
}

/// What the decoder knows; `None` for instructions that it leaves to the manual.
fn accesses(instruction: &Instruction, at: Option<usize>) -> Option<Accesses> {
    let behavior = instruction.behavior();
    let mut found = Accesses { explicit: None, alone: true, used: 0 };
    let mut memory_operands = 0usize;
    for (operand, access) in behavior.all_operands().ok()?.iter() {
        match operand {
            Raw::Register { reg } => {
                found.used |= slot(reg).map_or(0, |slot| 1 << slot.register() as u16);
            }
            operand if operand.is_memory() && access != Access::None => {
                memory_operands = memory_operands.wrapping_add(1);
            }
            _ => {}
        }
    }
    found.explicit = at.and_then(|at| {
        let told = match behavior.operand_access(at as u8)? {
            Access::Read => Direction::Read,
            Access::Write => Direction::Write,
            Access::ReadWrite => Direction::ReadWrite,
            Access::None => return None,
        };
        Some(corrections::direction(instruction.opcode(), at, told))
    });
    found.alone = memory_operands == usize::from(found.explicit.is_some());
    Some(found)
}

/// Whether a mask chooses the bytes: an EVEX mask register, or the sign bits of `vmaskmov` and
/// `vpmaskmov`.
fn is_partial(instruction: &Instruction, layout: &Layout) -> bool {
    match layout.encoding {
        Encoding::Legacy => false,
        Encoding::Vex2 | Encoding::Vex3 => {
            layout.map == 2 && matches!(layout.opcode, 0x2c..=0x2f | 0x8c | 0x8e)
        }
        Encoding::Evex => instruction.prefixes.evex().is_none_or(|evex| evex.mask_reg() != 0),
    }
}

/// 66h, not overridden by REX.W.
fn is_16_bit(instruction: &Instruction) -> bool {
    let prefixes = &instruction.prefixes;
    prefixes.operand_size() && !prefixes.rex().is_some_and(|rex| rex.w())
}

/// How instructions that save and restore processor state access their operand, and its width: the
/// decoder leaves these to the manual (Intel SDM volume 2, the instruction's page; volume 1, 8.1.10
/// for the x87 environment's layout).
fn known(opcode: Opcode, is_16_bit: bool) -> Option<(Direction, u16)> {
    let environment = if is_16_bit { 14 } else { 28 };
    Some(match opcode {
        Opcode::FNSTCW | Opcode::FNSTSW => (Direction::Write, 2),
        Opcode::FLDENV => (Direction::Read, environment),
        Opcode::FNSTENV => (Direction::Write, environment),
        Opcode::FRSTOR => (Direction::Read, environment + 80),
        Opcode::FNSAVE => (Direction::Write, environment + 80),
        Opcode::FXSAVE => (Direction::Write, 512),
        Opcode::FXRSTOR => (Direction::Read, 512),
        Opcode::LDMXCSR | Opcode::VLDMXCSR => (Direction::Read, 4),
        Opcode::STMXCSR | Opcode::VSTMXCSR => (Direction::Write, 4),
        _ => return None,
    })
}
