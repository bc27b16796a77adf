//! What the record of an access says beside what every record says.

#[cfg(doc)]
use crate::record::{Flags, Kind};

/// What a handler, or a rule of injection, made of an access, beside what [`Flags::SUPPLIED`] and
/// [`Flags::DROPPED`] tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    /// Nothing.
    None = 0,
    /// The value was changed. It was `value[1]` of the payload before: what the device had said, or
    /// what the driver meant to write. Only of values of at most 8 bytes.
    Known = 1,
    /// The value, of more than 8 bytes, was changed, from what is not told.
    Unknown = 2,
    /// A write that the driver did not make: the same again.
    Repeated = 3,
}

impl Change {
    /// The change with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::None,
            1 => Self::Known,
            2 => Self::Unknown,
            3 => Self::Repeated,
            _ => return None,
        })
    }
}

/// How an access was performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Way {
    /// In Rust, on the alias.
    Emulate = 0,
    /// By a copy of the instruction, the device accessed once through the alias.
    Redirect = 1,
    /// By the instruction itself, its page open for one step: other CPUs may have slipped through.
    Step = 2,
    /// Not at all: the page's own rights forbid it, so the system got the fault that it would have
    /// got without Trapline. Its value is not known.
    Forbidden = 3,
}

impl Way {
    /// In how many ways an access is performed.
    pub const COUNT: usize = 3;

    /// The way with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Emulate,
            1 => Self::Redirect,
            2 => Self::Step,
            3 => Self::Forbidden,
            _ => return None,
        })
    }
}

/// `payload` of [`Kind::Access`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessPayload {
    /// Linear address of the first byte accessed.
    pub address: u64,
    /// Address of the accessing instruction.
    pub ip: u64,
    /// Bytes 0..16 of the value, little endian, zero-extended; bytes 16.. are in [`Kind::More`]
    /// records.
    pub value: [u64; 2],
}

impl AccessPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        [self.address, self.ip, self.value[0], self.value[1]]
    }

    /// From a record of kind [`Kind::Access`].
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { address: words[0], ip: words[1], value: [words[2], words[3]] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_one_way_and_one_change() {
        for code in 0..=u8::MAX {
            if let Some(way) = Way::from_code(code) {
                assert_eq!(way as u8, code);
            }
            if let Some(change) = Change::from_code(code) {
                assert_eq!(change as u8, code);
            }
        }
        // Those that an access is performed in, and one that is none.
        assert_eq!((0..=u8::MAX).filter_map(Way::from_code).count(), Way::COUNT + 1);
        assert_eq!((0..=u8::MAX).filter_map(Change::from_code).count(), 4);
    }

    #[test]
    fn a_payload_survives_the_way_through_a_record() {
        let access = AccessPayload { address: 1, ip: 2, value: [3, 4] };
        assert_eq!(AccessPayload::from_words(access.to_words()), access);
    }
}
