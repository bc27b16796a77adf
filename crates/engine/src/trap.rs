//! Evidence that this code runs in a trap.

use core::marker::PhantomData;

/// Proof that interrupts are off on this CPU, which is therefore fixed, and that [`PageTables::synchronize`](crate::PageTables::synchronize)
/// waits for this trap to end: what is read from a [`Published`](crate::published::Published) pointer lives as long as this value.
///
/// # Invariants
/// Exists only between the entry of a trap and its end, on one CPU (hence not `Send`).
#[derive(Debug)]
pub struct Trap {
    cpu: usize,
    here: PhantomData<*mut ()>,
}

impl Trap {
    /// Begins a trap on CPU `cpu`.
    ///
    /// # Safety
    /// Interrupts are off on this CPU, whose number is `cpu`, and stay off until the value is dropped.
    pub unsafe fn begin(cpu: usize) -> Self {
        Self { cpu, here: PhantomData }
    }

    /// The CPU this is on.
    pub fn cpu(&self) -> usize {
        self.cpu
    }
}
