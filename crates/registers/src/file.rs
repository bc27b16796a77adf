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
//! bar = 0                   # default 0; or space = "config": in no BAR, names no access
//! width = 4                 # bytes, default 4
//! access = "rw"             # ro, wo, rw (default), rc (cleared by reading), w1c (by writing ones)
//! reset = 0x80              # value after a reset; in quotes if it has 64 bits
//! count = 1                 # an array: so many, `stride` bytes apart; the index replaces a `{}`
//!                           # in the name, else `[index]` is appended
//! stride = 4                # default: width
//! answer = "DATA"           # the register whose next access answers a write; `{}` is the index
//! overlaps = false          # whether it is meant to lie on others
//! description = "..."       # of fields too
//! fields = [
//!     { bits = "0", name = "COMPUTING", values = { 0 = "idle" } },
//!     { bits = "15:8", name = "IRQ" },
//! ]
//! ```
//!
//! A register that makes no sense is left out and told of: the rest of a file of thousands is as
//! good as before. Two that lie on each other are told of and both kept. What is no register file
//! at all is an error.

use serde::Deserialize;

use crate::{Identity, Match, Register, Wrong};

/// One register file.
#[derive(Clone, Debug, Default)]
pub struct RegisterFile {
    /// What it describes.
    pub name: String,
    /// Where that is specified.
    pub source: String,
    /// For which devices it is: any of these.
    pub matches: Vec<Match>,
    /// Its registers, in the order of the file.
    pub registers: Vec<Register>,
    /// What was wrong with it.
    pub wrong: Vec<Wrong>,
}

/// A file as its text has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    name: String,
    #[serde(default)]
    source: String,
    #[serde(rename = "match", default)]
    matches: Vec<Match>,
    #[serde(rename = "register", default)]
    registers: Vec<Register>,
}

/// Why a register file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It is not TOML, or has other keys or types than a register file has. The text tells line and
    /// column.
    #[error("register file {file} is malformed: {source}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
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
    /// If it is malformed, with line and column.
    pub fn parse(file: &str, text: &str) -> Result<Self, RegisterError> {
        let malformed = |source| RegisterError::Malformed { file: file.into(), source: Box::new(source) };
        let FileText { name, source, matches, registers } = toml::from_str(text).map_err(malformed)?;
        let mut parsed = Self { name, source, matches, registers, wrong: Vec::new() };
        parsed.check();
        Ok(parsed)
    }

    /// Parses `text` of a file that names the registers of devices.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); or if it doesn't say of which devices.
    pub fn parse_for_devices(file: &str, text: &str) -> Result<Self, RegisterError> {
        let parsed = Self::parse(file, text)?;
        if !parsed.is_for_devices() {
            return Err(RegisterError::NoMatch { file: file.into() });
        }
        Ok(parsed)
    }

    /// Whether it says for which devices it is.
    pub fn is_for_devices(&self) -> bool {
        !self.matches.is_empty() && !self.matches.iter().any(Match::is_empty)
    }

    /// Whether it describes `device`.
    pub fn describes(&self, device: &Identity<'_>) -> bool {
        self.matches.iter().any(|rule| !rule.is_empty() && rule.holds(device))
    }
}
