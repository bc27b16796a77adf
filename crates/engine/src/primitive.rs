//! The one choice between the real atomics and loom's, so that the algorithm that is tested is the one that ships.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
