//! What handlers do, and what is seen of them.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// What a handler does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Raises a page fault.
    Fault,
    /// Executes the instruction at this address.
    Execute(u64),
    /// Is interrupted by code that faults and is nobody's handler.
    Interrupted,
}

/// What a fault handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Deals with it.
    Fixes,
    /// Does not.
    Declines,
    /// Faults itself.
    Faults,
}

/// A probe's handlers, and the calls of them that came to their end.
#[derive(Debug, Default)]
pub struct Watch {
    /// Its pre handler, if it has one; a return probe's entry handler.
    pub pre: Option<Vec<Do>>,
    /// Its post handler; a return probe's return handler.
    pub post: Option<Vec<Do>>,
    /// Its fault handler.
    pub fix: Option<Fix>,
    /// Abandoned handlers after which it is disabled; 0: never.
    pub limit: u64,
    /// Calls of the post handler that came to their end.
    pub posts: AtomicU64,
    /// Calls of the fault handler.
    pub asked: AtomicU64,
    /// A handler may run.
    pub open: AtomicBool,
    /// The probe that it is of; set when that is registered.
    pub id: AtomicU64,
}

/// Which handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handler {
    /// The one before the instruction, or of a function's entry.
    Pre,
    /// The one after it, or of the return.
    Post,
    /// The one for faults of the two.
    Fix,
}

/// A call of a handler that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// The probe, as [`CodeMachine::add`](super::CodeMachine::add) numbered it.
    pub probe: u64,
    /// Which of its handlers.
    pub handler: Handler,
    /// The core.
    pub cpu: usize,
    /// The trap: each core counts its own, those inside of another not.
    pub trap: u64,
    /// The argument of the instruction's execution.
    pub number: u64,
    /// Functions that it was executed inside of.
    pub depth: u64,
}

/// What a core executes: `times` times the instruction at `address`, its argument counted from 1.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// The instruction, or the function's first.
    pub address: u64,
    /// How often.
    pub times: u64,
}
