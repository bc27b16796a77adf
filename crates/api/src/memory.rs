//! Readers of memory that may not be there, for handlers and everybody else; and what lets a module
//! take kernel pages away.

use core::fmt;

use crate::functions;

/// A byte that was asked for can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory that can't be read")
    }
}

impl core::error::Error for Unreadable {}

/// Fills `to` from kernel memory at `from`, whatever lies there.
///
/// # Errors
/// [`Unreadable`]: nothing is to be said of what `to` holds then.
pub fn read_kernel(from: u64, to: &mut [u8]) -> Result<(), Unreadable> {
    // SAFETY: there is room for so many bytes.
    let status =
        unsafe { functions::trapline_read_kernel(to.as_mut_ptr().cast(), from as *const _, to.len()) };
    if status == 0 { Ok(()) } else { Err(Unreadable) }
}

/// Fills `to` from the current process's memory at `from`, without waiting for pages that are not
/// there.
///
/// # Errors
/// As for [`read_kernel`].
pub fn read_user(from: u64, to: &mut [u8]) -> Result<(), Unreadable> {
    // SAFETY: there is room for so many bytes.
    let status = unsafe { functions::trapline_read_user(to.as_mut_ptr().cast(), from, to.len()) };
    if status == 0 { Ok(()) } else { Err(Unreadable) }
}

/// Takes from every CPU's TLB what it keeps of the page tables, all of it: for a module that made a
/// kernel page not present, whose faults it serves. Not for handlers: it waits for all CPUs.
pub fn flush_tlb() {
    functions::trapline_flush_tlb();
}
