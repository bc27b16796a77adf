//! What decoding a site gave: enough to compute its addresses, perform it, or run a copy of it elsewhere.

use crate::{Memory, Operand, Registers, Segment};

/// How an instruction's accesses can be performed, the best way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// [`Plan::execute`] performs it in Rust.
    Emulate,
    /// [`Plan::redirect`] makes a copy that can run with its memory operand elsewhere.
    Redirect,
    /// Only the CPU can run it, where it is.
    Step,
}

/// How far [`Plan::execute`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The instruction is complete; `rip` is after it.
    Done,
    /// A repeated string instruction has more elements to go; `rip` is still on it, `rcx`, `rsi` and `rdi` moved on.
    More,
}
