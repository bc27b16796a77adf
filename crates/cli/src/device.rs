//! The kernel module's character device: its commands and its rings. The one place of the command
//! with unsafe code.
//!
//! [`Control`] is what a session needs of the device, so that the session can be tested against one
//! in memory.
#![allow(unsafe_code, reason = "the command's one place that talks to the device")]

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Updater};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use trapline_abi::{
    CONFIG, CodeProbe, ConfigWatch, Counters, DEVICE_PATH, DMA, DMA_COUNTS, DmaCounts, DmaWatch,
    FAULT_COUNTS, FAULTS, FaultCounts, FaultWatch, INFO, INJECT, INJECT_COUNTS, INTERRUPTS, Info, Inject,
    InjectCounts, InjectRule, InterruptWatch, LIFECYCLE, LIFECYCLE_COUNTS, LIST, LOG, LOG_COUNTS,
    LifecycleCounts, LifecycleWatch, ListEntry, LogCounts, LogWatch, MARK, MARK_LENGTH, Mark, PORT_CODE,
    PORT_COUNTS, PORTS, PROBE, PortCode, PortCounts, PortRange, RingGeometry, START, STOP, Start, Step,
    WATCH, Watch,
};
use trapline_ring::{RingError, RingMemory, RingReader};

/// What a session asks of the module.
pub(crate) trait Control {
    /// Tells the module's state.
    fn info(&self) -> io::Result<Info>;
    /// Starts a session with `buffer` bytes of records on each CPU.
    fn start(&self, buffer: u64) -> io::Result<RingGeometry>;
    /// Watches a range. The module fills in what it did, also when it refuses.
    fn watch(&self, watch: &mut Watch) -> io::Result<()>;
    /// Gives the session rules of injection, before it watches anything. The module fills in which
    /// of them it refuses.
    ///
    /// Where `rules` lie, and how many there are, is filled in here.
    fn inject(&self, inject: &mut Inject, rules: &[InjectRule]) -> io::Result<()>;
    /// What the rule of this number, from 0 on, has counted.
    fn inject_counts(&self, rule: u32) -> io::Result<InjectCounts>;
    /// Puts a probe on an instruction. The module fills in what it did, also when it refuses.
    ///
    /// `program` are the steps that fetch its arguments: where they lie is filled in here.
    fn probe(&self, probe: &mut CodeProbe, program: &[Step]) -> io::Result<()>;
    /// What is registered with the lowest number from `id` on; `None` if nothing is.
    fn list(&self, id: u64) -> io::Result<Option<ListEntry>>;
    /// Begins a watch of page faults.
    fn faults(&self, watch: &mut FaultWatch) -> io::Result<()>;
    /// What the watch of page faults has counted.
    fn fault_counts(&self) -> io::Result<FaultCounts>;
    /// Begins to record the interrupts of a device. The module fills in what else it follows.
    fn interrupts(&self, watch: &mut InterruptWatch) -> io::Result<()>;
    /// Begins to record the accesses to a device's configuration space. The module fills in which
    /// functions of the kernel it follows, and by which probes.
    fn config(&self, watch: &mut ConfigWatch) -> io::Result<()>;
    /// Begins to record the accesses to a range of I/O ports, by the instructions that are found.
    fn ports(&self, range: &PortRange) -> io::Result<()>;
    /// Has the instructions found that access ports, in a stretch of code or in a module's.
    fn port_code(&self, code: &PortCode) -> io::Result<()>;
    /// How many were found, and what was missed of them.
    fn port_counts(&self) -> io::Result<PortCounts>;
    /// Begins to record what memory a device is given. The module fills in which functions of the
    /// kernel it follows.
    fn dma(&self, watch: &mut DmaWatch) -> io::Result<()>;
    /// What was missed of it.
    fn dma_counts(&self) -> io::Result<DmaCounts>;
    /// Begins to record what the kernel does with a device as a whole.
    fn lifecycle(&self, watch: &mut LifecycleWatch) -> io::Result<()>;
    /// What was counted of that.
    fn lifecycle_counts(&self) -> io::Result<LifecycleCounts>;
    /// Begins to record the lines of the kernel log.
    fn log(&self) -> io::Result<()>;
    /// What was missed of them.
    fn log_counts(&self) -> io::Result<LogCounts>;
    /// Stops the session; when it returns nothing is armed.
    fn stop(&self) -> io::Result<Counters>;
}

/// The open device. Closing it ends the session that it started.
#[derive(Debug)]
pub(crate) struct Device {
    file: File,
}

