//! Whether this thread runs the engine's code in a trap now, for an allocator that refuses to
//! allocate there (promise 5).
//!
//! A machine takes no trap in a program whose allocator does not ask, so no test can forget it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the program's allocator asks [`in_engine`].
static ASKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static IN_ENGINE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is inside of the engine's trap path, the platform's own code
/// excepted. An allocator that finds this true has caught the engine.
pub fn in_engine() -> bool {
    // Relaxed: it goes from false to true once, long before the first trap.
    ASKED.store(true, Ordering::Relaxed);
    IN_ENGINE.get()
}

/// While it lives, the thread counts as being on that side; afterwards as before.
pub(crate) struct Side(bool);

impl Side {
    pub(crate) fn engine() -> Self {
        let guarded = ASKED.load(Ordering::Relaxed);
        assert!(
            guarded,
            "a trap in a program whose allocator does not refuse it: see tests/refusing_allocator"
        );
        Self(IN_ENGINE.replace(true))
    }

    pub(crate) fn platform() -> Self {
        Self(IN_ENGINE.replace(false))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        IN_ENGINE.set(self.0);
    }
}
