//! x86-64 memory accesses: bytes to a plan; plan, registers and memory to an effect.
//!
//! An instruction that faulted on an armed page has to be performed without un-arming the page.
//! [`decode()`] turns its bytes into a [`Plan`], once per site; the plan then tells which bytes the
//! instruction is about to touch ([`Plan::operands`]) and performs it in the best way there is
//! ([`Plan::method`]): in Rust against a [`Memory`] ([`Plan::execute`]), or on the CPU as a copy
//! whose memory operand lies elsewhere ([`Plan::redirect`]).
//!
//! Everything here runs inside a page-fault handler: nothing allocates, locks, formats or panics,
//! and the crate has no unsafe code. What the decoder says of an instruction is used only where a
//! second decoder and the CPU agree with it (the crate's tests); an instruction of which something
//! is not known is stepped, never guessed at.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod address;
mod alu;
mod branch;
mod corrections;
mod decode;
mod error;
mod execute;
mod flags;
mod foreign;
mod layout;
mod memory;
mod opcodes;
mod operands;
mod operation;
mod plan;
mod ports;
mod redirect;
mod registers;
mod shift;
mod slot;
mod strings;

pub use branch::branch;
pub use decode::decode;
pub use error::DecodeError;
pub use memory::{Direction, Memory, Operand, Segment};
pub use operands::Operands;
pub use plan::{Method, Plan, Progress};
pub use ports::{PortAccess, PortText, port_access};
pub use redirect::Redirect;
pub use registers::{Gpr, Registers};

/// The longest instruction the CPU accepts (Intel SDM volume 2, 2.3.11).
pub const MAX_LENGTH: usize = 15;
