//! Flags that the manual leaves undefined, so that a CPU may do anything (Intel SDM volume 2,
//! "Flags Affected" of each instruction).

use iced_x86::{Instruction, Mnemonic, OpKind};
use trapline_insn::Registers;

const CF: u64 = 1;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;

/// The flags that `instruction` leaves undefined when it runs with `registers`.
pub(crate) fn flags(instruction: &Instruction, registers: &Registers) -> u64 {
    use Mnemonic::{
        And, Bt, Btc, Btr, Bts, Imul, Mul, Or, Rcl, Rcr, Rol, Ror, Sal, Sar, Shl, Shld, Shr, Shrd, Test, Xor,
    };
    let bits = instruction.memory_size().size() as u64 * 8;
    match instruction.mnemonic() {
        // "The state of the AF flag is undefined."
        And | Or | Xor | Test => AF,
        // "The OF, SF, AF, and PF flags are undefined"; ZF is unaffected.
        Bt | Bts | Btr | Btc => OF | SF | AF | PF,
        // "The SF, ZF, AF, and PF flags are undefined."
        Mul | Imul => SF | ZF | AF | PF,
        // "The OF flag is defined only for the 1-bit rotates; it is undefined in all other cases."
        Rol | Ror | Rcl | Rcr => match count(instruction, registers, bits) {
            0 | 1 => 0,
            _ => OF,
        },
        // "The CF flag ... is undefined for SHL and SHR instructions where the count is greater
        // than or equal to the size (in bits) of the destination operand. The OF flag is affected
        // only for 1-bit shifts; otherwise, it is undefined ... for a non-zero count, the AF flag
        // is undefined."
        Shl | Sal | Shr | Sar => match count(instruction, registers, bits) {
            0 => 0,
            1 => AF,
            count if count >= bits => AF | OF | CF,
            _ => AF | OF,
        },
        // "If the count is greater than the operand size, the flags are undefined. For a 1-bit
        // shift, the OF flag is set if a sign change occurred; otherwise ... undefined ... AF flag
        // is undefined."
        Shld | Shrd => match count(instruction, registers, bits) {
            0 => 0,
            1 => AF,
            count if count > bits => CF | PF | AF | ZF | SF | OF,
            _ => AF | OF,
        },
        _ => 0,
    }
}

/// The count after the CPU's masking.
pub(crate) fn count(instruction: &Instruction, registers: &Registers, bits: u64) -> u64 {
    let last = instruction.op_count() - 1;
    let raw = match instruction.op_kind(last) {
        OpKind::Register => registers.rcx & 0xff,
        _ => instruction.immediate(last),
    };
    raw & if bits == 64 { 63 } else { 31 }
}
