//! One ring of records per CPU, as it is mapped into the reader.
//!
//! A mapping of the device at offset [`RingGeometry::offset`] of a CPU's number holds one control
//! page and then `capacity` records. What the control page holds, and how the two sides use it, is
//! the crate `trapline-ring`'s.

use crate::RECORD_SIZE;

/// Bytes before the records of a ring: one page, so that records start on a page.
pub const RING_CONTROL_SIZE: usize = 4096;

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
        RING_CONTROL_SIZE + self.capacity as usize * RECORD_SIZE
    }

    /// Bytes from the first ring's control page to that of ring number `ring`; with the number of
    /// rings, the bytes that all of them take.
    pub const fn offset(&self, ring: u32) -> usize {
        self.stride() * ring as usize
    }
}
