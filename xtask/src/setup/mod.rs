//! Set-up that happens by itself, once: the host's packages ([`host`]) and the stock kernels ([`kernel`]), which are
//! fetched with a private apt ([`apt`]) and unpacked under `target/`, never installed.

pub mod apt;
pub mod host;
pub mod kernel;

pub use kernel::{Kernel, Series};
