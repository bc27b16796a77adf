//! What the engine consumes from the world it runs in.
//!
//! Two traits, for two kinds of caller. [`Platform`] serves the trap path: each of its methods may run in an exception with interrupts off, in
//! NMI context, on all CPUs at once, so none may allocate, lock, sleep, format or panic. [`PageTables`] serves the writer of
//! [`Control`](crate::Control), which may do all that. Rejected: one trait for both, since nothing then kept a trap-path caller from arming a page.

use crate::Fault;
use trapline_insn::{Redirect, Registers, Segment};

/// Bytes of code, as many as could be read, in the order of their addresses from the lowest byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The bytes, little endian; those past `length` are unspecified.
    pub bytes: u128,
    /// How many are valid, at most 16.
    pub length: u8,
}

/// Whose context was interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Task {
    /// Its name, zero-padded (`comm`), little endian words.
    pub name: [u64; 2],
    /// Thread id.
    pub thread: u32,
    /// Process (thread group) id.
    pub process: u32,
    /// Whether an interrupt handler, hard or soft, ran on top of it.
    pub interrupt: bool,
}

/// The trap side.
pub trait Platform: Sync {
    /// Number of the CPU this runs on; stable while interrupts are off. Below the count given to [`Engine::new`](crate::Engine::new).
    fn cpu(&self) -> usize;

    /// Nanoseconds on the kernel log's clock.
    fn now(&self) -> u64;

    /// Whose context was interrupted.
    fn task(&self) -> Task;

    /// Reads code at `ip`, without faulting whatever `ip` is.
    fn fetch(&self, ip: u64) -> Code;

    /// Base of `segment` in the interrupted context.
    fn segment_base(&self, segment: Segment) -> u64;

    /// Whether a read of `address` would find a present translation now.
    fn is_present(&self, address: u64) -> bool;

    /// Reads `width` bytes (1, 2, 4 or 8), once, with that width.
    ///
    /// # Safety
    /// `alias` up to `alias + width` lies on an alias that the platform gave to [`Control::add_mapping`](crate::Control::add_mapping).
    unsafe fn load(&self, alias: u64, width: u8) -> u64;

    /// Writes the low `width` bytes (1, 2, 4 or 8) of `value`, once, with that width.
    ///
    /// # Safety
    /// As for [`Platform::load`].
    unsafe fn store(&self, alias: u64, width: u8, value: u64);

    /// Reads `bytes.len()` bytes (16, 32 or 64) by one vector instruction of that width.
    ///
    /// # Safety
    /// As for [`Platform::load`]; and the interrupted instruction used vectors of this width, so the CPU has them.
    unsafe fn load_wide(&self, alias: u64, bytes: &mut [u8]);

    /// Writes `bytes` (16, 32 or 64) by one vector instruction of that width.
    ///
    /// # Safety
    /// As for [`Platform::load_wide`].
    unsafe fn store_wide(&self, alias: u64, bytes: &[u8]);

    /// `lock cmpxchg` of `width` bytes (1, 2, 4, 8 or 16): stores `new` if `current` is there; returns what was there.
    ///
    /// # Safety
    /// As for [`Platform::load`]; and the memory behind the alias is RAM.
    unsafe fn compare_exchange(&self, alias: u64, width: u8, current: u128, new: u128) -> u128;

    /// Reads `width` bytes (1, 2, 4 or 8) of memory that the interrupted context addressed and Trapline does not own.
    fn read_other(&self, address: u64, width: u8) -> Result<u64, Fault>;

    /// Writes the low `width` bytes (1, 2, 4 or 8) of such memory.
    fn write_other(&self, address: u64, width: u8, value: u64) -> Result<(), Fault>;

    /// Whether memory right below the interrupted stack pointer can be written in a trap: not where the trap's own frame lies there, as the CPU puts it for a
    /// fault in kernel mode (Intel SDM volume 3, 6.14.2). What pushes is stepped then.
    fn can_push(&self) -> bool;

    /// Whether there is a place to run `copy` in. Asked before the device is accessed for it.
    ///
    /// `nesting` tells how many trapped accesses this CPU is inside of, 0 for the outermost: code buffers must not be shared between levels.
    fn can_run_copy(&self, nesting: usize, copy: &Redirect) -> bool;

    /// Runs `copy` with the interrupted context's registers and its one memory operand at `operand`, then stores the registers it changed
    /// (arithmetic flags and general registers but `rsp` and the copy's scratch register; vector state is live in the CPU). Returns false if it
    /// faulted; then nothing has changed.
    ///
    /// # Safety
    /// [`Platform::can_run_copy`] said so in this trap, with the same `nesting` and `copy`.
    /// `operand` up to `operand + width` is memory the copy may access: an alias, or the engine's own buffer.
    unsafe fn run_copy(
        &self,
        nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        operand: u64,
    ) -> bool;

    /// Makes the page's own translation present (`present`: exactly `entry`, see [`Mapped`]) or not, on this CPU at once (its TLB included), on others at
    /// their leisure.
    fn set_present(&self, page: Page, entry: u64, present: bool);

    /// Asks for [`Control::repair`](crate::Control::repair) to be called soon, outside of the trap.
    fn request_repair(&self);
}

/// Size of a page of the page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PageSize {
    /// 4 KiB: mapped by a PTE.
    Small,
    /// 2 MiB: mapped by a PMD.
    Large,
}

impl PageSize {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            PageSize::Small => 1 << 12,
            PageSize::Large => 1 << 21,
        }
    }
}

/// A page by its linear address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Page {
    /// Address of its first byte, aligned to its size.
    pub address: u64,
    /// Its size.
    pub size: PageSize,
}

impl Page {
    /// The page of `size` that holds `address`.
    pub const fn containing(address: u64, size: PageSize) -> Self {
        Self { address: address & !(size.bytes() - 1), size }
    }

    /// First address after it (0 for the last page of all).
    pub const fn end(self) -> u64 {
        self.address.wrapping_add(self.size.bytes())
    }
}

/// Why a page can't be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Nothing is mapped at the address.
    NotMapped,
    /// It is mapped by a page larger than 2 MiB.
    HugePage,
}

/// A page and its translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The page.
    pub page: Page,
    /// Its page-table entry, bit for bit: what it must be again in the end.
    pub entry: u64,
}

/// The control side.
pub trait PageTables {
    /// The page that maps `address` now, which is not armed.
    fn page_at(&self, address: u64) -> Result<Mapped, PageError>;

    /// Makes the page not present for all that access it. CPUs may go on using the old translation until [`PageTables::shoot_down`]. Arming
    /// what is armed changes nothing.
    fn arm(&self, mapped: Mapped);

    /// Puts the entry back as it was. Disarming what is not armed changes nothing.
    fn disarm(&self, mapped: Mapped);

    /// Returns when no CPU uses a translation that was removed before the call.
    fn shoot_down(&self);

    /// Returns when every trap that began before the call has ended, on all CPUs; for a trap that let an instruction be stepped that is after the debug
    /// exception (waiting for every CPU to have interrupts enabled once does both).
    fn synchronize(&self);
}
