//! Spoils what is freed and keeps it for a while, so that a trap that still uses it is noticed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Mutex, PoisonError};

/// Larger than any of the engine's but its tables of many probes.
const LARGE: usize = 4096;
const KEPT: usize = 8192;

struct Freed {
    at: usize,
    blocks: [(usize, usize, usize); KEPT],
}

static FREED: Mutex<Freed> = Mutex::new(Freed { at: 0, blocks: [(0, 0, 0); KEPT] });

/// Takes a block of memory instead of [`System::dealloc`].
///
/// # Safety
/// As for [`GlobalAlloc::dealloc`], of [`System`].
pub(super) unsafe fn free(pointer: *mut u8, layout: Layout) {
    if layout.size() > LARGE {
        // SAFETY: allocated by `System` with this layout, and the caller's no more.
        return unsafe { System.dealloc(pointer, layout) };
    }
    // SAFETY: so many bytes, which nobody uses any more if all is well.
    unsafe { pointer.write_bytes(0xa5, layout.size()) };
    let mut freed = FREED.lock().unwrap_or_else(PoisonError::into_inner);
    let at = freed.at % KEPT;
    freed.at += 1;
    let block = (pointer.expose_provenance(), layout.size(), layout.align());
    let (old, size, align) = std::mem::replace(&mut freed.blocks[at], block);
    drop(freed);
    if let (1.., Ok(layout)) = (old, Layout::from_size_align(size, align)) {
        // SAFETY: one that was freed before, with its layout.
        unsafe { System.dealloc(std::ptr::with_exposed_provenance_mut(old), layout) };
    }
}
