//! Code probes: what an instruction's hit goes through.

mod fetch;

pub use fetch::{Fetched, Program, ProgramError, Reader};
