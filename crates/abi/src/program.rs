//! The programs of code probes: a condition, and what fetches arguments; and their limits.

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

/// One step of a program: its first [`CodeProbe::condition`](crate::CodeProbe::condition) steps
/// decide whether a hit is recorded, the others fetch its arguments.
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

/// Words of a hit that are bits of arguments that faulted, from the 33rd argument on; of a program
/// that fetches so many.
pub const fn mask_words(arguments: usize) -> usize {
    arguments.saturating_sub(u32::BITS as usize).div_ceil(u64::BITS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn every_code_names_one_step() {
        for code in 0..=u8::MAX {
            if let Some(op) = Op::from_code(code) {
                assert_eq!(op as u8, code);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(Op::from_code).count(), 24);
    }
}
