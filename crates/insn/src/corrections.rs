//! Where the decoder is wrong about a memory operand, and the manual's word instead.
//!
//! `yaxpeax-x86` 2.2.0 finds the operands of every instruction, but not always the width of the one
//! in memory: for many VEX scalar forms it gives the vector's. Each entry here was found by
//! comparing it with a second decoder on every form there is; the crate's tests do so again, and
//! for most forms against the CPU.

use yaxpeax_x86::long_mode::{Instruction, Opcode};

use crate::Direction;
use crate::layout::{Encoding, Layout};
use crate::slot::Slot;

/// The width in bytes of the memory operand of `instruction`, of which the decoder says `told`; 0
/// where it is not known.
pub(crate) fn width(instruction: &Instruction, layout: &Layout, told: u16) -> u16 {
    let prefixes = &instruction.prefixes;
    if layout.encoding == Encoding::Vex2 || layout.encoding == Encoding::Vex3 {
        let (long, wide) = prefixes.vex().map_or((false, false), |vex| (vex.l(), vex.w()));
        return vex_width(instruction.opcode(), layout, long, wide).unwrap_or(told);
    }
    let wide = prefixes.rex().is_some_and(|rex| rex.w());
    let operand_size = match (wide, prefixes.operand_size()) {
        (true, _) => 8,
        (false, true) => 2,
        (false, false) => 4,
    };
    match (instruction.opcode(), layout.opcode) {
        // With an immediate; with a register the decoder has it right.
        (Opcode::BT | Opcode::BTS | Opcode::BTR | Opcode::BTC, 0xba) => operand_size,
        (Opcode::PUSH | Opcode::POP, 0xff | 0x8f) => {
            if operand_size == 2 {
                2
            } else {
                8
            }
        }
        (Opcode::CRC32, 0xf1) => operand_size,
        (Opcode::MOVD | Opcode::MOVQ, 0x6e) => {
            if wide {
                8
            } else {
                4
            }
        }
        (Opcode::CVTDQ2PD | Opcode::CVTPS2PI | Opcode::CVTTPS2PI, _) => 8,
        // 66h says nothing beside F2h or F3h.
        (Opcode::CVTSI2SS | Opcode::CVTSI2SD, 0x2a) | (Opcode::ADCX | Opcode::ADOX, 0xf6) => {
            if wide {
                8
            } else {
                4
            }
        }
        // Elements of four bytes at most; REX.W overrides 66h as everywhere.
        (Opcode::INS | Opcode::OUTS, 0x6d | 0x6f) => operand_size.min(4),
        // Intel reads two bytes, AMD four (Intel SDM volume 2 and AMD APM volume 3, `MOVSXD`).
        (Opcode::MOVSXD, _) if operand_size == 2 => 0,
        // A far pointer's width differs between makers under REX.W.
        (Opcode::CALLF | Opcode::JMPF, _) => 0,
        _ => told,
    }
}

/// Intel SDM volume 2, the instruction's page: the width of `m32`, `m64` and so on in its opcode
/// table.
fn vex_width(opcode: Opcode, layout: &Layout, long: bool, wide: bool) -> Option<u16> {
    let vector = if long { 32 } else { 16 };
    Some(match (layout.map, layout.opcode) {
        // Scalar fused multiply-add.
        (2, 0x99 | 0x9b | 0x9d | 0x9f | 0xa9 | 0xab | 0xad | 0xaf | 0xb9 | 0xbb | 0xbd | 0xbf) => {
            if wide {
                8
            } else {
                4
            }
        }
        // `vpmovsx` and `vpmovzx`: the source is a half, a quarter or an eighth of the vector.
        (2, 0x20 | 0x23 | 0x25 | 0x30 | 0x33 | 0x35) => vector / 2,
        (2, 0x21 | 0x24 | 0x31 | 0x34) => vector / 4,
        (2, 0x22 | 0x32) => vector / 8,
        _ => match opcode {
            Opcode::VCMPSD | Opcode::VROUNDSD => 8,
            Opcode::VCMPSS | Opcode::VROUNDSS | Opcode::VRCPSS | Opcode::VRSQRTSS | Opcode::VINSERTPS => 4,
            Opcode::VMOVLPS => 8,
            Opcode::VCVTDQ2PD | Opcode::VCVTPH2PS | Opcode::VCVTPS2PH => vector / 2,
            Opcode::VPERMILPD | Opcode::VPERMILPS | Opcode::VROUNDPD | Opcode::VROUNDPS => vector,
            Opcode::VPSHUFD | Opcode::VPSHUFHW | Opcode::VPSHUFLW => vector,
            _ => return None,
        },
    })
}

/// The register operand of `instruction`, of which the decoder says `told`.
pub(crate) fn register(instruction: &Instruction, told: Slot) -> Slot {
    // Without REX.W it is the four-byte register, and its upper half becomes zero (Intel SDM volume
    // 2, `MOVSXD`).
    match instruction.opcode() == Opcode::MOVSXD && !instruction.prefixes.rex().is_some_and(|rex| rex.w()) {
        true => Slot::low(told.register(), 4),
        false => told,
    }
}

/// What `opcode` does to its memory operand, operand number `at`, of which the decoder says `told`.
pub(crate) const fn direction(opcode: Opcode, at: usize, told: Direction) -> Direction {
    match (opcode, at) {
        // It counts these as partial writes of a register, whichever operand the memory is.
        (
            Opcode::MOV
            | Opcode::MOVSS
            | Opcode::MOVSD
            | Opcode::MOVLPS
            | Opcode::MOVLPD
            | Opcode::MOVHPS
            | Opcode::MOVHPD
            | Opcode::VMOVLPS
            | Opcode::VMOVLPD
            | Opcode::VMOVHPS
            | Opcode::VMOVHPD,
            0,
        ) => Direction::Write,
        (Opcode::PSWAPD, _) => Direction::Read,
        _ => told,
    }
}

/// Whether `opcode` names memory that it does not access, so that it never faults for it.
pub(crate) const fn is_quiet(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::LEA
            | Opcode::NOP
            | Opcode::INVLPG
            | Opcode::PREFETCHNTA
            | Opcode::PREFETCH0
            | Opcode::PREFETCH1
            | Opcode::PREFETCH2
            | Opcode::PREFETCHW
    )
}
