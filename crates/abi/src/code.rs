//! Code probes, as the command asks for them: the programs that fetch arguments, and what tells of
//! a probe.

/// Arguments that one probe may fetch.
pub const MAX_ARGUMENTS: usize = 128;
/// Steps of one program, its condition and its arguments together: so few that what numbers and
/// names append always fits a record ([`MAX_WORDS`]).
pub const MAX_STEPS: usize = 512;
/// Comparisons of one condition; and truths that wait to be joined at once.
pub const MAX_COMPARISONS: usize = 64;
/// Longest text that a condition compares: of longer ones so many bytes are looked at. A pattern is
/// tried at each byte of a text, so this bounds how long that takes.
pub const MAX_COMPARED: u32 = 256;
/// Words that one hit may record: what [`Kind::Hit`](crate::Kind::Hit) and its
/// [`Kind::More`](crate::Kind::More) records can hold, two of the first and four of each of those.
pub const MAX_WORDS: usize = 2 + 4 * 255;
/// Longest string that is fetched, its end (a zero byte) not counted.
pub const MAX_STRING: u32 = 1024;
/// Return addresses recorded with a hit at most.
pub const MAX_STACK: usize = 64;

// A step appends one word, and a name, which is an argument of its own, two more.
const _: () = assert!(MAX_STEPS + 2 * MAX_ARGUMENTS + mask_words(MAX_ARGUMENTS) + 1 + MAX_STACK <= MAX_WORDS);

/// One step of a program: its first [`CodeProbe::condition`] steps decide whether a hit is
/// recorded, the others fetch its arguments.
///
/// A program is a straight line: it has no jumps, so it ends. It works on one *value*, a 64-bit
/// word, and appends words to the hit's record. Each argument begins with a step that sets the
/// value from nothing, [`Op::is_source`]. An argument that faults appends the words it would have
/// appended as zeros, strings as empty ones, and sets its bit in the hit's fault mask; the
/// arguments after it are fetched all the same. So where a word lies depends on the program alone,
/// and on the strings before it.
///
/// A condition fetches operands as if they were arguments. Behind each two of them is a comparison
/// ([`Op::is_comparison`]), which takes them away and pushes its *truth*: true, false, or unknown
/// if one of them faulted. [`Op::And`], [`Op::Or`] and [`Op::Not`] join the last truths, as
/// Kleene's logic does: what is unknown may be either, so `false && unknown` is false and
/// `true || unknown` true. One truth is left at the end. The hit is recorded if it is true.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What to do: an [`Op`].
    pub op: u8,
    /// Width of a memory access in bytes (1, 2, 4, 8), where the step makes one.
    pub width: u8,
    /// Number of the register, stack entry or argument; longest string. By [`Op`].
    pub number: u16,
    /// Zero.
    pub reserved: u32,
    /// Offset (signed), or the immediate value.
    pub operand: i64,
}

/// What a [`Step`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Source. Value = register `number`, numbered as the CPU does (rax 0, rcx 1, rdx 2, rbx 3, rsp
    /// 4, rbp 5, rsi 6, rdi 7, r8 to r15), then rip 16, flags 17, cs 18, ss 19.
    Register = 1,
    /// Source. Value = entry `number` of the kernel stack, 0 if it is not on the stack
    /// (`regs_get_kernel_stack_nth()`).
    Stack = 2,
    /// Source. Value = the stack pointer.
    StackAddress = 3,
    /// Source. Value = what the function returns: rax.
    ReturnValue = 4,
    /// Source. Value = `operand`.
    Immediate = 5,
    /// Source. The words of the task's name are appended as a string of at most 16 bytes.
    Comm = 6,
    /// Value = the `width` bytes at value + `operand`, zero-extended.
    Load = 7,
    /// As [`Op::Load`], in user space whatever the address.
    LoadUser = 8,
    /// Value is appended.
    Emit = 9,
    /// `width` bytes at value + `operand` are appended as one word, zero-extended; the value stays.
    EmitMemory = 10,
    /// As [`Op::EmitMemory`], in user space.
    EmitUser = 11,
    /// The zero-terminated string at value + `operand`, cut off after `number` bytes
    /// ([`MAX_STRING`] at most), is appended: a word with its length in bytes, then the bytes,
    /// zero-padded to whole words. The value stays.
    EmitString = 12,
    /// As [`Op::EmitString`], in user space.
    EmitUserString = 13,
    /// Value = `width` bits of it (1 to 64), the lowest of which is bit `number`; its sign extended
    /// if `operand` is 1, zero-extended if it is 0.
    Narrow = 14,
    /// `operand` is appended; the value stays.
    EmitWord = 15,
    /// Comparison of numbers: the first is the second.
    Equal = 16,
    /// Comparison of numbers: the first is less than the second, both without a sign.
    Below = 17,
    /// Comparison of numbers: the first is less than the second, both with a sign.
    Less = 18,
    /// Comparison of numbers: they have a bit in common.
    Test = 19,
    /// Comparison of strings: they are the same.
    Same = 20,
    /// Comparison of strings: the first is as the second, a pattern, says: `*` stands for any text,
    /// `?` for any byte, `[a-z]` and `[!a-z]` for one of a class, and `\\` before one of these for
    /// itself (the kernel's lib/glob.c).
    Match = 21,
    /// The last two truths become one: both are true.
    And = 22,
    /// The last two truths become one: one of them is true.
    Or = 23,
    /// The last truth becomes its opposite.
    Not = 24,
}

