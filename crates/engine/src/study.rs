//! The study of page faults: which of all faults are counted and recorded.
//!
//! A study only looks: it runs before anybody deals with the fault and changes nothing, so it may see a fault of every kind, from every context.

use crate::counters::count;
use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::{ErrorCode, Fault, OutOfMemory, Platform, Sink, Task, Trap};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use trapline_abi::{ANY, FAULTS_KERNEL, FAULTS_USER, FaultCounts, FaultPayload, FaultWatch, Kind, Record};
use trapline_insn::Registers;

/// One CPU's counts, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Seen {
    user: AtomicU64,
    kernel: AtomicU64,
    passed: AtomicU64,
}

/// A watch of page faults.
///
/// # Invariants
/// `sink`, if there is one, lives as long as the study.
#[derive(Debug)]
pub struct Study {
    watch: FaultWatch,
    name: [u64; 2],
    sink: Option<NonNull<Sink>>,
    cpus: Box<[Seen]>,
}

// SAFETY: counts are atomic, the sink is made to be shared, the rest does not change.
unsafe impl Send for Study {}
// SAFETY: as above.
unsafe impl Sync for Study {}

impl Study {
    /// A study of what passes `watch`, on CPUs `0..cpus`, recorded in `sink` if there is one.
    ///
    /// # Safety
    /// `sink` lives until the study was dropped.
    pub unsafe fn new(
        watch: FaultWatch,
        cpus: usize,
        sink: Option<NonNull<Sink>>,
    ) -> Result<Self, OutOfMemory> {
        let mut all = Vec::new();
        all.try_reserve_exact(cpus)?;
        all.resize_with(cpus, Seen::default);
        let (words, _) = watch.comm.as_chunks::<8>();
        let name = core::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)));
        // INVARIANT: as the caller vouches.
        Ok(Self { watch, name, sink, cpus: all.into_boxed_slice() })
    }

    /// What was counted so far; of the claims nothing.
    pub fn counts(&self) -> FaultCounts {
        let mut sum = FaultCounts::default();
        for cpu in &self.cpus {
            sum.user += cpu.user.load(Ordering::Relaxed);
            sum.kernel += cpu.kernel.load(Ordering::Relaxed);
            sum.passed += cpu.passed.load(Ordering::Relaxed);
        }
        sum
    }

    /// Counts a fault, and records it if it passes. `user`: it was raised in user mode, whatever its error code says: the CPU's own accesses, for a descriptor say, are never marked so.
    #[inline(always)]
    pub(crate) fn see(
        &self,
        trap: &Trap,
        platform: &impl Platform,
        fault: &Fault,
        user: bool,
        registers: &Registers,
    ) {
        let Some(cpu) = self.cpus.get(trap.cpu()) else { return };
        count(if user { &cpu.user } else { &cpu.kernel });
        let mode = if user { FAULTS_USER } else { FAULTS_KERNEL };
        let Fault { error_code: ErrorCode(code), address } = *fault;
        let watch = &self.watch;
        if watch.flags & mode == 0
            || !(watch.first..=watch.last).contains(&address)
            || code & watch.error_set != watch.error_set
            || code & watch.error_clear != 0
        {
            return;
        }
        let anybody = watch.process == ANY && self.name == [0; 2];
        if anybody && self.sink.is_none() {
            return count(&cpu.passed);
        }
        let task = platform.task();
        if !anybody && !self.is_about(&task) {
            return;
        }
        count(&cpu.passed);
        let Some(sink) = self.sink else { return };
        let Task { process, .. } = task;
        let payload =
            FaultPayload { address, ip: registers.rip, error_code: code, process, stack: registers.rsp };
        let record = Record { kind: Kind::Fault as u8, payload: payload.to_words(), ..Record::EMPTY };
        // SAFETY: alive by the invariant.
        unsafe { sink.as_ref() }.push(trap, platform, record, &[]);
    }

    fn is_about(&self, task: &Task) -> bool {
        (self.watch.process == ANY || self.watch.process == task.process)
            && (self.name == [0; 2] || self.name == task.name)
    }
}
