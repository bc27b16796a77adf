//! Programs that fetch the arguments of a hit: checked once, run at each hit.
//!
//! A program comes from a person, by way of the command; [`Program::check`] turns it into steps that need no further check, so that [`Program::run`] runs in the trap
//! without a case that could not be answered. It has no jumps, so it ends after as many steps as it has; a string ends at its limit. What the steps mean is the
//! contract in [`trapline_abi::Step`].

use crate::{OutOfMemory, Platform};
use alloc::boxed::Box;
use alloc::vec::Vec;
use trapline_abi::{MAX_ARGUMENTS, MAX_STEPS, MAX_STRING, MAX_WORDS, Op, Step};
use trapline_insn::{Gpr, Registers};

/// What a program reads beside the registers. In the trap: nothing of it may fault, wait or allocate.
pub trait Reader {
    /// The `width` bytes (1, 2, 4 or 8) at `address`, of the kernel or of user space, zero-extended; `None` if they can't be read without waiting.
    fn read(&self, address: u64, width: u8) -> Option<u64>;

    /// The name of the interrupted task, zero-padded, as little endian words.
    fn task_name(&self) -> [u64; 2];
}

impl<P: Platform> Reader for P {
    #[inline(always)]
    fn read(&self, address: u64, width: u8) -> Option<u64> {
        self.read_other(address, width).ok()
    }

    fn task_name(&self) -> [u64; 2] {
        self.task().name
    }
}

/// Why a program is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// A step has an unknown code, a number, width or limit out of range, or a reserved field that is not zero; or an argument does not begin with a source.
    Malformed {
        /// Which step, from 0 on.
        step: usize,
    },
    /// More than [`MAX_STEPS`] steps, [`MAX_ARGUMENTS`] arguments or [`MAX_WORDS`] words.
    TooLong,
    /// No memory for it.
    OutOfMemory,
}

impl From<OutOfMemory> for ProgramError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Where an address may point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    /// Wherever it does: on x86-64 an address tells by itself.
    Any,
    User,
}

impl Space {
    /// Whether `address` may be read. User space is the lower half of the addresses.
    #[inline(always)]
    fn holds(self, address: u64) -> bool {
        self == Self::Any || (address as i64) >= 0
    }
}

/// A step whose every field was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    General(Gpr),
    Pointer,
    Flags,
    CodeSegment,
    StackSegment,
    Stack { offset: u64 },
    Immediate(u64),
    Comm,
    Load { space: Space, offset: u64 },
    Emit,
    EmitMemory { space: Space, width: u8, offset: u64 },
    EmitString { space: Space, limit: u16, offset: u64 },
}

/// What [`Program::run`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Words that were appended.
    pub words: usize,
    /// A bit for each argument that faulted.
    pub faults: u32,
}

/// A checked program.
#[derive(Debug, Default)]
pub struct Program {
    actions: Box<[Action]>,
    words: usize,
}

/// `THREAD_SIZE` (arch/x86/include/asm/page_64_types.h): stacks are aligned to their size.
const STACK_SIZE: u64 = 16 << 10;
const WORD: u64 = 8;
/// Bytes of a task's name.
const NAME: u64 = 16;

impl Program {
    /// Checks `steps`.
    pub fn check(steps: &[Step]) -> Result<Self, ProgramError> {
        if steps.len() > MAX_STEPS {
            return Err(ProgramError::TooLong);
        }
        let mut actions = Vec::new();
        actions.try_reserve_exact(steps.len()).map_err(OutOfMemory::from)?;
        let (mut arguments, mut words) = (0, 0);
        // Whether there is a value for a step to work on.
        let mut has_value = false;
        for (number, step) in steps.iter().enumerate() {
            let malformed = ProgramError::Malformed { step: number };
            let op = Op::from_code(step.op).ok_or(malformed)?;
            if step.reserved != 0 || !(op.is_source() || has_value) {
                return Err(malformed);
            }
            if op.is_source() {
                arguments += 1;
                has_value = op != Op::Comm;
            }
            let action = action(op, step).ok_or(malformed)?;
            words += most_words(action);
            actions.push(action);
        }
        if arguments > MAX_ARGUMENTS || words > MAX_WORDS {
            return Err(ProgramError::TooLong);
        }
        Ok(Self { actions: actions.into_boxed_slice(), words })
    }

    /// The most words that it appends.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Bytes of memory it takes beside itself.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.actions)
    }

    /// Runs it, and puts the words it appends at the beginning of `words`; those that do not fit there are left out.
    #[inline]
    pub fn run(&self, registers: &Registers, reader: &impl Reader, words: &mut [u64]) -> Fetched {
        let mut output = Output { words, at: 0 };
        let mut faults = 0;
        // The bit of the argument that is fetched, its value, and whether it has faulted.
        let (mut bit, mut value, mut faulted) = (0_u32, 0_u64, false);
        for &action in &self.actions {
            let source = match action {
                Action::General(register) => Some(registers.get(register)),
                Action::Pointer => Some(registers.rip),
                Action::Flags => Some(registers.rflags),
                Action::CodeSegment => Some(registers.cs),
                Action::StackSegment => Some(registers.ss),
                Action::Stack { offset } => Some(stack_entry(registers.rsp, offset, reader)),
                Action::Immediate(value) => Some(value),
                Action::Comm => {
                    output.name(reader.task_name());
                    Some(0)
                }
                Action::Load { space, offset } => {
                    match read(reader, space, value.wrapping_add(offset), WORD as u8) {
                        Some(loaded) if !faulted => value = loaded,
                        _ => faulted = true,
                    }
                    None
                }
                Action::Emit => {
                    output.push(if faulted { 0 } else { value });
                    None
                }
                Action::EmitMemory { space, width, offset } => {
                    let found =
                        if faulted { None } else { read(reader, space, value.wrapping_add(offset), width) };
                    faulted |= found.is_none();
                    output.push(found.unwrap_or(0));
                    None
                }
                Action::EmitString { space, limit, offset } => {
                    faulted =
                        faulted || !output.string(reader, space, value.wrapping_add(offset), limit.into());
                    if faulted {
                        output.push(0);
                    }
                    None
                }
            };
            if let Some(source) = source {
                // The first argument's bit is 0; there are no more arguments than bits.
                bit = if bit == 0 { 1 } else { bit << 1 };
                (value, faulted) = (source, false);
            } else if faulted {
                faults |= bit;
            }
        }
        Fetched { words: output.at, faults }
    }
}

