//! The decoder's opcodes, by the family that performs them.

use yaxpeax_x86::long_mode::Opcode;

use crate::operation::{Alu, Bit, Shift, Text};

pub(crate) const fn alu(opcode: Opcode) -> Option<Alu> {
    Some(match opcode {
        Opcode::ADD => Alu::Add,
        Opcode::OR => Alu::Or,
        Opcode::ADC => Alu::Adc,
        Opcode::SBB => Alu::Sbb,
        Opcode::AND => Alu::And,
        Opcode::SUB => Alu::Sub,
        Opcode::XOR => Alu::Xor,
        Opcode::CMP => Alu::Cmp,
        Opcode::TEST => Alu::Test,
        _ => return None,
    })
}

pub(crate) const fn shift(opcode: Opcode) -> Option<Shift> {
    Some(match opcode {
        Opcode::ROL => Shift::Rol,
        Opcode::ROR => Shift::Ror,
        Opcode::RCL => Shift::Rcl,
        Opcode::RCR => Shift::Rcr,
        Opcode::SHL | Opcode::SAL => Shift::Shl,
        Opcode::SHR => Shift::Shr,
        Opcode::SAR => Shift::Sar,
        _ => return None,
    })
}

pub(crate) const fn bit(opcode: Opcode) -> Option<Bit> {
    Some(match opcode {
        Opcode::BT => Bit::Test,
        Opcode::BTS => Bit::Set,
        Opcode::BTR => Bit::Reset,
        Opcode::BTC => Bit::Complement,
        _ => return None,
    })
}

pub(crate) const fn text(opcode: Opcode) -> Option<Text> {
    Some(match opcode {
        Opcode::MOVS => Text::Movs,
        Opcode::STOS => Text::Stos,
        Opcode::LODS => Text::Lods,
        Opcode::SCAS => Text::Scas,
        Opcode::CMPS => Text::Cmps,
        _ => return None,
    })
}
