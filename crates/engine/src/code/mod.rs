//! Code probes: handlers at an instruction, which may fault without harm (seed 2), many at one
//! instruction (seed 4).
//!
//! The platform arms instructions and steps over them; a Linux kernel does that with its own
//! `register_kprobe`, so its blacklists, text patching and jump optimisation serve us. What is here
//! is what no kernel has: many independent [probes](CodeProbe) at one [`Point`], each with its own
//! handlers, counts and life; a [`Phase`] per CPU; and the [recovery](CodeEngine::fault) from a
//! handler that faults.
//!
//! As elsewhere in the engine, traps read snapshots and touch what is their CPU's own; the
//! [`CodeControl`] is the one writer.

mod control;
mod counts;
mod cpu;
mod engine;
mod phase;
mod point;
mod probe;
mod program;
mod running;

pub use control::{AddError, Breakpoints, CodeControl};
pub use engine::{CodeEngine, Delivery, HitVerdict};
pub use phase::{Phase, Stage};
pub use point::Point;
pub use probe::{CodeHandlers, CodeProbe, Exception, FaultFixer, GuardedHandler, TrustedHandler};
pub use program::{Fetched, Program, ProgramError, Reader, Truth};
pub use running::{Call, Calls, Recovery};
