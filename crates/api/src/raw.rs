//! The types of the C interface, of which `trapline.h` is generated: what both sides share.

use core::ffi::{c_char, c_void};
use core::sync::atomic::AtomicU64;

use trapline_insn::Registers;

/// A page fault. For handlers without `TRAPLINE_ALL_FAULTS` one in kernel mode that nobody has
/// resolved: the kernel is about to look for an exception-table entry, and to oops if there is
/// none.
#[repr(C)]
pub struct PageFault {
    /// As the CPU pushed it (Intel SDM volume 3, 4.7).
    pub error_code: u64,
    /// The linear address that was accessed.
    pub address: u64,
}

/// Called for every page fault, in user mode too, before anybody deals with it; without it, only
/// for those in kernel mode that nobody has resolved.
///
/// A claim by which nothing changes, so that the same thread faults on the same address with the
/// same registers, is honoured for a second and then no more.
pub const TRAPLINE_ALL_FAULTS: u32 = 1;

/// A page-fault handler. The newest is asked first; the first that claims a fault ends the search.
#[repr(C)]
pub struct PageFaultHandler {
    /// Trapline's own.
    pub reserved: [u64; 3],
    /// `TRAPLINE_ALL_FAULTS`, or 0.
    pub flags: u32,
    /// Returns whether it claims the fault: the interrupted code then goes on with `registers` as
    /// the handler left them, at the same instruction unless it changed `ip`.
    pub handle: Option<
        unsafe extern "C" fn(
            handler: *mut PageFaultHandler,
            fault: *const PageFault,
            registers: *mut Registers,
        ) -> bool,
    >,
    /// The owner's.
    pub data: *mut c_void,
    /// What `trapline list` calls it: text that stays as long as it is registered; may be NULL.
    pub name: *const c_char,
    /// Trapline's own: how often it faulted and was abandoned.
    pub faults: AtomicU64,
}

/// One access to memory that a probe covers.
#[repr(C)]
pub struct Access {
    /// Linear address of the first byte.
    pub address: u64,
    /// Address of the accessing instruction.
    pub ip: u64,
    /// The registers as they were at the fault.
    pub registers: *const Registers,
    /// The bytes that will be or were written, or were read, lowest address first; none before a
    /// read and for an access that the CPU makes by itself.
    pub value: *const u8,
    /// How many there are.
    pub value_length: u32,
    /// Bytes accessed.
    pub width: u16,
    /// Whether it writes.
    pub write: bool,
}

/// What a pre handler decides.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Let it happen.
    Pass = 0,
    /// A read gets the value that the handler stored, and the device is not read; or that value is
    /// written instead of the instruction's.
    Supply = 1,
    /// A write does not happen; a read gets 0 and the device is not read.
    Drop = 2,
}

/// Called for reads.
pub const TRAPLINE_READS: u32 = 1;
/// Called for writes.
pub const TRAPLINE_WRITES: u32 = 2;
/// The accesses are also put into the trace of the session that is open, if one is.
pub const TRAPLINE_RECORD: u32 = 4;

/// An access probe: a range of bytes, and what is called when one of them is accessed.
///
/// Any number of probes may cover a byte, each registered and unregistered by itself. All pre
/// handlers are called, in the order of registration; the first that does not let the access pass
/// decides.
#[repr(C)]
pub struct AccessProbe {
    /// Linear address of the first byte: memory that the caller got from `ioremap` or `vmalloc` and
    /// keeps until it has unregistered.
    pub start: u64,
    /// Bytes, at least 1.
    pub length: u64,
    /// `TRAPLINE_READS`, `TRAPLINE_WRITES` or both; and `TRAPLINE_RECORD`, or not.
    pub flags: u32,
    /// Trapline's own.
    pub mapping: u32,
    /// Called before the access; may be NULL. To supply a value it stores it in `value`,
    /// zero-extended to 8 bytes.
    pub pre: Option<
        unsafe extern "C" fn(probe: *mut AccessProbe, access: *const Access, value: *mut u64) -> Decision,
    >,
    /// Called after the access; may be NULL.
    pub post: Option<unsafe extern "C" fn(probe: *mut AccessProbe, access: *const Access)>,
    /// The owner's.
    pub data: *mut c_void,
    /// What `trapline list` calls it: text that stays as long as it is registered; may be NULL.
    pub name: *const c_char,
    /// Trapline's own.
    pub id: u64,
    /// Trapline's own: how often its pre handler faulted and was abandoned; the access then passed.
    pub pre_faults: AtomicU64,
    /// Trapline's own: how often its post handler faulted and was abandoned.
    pub post_faults: AtomicU64,
}

