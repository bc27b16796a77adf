//! The portable core of Trapline: page-fault handlers, armed pages, access probes, recovery and
//! events.
//!
//! It runs on any [`Platform`]: the simulated machine, the Linux kernel. Two halves meet in it.
//! *Traps* ([`Engine::page_fault`], [`Engine::debug_exception`]) run in exceptions, each on its
//! [`Lane`], on all of them at once; they read immutable snapshots, touch what is their lane's own,
//! write to preallocated rings, and never allocate, lock, format or panic. The *writer*
//! ([`Control`]) runs where it may sleep; it replaces snapshots and waits until the old ones are
//! out of use. All its allocations can fail, and failing leaves everything as it was.
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

mod address;
mod cache;
mod claims;
pub mod code;
mod control;
mod counters;
mod engine;
mod error;
mod fault;
mod handlers;
pub mod idt;
pub mod inject;
mod per_lane;
mod perform;
mod platform;
mod probe;
mod published;
mod redirect;
mod sink;
mod space;
mod step;
mod study;
mod trap;
mod value;

#[cfg(all(test, loom))]
mod loom_tests;

pub use address::{Alias, Linear, Physical};
pub use cache::{Cache, Site};
pub use claims::PATIENCE;
pub use control::{Control, Mapping};
pub use engine::Engine;
pub use error::{ControlError, OutOfMemory};
pub use fault::{Claim, Fault, Verdict};
pub use handlers::{FaultHandler, HandleFault, HandlerList};
pub use platform::{
    Backing, Behind, Code, Look, Mapped, NotArmed, Page, PageError, PageSize, PageTables, Platform, Rights,
    Task,
};
pub use probe::{Access, ChangeHandler, Decision, Handlers, PostHandler, PreHandler, Probe, ProbeId};
pub use published::{Owned, Retired};
pub use sink::{CpuSink, Sink};
pub use space::ArmedPage;
pub use study::Study;
pub use trap::{Lane, Lanes, Open, Trap};
pub use trapline_abi::ErrorCode;
