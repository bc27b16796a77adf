//! An allocator that stops the test if the engine's trap path allocates or frees (promise 5), that
//! spoils what is freed, and that can run short of memory.

mod poison;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// The largest allocation that this thread is granted.
    static LARGEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Refusing;

fn check() {
    if trapline_sim::in_engine() && !std::thread::panicking() {
        // A panic would allocate in the allocator.
        eprintln!("the trap path allocated or freed memory");
        std::process::abort();
    }
}

// SAFETY: all calls are passed on as they are, some later, or refused by a null pointer, which says
// that there is no memory.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        if layout.size() > LARGEST.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the layout has a size that is not 0: `GlobalAlloc::alloc` asks for that.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        check();
        // SAFETY: the pointer came from `System.alloc` with this layout: `GlobalAlloc::dealloc`
        // asks for that.
        unsafe { poison::free(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Runs `run` while no allocation of this thread above 16 KiB is granted: the engine's tables of
/// many probes need more, the simulated machine itself does not.
#[allow(dead_code, reason = "each test program has this module, and few run short of memory")]
pub(crate) fn without_memory<T>(run: impl FnOnce() -> T) -> T {
    LARGEST.set(16 << 10);
    let result = run();
    LARGEST.set(usize::MAX);
    result
}
