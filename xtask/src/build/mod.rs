//! Builds what runs in the guest: the `trapline` command, the program of the conformance suite and the kernel modules.

mod command;
mod module;

pub use command::{command, conformance};
pub use module::modules;
