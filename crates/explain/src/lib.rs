//! What a kernel printed about a fault: text to reports, a report to an explanation.
//!
//! [`read`] strips what logs, consoles and mails put before each line, and splits the text into
//! [`Report`]s: values of one are never told of another. [`Report::explain`] says what each means.
//! Nothing here reads files or knows the command line, so that any text can be thrown at it.
//!
//! Rule: what is told stands in the text, or is computed from what stands there and said to be.
//! Where the text leaves two readings, neither is chosen.
//!
//! Formats: arch/x86/mm/fault.c (show_fault_oops, show_signal_msg), arch/x86/kernel/dumpstack.c,
//! process_64.c, process_32.c (__show_regs), traps.c, lib/bug.c, kernel/panic.c, mm/kasan/report.c,
//! mm/kfence/report.c, kernel/watchdog.c, kernel/hung_task.c, kernel/rcu/tree_stall.h, of Linux
//! 2.6 to 7.3.
#![forbid(unsafe_code)]

mod access;
mod call;
mod code;
mod entry;
mod explain;
pub mod fault;
mod json;
mod kind;
mod lines;
mod locks;
mod machine;
mod machine_check;
mod object;
mod place;
mod registers;
mod report;
mod scan;
mod sources;
mod split;
mod task;
mod user;

pub use call::Call;
pub use code::Code;
pub use entry::Entry;
pub use explain::{Explanation, Row, sentence};
pub use kind::{Kind, Rank};
pub use lines::lines;
pub use machine::Machine;
pub use object::{Object, Trace};
pub use place::describe as describe_address;
pub use registers::Registers;
pub use report::Report;
pub use sources::{NoSources, Sources, Spot};
pub use split::{Reports, read};
pub use task::{Task, taint_meaning};
pub use user::{Trap, grouped};