impl Op {
    /// The step with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Register,
            2 => Self::Stack,
            3 => Self::StackAddress,
            4 => Self::ReturnValue,
            5 => Self::Immediate,
            6 => Self::Comm,
            7 => Self::Load,
            8 => Self::LoadUser,
            9 => Self::Emit,
            10 => Self::EmitMemory,
            11 => Self::EmitUser,
            12 => Self::EmitString,
            13 => Self::EmitUserString,
            14 => Self::Narrow,
            15 => Self::EmitWord,
            16 => Self::Equal,
            17 => Self::Below,
            18 => Self::Less,
            19 => Self::Test,
            20 => Self::Same,
            21 => Self::Match,
            22 => Self::And,
            23 => Self::Or,
            24 => Self::Not,
            _ => return None,
        })
    }

    /// Whether it begins an argument.
    pub const fn is_source(self) -> bool {
        matches!(
            self,
            Self::Register
                | Self::Stack
                | Self::StackAddress
                | Self::ReturnValue
                | Self::Immediate
                | Self::Comm
        )
    }

    /// Whether it compares the last two operands.
    pub const fn is_comparison(self) -> bool {
        use Op::{Below, Equal, Less, Match, Same, Test};
        matches!(self, Equal | Below | Less | Test | Same | Match)
    }
}

/// `payload` of [`Kind::Hit`](crate::Kind::Hit).
///
/// If the program fetches more arguments than `faults` has bits for, the first words, as many as
/// [`mask_words`] says, are the bits of the others. The words that the program appended follow;
/// then, with [`CODE_STACK`], a word with the number of return addresses, and these, the innermost
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HitPayload {
    /// [`CodeProbe::id`] of the probe, its low 32 bits.
    pub probe: u32,
    /// A bit for each argument that faulted, of the first 32.
    pub faults: u32,
    /// Address of the probed instruction; of a return, the address returned to.
    pub ip: u64,
    /// The first two words.
    pub words: [u64; 2],
}

impl HitPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        [self.probe as u64 | (self.faults as u64) << 32, self.ip, self.words[0], self.words[1]]
    }

    /// From a record of kind [`Kind::Hit`](crate::Kind::Hit).
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self {
            probe: words[0] as u32,
            faults: (words[0] >> 32) as u32,
            ip: words[1],
            words: [words[2], words[3]],
        }
    }
}

/// Words of a hit that are bits of arguments that faulted, from the 33rd argument on; of a program
/// that fetches so many.
pub const fn mask_words(arguments: usize) -> usize {
    arguments.saturating_sub(u32::BITS as usize).div_ceil(u64::BITS as usize)
}

/// The hit is recorded when the probed function returns; `address` is the function's first
/// instruction.
pub const CODE_RETURN: u32 = 1;
/// The hit is recorded after the probed instruction, not before it.
pub const CODE_POST: u32 = 2;
/// The kernel stack is recorded with each hit.
pub const CODE_STACK: u32 = 4;
/// The probe calls fault handlers of its own (in [`ListEntry`] only).
pub const CODE_FAULT: u32 = 8;

/// Every process, in [`CodeProbe::process`]; every CPU, in [`CodeProbe::cpu`].
pub const ANY: u32 = u32::MAX;

