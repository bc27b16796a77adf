//! An allocator that stops the test if the engine's trap path allocates or frees (promise 5).

use std::alloc::{GlobalAlloc, Layout, System};

struct Refusing;

fn check() {
    if trapline_sim::in_engine() && !std::thread::panicking() {
        // A panic would allocate in the allocator.
        eprintln!("the trap path allocated or freed memory");
        std::process::abort();
    }
}

// SAFETY: all calls are passed on as they are.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        check();
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;
