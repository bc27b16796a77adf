//! Registers by name: register files, and what lies at an offset of a device.
//!
//! ```text
//! RegisterFile --Display--> TOML
//! TOML --RegisterFile::parse--> Registers --of(a device)--> DeviceRegisters
//! DeviceRegisters: name and fields at an offset, and where a name lies
//! what others have written, SVD, a C header, rnndb --import--> RegisterFile
//! ```
//!
//! The crate knows nothing of traces: a device is an [`Identity`], an access an offset in a BAR.
#![forbid(unsafe_code)]

mod check;
pub mod config;
mod field;
mod file;
mod identity;
pub mod import;
mod lookup;
mod matching;
mod register;
mod registers;
mod write;

pub use check::{Span, Wrong};
pub use field::Field;
pub use file::{RegisterError, RegisterFile};
pub use identity::Identity;
pub use lookup::{DeviceRegisters, Place};
pub use matching::Match;
pub use register::{AccessRule, Register};
pub use registers::Registers;

#[cfg(test)]
mod tests;
