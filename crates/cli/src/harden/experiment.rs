//! What a driver reads, and the experiments that come from that. Plain data.

use serde::{Deserialize, Serialize};

/// Reads of one register by one function, as the first run had them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Site {
    /// The register, as rules name it: `STATUS`, or `BAR0+0x8:4`.
    pub place: String,
    /// Bytes that are read at once.
    pub width: u8,
    /// The function, with its module as rules name it: `e1000e:e1000_probe`; empty if not known.
    pub function: String,
    /// Where in it, in bytes from its start.
    pub offsets: Vec<u64>,
    /// How often it read.
    pub reads: u64,
    /// The number of its first, a middle and its last read among all accesses of the device, from 1
    /// on.
    pub among_all: [u64; 3],
    /// All bits that were ever set in what it read.
    pub seen: u64,
    /// Whether one instruction read it again and again.
    pub polled: bool,
}

/// A kind of lie, which is a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lie {
    /// All ones.
    Ones,
    /// Zero.
    Zero,
    /// A bit that is flipped.
    Flip,
    /// A bit that is stuck.
    Stuck,
    /// An old value.
    Stale,
    /// What a polling loop waits for never comes.
    Never,
    /// Random values.
    Random,
    /// The device is gone.
    Gone,
    /// Several at once.
    Several,
}

impl Lie {
    /// Those that have a column of their own.
    pub(crate) const COLUMNS: [Self; 8] =
        [Self::Ones, Self::Zero, Self::Flip, Self::Stuck, Self::Stale, Self::Never, Self::Random, Self::Gone];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ones => "ones",
            Self::Zero => "zero",
            Self::Flip => "flip",
            Self::Stuck => "stuck",
            Self::Stale => "stale",
            Self::Never => "never",
            Self::Random => "random",
            Self::Gone => "gone",
            Self::Several => "several",
        }
    }
}

/// Rules that are tried together, while COMMAND runs once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Experiment {
    /// The rules, as `trapline inject` takes them.
    pub rules: Vec<String>,
    /// The register that they are about, if it is one.
    pub place: Option<String>,
    /// The kind of lie.
    pub lie: Lie,
}

impl Experiment {
    /// Of one rule about one register.
    pub(crate) fn of(place: &str, lie: Lie, rule: String) -> Self {
        Self { rules: vec![rule], place: Some(place.to_owned()), lie }
    }

    /// The rules as a person reads them.
    pub(crate) fn text(&self) -> String {
        self.rules.join("; ")
    }

    /// Whether `other` is about fewer rules, or shorter ones.
    pub(crate) fn is_longer_than(&self, other: &Self) -> bool {
        (other.rules.len(), other.text().len()) < (self.rules.len(), self.text().len())
    }
}
