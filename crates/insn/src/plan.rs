//! What decoding a site gave: enough to compute its addresses, perform it, or run a copy of it
//! elsewhere.

use crate::address::Address;
use crate::operation::Operation;
use crate::slot::Slot;
use crate::{Direction, Gpr};

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
    /// A repeated string instruction has more elements to go; `rip` is still on it, `rcx`, `rsi`
    /// and `rdi` moved on.
    More,
    /// Nothing was done: the plan's method is not [`Method::Emulate`].
    Refused,
}

/// A push or pop that the instruction does, beside its explicit memory operand; widths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    None,
    Push(u8),
    Pop(u8),
}

/// One instruction, decoded: made by [`decode`](crate::decode()) from its bytes alone, so it holds
/// for every place and register state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) address: Address,
    /// Sign-extended.
    pub(crate) immediate: u64,
    /// Bytes of the explicit memory operand, or of a string's element; 0 where unknown.
    pub(crate) width: u16,
    pub(crate) operation: Operation,
    pub(crate) register: Slot,
    pub(crate) stack: Stack,
    pub(crate) length: u8,
    pub(crate) method: Method,
    /// The register that a redirected copy takes its address from.
    pub(crate) scratch: Gpr,
    /// A `lock` prefix, or an `xchg`.
    pub(crate) locked: bool,
    /// A mask chooses which of the operand's bytes are accessed.
    pub(crate) partial: bool,
    /// All memory that it accesses is described here.
    pub(crate) complete: bool,
}

// One plan is one cache line of the per-CPU cache of sites.
const _: () = assert!(size_of::<Plan>() <= 64);

impl Plan {
    /// The instruction's length in bytes: 1 to 15.
    #[inline]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// The best way to perform it.
    #[inline]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Whether it writes below the stack pointer.
    #[inline]
    pub const fn pushes(&self) -> bool {
        matches!(self.stack, Stack::Push(_))
    }

    /// Whether it is a string instruction: each access is one element's.
    #[inline]
    pub const fn is_string(&self) -> bool {
        matches!(self.operation, Operation::Text(..))
    }

    /// Whether the instruction's read and write are one atomic step.
    #[inline]
    pub const fn locked(&self) -> bool {
        self.locked
    }

    /// Whether a mask chooses the bytes of the operand that are accessed, so that its width is an
    /// upper bound.
    #[inline]
    pub const fn partial(&self) -> bool {
        self.partial
    }

    /// What is done to the explicit memory operand; `None` if there is none, or none that is
    /// accessed (`lea`, `nop`).
    #[inline]
    pub const fn direction(&self) -> Option<Direction> {
        self.operation.direction()
    }
}
