//! What the engine consumes from the world it runs in.
//!
//! Two traits, for two kinds of caller. [`Platform`] serves the trap path: each of its methods is
//! called in a trap, on any [lane](Lane), on all of them at once and in traps that interrupted
//! another, so none may allocate, lock, sleep, format or panic. [`PageTables`] serves the writer of
//! [`Control`](crate::Control), which may do all that. Rejected: one trait for both, since nothing
//! then kept a trap-path caller from arming a page.

use crate::{Alias, ErrorCode, Fault, Lane, Linear};
use trapline_insn::{Redirect, Registers, Segment};

/// Bytes of code, as many as could be read, in the order of their addresses from the lowest byte
/// on.
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

/// What a fault looks like, before anybody has asked whether a page is armed where it came up.
///
/// How a page is armed is the platform's business: it may have its entry not present, or set a bit
/// in it that is reserved, or forbid it by a protection key. So what the CPU says of an access to
/// it is the platform's to tell from all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As an access that arming stopped, and that the engine may perform: of data, in the mode that
    /// the engine's own accesses are made in.
    Armed,
    /// As an access that may concern an armed page and is not performed: of another mode, a fetch,
    /// or one that met a page while it was open for a step. If the page's rights forbid it, that is
    /// what the system is to see.
    Rights,
    /// As nothing that arming causes.
    Foreign,
}

/// The trap side.
pub trait Platform: Sync {
    /// The lane that the trap this is called in runs on, below the count given to
    /// [`Engine::new`](crate::Engine::new).
    fn lane(&self) -> Lane;

    /// What `fault` looks like to a platform that makes pages fault as this one does it.
    fn look(&self, fault: &Fault) -> Look;

    /// Nanoseconds on the kernel log's clock.
    fn now(&self) -> u64;

    /// Whose context was interrupted.
    fn task(&self) -> Task;

    /// Reads code at `ip`, without faulting whatever `ip` is.
    fn fetch(&self, ip: u64) -> Code;

    /// Base of `segment` in the interrupted context.
    fn segment_base(&self, segment: Segment) -> u64;

    /// Whether a page without the right to write is read-only to all code, not only to that in user
    /// mode (CR0.WP; Intel SDM volume 3, 4.6.1).
    fn write_protects(&self) -> bool;

    /// Whether a read of `address` would find a present translation now.
    fn is_present(&self, address: Linear) -> bool;

    /// Reads `width` bytes (1, 2, 4 or 8), once, with that width.
    ///
    /// # Safety
    /// `alias` up to `alias + width` lies on an alias that the platform gave to
    /// [`Control::add_mapping`](crate::Control::add_mapping).
    unsafe fn load(&self, alias: Alias, width: u8) -> u64;

    /// Writes the low `width` bytes (1, 2, 4 or 8) of `value`, once, with that width.
    ///
    /// # Safety
    /// As for [`Platform::load`].
    unsafe fn store(&self, alias: Alias, width: u8, value: u64);

    /// Reads `bytes.len()` bytes (16, 32 or 64) by one vector instruction of that width.
    ///
    /// # Safety
    /// As for [`Platform::load`]; and the interrupted instruction used vectors of this width, so
    /// the CPU has them.
    unsafe fn load_wide(&self, alias: Alias, bytes: &mut [u8]);

    /// Writes `bytes` (16, 32 or 64) by one vector instruction of that width.
    ///
    /// # Safety
    /// As for [`Platform::load_wide`].
    unsafe fn store_wide(&self, alias: Alias, bytes: &[u8]);

    /// `cmpxchg` of `width` bytes (1, 2, 4, 8 or 16), by one instruction: stores `new` if `current`
    /// is there; returns what was there. With `lock` it is atomic against other CPUs and devices as
    /// well.
    ///
    /// # Safety
    /// As for [`Platform::load`]; and the memory behind the alias is RAM.
    unsafe fn compare_exchange(&self, alias: Alias, width: u8, lock: bool, current: u128, new: u128) -> u128;

    /// Reads `width` bytes (1, 2, 4 or 8) of memory that the interrupted context addressed and
    /// Trapline does not own.
    fn read_other(&self, address: Linear, width: u8) -> Result<u64, Fault>;

    /// Writes the low `width` bytes (1, 2, 4 or 8) of such memory.
    fn write_other(&self, address: Linear, width: u8, value: u64) -> Result<(), Fault>;

    /// Whether memory right below the interrupted stack pointer can be written in a trap: not where
    /// the trap's own frame lies there, as the CPU puts it for a fault in kernel mode (Intel SDM
    /// volume 3, 6.14.2). What pushes is stepped then.
    fn can_push(&self) -> bool;

    /// Whether there is a place to run `copy` in. Asked before the device is accessed for it.
    ///
    /// `nesting` tells how many trapped accesses this CPU is inside of, 0 for the outermost: code
    /// buffers must not be shared between levels.
    fn can_run_copy(&self, nesting: usize, copy: &Redirect) -> bool;