impl Device {
    /// Opens it.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().read(true).write(true).open(DEVICE_PATH)? })
    }

    /// Puts a marker into every trace that is running, whosever it is. `text` must fit.
    pub(crate) fn mark(&self, text: &str) -> io::Result<()> {
        assert!(text.len() <= MARK_LENGTH, "checked by the caller");
        let mut mark = Mark { length: text.len() as u32, reserved: 0, text: [0; MARK_LENGTH] };
        mark.text[..text.len()].copy_from_slice(text.as_bytes());
        // SAFETY: MARK takes a `Mark`, which is plain data for which every bit pattern is valid.
        Ok(unsafe { self.command::<{ MARK as Opcode }, _>(&mut mark) }?)
    }

    /// Gives the module a command.
    ///
    /// # Safety
    /// `COMMAND` must be a command of [`trapline_abi`] whose argument is a `T`, and `T` plain data
    /// for which every bit pattern is valid: the module reads and writes `size_of::<T>()` bytes at
    /// `argument` and nothing else of ours.
    unsafe fn command<const COMMAND: Opcode, T>(&self, argument: &mut T) -> Result<(), Errno> {
        // SAFETY: `Updater` passes the address of `argument` to the opcode, which by the caller's
        // word takes a `T` there.
        unsafe { ioctl::ioctl(&self.file, Updater::<COMMAND, T>::new(argument)) }
    }
}

impl Control for Device {
    fn info(&self) -> io::Result<Info> {
        let mut info = Info::default();
        // SAFETY: INFO takes an `Info`, which is integers only.
        unsafe { self.command::<{ INFO as Opcode }, _>(&mut info) }?;
        Ok(info)
    }

    fn start(&self, buffer: u64) -> io::Result<RingGeometry> {
        let version = trapline_abi::ABI_VERSION;
        let mut start = Start { version, buffer, ..Start::default() };
        // SAFETY: START takes a `Start`, which is integers only.
        unsafe { self.command::<{ START as Opcode }, _>(&mut start) }?;
        Ok(start.rings)
    }

    fn watch(&self, watch: &mut Watch) -> io::Result<()> {
        // SAFETY: WATCH takes a `Watch`, which is integers only.
        Ok(unsafe { self.command::<{ WATCH as Opcode }, _>(watch) }?)
    }

    fn inject(&self, inject: &mut Inject, rules: &[InjectRule]) -> io::Result<()> {
        (inject.rules, inject.count) = (rules.as_ptr().addr() as u64, rules.len() as u32);
        // SAFETY: INJECT takes an `Inject`, which is integers only, and reads `count` rules from
        // `rules`, which is borrowed until it returns.
        Ok(unsafe { self.command::<{ INJECT as Opcode }, _>(inject) }?)
    }

    fn inject_counts(&self, rule: u32) -> io::Result<InjectCounts> {
        let mut counts = InjectCounts { rule, ..InjectCounts::default() };
        // SAFETY: INJECT_COUNTS takes an `InjectCounts`, which is integers only.
        unsafe { self.command::<{ INJECT_COUNTS as Opcode }, _>(&mut counts) }?;
        Ok(counts)
    }

    fn probe(&self, probe: &mut CodeProbe, program: &[Step]) -> io::Result<()> {
        (probe.program, probe.steps) = (program.as_ptr().addr() as u64, program.len() as u32);
        // SAFETY: PROBE takes a `CodeProbe`, which is integers only, and reads `steps` steps from
        // `program`, which is borrowed until it returns.
        Ok(unsafe { self.command::<{ PROBE as Opcode }, _>(probe) }?)
    }

