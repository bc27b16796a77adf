//! What a CPU has for itself while it runs code probes.

use super::Phase;
use crate::Open;
use trapline_ring::primitive::atomic::{AtomicPtr, AtomicU64, Ordering};

/// One CPU's state; changed by its own traps alone.
// A cache line pair of its own, as the engine's other per-CPU state.
#[repr(align(128))]
pub(super) struct Cpu {
    /// A [`Phase`].
    pub(super) phase: AtomicU64,
    /// Number of the last hit that has one; never 0, which is what a new probe has entered.
    pub(super) hits: AtomicU64,
    /// The innermost running call: a [`Running`] in its caller's stack frame.
    pub(super) running: AtomicPtr<()>,
}

impl Cpu {
    pub(super) fn new() -> Self {
        Self {
            phase: AtomicU64::new(Phase::IDLE.to_word()),
            hits: AtomicU64::new(1),
            running: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::from_word(self.phase.load(Ordering::Relaxed))
    }

    // A load and a store, not one instruction: what nests in between leaves the phase as it found
    // it.
    pub(super) fn set(&self, phase: Phase) {
        self.phase.store(phase.to_word(), Ordering::Relaxed);
    }
}

impl Open for Cpu {
    type Part = AtomicU64;

    /// A [`Phase`].
    fn open(&self) -> &AtomicU64 {
        &self.phase
    }
}
