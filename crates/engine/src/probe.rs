//! An access probe: a range of bytes, and what to do when one of them is accessed.

use trapline_insn::Registers;

/// One access that a probe covers, as its handlers see it.
#[derive(Debug)]
pub struct Access<'a> {
    /// Linear address of the first byte accessed.
    pub address: u64,
    /// Bytes accessed.
    pub width: u16,
    /// Whether it writes.
    pub write: bool,
    /// The bytes: what will be or was written, or, in a post handler, what was read. Little endian; empty where they are not known (before a read, and
    /// for a step).
    pub value: &'a [u8],
    /// Address of the accessing instruction.
    pub ip: u64,
    /// The registers as they were at the fault.
    pub registers: &'a Registers,
}

/// What a pre handler decides about an access. Not carried out for one that the CPU makes by itself (a step, a masked vector): its value is not known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it happen.
    Pass,
    /// A read: the device is not read, the instruction gets this value (zero-extended to its width). A write: this is written instead.
    Supply(u64),
    /// A write: the device is not written. A read: the device is not read, the instruction gets 0.
    Drop,
}

/// Called before the access. May run in NMI context with interrupts off: must not sleep, allocate, or take a lock that the accessing code may hold.
pub type PreHandler = unsafe fn(data: *mut (), access: &Access) -> Decision;

/// Called after the access, under the same rules.
pub type PostHandler = unsafe fn(data: *mut (), access: &Access);

/// The handlers of a probe.
#[derive(Clone, Copy, Debug)]
pub struct Handlers {
    /// Before the access.
    pub pre: Option<PreHandler>,
    /// After the access.
    pub post: Option<PostHandler>,
    /// Handed to both.
    pub data: *mut (),
}

impl Handlers {
    /// No handlers: a probe that only records.
    pub const NONE: Handlers = Handlers { pre: None, post: None, data: core::ptr::null_mut() };
}

/// What to probe.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Linear address of the first byte.
    pub start: u64,
    /// Bytes, at least 1.
    pub length: u64,
    /// Whether reads count.
    pub reads: bool,
    /// Whether writes count.
    pub writes: bool,
    /// Whether an event goes to the session's rings.
    pub record: bool,
    /// Its handlers.
    pub handlers: Handlers,
}

// SAFETY: a probe is plain data; the contract of `Control::add_probes` makes its caller answer for `handlers.data` on any CPU.
unsafe impl Send for Probe {}
// SAFETY: as above.
unsafe impl Sync for Probe {}

impl Probe {
    /// Its last byte. Meaningful once [`Control::add_probes`](crate::Control::add_probes) has checked that the range does not wrap.
    pub const fn last(&self) -> u64 {
        self.start.wrapping_add(self.length.wrapping_sub(1))
    }
}

/// The name of a registered probe, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);
