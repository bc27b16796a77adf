//! What a program's steps do.

use super::Reader;
use super::glob;
use super::truth::Join;
use super::words::{NAME, Output, Text, WORD};
use trapline_abi::{MAX_STRING, Op, Step};
use trapline_insn::{Gpr, Registers};

/// Where an address may point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Wherever it does: on x86-64 an address tells by itself.
    Any,
    User,
}

impl Reach {
    /// Whether `address` may be read. User space is the lower half of the addresses.
    #[inline(always)]
    fn holds(self, address: u64) -> bool {
        self == Self::Any || (address as i64) >= 0
    }

    /// The `width` bytes at `address`.
    #[inline(always)]
    pub(super) fn read(self, reader: &impl Reader, address: u64, width: u8) -> Option<u64> {
        if self.holds(address) { reader.read(address, width) } else { None }
    }
}

/// A step that fetches, whose every field was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    General(Gpr),
    Pointer,
    Flags,
    CodeSegment,
    StackSegment,
    Stack { offset: u64 },
    Immediate(u64),
    Comm,
    Load { space: Reach, width: u8, offset: u64 },
    Narrow { above: u8, below: u8, signed: bool },
    Emit,
    EmitWord(u64),
    EmitMemory { space: Reach, width: u8, offset: u64 },
    EmitString { space: Reach, limit: u16, offset: u64 },
}

/// A step of a condition, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Fetch(Action),
    Compare(Comparison),
    Join(Join),
}

/// How two operands are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Below,
    Less,
    Test,
    Same,
    Match,
}

impl Judgement {
    /// What `step` compares or joins by; `None` if it does neither.
    pub(super) fn of(step: &Step) -> Option<Self> {
        Some(match Op::from_code(step.op)? {
            Op::Equal => Self::Compare(Comparison::Equal),
            Op::Below => Self::Compare(Comparison::Below),
            Op::Less => Self::Compare(Comparison::Less),
            Op::Test => Self::Compare(Comparison::Test),
            Op::Same => Self::Compare(Comparison::Same),
            Op::Match => Self::Compare(Comparison::Match),
            Op::And => Self::Join(Join::And),
            Op::Or => Self::Join(Join::Or),
            Op::Not => Self::Join(Join::Not),
            _ => return None,
        })
    }
}

impl Comparison {
    /// Whether it holds of the words of two operands: numbers of one word each, or texts. Of what
    /// is neither, a number compares as 0 and a text as an empty one.
    pub(super) fn holds(self, (first, second): (&[u64], &[u64])) -> bool {
        let number = |words: &[u64]| words.first().copied().unwrap_or(0);
        let (a, b) = (number(first), number(second));
        match self {
            Self::Equal => a == b,
            Self::Below => a < b,
            Self::Less => (a as i64) < b as i64,
            Self::Test => a & b != 0,
            // Their lengths first, and what is behind their ends is zero.
            Self::Same => first == second,
            Self::Match => glob::matches(Text::new(first), Text::new(second)),
        }
    }
}

impl Action {
    /// Whether it begins an argument.
    #[inline(always)]
    pub(super) fn is_source(self) -> bool {
        !matches!(
            self,
            Self::Load { .. }
                | Self::Narrow { .. }
                | Self::Emit
                | Self::EmitWord(_)
                | Self::EmitMemory { .. }
                | Self::EmitString { .. }
        )
    }

    /// The most words that it appends.
    pub(super) fn most_words(self) -> usize {
        match self {
            Self::Emit | Self::EmitWord(_) | Self::EmitMemory { .. } => 1,
            Self::EmitString { limit, .. } => 1 + u64::from(limit).div_ceil(WORD) as usize,
            Self::Comm => 1 + (NAME / WORD) as usize,
            _ => 0,
        }
    }
}

/// The checked form of `step`, if it fetches.
pub(super) fn action(op: Op, step: &Step) -> Option<Action> {
    let offset = step.operand as u64;
    let is_width = matches!(step.width, 1 | 2 | 4 | 8);
    let memory = |space| is_width.then_some(Action::EmitMemory { space, width: step.width, offset });
    let load = |space| is_width.then_some(Action::Load { space, width: step.width, offset });
    let string = |space| {
        (u32::from(step.number) <= MAX_STRING).then_some(Action::EmitString {
            space,
            limit: step.number,
            offset,
        })
    };
    Some(match op {
        Op::Register => match step.number {
            number @ 0..16 => Action::General(Gpr::from_number(number as u8)),
            16 => Action::Pointer,
            17 => Action::Flags,
            18 => Action::CodeSegment,
            19 => Action::StackSegment,
            _ => return None,
        },
        Op::Stack => Action::Stack { offset: WORD * u64::from(step.number) },
        Op::StackAddress => Action::General(Gpr::Rsp),
        Op::ReturnValue => Action::General(Gpr::Rax),
        Op::Immediate => Action::Immediate(offset),
        Op::Comm => Action::Comm,
        Op::Load => load(Reach::Any)?,
        Op::LoadUser => load(Reach::User)?,
        Op::Emit => Action::Emit,
        Op::EmitMemory => memory(Reach::Any)?,
        Op::EmitUser => memory(Reach::User)?,
        Op::EmitString => string(Reach::Any)?,
        Op::EmitUserString => string(Reach::User)?,
        Op::EmitWord => Action::EmitWord(offset),
        Op::Narrow => narrow(step)?,
        _ => return None,
    })
}

