//! Builds what runs in the guest: the `trapline` command, the guest's test programs and the kernel
//! modules.

mod calls;
mod command;
mod module;

pub use calls::Calls;
pub use command::{command, conformance, cycles, faults, gate, probes, provoke, sources, touch, traces};
pub use module::{module_sources, modules, warnings};
