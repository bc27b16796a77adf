//! What is registered, as `trapline list` asks for it one by one.

use crate::{MODULE_LENGTH, NAME_LENGTH};

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

// Copied to user space as it is, so without padding, which would tell what lay there before.
const _: () = assert!(
    size_of::<ListEntry>()
        == 8 + 2 * 4 + 2 * 8 + 2 * 4 + size_of::<ProbeCounts>() + NAME_LENGTH + MODULE_LENGTH
);

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
    use crate::{CODE_FAULT, CODE_POST, CODE_RETURN, CODE_STACK};

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
    fn every_code_names_one_kind() {
        for code in 0..64 {
            if let Some(kind) = ListKind::from_code(code) {
                assert_eq!(kind as u32, code);
            }
        }
        assert_eq!((0..64).filter_map(ListKind::from_code).count(), 3);
    }
}