/// [`Op::Narrow`] by how many bits of a word there are above the wanted ones, and below them.
fn narrow(step: &Step) -> Option<Action> {
    let (width, below) = (step.width, u8::try_from(step.number).ok()?);
    let above = (u64::BITS as u8).checked_sub(width)?.checked_sub(below)?;
    let signed = match step.operand {
        0 => false,
        1 => true,
        _ => return None,
    };
    (width > 0).then_some(Action::Narrow { above, below, signed })
}

/// A program that is run.
pub(super) struct Machine<'a, R> {
    registers: &'a Registers,
    reader: &'a R,
    output: Output<'a>,
    value: u64,
    /// Whether the argument that is fetched has faulted.
    faulted: bool,
}

impl<'a, R: Reader> Machine<'a, R> {
    /// One that appends to `words`, behind the first `behind` of them.
    #[inline(always)]
    pub(super) fn new(registers: &'a Registers, reader: &'a R, words: &'a mut [u64], behind: usize) -> Self {
        Self { registers, reader, output: Output::new(words, behind), value: 0, faulted: false }
    }

    /// Words that there are.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.output.at()
    }

    /// These words.
    #[inline(always)]
    pub(super) fn appended(&self) -> &[u64] {
        self.output.appended()
    }

    /// Takes all words away.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.output.clear();
    }

    /// Whether the argument that is fetched has faulted.
    #[inline(always)]
    pub(super) fn faulted(&self) -> bool {
        self.faulted
    }

    /// Does what the step says.
    #[inline(always)]
    pub(super) fn perform(&mut self, action: Action) {
        let Self { registers, reader, .. } = *self;
        let source = match action {
            Action::General(register) => registers.get(register),
            Action::Pointer => registers.rip,
            Action::Flags => registers.rflags,
            Action::CodeSegment => registers.cs,
            Action::StackSegment => registers.ss,
            Action::Stack { offset } => stack_entry(registers.rsp, offset, reader),
            Action::Immediate(value) => value,
            Action::Comm => {
                self.output.name(reader.task_name());
                0
            }
            Action::Load { space, width, offset } => {
                match space.read(reader, self.value.wrapping_add(offset), width) {
                    Some(loaded) if !self.faulted => self.value = loaded,
                    _ => self.faulted = true,
                }
                return;
            }
            Action::Narrow { above, below, signed } => {
                let shifted = self.value.wrapping_shl(above.into());
                let shift = u32::from(above) + u32::from(below);
                self.value = if signed {
                    (shifted as i64).wrapping_shr(shift) as u64
                } else {
                    shifted.wrapping_shr(shift)
                };
                return;
            }
            Action::Emit => {
                let value = if self.faulted { 0 } else { self.value };
                self.output.push(value);
                return;
            }
            Action::EmitWord(word) => {
                self.output.push(word);
                return;
            }
            Action::EmitMemory { space, width, offset } => {
                let found = if self.faulted {
                    None
                } else {
                    space.read(reader, self.value.wrapping_add(offset), width)
                };
                self.faulted |= found.is_none();
                self.output.push(found.unwrap_or(0));
                return;
            }
            Action::EmitString { space, limit, offset } => {
                let address = self.value.wrapping_add(offset);
                self.faulted = self.faulted || !self.output.string(reader, space, address, limit.into());
                if self.faulted {
                    self.output.push(0);
                }
                return;
            }
        };
        (self.value, self.faulted) = (source, false);
    }
}

/// `THREAD_SIZE` (arch/x86/include/asm/page_64_types.h): stacks are aligned to their size.
pub(super) const STACK_SIZE: u64 = 16 << 10;

/// As `regs_get_kernel_stack_nth()` does: 0 for what does not lie on the stack that `rsp` points
/// into.
fn stack_entry(rsp: u64, offset: u64, reader: &impl Reader) -> u64 {
    let address = rsp.wrapping_add(offset);
    if (address ^ rsp) & !(STACK_SIZE - 1) != 0 {
        return 0;
    }
    reader.read(address, WORD as u8).unwrap_or(0)
}