const _: () = assert!(MAX_ARGUMENTS <= u32::BITS as usize, "an argument has a bit in the mask of faults");

/// The checked form of `step`.
fn action(op: Op, step: &Step) -> Option<Action> {
    let offset = step.operand as u64;
    let memory = |space| {
        matches!(step.width, 1 | 2 | 4 | 8).then_some(Action::EmitMemory { space, width: step.width, offset })
    };
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
        Op::Load => Action::Load { space: Space::Any, offset },
        Op::LoadUser => Action::Load { space: Space::User, offset },
        Op::Emit => Action::Emit,
        Op::EmitMemory => memory(Space::Any)?,
        Op::EmitUser => memory(Space::User)?,
        Op::EmitString => string(Space::Any)?,
        Op::EmitUserString => string(Space::User)?,
    })
}

/// The most words that a step appends.
fn most_words(action: Action) -> usize {
    match action {
        Action::Emit | Action::EmitMemory { .. } => 1,
        Action::EmitString { limit, .. } => 1 + u64::from(limit).div_ceil(WORD) as usize,
        Action::Comm => 1 + (NAME / WORD) as usize,
        _ => 0,
    }
}

#[inline(always)]
fn read(reader: &impl Reader, space: Space, address: u64, width: u8) -> Option<u64> {
    if space.holds(address) { reader.read(address, width) } else { None }
}

/// As `regs_get_kernel_stack_nth()` does: 0 for what does not lie on the stack that `rsp` points into.
fn stack_entry(rsp: u64, offset: u64, reader: &impl Reader) -> u64 {
    let address = rsp.wrapping_add(offset);
    if (address ^ rsp) & !(STACK_SIZE - 1) != 0 {
        return 0;
    }
    reader.read(address, WORD as u8).unwrap_or(0)
}

/// The words that are appended.
struct Output<'a> {
    words: &'a mut [u64],
    at: usize,
}

impl Output<'_> {
    #[inline(always)]
    fn push(&mut self, word: u64) {
        if let Some(slot) = self.words.get_mut(self.at) {
            *slot = word;
            self.at += 1;
        }
    }

    /// Appends a task's name.
    fn name(&mut self, [low, high]: [u64; 2]) {
        let length = match (zero_byte(low), zero_byte(high)) {
            (Some(length), _) => length,
            (None, Some(length)) => WORD + length,
            (None, None) => NAME,
        };
        self.push(length);
        if length > 0 {
            self.push(low_bytes(low, length));
        }
        if length > WORD {
            self.push(low_bytes(high, length - WORD));
        }
    }

    /// Appends the string at `address`; returns whether it could be read. If not, nothing was appended.
    ///
    /// It is read in whole aligned words, of which none lies on two pages: a word that holds a byte of the string is there if that byte is. Bounded by `limit`.
    fn string(&mut self, reader: &impl Reader, space: Space, address: u64, limit: u64) -> bool {
        let start = self.at;
        self.push(0);
        let (mut length, mut ended) = (0, false);
        // What is read and not yet appended: so many bytes.
        let (mut pending, mut pending_bytes) = (0, 0);
        while !ended && length < limit {
            let from = address.wrapping_add(length);
            let skipped = from % WORD;
            let Some(word) = read(reader, space, from - skipped, WORD as u8) else {
                self.at = start;
                return false;
            };
            let found = word >> (8 * skipped);
            let there = WORD - skipped;
            let zero = zero_byte(found).filter(|&bytes| bytes < there);
            ended = zero.is_some();
            let bytes = zero.unwrap_or(there).min(limit - length);
            let found = low_bytes(found, bytes);
            length += bytes;
            pending |= found << (8 * pending_bytes);
            pending_bytes += bytes;
            if pending_bytes >= WORD {
                self.push(pending);
                pending_bytes -= WORD;
                // What did not fit: the last `pending_bytes` of the bytes just found.
                pending = if pending_bytes == 0 { 0 } else { found >> (8 * (bytes - pending_bytes)) };
            }
        }
        if pending_bytes > 0 {
            self.push(pending);
        }
        if let Some(slot) = self.words.get_mut(start) {
            *slot = length;
        }
        true
    }
}

/// Which byte of `word`, from the lowest on, is the first that is zero.
#[inline(always)]
fn zero_byte(word: u64) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest byte whose top bit is set here is zero: a borrow comes only out of a zero byte, and so only disturbs bytes above the first.
    let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
    (zeros != 0).then(|| u64::from(zeros.trailing_zeros() / 8))
}

/// The lowest `bytes` bytes of `word`.
#[inline(always)]
fn low_bytes(word: u64, bytes: u64) -> u64 {
    if bytes >= WORD { word } else { word & ((1 << (8 * bytes)) - 1) }
}

#[cfg(all(test, not(loom)))]
mod tests;
