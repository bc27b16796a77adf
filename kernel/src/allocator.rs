//! Memory from the kernel's allocator, for the control side. The trap side allocates nothing.

use crate::glue;
use core::alloc::{GlobalAlloc, Layout};

struct Kvmalloc;

// SAFETY: `kvmalloc` returns null or a block of at least that size and alignment (powers of two are
// naturally aligned, see glue/memory.c) that stays ours until `kvfree`; nothing unwinds.
unsafe impl GlobalAlloc for Kvmalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: in process context, where it may sleep: only the control side allocates.
        unsafe { glue::glue_kvmalloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        // SAFETY: `pointer` came from `alloc`: `GlobalAlloc::dealloc` asks for that.
        unsafe { glue::glue_kvfree(pointer) }
    }
}

#[global_allocator]
static ALLOCATOR: Kvmalloc = Kvmalloc;
