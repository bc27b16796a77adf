//! The one choice between the real atomics and loom's, so that the algorithm that is tested is the one that ships.

#[cfg(not(loom))]
pub(crate) use {crate::ring_memory::RingMemory, core::sync::atomic};

#[cfg(loom)]
pub(crate) use {crate::ring_memory_loom::RingMemory, loom::sync::atomic};
