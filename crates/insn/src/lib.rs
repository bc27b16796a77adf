//! x86-64 memory accesses: bytes to a plan; plan, registers and memory to an effect.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod memory;
mod plan;
mod registers;

pub use memory::{Direction, Memory, Operand, Segment};
pub use plan::{Method, Progress};
pub use registers::{Gpr, Registers};
