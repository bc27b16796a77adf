//! The memory of a session's rings: one area, a ring for each possible CPU, mapped into the reader
//! as it is.

use crate::errno::Errno;
use crate::glue;
use alloc::vec::Vec;
use core::ptr::NonNull;
use trapline_abi::{RECORD_SIZE, RingGeometry};
use trapline_engine::{CpuSink, Sink};
use trapline_ring::{RingMemory, RingWriter};

/// Fewest records in a ring: so many that it has room for the largest hit, of 256.
const SMALLEST: u64 = 512;
/// Most records in a ring: 1 GiB.
const LARGEST: u64 = 1 << 24;

/// The rings' memory, given back when the value is dropped.
///
/// # Invariants
/// `memory` is an area of `bytes()` bytes from `vmalloc_user`, which only rings use;
/// `geometry.capacity` is one that a ring can have.
pub(crate) struct Rings {
    memory: NonNull<u8>,
    geometry: RingGeometry,
}

// SAFETY: plain memory, shared by atomics; the value only names it.
unsafe impl Send for Rings {}

impl Rings {
    /// Rings with room for `buffer` bytes of records each.
    pub(crate) fn new(buffer: u64) -> Result<Self, Errno> {
        let wanted = buffer.div_ceil(RECORD_SIZE as u64).max(SMALLEST);
        if wanted > LARGEST {
            return Err(Errno::INVALID);
        }
        let rings = glue::glue_nr_cpu_ids();
        let geometry = RingGeometry { rings, reserved: 0, capacity: wanted.next_power_of_two() };
        let bytes = geometry.stride().checked_mul(rings as usize).ok_or(Errno::NO_MEMORY)?;
        // Half of the machine's memory, given to rings, would have the kernel kill processes to
        // find it.
        if bytes as u64 > glue::glue_totalram_bytes() / 2 {
            return Err(Errno::NO_MEMORY);
        }
        let memory = NonNull::new(glue::glue_vmalloc_user(bytes)).ok_or(Errno::NO_MEMORY)?;
        // INVARIANT: as allocated; a power of two, far from too small.
        let all = Self { memory, geometry };
        for cpu in 0..rings {
            all.ring(cpu)?.set_up(cpu);
        }
        Ok(all)
    }

    pub(crate) fn geometry(&self) -> RingGeometry {
        self.geometry
    }

    /// Bytes of memory they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.geometry.offset(self.geometry.rings) as u64
    }

    /// The area.
    pub(crate) fn memory(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    /// The memory of the ring of `cpu`, one of the machine's.
    fn ring(&self, cpu: u32) -> Result<RingMemory, Errno> {
        debug_assert!(cpu < self.geometry.rings);
        // SAFETY: inside the area by the invariant.
        let base = unsafe { self.memory.add(self.geometry.offset(cpu)) };
        // SAFETY: the area is made of pages of zeros, and a ring's take a whole number of them; it
        // holds the ring, whose memory is used by nothing else, by the invariant. What is made of
        // the value goes before the area: `sink` asks for it, and others keep it for a moment.
        unsafe { RingMemory::at(base, self.geometry.capacity) }.map_err(|_| Errno::INVALID)
    }

    /// Records dropped so far. What a reader has written over the count is its own loss.
    pub(crate) fn dropped(&self) -> u64 {
        let count = |cpu| self.ring(cpu).map_or(0, |ring| ring.dropped());
        (0..self.geometry.rings).map(count).fold(0, u64::wrapping_add)
    }

    /// The writing ends.
    ///
    /// # Safety
    /// Called once; the rings outlive what is returned.
    pub(crate) unsafe fn sink(&self) -> Result<Sink, Errno> {
        let mut cpus = Vec::new();
        cpus.try_reserve_exact(self.geometry.rings as usize).map_err(|_| Errno::NO_MEMORY)?;
        for cpu in 0..self.geometry.rings {
            // SAFETY: this is called once, and makes one writer of each ring; no other is made.
            cpus.push(CpuSink::new(unsafe { RingWriter::new(self.ring(cpu)?) }));
        }
        Ok(Sink::new(cpus.into_boxed_slice().into()))
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        // SAFETY: from `vmalloc_user`; the sink is gone. Pages that a reader still maps live until
        // it unmaps them.
        unsafe { glue::glue_vfree(self.memory.as_ptr()) }
    }
}
