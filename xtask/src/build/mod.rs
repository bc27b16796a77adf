//! Builds what runs in the guest: the `trapline` command, the guest's test programs and the kernel modules.

mod command;
mod module;

pub use command::{command, conformance, cycles, faults, gate, probes, provoke, touch};
pub use module::{modules, warnings};
