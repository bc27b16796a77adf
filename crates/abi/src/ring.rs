//! One ring of records per CPU, as it is mapped into the reader.
//!
//! A mapping of the device at offset `cpu * RingGeometry::stride()` holds one [`RingControl`] page and then `capacity` records. The writer keeps
//! its own head in memory that the reader cannot reach; `RingControl::head` is only a copy for information. The one word the reader writes is
//! `tail`, and the writer takes it as a claim: a tail that makes no sense reads as a full ring, so the worst a reader can do is lose its own records.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes before the records of a ring: one page, so that records start on a page.
pub const RING_CONTROL_SIZE: usize = 4096;

/// The first page of a ring.
#[repr(C)]
#[derive(Debug)]
pub struct RingControl {
    /// [`ABI_VERSION`](crate::ABI_VERSION), written once.
    pub version: AtomicU32,
    /// CPU whose ring this is, written once.
    pub cpu: AtomicU32,
    /// Records that the ring holds, a power of two, written once.
    pub capacity: AtomicU64,
    /// Positions reserved so far (for information; completeness of a record is told by its stamp).
    pub head: AtomicU64,
    /// Records that found the ring full and were not written.
    pub dropped: AtomicU64,
    /// Keeps the reader's word off the writer's cache line.
    pub padding: [u64; 4],
    /// First position that the reader has not consumed; written by the reader alone.
    pub tail: AtomicU64,
}

const _: () = {
    assert!(core::mem::offset_of!(RingControl, tail) == 64);
    assert!(size_of::<RingControl>() <= RING_CONTROL_SIZE);
};

/// How the rings of a session lie in the device's mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingGeometry {
    /// Rings, one for each possible CPU.
    pub rings: u32,
    /// Zero.
    pub reserved: u32,
    /// Records in each ring, a power of two.
    pub capacity: u64,
}

impl RingGeometry {
    /// Bytes from one ring's control page to the next ring's.
    pub const fn stride(&self) -> usize {
        RING_CONTROL_SIZE + self.capacity as usize * crate::RECORD_SIZE
    }
}
