//! The memory of a session's rings: one area, a ring for each possible CPU, mapped into the reader as it is.

use crate::errno::Errno;
use crate::glue;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use trapline_abi::{ABI_VERSION, RECORD_SIZE, RING_CONTROL_SIZE, Record, RingControl, RingGeometry};
use trapline_engine::{CpuSink, RingWriter, Sink};

/// Fewest records in a ring: so many that it has room for the largest hit, of 256.
const SMALLEST: u64 = 512;
/// Most records in a ring: 1 GiB.
const LARGEST: u64 = 1 << 24;

/// The rings' memory, given back when the value is dropped.
///
/// # Invariants
/// `memory` is an area of `geometry.rings * geometry.stride()` bytes from `vmalloc_user`; every ring's control page holds its constants.
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
        // Half of the machine's memory, given to rings, would have the kernel kill processes to find it.
        if bytes as u64 > glue::glue_totalram_bytes() / 2 {
            return Err(Errno::NO_MEMORY);
        }
        let memory = NonNull::new(glue::glue_vmalloc_user(bytes)).ok_or(Errno::NO_MEMORY)?;
        // INVARIANT: as allocated; the control pages are filled in below.
        let all = Self { memory, geometry };
        for cpu in 0..rings {
            let control = all.control(cpu);
            control.version.store(ABI_VERSION, Ordering::Relaxed);
            control.cpu.store(cpu, Ordering::Relaxed);
            control.capacity.store(geometry.capacity, Ordering::Relaxed);
        }
        Ok(all)
    }

    pub(crate) fn geometry(&self) -> RingGeometry {
        self.geometry
    }

    /// Bytes of memory they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.geometry.stride() as u64 * u64::from(self.geometry.rings)
    }

    /// Whether `address` is in it.
    pub(crate) fn hold(&self, address: u64) -> bool {
        address.wrapping_sub(self.memory.addr().get() as u64) < self.bytes()
    }

    /// The area.
    pub(crate) fn memory(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    fn control_pointer(&self, cpu: u32) -> NonNull<RingControl> {
        debug_assert!(cpu < self.geometry.rings);
        // SAFETY: inside the area by the invariant.
        unsafe { self.memory.add(cpu as usize * self.geometry.stride()) }.cast()
    }

    fn control(&self, cpu: u32) -> &RingControl {
        // SAFETY: inside the area; page-aligned, all zeros or atomics that others may change too, so always a valid `RingControl`.
        unsafe { self.control_pointer(cpu).as_ref() }
    }

    /// Records dropped so far. What a reader has written over the count is its own loss.
    pub(crate) fn dropped(&self) -> u64 {
        let count = |cpu| self.control(cpu).dropped.load(Ordering::Relaxed);
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
            let control = self.control_pointer(cpu);
            // SAFETY: inside the area: a ring's records follow its control page.
            let records = unsafe { control.cast::<u8>().add(RING_CONTROL_SIZE) }.cast::<Record>();
            // SAFETY: control page and records are inside the area, which outlives the writer, as the caller vouches; one writer each.
            let writer = unsafe { RingWriter::new(control, records, self.geometry.capacity) };
            cpus.push(CpuSink::new(writer.ok_or(Errno::INVALID)?));
        }
        Ok(Sink::new(cpus.into_boxed_slice()))
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        // SAFETY: from `vmalloc_user`; the sink is gone. Pages that a reader still maps live until it unmaps them.
        unsafe { glue::glue_vfree(self.memory.as_ptr()) }
    }
}