/// Argument of [`PROBE`](crate::PROBE): a probe that records each hit in the session's rings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeProbe {
    /// In: address of the instruction.
    pub address: u64,
    /// In: address of the program in the caller's memory: an array of [`Step`]; may be 0 with
    /// `steps` 0.
    pub program: u64,
    /// In: how many steps.
    pub steps: u32,
    /// In: `CODE_*`.
    pub flags: u32,
    /// In: only hits in this process (thread group id), or [`ANY`].
    pub process: u32,
    /// In: only hits on this CPU, or [`ANY`].
    pub cpu: u32,
    /// In: with [`CODE_RETURN`], calls under way at once that are followed, [`MAX_ACTIVE`] at most;
    /// 0 is the kernel's own choice, and all there is without.
    pub active: u32,
    /// In: how many of the steps, from the first on, are its condition; 0 if every hit is recorded.
    pub condition: u32,
    /// Out: its number, never used twice.
    pub id: u64,
    /// Out, when it failed: [`ProbeError`] code.
    pub error: u32,
    /// Out, when it failed: the kernel's own error number, positive; 0 if the refusal is ours.
    pub errno: u32,
    /// In: what `trapline list` shows it as; UTF-8, zero-padded.
    pub name: [u8; NAME_LENGTH],
}

/// Bytes of a probe's name.
pub const NAME_LENGTH: usize = 96;
/// Bytes of a module's name, its end included: the kernel's `MODULE_NAME_LEN`.
pub const MODULE_LENGTH: usize = 56;
/// Calls under way at once that a return probe can follow: the kernel's `KRETPROBE_MAXACTIVE` for
/// its probe events.
pub const MAX_ACTIVE: u32 = 4096;

// Copied to user space as they are, so without padding, which would tell what lay there before.
const _: () = assert!(size_of::<CodeProbe>() == 2 * 8 + 6 * 4 + 8 + 2 * 4 + NAME_LENGTH);
const _: () = assert!(
    size_of::<ListEntry>()
        == 8 + 2 * 4 + 2 * 8 + 2 * 4 + size_of::<ProbeCounts>() + NAME_LENGTH + MODULE_LENGTH
);

/// Why a [`PROBE`](crate::PROBE) was refused; `ioctl` itself returns the `errno` given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProbeError {
    /// The kernel allows no probe there: not kernel code, or on its own list of what must not be
    /// probed (`EINVAL`).
    NotProbeable = 1,
    /// The address is inside an instruction (`EILSEQ`).
    InsideInstruction = 2,
    /// The code is Trapline's own (`EPERM`).
    Own = 3,
    /// Another user of the address can't share it: a live patch, or a tracer that redirects it
    /// (`EBUSY`, `EEXIST`).
    Taken = 4,
    /// The program is malformed or too long (`EINVAL`).
    Program = 5,
    /// No memory (`ENOMEM`).
    NoMemory = 6,
    /// Contradicting or unknown flags (`EINVAL`).
    Flags = 7,
    /// A return probe that is not on the first instruction of a function (`EINVAL`).
    NotAFunction = 8,
    /// The kernel refused for another reason: see [`CodeProbe::errno`].
    Other = 9,
}

impl ProbeError {
    /// The error with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::NotProbeable,
            2 => Self::InsideInstruction,
            3 => Self::Own,
            4 => Self::Taken,
            5 => Self::Program,
            6 => Self::NoMemory,
            7 => Self::Flags,
            8 => Self::NotAFunction,
            9 => Self::Other,
            _ => return None,
        })
    }
}

/// Argument of [`LIST`](crate::LIST): one thing that is registered.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// In: the lowest number wanted. Out: the number of what was found, the lowest one from there
    /// on. Numbers are never used twice.
    pub id: u64,
    /// Out: what it is, a [`ListKind`].
    pub kind: u32,
    /// Out: `CODE_*` and `LIST_*`.
    pub flags: u32,
    /// Out: its first byte, or its instruction; 0 for a page-fault handler.
    pub address: u64,
    /// Out: its length in bytes; 0 for an instruction.
    pub length: u64,
    /// Out: thread group id of the command it belongs to; 0 for a module's.
    pub owner: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: its counts; those that it does not count are 0.
    pub counts: ProbeCounts,
    /// Out: its name, zero-padded; may be empty.
    pub name: [u8; NAME_LENGTH],
    /// Out: name of the module it belongs to, zero-padded; empty for a command's, or if it is not
    /// known.
    pub module: [u8; MODULE_LENGTH],
}

impl ListEntry {
    /// The question for the lowest number from `id` on.
    pub fn from(id: u64) -> Self {
        Self {
            id,
            kind: 0,
            flags: 0,
            address: 0,
            length: 0,
            owner: 0,
            reserved: 0,
            counts: ProbeCounts::default(),
            name: [0; NAME_LENGTH],
            module: [0; MODULE_LENGTH],
        }
    }
}

