//! Memory of a file, mapped.
#![allow(unsafe_code, reason = "maps memory")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use trapline_abi::RingGeometry;
use trapline_ring::{RingError, RingMemory, RingReader};

/// A shared mapping.
///
/// # Invariants
/// `base` is the page-aligned start of a readable and writable mapping of `length` bytes that lasts
/// until drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes of `file` from `offset` on.
    pub(crate) fn new(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: with a null address and no MAP_FIXED the kernel chooses unused addresses, so
        // nothing of ours is replaced.
        let base = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, offset) }?;
        // INVARIANT: mapped just now, and only drop unmaps it.
        Ok(Self { base: NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?, length })
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.length && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: inside the mapping, by the check before.
        unsafe { self.base.byte_add(offset) }.cast().as_ptr()
    }

    /// Reads a device's register of 8 bytes.
    pub(crate) fn read(&self, offset: usize) -> u64 {
        // SAFETY: aligned and inside the mapping, as `at` checks; every bit pattern is a number.
        unsafe { self.at::<u64>(offset).read_volatile() }
    }

    /// Writes a device's register of 8 bytes.
    pub(crate) fn write(&self, offset: usize, value: u64) {
        // SAFETY: aligned and inside the mapping, as `at` checks; what the device keeps there is no
        // Rust object.
        unsafe { self.at::<u64>(offset).write_volatile(value) }
    }

    /// The reader of the ring that this is a mapping of. There is one at a time, since it takes the
    /// mapping's only mutable borrow.
    pub(crate) fn ring(&mut self, geometry: &RingGeometry) -> Result<RingReader<'_>, RingError> {
        assert!(geometry.stride() <= self.length, "this mapping holds no ring of {geometry:?}");
        // SAFETY: a control page and `capacity` records lie at `base`, by the check before,
        // page-aligned, for as long as self is borrowed. The module gave zeros, and nothing but its
        // writer and this reader use them.
        let memory = unsafe { RingMemory::at(self.base.cast(), geometry.capacity) }?;
        // SAFETY: self is borrowed mutably for the reader's life, so there is no other, and the
        // mapping stays.
        unsafe { RingReader::new(memory) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; nobody borrows it any more.
        let _ = unsafe { munmap(self.base.as_ptr(), self.length) };
    }
}
