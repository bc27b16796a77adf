//! What a scenario needs of a machine: little, so that a kernel in a virtual machine can offer it
//! through a test module as well.

use trapline_abi::Counters;
pub use trapline_engine::Backing;
use trapline_engine::{ControlError, Decision, ErrorCode, Fault, PageSize, ProbeId};
use trapline_insn::Registers;

use crate::paging::{Rules, Size, entry};
use crate::{Profile, RecordedAccess, Trace};

/// A mapping that probes may lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// First linear address.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// The low 32 bytes of each vector register.
pub type Vectors = [[u8; 32]; 16];

/// Straight-line code for one CPU.
#[derive(Clone, Debug)]
pub struct Program {
    /// The CPU.
    pub cpu: usize,
    /// Instructions, run from the first to the end.
    pub code: Vec<u8>,
    /// What the general registers hold before; `rip`, `rsp`, `rflags.IF` and segments are the
    /// machine's, where they are 0.
    pub registers: Registers,
    /// What the vector registers hold before.
    pub vectors: Vectors,
    /// How often it runs, each time with these registers.
    pub repeat: u32,
    /// Whether it runs in user mode, where it has no stack; only where [`Machine::page`] gives it
    /// something to access.
    pub user: bool,
}

impl Program {
    /// `code` on CPU `cpu`, once, all registers 0.
    pub fn new(cpu: usize, code: &[u8]) -> Self {
        let (registers, vectors) = (Registers::default(), [[0; 32]; 16]);
        Self { cpu, code: code.to_vec(), registers, vectors, repeat: 1, user: false }
    }

    /// With these registers.
    pub fn with(mut self, change: impl FnOnce(&mut Registers)) -> Self {
        change(&mut self.registers);
        self
    }

    /// So often.
    pub fn times(mut self, repeat: u32) -> Self {
        self.repeat = repeat;
        self
    }
}

/// One page that stands by itself: in user mode's half of the address space if it is `user`, else
/// in the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSpec {
    /// How large.
    pub size: Size,
    /// P.
    pub present: bool,
    /// R/W.
    pub writable: bool,
    /// U/S.
    pub user: bool,
    /// Not XD.
    pub executable: bool,
    /// Whether a bit is set that is reserved everywhere: one of the physical address beyond what
    /// any CPU has.
    pub reserved: bool,
    /// Protection key.
    pub key: u8,
}

impl PageSpec {
    /// A page on which user mode, or else the kernel, may do everything.
    pub fn open(size: Size, user: bool) -> Self {
        Self { size, present: true, writable: true, user, executable: true, reserved: false, key: 0 }
    }

    /// Its flags in the entry that maps it.
    pub fn bits(&self) -> u64 {
        let bit = |is: bool, bit| if is { bit } else { 0 };
        entry::ACCESSED
            | bit(self.present, entry::PRESENT)
            | bit(self.writable, entry::WRITABLE)
            | bit(self.user, entry::USER)
            | bit(!self.executable, entry::NO_EXECUTE)
            | bit(self.reserved, 1 << 51)
            | entry::key(self.key)
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The registers of its last run; `rip` relative to the program's first byte.
    pub registers: Registers,
    /// The vector registers of its last run.
    pub vectors: Vectors,
    /// The page fault that the system was left with, if there was one: the program ended there. See
    /// [`Profile::tells_replaced_faults`].
    pub fault: Option<Fault>,
}

/// What a probe's pre handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Decides so.
    Decide(Decision),
    /// Reads four bytes at this address itself, then lets the access pass.
    Touch(u64),
    /// Adds one to the four bytes at this address, by one instruction, then lets the access pass:
    /// what an interrupt in the middle of the access would do.
    Increment(u64),
}

/// An access probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSpec {
    /// Linear address of its first byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Whether reads count.
    pub reads: bool,
    /// Whether writes count.
    pub writes: bool,
    /// Whether it records.
    pub record: bool,
    /// Its pre handler.
    pub pre: Option<Reaction>,
    /// Whether it has a post handler.
    pub post: bool,
    /// What its hits are known by.
    pub label: u32,
}