/// An exception that a handler raised.
#[repr(C)]
pub struct Exception {
    /// Its vector (Intel SDM volume 3, table 6-1): 0 divide error, 6 invalid opcode, 13 general
    /// protection, 14 page fault.
    pub vector: u64,
    /// As the CPU pushed it; 0 if it pushes none.
    pub error_code: u64,
    /// A page fault's linear address; 0 for others.
    pub address: u64,
}

/// What a code probe or a return probe has counted.
#[repr(C)]
pub struct Counts {
    /// Times it was hit. For a return probe, entries, or returns if it has no entry handler.
    pub hits: u64,
    /// Hits that the kernel could not deliver: inside of another probe's handler, or, for a return
    /// probe, with too many calls under way.
    pub missed: u64,
    /// Pre handlers, or entry handlers, that were abandoned.
    pub pre_faults: u64,
    /// Post handlers, or return handlers, that were abandoned.
    pub post_faults: u64,
    /// Faults that the fault handler resolved.
    pub fixed: u64,
    /// Whether it is disabled: by its owner, or since its handlers faulted too often.
    pub disabled: bool,
    /// Whether its instruction is gone, with the module it was in.
    pub gone: bool,
}

/// A code probe: an instruction, and what is called before and after it.
///
/// Any number of probes may be at an instruction, each registered and unregistered by itself. All
/// pre handlers are called before it, in the order of registration, then all post handlers. A
/// handler that faults is abandoned, and the post handler of its probe is not called for this hit;
/// the others are called all the same. A probe without post handler lets the kernel replace its
/// breakpoint by a jump.
///
/// `registers` are those of the probed code; `ip` is past the breakpoint, as kprobes have it. A hit
/// inside of a handler is missed.
#[repr(C)]
pub struct CodeProbe {
    /// Address of the instruction; 0 if `symbol` names it.
    pub address: u64,
    /// Name of a function of the kernel or of a module, or NULL.
    pub symbol: *const c_char,
    /// Bytes from there to the instruction.
    pub offset: u32,
    /// Zero.
    pub reserved: u32,
    /// Called before the instruction; may be NULL.
    pub pre: Option<unsafe extern "C" fn(probe: *mut CodeProbe, registers: *const Registers)>,
    /// Called after the instruction; may be NULL.
    pub post: Option<unsafe extern "C" fn(probe: *mut CodeProbe, registers: *const Registers)>,
    /// Called when one of the two has faulted, with the registers of the handler at the fault; may
    /// be NULL. Returns whether it has dealt with the fault: the handler then goes on with the
    /// registers as they are now. May fault itself; both are abandoned then.
    pub fault: Option<
        unsafe extern "C" fn(
            probe: *mut CodeProbe,
            registers: *mut Registers,
            exception: *const Exception,
        ) -> bool,
    >,
    /// Abandoned handlers after which the probe is disabled; 0: never.
    pub limit: u64,
    /// The owner's.
    pub data: *mut c_void,
    /// What `trapline list` calls it: text that stays as long as it is registered; may be NULL.
    pub name: *const c_char,
    /// Trapline's own.
    pub id: u64,
}

/// A return probe: a function, and what is called when it is entered and when it returns. For its
/// handlers the same holds as for those of a code probe.
#[repr(C)]
pub struct ReturnProbe {
    /// Address of the function; 0 if `symbol` names it.
    pub address: u64,
    /// Name of the function, or NULL.
    pub symbol: *const c_char,
    /// Called when the function is entered; may be NULL. If it faults, the return of this call is
    /// not told of.
    pub entry: Option<
        unsafe extern "C" fn(probe: *mut ReturnProbe, registers: *const Registers, carried: *mut c_void),
    >,
    /// Called when the function has returned, its result in `registers->ax`; may be NULL.
    pub returned: Option<
        unsafe extern "C" fn(probe: *mut ReturnProbe, registers: *const Registers, carried: *mut c_void),
    >,
    /// As for a code probe.
    pub fault: Option<
        unsafe extern "C" fn(
            probe: *mut ReturnProbe,
            registers: *mut Registers,
            exception: *const Exception,
        ) -> bool,
    >,
    /// Bytes that are carried from the entry handler to the return handler of the same call, 4096
    /// at most: `carried` points to them.
    pub carried: usize,
    /// Calls under way at once that it can follow; 0 for the kernel's own choice.
    pub active: u32,
    /// Zero.
    pub reserved: u32,
    /// Abandoned handlers after which the probe is disabled; 0: never.
    pub limit: u64,
    /// The owner's.
    pub data: *mut c_void,
    /// What `trapline list` calls it: text that stays as long as it is registered; may be NULL.
    pub name: *const c_char,
    /// Trapline's own.
    pub id: u64,
}