/// What a probe counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    /// Times it was hit and its handlers called; for an access probe, accesses.
    pub hits: u64,
    /// Hits that the kernel could not deliver: inside of another probe's handler, or, for a return,
    /// with too many calls under way.
    pub missed: u64,
    /// Pre handlers (for a return probe, entry handlers) that were abandoned.
    pub pre_faults: u64,
    /// Post handlers (for a return probe, return handlers) that were abandoned.
    pub post_faults: u64,
    /// Faults that the probe's own fault handler resolved.
    pub fixed: u64,
    /// Arguments that could not be fetched.
    pub fetch_faults: u64,
    /// Of the hits, those that were not recorded since they did not fulfil its condition.
    pub unfulfilled: u64,
    /// Of these, those about which nobody knows: something that the condition compares could not be
    /// fetched.
    pub undecided: u64,
    /// Records of it that found a ring full.
    pub dropped: u64,
}

/// What a [`ListEntry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ListKind {
    /// A page-fault handler.
    FaultHandler = 1,
    /// An access probe.
    Access = 2,
    /// A code probe.
    Code = 3,
}

impl ListKind {
    /// The kind with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::FaultHandler,
            2 => Self::Access,
            3 => Self::Code,
            _ => return None,
        })
    }
}

/// The kernel runs the probe's code by a jump instead of a breakpoint.
pub const LIST_OPTIMIZED: u32 = 1 << 8;
/// The kernel runs it from the function's entry, by ftrace.
pub const LIST_FTRACE: u32 = 1 << 9;
/// It is disabled, by its owner or since its handlers faulted too often.
pub const LIST_DISABLED: u32 = 1 << 10;
/// The module that its instruction was in is gone.
pub const LIST_GONE: u32 = 1 << 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_survives_the_way_through_a_record() {
        let hit = HitPayload { probe: 0xdead_beef, faults: 0x8000_0001, ip: 7, words: [8, 9] };
        assert_eq!(HitPayload::from_words(hit.to_words()), hit);
    }

    #[test]
    fn six_steps_begin_an_argument() {
        let sources: Vec<u8> =
            (0..=u8::MAX).filter(|&code| Op::from_code(code).is_some_and(Op::is_source)).collect();
        assert_eq!(sources, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn six_steps_compare() {
        let comparisons: Vec<u8> =
            (0..=u8::MAX).filter(|&code| Op::from_code(code).is_some_and(Op::is_comparison)).collect();
        assert_eq!(comparisons, [16, 17, 18, 19, 20, 21]);
    }

    #[test]
    fn arguments_beyond_the_32nd_have_their_bits_in_words_of_64() {
        let words = [0, 1, 32, 33, 96, 97, MAX_ARGUMENTS].map(mask_words);
        assert_eq!(words, [0, 0, 0, 1, 1, 2, 2]);
    }

    /// All of them lie in one word, [`ListEntry::flags`].
    #[test]
    fn each_flag_is_a_bit_of_its_own() {
        let flags = [
            CODE_RETURN,
            CODE_POST,
            CODE_STACK,
            CODE_FAULT,
            LIST_OPTIMIZED,
            LIST_FTRACE,
            LIST_DISABLED,
            LIST_GONE,
        ];
        for (index, flag) in flags.into_iter().enumerate() {
            assert!(flag.is_power_of_two(), "{flag:#x}");
            assert!(!flags[..index].contains(&flag), "{flag:#x} is there twice");
        }
    }

    #[test]
    fn a_question_names_a_number_and_nothing_else() {
        let question = ListEntry::from(7);
        assert_eq!((question.id, question.kind, question.counts.hits), (7, 0, 0));
    }

    #[test]
    fn every_code_names_one_step_one_error_and_one_kind() {
        for code in 0..=u8::MAX {
            if let Some(op) = Op::from_code(code) {
                assert_eq!(op as u8, code);
            }
            if let Some(error) = ProbeError::from_code(code.into()) {
                assert_eq!(error as u32, u32::from(code));
            }
            if let Some(kind) = ListKind::from_code(code.into()) {
                assert_eq!(kind as u32, u32::from(code));
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(Op::from_code).count(), 24);
        assert_eq!((0..64).filter_map(ProbeError::from_code).count(), 9);
        assert_eq!((0..64).filter_map(ListKind::from_code).count(), 3);
    }
}
