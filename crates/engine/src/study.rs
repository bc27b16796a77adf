//! The study of page faults: which of all faults are counted and recorded.
//!
//! A study only looks: it runs before anybody deals with the fault and changes nothing, so it may
//! see a fault of every kind, from every context.

use crate::counters::count;
use crate::{ErrorCode, Fault, Lanes, Linear, Open, OutOfMemory, Platform, Sink, Task, Trap};
use core::ptr::NonNull;
use trapline_abi::{
    ANY, FAULTS_KERNEL, FAULTS_USER, FaultCounts, FaultPayload, FaultWatch, Flags, Kind, Record,
    ServedPayload,
};
use trapline_insn::Registers;
use trapline_ring::primitive::atomic::{AtomicU64, Ordering};

/// One lane's counts, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Seen {
    user: AtomicU64,
    kernel: AtomicU64,
    passed: AtomicU64,
}

impl Open for Seen {
    type Part = Self;

    fn open(&self) -> &Self {
        self
    }
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
    smap: bool,
    lanes: Lanes<Seen>,
}

// SAFETY: counts are atomic, the sink is made to be shared, the rest does not change.
unsafe impl Send for Study {}
// SAFETY: as above.
unsafe impl Sync for Study {}

impl Study {
    /// A study of what passes `watch`, on lanes `0..lanes`, recorded in `sink` if there is one.
    /// `smap`: the CPUs keep the kernel from user memory (CR4.SMAP).
    ///
    /// # Safety
    /// `sink` lives until the study was dropped.
    pub unsafe fn new(
        watch: FaultWatch,
        lanes: usize,
        sink: Option<NonNull<Sink>>,
        smap: bool,
    ) -> Result<Self, OutOfMemory> {
        let lanes = Lanes::new(lanes, || Ok(Seen::default()))?;
        let (words, _) = watch.comm.as_chunks::<8>();
        let name = core::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)));
        // INVARIANT: `sink` lives until the study was dropped: `new` asks for that.
        Ok(Self { watch, name, sink, smap, lanes })
    }

    /// What was counted so far; of the claims nothing.
    pub fn counts(&self) -> FaultCounts {
        let mut sum = FaultCounts::default();
        for cpu in self.lanes.open() {
            sum.user += cpu.user.load(Ordering::Relaxed);
            sum.kernel += cpu.kernel.load(Ordering::Relaxed);
            sum.passed += cpu.passed.load(Ordering::Relaxed);
        }
        sum
    }

    /// Counts a fault, and records it if it passes. `user`: it was raised in user mode, whatever
    /// its error code says: the CPU's own accesses, for a descriptor say, are never marked so.
    #[inline(always)]
    pub(crate) fn see(
        &self,
        trap: &Trap,
        platform: &impl Platform,
        fault: &Fault,
        user: bool,
        registers: &Registers,
    ) {
        let Some(cpu) = self.lanes.of(trap) else { return };
        count(if user { &cpu.user } else { &cpu.kernel });
        if !self.wants(fault, user) {
            return;
        }
        let anybody = self.watch.process == ANY && self.name == [0; 2];
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
        let Fault { error_code: ErrorCode(error_code), address } = *fault;
        let payload =
            FaultPayload { address: address.0, ip: registers.rip, error_code, process, stack: registers.rsp };
        let flags = if self.closed(fault, user, registers) { Flags::CLOSED } else { 0 };
        let record = Record { kind: Kind::Fault as u8, flags, payload: payload.to_words(), ..Record::EMPTY };
        // SAFETY: alive by the invariant.
        unsafe { sink.as_ref() }.push(trap, platform, record, &[]);
    }

    /// Records that the kernel has served a fault, which was raised in user mode or not, if such a
    /// fault may have been recorded.
    pub(crate) fn see_served(
        &self,
        trap: &Trap,
        platform: &impl Platform,
        user: bool,
        served: ServedPayload,
    ) {
        let Some(sink) = self.sink else { return };
        if self.wants_at(Linear(served.address), user) && self.is_about(&platform.task()) {
            let record = Record { kind: Kind::Served as u8, payload: served.to_words(), ..Record::EMPTY };
            // SAFETY: alive by the invariant.
            unsafe { sink.as_ref() }.push(trap, platform, record, &[]);
        }
    }

    /// Whether the kernel accessed memory of user mode while that was closed to it: the error code
    /// does not tell that from a page that is read-only.
    fn closed(&self, fault: &Fault, user: bool, registers: &Registers) -> bool {
        /// RFLAGS.AC.
        const ACCESS: u64 = 1 << 18;
        self.smap && !user && (fault.address.0 as i64) >= 0 && registers.rflags & ACCESS == 0
    }

    /// Whether it passes but for its task.
    fn wants(&self, fault: &Fault, user: bool) -> bool {
        let Fault { error_code: ErrorCode(code), address } = *fault;
        let watch = &self.watch;
        self.wants_at(address, user)
            && code & watch.error_set == watch.error_set
            && code & watch.error_clear == 0
    }

    /// Whether it passes but for its task and its error code.
    fn wants_at(&self, address: Linear, user: bool) -> bool {
        let mode = if user { FAULTS_USER } else { FAULTS_KERNEL };
        self.watch.flags & mode != 0 && (self.watch.first..=self.watch.last).contains(&address.0)
    }

    fn is_about(&self, task: &Task) -> bool {
        (self.watch.process == ANY || self.watch.process == task.process)
            && (self.name == [0; 2] || self.name == task.name)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ALL: FaultWatch = FaultWatch {
        flags: FAULTS_USER | FAULTS_KERNEL,
        gate: trapline_abi::Gate::Hook as u32,
        process: ANY,
        error: 0,
        first: 0,
        last: u64::MAX,
        error_set: 0,
        error_clear: 0,
        comm: [0; 16],
        owner: 0,
        reserved: 0,
    };

    fn study(watch: FaultWatch) -> Study {
        // SAFETY: no sink.
        unsafe { Study::new(watch, 1, None, true) }.unwrap()
    }

    fn wants(watch: FaultWatch, code: u32, address: u64, user: bool) -> bool {
        study(watch).wants(&Fault { error_code: ErrorCode(code), address: Linear(address) }, user)
    }

    #[test]
    fn mode_address_and_error_code_are_as_asked_for() {
        assert!(wants(ALL, 4, 0x1000, true) && wants(ALL, 0, u64::MAX, false));
        let user = FaultWatch { flags: FAULTS_USER, ..ALL };
        assert!(wants(user, 4, 0x1000, true) && !wants(user, 4, 0x1000, false));
        let kernel = FaultWatch { flags: FAULTS_KERNEL, ..ALL };
        assert!(wants(kernel, 0, 0x1000, false) && !wants(kernel, 0, 0x1000, true));
        let range = FaultWatch { first: 0x1000, last: 0x1fff, ..ALL };
        for (address, wanted) in [(0xfff, false), (0x1000, true), (0x1fff, true), (0x2000, false)] {
            assert_eq!(wants(range, 4, address, true), wanted, "{address:#x}");
        }
        let writes = FaultWatch { error_set: 3, error_clear: 8, ..ALL };
        for (code, wanted) in [(7, true), (6, false), (5, false), (0xf, false), (3, true)] {
            assert_eq!(wants(writes, code, 0x1000, true), wanted, "{code:#x}");
        }
    }

    #[test]
    fn user_memory_is_closed_to_the_kernel_unless_ac_is_set() {
        let at = |address| Fault { error_code: ErrorCode(3), address: Linear(address) };
        let registers = |rflags| Registers { rflags, ..Registers::default() };
        let study = study(ALL);
        assert!(study.closed(&at(0x1000), false, &registers(0x202)));
        assert!(!study.closed(&at(0x1000), false, &registers(0x4_0202)), "inside of copy_to_user()");
        assert!(!study.closed(&at(0x1000), true, &registers(0x202)));
        assert!(!study.closed(&at(0xffff_8880_0000_0000), false, &registers(0x202)));
        // SAFETY: no sink.
        let without = unsafe { Study::new(ALL, 1, None, false) }.unwrap();
        assert!(!without.closed(&at(0x1000), false, &registers(0x202)));
    }

    #[test]
    fn process_and_name_are_as_asked_for() {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"sort");
        let sort = u64::from_le_bytes(*b"sort\0\0\0\0");
        let task = |process, name| Task { process, name: [name, 0], ..Task::default() };
        let both = study(FaultWatch { process: 7, comm, ..ALL });
        assert!(both.is_about(&task(7, sort)));
        assert!(!both.is_about(&task(8, sort)) && !both.is_about(&task(7, sort + 1)));
        assert!(study(ALL).is_about(&task(8, 1)));
    }
}
