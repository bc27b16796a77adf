//! Set-up that happens by itself, once: the host's packages ([`host`]) and the kernels that run in
//! the machine ([`kernel`]), Debian's stock ones ([`stock`]), fetched with a private apt ([`apt`]),
//! with a root to build modules in if they are of another release than the host ([`build_root`]),
//! and the debugging one ([`debug`]), built; and packages of Python ([`python`]). All but the
//! host's packages lies under `target/` and is never installed.

pub mod apt;
mod build_root;
mod debug;
mod ensure;
pub mod host;
pub mod kernel;
pub(crate) mod python;
mod release;
mod room;
mod stock;

pub(crate) use apt::Apt;
pub use kernel::{Kernel, Series};
pub(crate) use release::Release;