    /// Runs `copy` with the interrupted context's registers and its one memory operand at
    /// `operand`, then stores the registers it changed (arithmetic flags and general registers but
    /// `rsp` and the copy's scratch register; vector state is live in the CPU). Returns false if it
    /// faulted; then nothing has changed.
    ///
    /// # Safety
    /// [`Platform::can_run_copy`] said so in this trap, with the same `nesting` and `copy`.
    /// `operand` up to `operand + width` is memory the copy may access: an alias, or the engine's
    /// own buffer.
    unsafe fn run_copy(
        &self,
        nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        operand: u64,
    ) -> bool;

    /// Makes the page's own translation present (`present`: exactly `entry`, see [`Mapped`]) or
    /// not, on this lane at once (its TLB included), on others at their leisure.
    fn set_present(&self, page: Page, entry: u64, present: bool);

    /// Lets `microseconds` pass, at most [`MAX_DELAY`](trapline_abi::MAX_DELAY), without sleeping.
    fn wait(&self, microseconds: u32);

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
    pub address: Linear,
    /// Its size.
    pub size: PageSize,
}

impl Page {
    /// The page of `size` that holds `address`.
    #[inline(always)]
    pub const fn containing(address: Linear, size: PageSize) -> Self {
        Self { address: address.aligned_down(size.bytes()), size }
    }

    /// Whether it holds `address`.
    #[inline(always)]
    pub const fn holds(self, address: Linear) -> bool {
        address.since(self.address) < self.size.bytes()
    }

    /// Address of its last byte.
    #[inline(always)]
    pub const fn last(self) -> Linear {
        self.address.plus(self.size.bytes() - 1)
    }

    /// First address after it (0 for the last page of all).
    #[inline(always)]
    pub const fn end(self) -> Linear {
        self.address.plus(self.size.bytes())
    }
}

/// Why a page can't be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Nothing is mapped at the address.
    NotMapped,
    /// It is mapped by a page larger than 2 MiB.
    HugePage,
    /// Somebody else has changed its entry.
    Changed,
}

/// Why not all of some pages were armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotArmed {
    /// How many were: those before the one that could not be.
    pub armed: usize,
    /// Why that one was not.
    pub error: PageError,
}

/// A page and its translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The page.
    pub page: Page,
    /// Its page-table entry, bit for bit: what it must be again in the end.
    pub entry: u64,
}

/// What kind of memory is behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A device's registers, or memory on it: each access reaches it once, with its own width.
    Device,
    /// RAM: an update of it is one instruction, a locked one atomic against everybody.
    Ram,
}

/// What is behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// What kind of memory.
    pub backing: Backing,
    /// What the page's own translation allows.
    pub rights: Rights,
    /// Its alias, which can be read and, unless it is of a device's page without
    /// the right to write, written.
    pub alias: Alias,
}

/// What may be done with a page, but for what the CPU forbids supervisor mode about pages of user
/// mode (SMAP, SMEP): no such page is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// It may be written.
    pub write: bool,
    /// It may be accessed in user mode.
    pub user: bool,
    /// Instructions may be fetched from it.
    pub execute: bool,
}

impl Rights {
    /// Whether the access that raised a fault with this error code is forbidden; in supervisor mode
    /// a write only where the CPU `write_protects`.
    pub(crate) const fn forbid(self, code: ErrorCode, write_protects: bool) -> bool {
        let user = code.has(ErrorCode::USER);
        let write = code.has(ErrorCode::WRITE) && (user || write_protects);
        user && !self.user || write && !self.write || code.has(ErrorCode::FETCH) && !self.execute
    }
}

/// The control side.
pub trait PageTables {
    /// The page that maps `address` now, which is not armed, and what its entry and those above it
    /// allow.
    fn page_at(&self, address: Linear) -> Result<(Mapped, Rights), PageError>;

    /// Makes the pages not present for all that access them, one after the other. CPUs may go on
    /// using the old translations until [`PageTables::shoot_down`]. Arming what is armed changes
    /// nothing.
    ///
    /// # Errors
    /// At the first page whose entry is not what it is said to be; those before it are armed then.
    fn arm(&self, pages: &[Mapped]) -> Result<(), NotArmed>;

    /// Puts the entry back as it was. Disarming what is not armed changes nothing.
    ///
    /// # Errors
    /// If somebody has changed the entry while it was armed: it is left as it is.
    fn disarm(&self, mapped: Mapped) -> Result<(), PageError>;

    /// Returns when no CPU uses a translation that was removed before the call.
    fn shoot_down(&self);

    /// Returns when every trap that began before the call has ended, on all CPUs; for a trap that
    /// let an instruction be stepped that is after the debug exception (in a kernel, waiting for
    /// every CPU to have interrupts enabled once does both).
    fn synchronize(&self);
}
