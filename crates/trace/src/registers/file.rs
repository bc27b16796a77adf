//! A register file: TOML that a person writes from a data sheet.
//!
//! ```toml
//! name = "edu"
//! source = "QEMU, docs/specs/edu.rst"
//!
//! [[match]]                 # any of these; within one, all that is given must hold
//! vendor = 0x1234
//! devices = [0x11e8]        # also: class = 0x010802, driver = "nvme"
//!
//! [[register]]
//! offset = 0x20
//! name = "STATUS"
//! bar = 0                   # default 0
//! width = 4                 # bytes, default 4
//! access = "rw"             # ro, wo, rw (default), rc (cleared by reading), w1c (cleared by writing ones)
//! count = 1                 # an array: so many, `stride` bytes apart; a `{}` in the name is replaced by the index, else `[index]` is appended
//! stride = 4                # default: width
//! fields = [{ bits = "0", name = "COMPUTING", values = { 0 = "idle" } }, { bits = "15:8", name = "IRQ" }]
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Device;

/// Elements of one array at most: more is a mistake in the file.
const MOST_ELEMENTS: u32 = 4096;

/// One register file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterFile {
    /// What it describes.
    pub name: String,
    /// Where that is specified.
    #[serde(default)]
    pub source: String,
    #[serde(rename = "match")]
    matches: Vec<Match>,
    #[serde(rename = "register", default)]
    registers: Vec<Register>,
}

/// Which devices a file describes: all that is given must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    vendor: Option<u16>,
    devices: Option<Vec<u16>>,
    class: Option<u32>,
    driver: Option<String>,
}

/// One register, or an array of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Bytes from the BAR's start.
    pub offset: u64,
    /// Name as the specification has it.
    pub name: String,
    /// BAR it lies in.
    #[serde(default)]
    pub bar: u8,
    /// Bytes.
    #[serde(default = "four")]
    pub width: u8,
    /// What may be done with it; for the reader of the file.
    #[serde(default)]
    pub access: AccessRule,
    /// Elements, 1 if it is no array.
    #[serde(default = "one")]
    pub count: u32,
    /// Bytes from one element to the next; its width if not given.
    pub stride: Option<u64>,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    bits: String,
    name: String,
    #[serde(default)]
    values: BTreeMap<String, String>,
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
        Ok(Self { high, low, values: values.collect::<Result<_, _>>()?, name: text.name })
    }
}

fn number(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

fn one() -> u32 {
    1
}

fn four() -> u8 {
    4
}

/// Why a register file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It is not TOML, or has other keys or types than a register file has. The text tells line and column.
    #[error("register file {file} is malformed: {source}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// A register makes no sense.
    #[error("register {register} in register file {file}: {problem}")]
    Register {
        /// The file.
        file: String,
        /// The register.
        register: String,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// It doesn't say what it describes.
    #[error("register file {file} describes no device: a [[match]] needs vendor, devices, class or driver")]
    NoMatch {
        /// The file.
        file: String,
    },
}

impl RegisterFile {
    /// Parses `text`; `file` is its name for error messages.
    ///
    /// # Errors
    /// If it is malformed, with line and column, or makes no sense, with the register's name.
    pub fn parse(file: &str, text: &str) -> Result<Self, RegisterError> {
        let malformed = |source| RegisterError::Malformed { file: file.into(), source: Box::new(source) };
        let parsed: Self = toml::from_str(text).map_err(malformed)?;
        if parsed.matches.is_empty() || parsed.matches.iter().any(Match::is_empty) {
            return Err(RegisterError::NoMatch { file: file.into() });
        }
        for register in &parsed.registers {
            if let Some(problem) = register.problem() {
                return Err(RegisterError::Register {
                    file: file.into(),
                    register: register.name.clone(),
                    problem,
                });
            }
        }
        Ok(parsed)
    }

    /// Its registers, in the order of the file.
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// Whether it describes `device`.
    pub fn describes(&self, device: &Device) -> bool {
        self.matches.iter().any(|rule| rule.holds(device))
    }
}

impl Match {
    fn is_empty(&self) -> bool {
        self.vendor.is_none() && self.devices.is_none() && self.class.is_none() && self.driver.is_none()
    }

    fn holds(&self, device: &Device) -> bool {
        self.vendor.is_none_or(|vendor| vendor == device.vendor)
            && self.devices.as_ref().is_none_or(|devices| devices.contains(&device.device))
            && self.class.is_none_or(|class| class == device.class)
            && self.driver.as_ref().is_none_or(|driver| Some(driver) == device.driver.as_ref())
    }
}

impl Register {
    /// Name and offset of each element.
    pub(super) fn elements(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let stride = self.stride.unwrap_or(u64::from(self.width));
        (0..self.count).map(move |index| {
            let name = match self.count {
                1 => self.name.clone(),
                _ if self.name.contains("{}") => self.name.replace("{}", &index.to_string()),
                _ => format!("{}[{index}]", self.name),
            };
            (name, self.offset + u64::from(index) * stride)
        })
    }

    fn problem(&self) -> Option<String> {
        let width = u64::from(self.width);
        if !self.width.is_power_of_two() || self.width > 64 {
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
        let last = u64::from(self.count - 1).checked_mul(self.stride.unwrap_or(width));
        if last.and_then(|last| self.offset.checked_add(last)?.checked_add(width)).is_none() {
            return Some(format!("offset {:#x} and stride go past the end of all addresses", self.offset));
        }
        let outside = self.fields.iter().find(|field| u64::from(field.high) >= width * 8)?;
        Some(format!("bit {} of field {} is outside of its {width} bytes", outside.high, outside.name))
    }
}

impl Field {
    /// `NAME=value`, with the value's meaning if it has one.
    pub(super) fn show(&self, register: u64) -> String {
        let bits = self.high - self.low + 1;
        let value = (register >> self.low) & (u64::MAX >> (64 - bits));
        let shown =
            if value < 10 { format!("{}={value}", self.name) } else { format!("{}={value:#x}", self.name) };
        match self.values.get(&value) {
            Some(meaning) => format!("{shown} ({meaning})"),
            None => shown,
        }
    }
}