    fn list(&self, id: u64) -> io::Result<Option<ListEntry>> {
        let mut entry = ListEntry::from(id);
        // SAFETY: LIST takes a `ListEntry`, which is integers only.
        match unsafe { self.command::<{ LIST as Opcode }, _>(&mut entry) } {
            Ok(()) => Ok(Some(entry)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn faults(&self, watch: &mut FaultWatch) -> io::Result<()> {
        // SAFETY: FAULTS takes a `FaultWatch`, which is integers only.
        Ok(unsafe { self.command::<{ FAULTS as Opcode }, _>(watch) }?)
    }

    fn fault_counts(&self) -> io::Result<FaultCounts> {
        let mut counts = FaultCounts::default();
        // SAFETY: FAULT_COUNTS takes a `FaultCounts`, which is integers only.
        unsafe { self.command::<{ FAULT_COUNTS as Opcode }, _>(&mut counts) }?;
        Ok(counts)
    }

    fn interrupts(&self, watch: &mut InterruptWatch) -> io::Result<()> {
        // SAFETY: INTERRUPTS takes an `InterruptWatch`, which is integers only.
        Ok(unsafe { self.command::<{ INTERRUPTS as Opcode }, _>(watch) }?)
    }

    fn config(&self, watch: &mut ConfigWatch) -> io::Result<()> {
        // SAFETY: CONFIG takes a `ConfigWatch`, which is integers only.
        Ok(unsafe { self.command::<{ CONFIG as Opcode }, _>(watch) }?)
    }

    fn ports(&self, range: &PortRange) -> io::Result<()> {
        let mut range = *range;
        // SAFETY: PORTS takes a `PortRange`, which is integers only.
        Ok(unsafe { self.command::<{ PORTS as Opcode }, _>(&mut range) }?)
    }

    fn port_code(&self, code: &PortCode) -> io::Result<()> {
        let mut code = *code;
        // SAFETY: PORT_CODE takes a `PortCode`, which is integers only.
        Ok(unsafe { self.command::<{ PORT_CODE as Opcode }, _>(&mut code) }?)
    }

    fn port_counts(&self) -> io::Result<PortCounts> {
        let mut counts = PortCounts::default();
        // SAFETY: PORT_COUNTS takes a `PortCounts`, which is integers only.
        unsafe { self.command::<{ PORT_COUNTS as Opcode }, _>(&mut counts) }?;
        Ok(counts)
    }

    fn dma(&self, watch: &mut DmaWatch) -> io::Result<()> {
        // SAFETY: DMA takes a `DmaWatch`, which is integers only.
        Ok(unsafe { self.command::<{ DMA as Opcode }, _>(watch) }?)
    }

    fn dma_counts(&self) -> io::Result<DmaCounts> {
        let mut counts = DmaCounts::default();
        // SAFETY: DMA_COUNTS takes a `DmaCounts`, which is integers only.
        unsafe { self.command::<{ DMA_COUNTS as Opcode }, _>(&mut counts) }?;
        Ok(counts)
    }

    fn log(&self) -> io::Result<()> {
        let mut watch = LogWatch::default();
        // SAFETY: LOG takes a `LogWatch`, which is integers only.
        Ok(unsafe { self.command::<{ LOG as Opcode }, _>(&mut watch) }?)
    }

    fn lifecycle(&self, watch: &mut LifecycleWatch) -> io::Result<()> {
        // SAFETY: LIFECYCLE takes a `LifecycleWatch`, which is integers only.
        Ok(unsafe { self.command::<{ LIFECYCLE as Opcode }, _>(watch) }?)
    }

    fn lifecycle_counts(&self) -> io::Result<LifecycleCounts> {
        let mut counts = LifecycleCounts::default();
        // SAFETY: LIFECYCLE_COUNTS takes a `LifecycleCounts`, which is integers only.
        unsafe { self.command::<{ LIFECYCLE_COUNTS as Opcode }, _>(&mut counts) }?;
        Ok(counts)
    }

    fn log_counts(&self) -> io::Result<LogCounts> {
        let mut counts = LogCounts::default();
        // SAFETY: LOG_COUNTS takes a `LogCounts`, which is integers only.
        unsafe { self.command::<{ LOG_COUNTS as Opcode }, _>(&mut counts) }?;
        Ok(counts)
    }

    fn stop(&self) -> io::Result<Counters> {
        let mut counters = Counters::default();
        // SAFETY: STOP takes a `Counters`, which is integers only.
        unsafe { self.command::<{ STOP as Opcode }, _>(&mut counters) }?;
        Ok(counters)
    }
}

/// One CPU's ring, mapped.
///
/// # Invariants
/// `base` is the start of a readable and writable shared mapping of `length` bytes, which lasts
/// until drop and holds a control page and `capacity` records.
#[derive(Debug)]
pub(crate) struct Ring {
    base: NonNull<c_void>,
    length: usize,
    capacity: u64,
}

impl Ring {
    /// Maps the ring of CPU `cpu` of the session that `device` started.
    pub(crate) fn map(device: &Device, geometry: &RingGeometry, cpu: u32) -> io::Result<Self> {
        let length = geometry.stride();
        let offset = geometry.offset(cpu) as u64;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: with a null address and no MAP_FIXED the kernel chooses unused addresses, so
        // nothing of ours is replaced.
        let base = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, &device.file, offset) }?;
        let base = NonNull::new(base).ok_or(Errno::NOMEM)?;
        // INVARIANT: mapped just now, and only drop unmaps it; the module lays out `stride()` bytes
        // as control page and records.
        Ok(Self { base, length, capacity: geometry.capacity })
    }

    /// The reader of it, the only one since it takes the ring's only mutable borrow.
    pub(crate) fn reader(&mut self) -> Result<RingReader<'_>, RingError> {
        // SAFETY: by the invariant a control page and `capacity` records lie at `base`,
        // page-aligned as mappings are, for as long as self is borrowed. The module gave zeros, and
        // nothing but its writer and this reader use them.
        let memory = unsafe { RingMemory::at(self.base.cast(), self.capacity) }?;
        // SAFETY: self is borrowed mutably for the reader's life, so there is no other, and the
        // mapping stays.
        unsafe { RingReader::new(memory) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: by the invariant these bytes are our mapping, and no reader borrows it any more.
        // Failure would mean that they are not.
        let unmapped = unsafe { munmap(self.base.as_ptr(), self.length) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
pub(crate) mod fake;
