//! Builds what runs in the guest: the `trapline` command and the kernel modules.

mod command;
mod module;

pub use command::command;
pub use module::modules;
