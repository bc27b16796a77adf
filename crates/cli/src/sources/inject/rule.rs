//! A rule of injection as it was typed: where, what, when, and where in the text each of these is.

use std::ops::Range;

use crate::mistake::Mistake;
use crate::units::PhysicalRange;

/// Something, and where in the text it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The whole text.
    pub(super) text: String,
    /// [`WATCH_READS`](trapline_abi::WATCH_READS), [`WATCH_WRITES`](trapline_abi::WATCH_WRITES) or
    /// both.
    pub(super) directions: u32,
    /// Where.
    pub(super) place: Spanned<Place>,
    /// What.
    pub(super) what: Spanned<What>,
    /// When.
    pub(super) when: When,
}

impl Rule {
    /// What is wrong with some of it.
    pub(super) fn mistake(&self, at: &Range<usize>, why: impl Into<String>) -> Mistake {
        Mistake { text: self.text.clone(), at: at.clone(), why: why.into() }
    }
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All that is traced, by values of so many bytes.
    Everything {
        /// Bytes of a value, 1 to 8.
        size: u32,
    },
    /// A register or a field, by name.
    Named(String),
    /// Bytes of a BAR.
    Bar {
        /// Its number.
        bar: u8,
        /// The first.
        offset: u64,
        /// How many.
        length: u64,
        /// Bytes of a value, 1 to 8.
        size: u32,
    },
    /// Bytes of physical memory.
    Physical {
        /// Which.
        range: PhysicalRange,
        /// Bytes of a value, 1 to 8.
        size: u32,
    },
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The value is this one.
    Value(u64),
    /// It is all ones.
    Ones,
    /// These bits are kept.
    And(u64),
    /// These bits are set.
    Or(u64),
    /// These bits are flipped.
    Xor(u64),
    /// It is what was read so many reads ago.
    Stale(u64),
    /// A polling loop gets what it got first.
    Withhold,
    /// It is random.
    Random,
    /// A write is not made.
    Drop,
    /// A write is made twice.
    Twice,
    /// The device has gone.
    Gone,
    /// It takes so many microseconds longer.
    Delay(u32),
}

impl What {
    /// The word that it is said with.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Value(_) => "=",
            Self::Ones => "ones",
            Self::And(_) => "and",
            Self::Or(_) => "or",
            Self::Xor(_) => "xor",
            Self::Stale(_) => "stale",
            Self::Withhold => "withhold",
            Self::Random => "random",
            Self::Drop => "drop",
            Self::Twice => "twice",
            Self::Gone => "gone",
            Self::Delay(_) => "delay",
        }
    }
}

/// When, and to whose accesses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct When {
    /// The first access, from 1 on.
    pub(super) first: Option<u64>,
    /// How many.
    pub(super) count: Option<u64>,
    /// As [`InjectRule::chance`](trapline_abi::InjectRule::chance).
    pub(super) chance: Option<u32>,
    /// Nanoseconds.
    pub(super) after: Option<u64>,
    /// The write that it begins with.
    pub(super) begin: Option<Trigger>,
    /// The write that it ends with.
    pub(super) end: Option<Trigger>,
    /// The function that accesses.
    pub(super) function: Option<Spanned<String>>,
    /// The task.
    pub(super) task: Option<Spanned<u32>>,
    /// The CPU.
    pub(super) cpu: Option<Spanned<u32>>,
}

/// A write that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    /// Of what.
    pub(super) place: Spanned<Place>,
    /// The value.
    pub(super) value: Spanned<u64>,
}
