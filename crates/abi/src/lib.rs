//! What Trapline's kernel module, its command and its other readers share: records, rings,
//! commands.
//!
//! Everything here is plain data with a fixed layout, so that one side may be newer than the other
//! only if [`ABI_VERSION`] is the same; both sides check. No behaviour lives here.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod access;
mod code;
mod command;
mod config;
mod dma;
mod error_code;
mod faults;
mod inject;
mod interrupts;
mod lifecycle;
mod list;
mod log;
mod ports;
mod program;
mod record;
mod ring;

pub use access::*;
pub use code::*;
pub use command::*;
pub use config::*;
pub use dma::*;
pub use error_code::*;
pub use faults::*;
pub use inject::*;
pub use interrupts::*;
pub use lifecycle::*;
pub use list::*;
pub use log::*;
pub use ports::*;
pub use program::*;
pub use record::*;
pub use ring::*;

/// Version of everything in this crate. The device refuses a session that asks for another one.
pub const ABI_VERSION: u32 = 13;
