//! The simulated machine, the smallest platform of the engine, and the conformance suite that every
//! platform must pass.
//!
//! [`Simulated`] has cores that execute real x86-64 instruction bytes, physical memory with a
//! device that keeps a record of what reaches it, four levels of page tables with the manual's
//! rights ([`paging`]), and a TLB per core that goes on using what it holds until it is shot down.
//! Cores, the writer and the repair worker take turns, chosen from a seed at every access and every
//! call of the platform, so a race that a seed has shown is shown again. Rejected: running the
//! cores truly in parallel, since then no failure came twice.
//!
//! [`CodeMachine`] is the same for code probes, with breakpoints, single steps, returns and
//! handlers that fault.
//!
//! [`conformance::ALL`] are scenarios over [`Machine`], the little that a test needs of a machine;
//! the simulated one and a kernel in a virtual machine both implement it.

mod allocation;
mod arming;
mod breakpoints;
mod control;
mod cpu;
mod device;
mod hardware;
mod machine;
mod model;
mod platform;
mod profile;
mod schedule;
mod simulated;
mod trace;
mod world;

pub mod code;
pub mod conformance;
pub mod paging;

pub use allocation::in_engine;
pub use arming::Arming;
pub use breakpoints::{Called, CodeMachine, Do, Fix, Handler, Loop, Watch};
pub use machine::{
    Backing, FaultHandlerId, FaultHandlerSpec, Hit, HitKind, Machine, Outcome, PageSpec, ProbeSpec, Program,
    Reaction, Region, Registrar, Vectors,
};
pub use profile::{Bus, Profile};
pub use simulated::{Options, Simulated};
pub use trace::{RecordedAccess, Trace, Value};
