//! A code probe: what is called when an instruction is reached, and what came of that.

use super::counts::CpuCounts;
use crate::{Lanes, OutOfMemory, Trap};
use core::fmt;
use trapline_abi::ProbeCounts;
use trapline_insn::Registers;
use trapline_ring::primitive::atomic::{AtomicBool, AtomicU64, Ordering};

/// An exception that a handler raised.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its vector (Intel SDM volume 3, table 6-1): 0 divide error, 6 invalid opcode, 13 general
    /// protection, 14 page fault.
    pub vector: u64,
    /// As the CPU pushed it; 0 if it pushes none.
    pub error_code: u64,
    /// A page fault's linear address; 0 for others.
    pub address: u64,
}

/// A handler that may fault: called through the platform's trampoline, in the trap, with interrupts
/// off. `carried` is the memory that a return probe carries from its entry handler to its return
/// handler, null for an instruction's.
pub type GuardedHandler = unsafe extern "C" fn(data: *mut (), registers: *const Registers, carried: *mut ());

/// Asked when a handler of its probe has faulted: `registers` are those of the handler at the
/// fault. Returns whether it has dealt with it, and the handler is to resume with the registers as
/// they are now. May fault itself, and is then abandoned as well.
pub type FaultFixer =
    unsafe extern "C" fn(data: *mut (), registers: *mut Registers, exception: *const Exception) -> bool;

/// A handler of Trapline's own, which does not fault: called directly.
pub type TrustedHandler = unsafe fn(data: *mut (), trap: &Trap, registers: &Registers, carried: *mut ());

/// The handlers of a probe. For a return probe, `pre` is called when its function is entered,
/// `post` when it returns.
#[derive(Clone, Copy)]
pub enum CodeHandlers {
    /// Somebody else's.
    Guarded {
        /// Before the instruction.
        pre: Option<GuardedHandler>,
        /// After the instruction.
        post: Option<GuardedHandler>,
        /// When one of the two faults.
        fault: Option<FaultFixer>,
    },
    /// Trapline's own.
    Trusted {
        /// Before the instruction.
        pre: Option<TrustedHandler>,
        /// After the instruction.
        post: Option<TrustedHandler>,
    },
}

impl fmt::Debug for CodeHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guarded { .. } => "Guarded",
            Self::Trusted { .. } => "Trusted",
        })
    }
}

impl CodeHandlers {
    /// Whether anything is to be called before the instruction.
    pub fn has_pre(&self) -> bool {
        matches!(self, Self::Guarded { pre: Some(_), .. } | Self::Trusted { pre: Some(_), .. })
    }

    /// Whether anything is to be called after the instruction.
    pub fn has_post(&self) -> bool {
        matches!(self, Self::Guarded { post: Some(_), .. } | Self::Trusted { post: Some(_), .. })
    }
}

/// A probe, registered or not.
#[derive(Debug)]
pub struct CodeProbe {
    id: u64,
    pub(crate) handlers: CodeHandlers,
    pub(crate) data: *mut (),
    enabled: AtomicBool,
    /// Abandoned handlers after which it is disabled; 0: never.
    limit: u64,
    faults: AtomicU64,
    lanes: Lanes<CpuCounts>,
}

// SAFETY: `data` is only handed to the handlers; the contract of `CodeControl::add` makes its
// caller answer for that on any CPU. All else is shared by design.
unsafe impl Send for CodeProbe {}
// SAFETY: as above.
unsafe impl Sync for CodeProbe {}

impl CodeProbe {
    /// A probe named `id` (never used twice) for lanes `0..lanes`, enabled. It is disabled after
    /// `limit` abandoned handlers; 0: never.
    pub fn new(
        id: u64,
        handlers: CodeHandlers,
        data: *mut (),
        limit: u64,
        lanes: usize,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            id,
            handlers,
            data,
            enabled: AtomicBool::new(true),
            limit,
            faults: AtomicU64::new(0),
            lanes: Lanes::new(lanes, || Ok(CpuCounts::new()))?,
        })
    }

    /// Its name.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its handlers.
    pub fn handlers(&self) -> &CodeHandlers {
        &self.handlers
    }

    /// Whether its handlers are called.
    pub fn is_enabled(&self) -> bool {
        // Relaxed: a hit that comes at the same time as the change may see either.
        self.enabled.load(Ordering::Relaxed)
    }

    /// Has its handlers called from now on, or no more. A handler that is running goes on to its
    /// end. Enabling forgets the faults that the limit counts.
    pub fn set_enabled(&self, enabled: bool) {
        if enabled {
            self.faults.store(0, Ordering::Relaxed);
        }
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    /// What happened so far. `fetch_faults` and `dropped` are its user's to tell.
    pub fn counts(&self) -> ProbeCounts {
        let mut sum = ProbeCounts::default();
        for cpu in self.lanes.open() {
            cpu.add_to(&mut sum);
        }
        sum
    }

    /// Its counts on the lane of `trap`.
    #[inline(always)]
    pub(crate) fn on<'t>(&'t self, trap: &'t Trap) -> Option<&'t CpuCounts> {
        self.lanes.of(trap)
    }

    /// One of its handlers was abandoned.
    pub(crate) fn abandoned(&self) {
        // A counter of all CPUs, since the limit is the probe's: locked, but only a fault comes
        // here, which costs a thousand times as much.
        let faults = self.faults.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if self.limit != 0 && faults >= self.limit {
            self.enabled.store(false, Ordering::Relaxed);
        }
    }
}
