//! A machine of breakpoints, single steps, returns and handlers that fault: the smallest platform
//! of the engine's code probes.
//!
//! Its cores execute instructions that are known by their addresses alone: whether one is armed,
//! and whether it faults, is all that matters here. Handlers are small programs, interpreted. Cores
//! and the writer take turns as the seed says, at every point where another could make a
//! difference.
//!
//! It delivers hits in either way that the engine knows:
//! [each](trapline_engine::code::Delivery::Each), or
//! [alone](trapline_engine::code::Delivery::Alone), as a Linux kernel's kprobes do
//! (`arch/x86/kernel/kprobes/core.c`, `kernel/kprobes.c`, `kernel/trace/rethook.c`), with what
//! `kernel/glue/kprobe.c` puts around them.

mod cores;
mod handlers;
mod machine;
mod patcher;
mod text;
mod watch;

pub use machine::CodeMachine;
pub use watch::{Called, Do, Fix, Handler, Loop, Watch};
