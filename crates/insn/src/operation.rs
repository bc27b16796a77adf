//! What an instruction computes: the forms that [`Plan::execute`](crate::Plan::execute) performs,
//! and the rest.

use crate::Direction;

/// Arithmetic and logic with two operands and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alu {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
    Test,
}

impl Alu {
    /// Whether the result is kept, not only its flags.
    pub(crate) const fn stores(self) -> bool {
        !matches!(self, Self::Cmp | Self::Test)
    }
}

/// Arithmetic and logic with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Inc,
    Dec,
    Not,
    Neg,
}

/// Shifts and rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    Rol,
    Ror,
    Rcl,
    Rcr,
    Shl,
    Shr,
    Sar,
}

/// What is done to the selected bit after it went to the carry flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bit {
    Test,
    Set,
    Reset,
    Complement,
}

/// The string instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Movs,
    Stos,
    Lods,
    Scas,
    Cmps,
}

/// A repeat prefix, as the string instruction at hand takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Once,
    /// `rep` on instructions that compare nothing; either prefix (Intel SDM volume 2, `REP`).
    Count,
    WhileEqual,
    WhileNotEqual,
}

/// The other operand of an instruction with one memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The plan's register.
    Register,
    /// The plan's immediate.
    Immediate,
}

/// What the plan's instruction does; "memory" is its explicit memory operand, "register" and
/// "immediate" are the plan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// register = memory, zero-extended.
    Load,
    /// register = memory, sign-extended.
    LoadSigned,
    /// register = memory, bytes reversed.
    LoadSwapped,
    /// `xlatb`: `%al` = the byte of memory that `%al` numbers.
    Translate,
    /// memory = source.
    Store(Source),
    /// memory = register, bytes reversed.
    StoreSwapped,
    /// memory = memory op source.
    AluToMemory(Alu, Source),
    /// register = register op memory.
    AluToRegister(Alu),
    /// memory = op memory.
    Unary(Unary),
    /// memory = memory shifted by the source's count.
    Shift(Shift, Source),
    /// `shld`: the register's bits follow from the right. The count is the immediate or `%cl`.
    ShiftLeftDouble(Source),
    /// `shrd`: the register's bits follow from the left. The count is the immediate or `%cl`.
    ShiftRightDouble(Source),
    /// The bit of memory that the source numbers.
    Bit(Bit, Source),
    /// Swaps memory and register.
    Exchange,
    /// `xadd`.
    ExchangeAdd,
    /// `cmpxchg`.
    CompareExchange,
    /// `cmpxchg8b`, `cmpxchg16b`: the memory operand is two registers wide.
    CompareExchangePair,
    /// memory = 1 if the condition of that number holds, else 0.
    SetIf(u8),
    /// register = memory if the condition of that number holds; memory is read either way.
    MoveIf(u8),
    /// `imul` with two or three operands: register = memory * source.
    MultiplySigned(Source),
    /// `mul` and `imul` with one operand: `%rdx:%rax` = `%rax` * memory; signed if true.
    MultiplyWide(bool),
    /// Pushes memory.
    PushMemory,
    /// Pushes the source.
    Push(Source),
    /// Pops to memory.
    PopMemory,
    /// Pops to the register.
    Pop,
    /// A string instruction.
    Text(Text, Repeat),
    /// `movdir64b`, `enqcmd`, `enqcmds`: memory to where the register points. Not performed here.
    Move64,
    /// Not performed here. The memory operand, if there is one that is accessed, is accessed so.
    Foreign(Option<Direction>),
}

impl Operation {
    /// What is done to the explicit memory operand; `None` if there is none.
    pub(crate) const fn direction(self) -> Option<Direction> {
        Some(match self {
            Self::Load
            | Self::LoadSigned
            | Self::LoadSwapped
            | Self::Translate
            | Self::Move64
            | Self::AluToRegister(_)
            | Self::AluToMemory(Alu::Cmp | Alu::Test, _)
            | Self::Bit(Bit::Test, _)
            | Self::MoveIf(_)
            | Self::MultiplySigned(_)
            | Self::MultiplyWide(_)
            | Self::PushMemory => Direction::Read,
            Self::Store(_) | Self::StoreSwapped | Self::SetIf(_) | Self::PopMemory => Direction::Write,
            Self::AluToMemory(..)
            | Self::Unary(_)
            | Self::Shift(..)
            | Self::ShiftLeftDouble(_)
            | Self::ShiftRightDouble(_)
            | Self::Bit(..)
            | Self::Exchange
            | Self::ExchangeAdd
            | Self::CompareExchange
            | Self::CompareExchangePair => Direction::ReadWrite,
            Self::Push(_) | Self::Pop | Self::Text(..) => return None,
            Self::Foreign(direction) => return direction,
        })
    }
}
