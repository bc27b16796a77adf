//! One register, or an array of them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::Field;
use crate::field::number;

/// Elements of one array at most: more is a mistake in the file.
pub(crate) const MOST_ELEMENTS: u32 = 4096;

/// Bytes of the widest register.
pub(crate) const WIDEST: u64 = 64;

/// One register, or an array of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Bytes from the BAR's start, or from that of its space.
    pub offset: u64,
    /// Name as the specification has it.
    pub name: String,
    /// BAR it lies in.
    #[serde(default)]
    pub bar: u8,
    /// What it lies in if that is no BAR: `config`, or a capability in configuration space. Such a
    /// register names no access to a BAR.
    #[serde(default)]
    pub space: Option<String>,
    /// Bytes.
    #[serde(default = "four")]
    pub width: u8,
    /// What may be done with it; for the reader of the file.
    #[serde(default)]
    pub access: AccessRule,
    /// Value after a reset; for the reader of the file.
    #[serde(default, deserialize_with = "reset")]
    pub reset: Option<u64>,
    /// Elements, 1 if it is no array.
    #[serde(default = "one")]
    pub count: u32,
    /// Bytes from one element to the next; its width if not given.
    #[serde(default)]
    pub stride: Option<u64>,
    /// The register whose next access answers a write to this one, as that of completions does a
    /// doorbell of requests; this one itself, if it is read until it tells the answer. In the name
    /// a `{}` is this element's index.
    #[serde(default)]
    pub answer: Option<String>,
    /// Whether it is meant to lie on others, as a register with several names does.
    #[serde(default)]
    pub overlaps: bool,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its fields, the highest or the lowest first, as the specification has them.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// What may be done with a register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessRule {
    /// Only read.
    Ro,
    /// Only written.
    Wo,
    /// Read and written.
    #[default]
    Rw,
    /// Reading clears it.
    Rc,
    /// Writing ones clears them.
    W1c,
}

impl AccessRule {
    /// As a register file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ro => "ro",
            Self::Wo => "wo",
            Self::Rw => "rw",
            Self::Rc => "rc",
            Self::W1c => "w1c",
        }
    }
}

/// A number, or one in quotes: TOML's own end at 63 bits.
fn reset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Reset;

    impl Visitor<'_> for Reset {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number that is not negative, or \"0x...\" with one of 64 bits")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            number(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Reset).map(Some)
}

fn one() -> u32 {
    1
}

fn four() -> u8 {
    4
}

impl Register {
    /// A register of BAR 0 without fields.
    pub fn new(name: impl Into<String>, offset: u64, width: u8) -> Self {
        Self {
            offset,
            name: name.into(),
            bar: 0,
            space: None,
            width,
            access: AccessRule::default(),
            reset: None,
            count: 1,
            stride: None,
            answer: None,
            overlaps: false,
            description: String::new(),
            fields: Vec::new(),
        }
    }

    /// Bytes from one element to the next.
    pub fn stride(&self) -> u64 {
        self.stride.unwrap_or(u64::from(self.width))
    }

    /// Name of an element.
    pub fn element_name(&self, index: u32) -> String {
        match self.count {
            1 => self.name.clone(),
            _ if self.name.contains("{}") => self.name.replace("{}", &index.to_string()),
            _ => format!("{}[{index}]", self.name),
        }
    }

    /// What the register is called that answers an element.
    pub fn answer_name(&self, index: u32) -> Option<String> {
        Some(self.answer.as_ref()?.replace("{}", &index.to_string()))
    }

    /// Offset of each element. Only of a register that has no [problem](Self::problem).
    pub fn elements(&self) -> impl Iterator<Item = (u32, u64)> + use<> {
        let (offset, stride) = (self.offset, self.stride());
        (0..self.count).map(move |index| (index, offset + u64::from(index) * stride))
    }

    /// What is absurd about it.
    pub(crate) fn problem(&self) -> Option<String> {
        let width = u64::from(self.width);
        if !self.width.is_power_of_two() || width > WIDEST {
            return Some(format!("width {width} is not 1, 2, 4, 8, 16, 32 or 64 bytes"));
        }
        if self.bar > 5 {
            return Some(format!("bar {} is not 0 to 5", self.bar));
        }
        if self.count == 0 || self.count > MOST_ELEMENTS {
            return Some(format!("count {} is not 1 to {MOST_ELEMENTS}", self.count));
        }
        if let Some(stride) = self.stride.filter(|stride| *stride < width) {
            return Some(format!("stride {stride} is less than its width {width}"));
        }
        let last = u64::from(self.count - 1).checked_mul(self.stride());
        if last.and_then(|last| self.offset.checked_add(last)?.checked_add(width)).is_none() {
            return Some(format!("offset {:#x} and stride go past the end of all addresses", self.offset));
        }
        let outside = self.fields.iter().find(|field| u64::from(field.high) >= width * 8)?;
        Some(format!("bit {} of field {} is outside of its {width} bytes", outside.high, outside.name))
    }
}
