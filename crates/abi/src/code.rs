//! Code probes, as the command asks for them, and what tells of a hit.

/// `payload` of [`Kind::Hit`](crate::Kind::Hit).
///
/// If the program fetches more arguments than `faults` has bits for, the first words, as many as
/// [`mask_words`](crate::mask_words) says, are the bits of the others. The words that the program
/// appended follow; then, with [`CODE_STACK`], a word with the number of return addresses, and
/// these, the innermost first.
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

/// The hit is recorded when the probed function returns; `address` is the function's first
/// instruction.
pub const CODE_RETURN: u32 = 1;
/// The hit is recorded after the probed instruction, not before it.
pub const CODE_POST: u32 = 2;
/// The kernel stack is recorded with each hit.
pub const CODE_STACK: u32 = 4;
/// The probe calls fault handlers of its own (in [`ListEntry`](crate::ListEntry) only).
pub const CODE_FAULT: u32 = 8;

/// Every process, in [`CodeProbe::process`]; every CPU, in [`CodeProbe::cpu`].
pub const ANY: u32 = u32::MAX;

/// Argument of [`PROBE`](crate::PROBE): a probe that records each hit in the session's rings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeProbe {
    /// In: address of the instruction.
    pub address: u64,
    /// In: address of the program in the caller's memory: an array of [`Step`](crate::Step); may be
    /// 0 with `steps` 0.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_survives_the_way_through_a_record() {
        let hit = HitPayload { probe: 0xdead_beef, faults: 0x8000_0001, ip: 7, words: [8, 9] };
        assert_eq!(HitPayload::from_words(hit.to_words()), hit);
    }

    #[test]
    fn every_code_names_one_error() {
        for code in 0..64 {
            if let Some(error) = ProbeError::from_code(code) {
                assert_eq!(error as u32, code);
            }
        }
        assert_eq!((0..64).filter_map(ProbeError::from_code).count(), 9);
    }
}
