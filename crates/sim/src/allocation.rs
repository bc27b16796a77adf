//! Whether this thread runs the engine's code in a trap now, for an allocator that refuses to allocate there (promise 5).

use std::cell::Cell;

thread_local! {
    static IN_ENGINE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is inside of the engine's trap path, the platform's own code excepted. An allocator that finds this true has caught the engine.
pub fn in_engine() -> bool {
    IN_ENGINE.get()
}

/// While it lives, the thread counts as being on that side; afterwards as before.
pub(crate) struct Side(bool);

impl Side {
    pub(crate) fn engine() -> Self {
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
