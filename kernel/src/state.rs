//! What the module holds: the engine, which traps use, and the control state, which one task at a time may change.

use crate::fixed::Fixed;
use crate::glue;
use crate::mappings::Known;
use crate::platform::Kernel;
use crate::session::Session;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use trapline_abi::SelfTest;
use trapline_engine::{Control, Engine};

/// The engine, from [`trapline_init`](crate::entry::trapline_init) until the hook is gone.
pub(crate) static ENGINE: Fixed<Engine<Kernel>> = Fixed::empty();

/// The control state.
pub(crate) struct State {
    /// The engine's writer.
    pub control: Control,
    /// What the self-test found.
    pub self_test: SelfTest,
    /// The mappings that have an alias.
    pub known: Vec<Known>,
    /// The number that the next one gets; from 1 on, as in-tree mmiotrace counts.
    pub next_mapping: u32,
    /// The sessions, in no order.
    pub sessions: Vec<Session>,
    /// Records dropped by sessions that have ended.
    pub dropped: u64,
}

struct Shared(UnsafeCell<State>);

// SAFETY: reached only through `Guard`, which holds the control lock.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    control: Control::new(),
    self_test: SelfTest::NotRun,
    known: Vec::new(),
    next_mapping: 1,
    sessions: Vec::new(),
    dropped: 0,
}));

/// The control lock, held. Process context only: taking it may sleep.
pub(crate) struct Guard(());

impl Guard {
    pub(crate) fn lock() -> Self {
        glue::glue_control_lock();
        Self(())
    }
}

impl Deref for Guard {
    type Target = State;

    fn deref(&self) -> &State {
        // SAFETY: the lock is held, so this is the only reference but for those borrowed from this guard.
        unsafe { &*STATE.0.get() }
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut State {
        // SAFETY: as above, and `&mut self` excludes the guard's own.
        unsafe { &mut *STATE.0.get() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: `lock` took it, in this task.
        unsafe { glue::glue_control_unlock() }
    }
}