impl ProbeSpec {
    /// Records all accesses to `length` bytes from `start` on, without handlers.
    pub fn recording(start: u64, length: u64) -> Self {
        Self { start, length, reads: true, writes: true, record: true, pre: None, post: false, label: 0 }
    }
}

/// A page-fault handler, which claims faults on a range of addresses and then has the program end.
#[derive(Clone, Copy, Debug)]
pub struct FaultHandlerSpec {
    /// First address.
    pub start: u64,
    /// Bytes; 0 claims nothing.
    pub length: u64,
    /// What its hits are known by.
    pub label: u32,
}

/// Names a registered page-fault handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultHandlerId(pub usize);

/// Which handler was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitKind {
    /// A pre handler.
    Pre,
    /// A post handler.
    Post,
    /// A page-fault handler.
    Fault,
}

/// One call of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The handler's.
    pub label: u32,
    /// Which of them.
    pub kind: HitKind,
    /// On which CPU.
    pub cpu: usize,
    /// The address accessed.
    pub address: u64,
    /// Whether it was a write.
    pub write: bool,
    /// The error code, if it is a page-fault handler's and the machine tells it.
    pub error_code: Option<ErrorCode>,
    /// The bytes it was shown.
    pub value: Vec<u8>,
    /// Whether it was called after its removal had returned: never, if all is well.
    pub late: bool,
}

/// What the writer does, also while programs run.
pub trait Registrar {
    /// Registers all of these probes or none.
    ///
    /// # Errors
    /// As [`trapline_engine::Control::add_probes`].
    fn probe(&mut self, probes: &[ProbeSpec]) -> Result<Vec<ProbeId>, ControlError>;

    /// Removes probes; unknown ones are ignored.
    fn unprobe(&mut self, ids: &[ProbeId]);

    /// Registers a page-fault handler.
    fn register(&mut self, handler: FaultHandlerSpec) -> FaultHandlerId;

    /// Removes one, and waits until it can't be running; returns whether it was registered.
    fn unregister(&mut self, handler: FaultHandlerId) -> bool;

    /// Gives CPUs time to run.
    fn linger(&mut self);
}

/// A machine under test.
pub trait Machine: Registrar {
    /// What a scenario must know of it.
    fn profile(&self) -> Profile;

    /// Whether its CPUs know the instructions of `code`.
    fn executes(&self, code: &[u8]) -> bool;

    /// Maps a new region with pages of these sizes; `None` if this machine can't.
    fn map(&mut self, backing: Backing, pages: &[PageSize]) -> Option<Region>;

    /// As [`Machine::map`], RAM that nobody may write through this mapping.
    fn map_read_only(&mut self, pages: &[PageSize]) -> Option<Region>;

    /// Maps a page by itself, and sets what the CPUs' control registers say about accesses; returns
    /// its address. `None` if this machine can't: a kernel's page tables and control registers are
    /// its own.
    fn page(&mut self, rules: Rules, spec: &PageSpec) -> Option<u64>;

    /// The page-table entries of a region, bit for bit.
    fn entries(&self, region: &Region) -> Vec<u64>;

    /// Reads memory, without a trace and without side effects.
    fn peek(&self, address: u64, bytes: &mut [u8]);

    /// Writes memory in the same way; what a device keeps beside its memory is as at its start
    /// then.
    fn poke(&mut self, address: u64, bytes: &[u8]);

    /// Runs programs, one at most on each CPU, all at once, with `meanwhile` beside them; returns
    /// how each ended.
    fn run(&mut self, programs: &[Program], meanwhile: &mut dyn FnMut(&mut dyn Registrar)) -> Vec<Outcome>;

    /// What was traced since the last call.
    fn take_trace(&mut self) -> Trace;

    /// What devices saw since the last call, in order.
    fn take_seen(&mut self) -> Vec<RecordedAccess>;

    /// Calls of handlers since the last call, in order.
    fn take_hits(&mut self) -> Vec<Hit>;

    /// The engine's counters; `dropped` included.
    fn counters(&self) -> Counters;
}
