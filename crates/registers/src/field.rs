//! Some bits of a register.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Some bits of a register.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "FieldText")]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its highest bit.
    pub high: u32,
    /// Its lowest bit.
    pub low: u32,
    /// What some of its values mean.
    pub values: BTreeMap<u64, String>,
    /// What it is for.
    pub description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    bits: String,
    name: String,
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(default)]
    description: String,
}

impl TryFrom<FieldText> for Field {
    type Error = String;

    fn try_from(text: FieldText) -> Result<Self, String> {
        let (high, low) = text.bits.split_once(':').unwrap_or((&text.bits, &text.bits));
        let bits = high.parse().ok().zip(low.parse().ok()).filter(|(high, low)| low <= high && *high < 64);
        let Some((high, low)) = bits else {
            return Err(format!(
                "bits {:?} of field {} are not \"bit\" or \"high:low\" within 63:0",
                text.bits, text.name
            ));
        };
        let values = text.values.into_iter().map(|(value, meaning)| match number(&value) {
            Some(value) => Ok((value, meaning)),
            None => Err(format!("value {value:?} of field {} is no number", text.name)),
        });
        let values = values.collect::<Result<_, _>>()?;
        Ok(Self { high, low, values, name: text.name, description: text.description })
    }
}

/// A number in quotes: decimal, or hexadecimal with `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

impl Field {
    /// A field without meanings of its values.
    pub fn new(name: impl Into<String>, high: u32, low: u32) -> Self {
        Self { name: name.into(), high, low, values: BTreeMap::new(), description: String::new() }
    }

    /// Its bits in the register's value.
    pub fn mask(&self) -> u64 {
        (u64::MAX >> (63 - (self.high - self.low))) << self.low
    }

    /// `NAME=value`, with the value's meaning if it has one.
    pub(crate) fn show(&self, register: u64) -> String {
        let value = (register & self.mask()) >> self.low;
        let shown =
            if value < 10 { format!("{}={value}", self.name) } else { format!("{}={value:#x}", self.name) };
        match self.values.get(&value) {
            Some(meaning) => format!("{shown} ({meaning})"),
            None => shown,
        }
    }
}
