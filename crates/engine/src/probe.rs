//! An access probe: a range of bytes, and what to do when one of them is accessed.

use crate::Linear;
use trapline_insn::Registers;

/// One access that a probe covers, as its handlers see it.
#[derive(Debug)]
pub struct Access<'a> {
    /// The first byte accessed.
    pub address: Linear,
    /// Bytes accessed.
    pub width: u16,
    /// Whether it writes.
    pub write: bool,
    /// The bytes: what will be or was written, or, in a post handler, what was read. Little endian;
    /// empty where they are not known (before a read, and for a step).
    pub value: &'a [u8],
    /// Whether the CPU makes it by itself (a step, a masked vector): its value is not known, and
    /// nothing that is decided about it can be carried out.
    pub by_itself: bool,
    /// Address of the accessing instruction.
    pub ip: u64,
    /// The registers as they were at the fault.
    pub registers: &'a Registers,
}

/// What a pre handler decides about an access. Not carried out for one that the CPU makes
/// [by itself](Access::by_itself).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it happen.
    Pass,
    /// A read: the device is not read, the instruction gets this value (zero-extended to its
    /// width). A write: this is written instead.
    Supply(u64),
    /// A write: the device is not written. A read: the device is not read, the instruction gets 0.
    Drop,
    /// As if there were no device: a read gets all ones and a write goes nowhere, as on a bus where
    /// nobody answers.
    Absent,
    /// A write: it is made twice. A read, or an update of RAM: as [`Pass`](Self::Pass).
    Twice,
}

/// Called before the access. May run in NMI context with interrupts off: must not sleep, allocate,
/// or take a lock that the accessing code may hold.
pub type PreHandler = unsafe fn(data: *mut (), access: &Access) -> Decision;

/// Called between a device and its driver, under the same rules: after a read, with what the device
/// said, before the instruction gets it; before a write, with what will be written. It may change
/// `words`, which hold the bytes of the access, lowest address first, and tells whether it has.
///
/// Not called where a pre handler has kept the device from being accessed, nor for an update of
/// RAM, which is one instruction.
pub type ChangeHandler = unsafe fn(data: *mut (), access: &Access, words: &mut [u64]) -> bool;

/// Called after the access, under the same rules.
pub type PostHandler = unsafe fn(data: *mut (), access: &Access);

/// The handlers of a probe.
#[derive(Clone, Copy, Debug)]
pub struct Handlers {
    /// Before the access.
    pub pre: Option<PreHandler>,
    /// Between the device and the driver.
    pub change: Option<ChangeHandler>,
    /// After the access.
    pub post: Option<PostHandler>,
    /// Handed to all.
    pub data: *mut (),
}

impl Handlers {
    /// No handlers: a probe that only records.
    pub const NONE: Handlers = Handlers { pre: None, change: None, post: None, data: core::ptr::null_mut() };

    /// Whether there are none.
    #[inline(always)]
    pub(crate) const fn are_none(&self) -> bool {
        self.pre.is_none() && self.change.is_none() && self.post.is_none()
    }
}

/// What to probe.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its first byte.
    pub start: Linear,
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

// SAFETY: a probe is plain data; the contract of `Control::add_probes` makes its caller answer for
// `handlers.data` on any CPU.
unsafe impl Send for Probe {}
// SAFETY: as above.
unsafe impl Sync for Probe {}

impl Probe {
    /// Its last byte. Meaningful once [`Control::add_probes`](crate::Control::add_probes) has
    /// checked that the range does not wrap.
    pub const fn last(&self) -> Linear {
        self.start.plus(self.length.wrapping_sub(1))
    }
}

/// The name of a registered probe, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);
