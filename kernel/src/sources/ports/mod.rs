//! Accesses to I/O ports by drivers: a code probe on each instruction that makes one.
//!
//! There is nothing to arm as there is for memory: the CPU has no trap for a port in kernel mode
//! that a guest or a kernel module could have. So the instructions are found, by decoding the code
//! of the drivers (`search`), and probed like any others; which ports they access is seen as they
//! do. What a driver does by `ioread8()` and its like, with a cookie that stands for a port, ends
//! in instructions of the kernel's own, which are found in the same way.
//!
//! A module that is not loaded yet is searched as it comes, before any of its code runs
//! (glue/modules.c).
//!
//! Rejected: a breakpoint of the debug registers on ports (CR4.DE; Intel SDM volume 3, 18.2.4),
//! which has no such limits, but there are four, and debuggers use them.

mod probe;
mod search;
mod watch;

use super::{Host, Source};
use crate::code::Registry;
use crate::errno::Errno;
use crate::glue;
use crate::platform::Kernel;
use alloc::vec::Vec;
use core::mem::take;
use core::sync::atomic::{AtomicUsize, Ordering};
use probe::Probe;
use search::search;
use trapline_abi::{MAX_PORT_CODE, MAX_PORT_MODULES, MODULE_LENGTH, PortCode, PortCounts, PortRange};
use trapline_engine::{Engine, Owned};
use watch::Watch;

/// Modules that sessions wait for. Nobody who loads a module waits for a session's work while there
/// are none.
static AWAITED: AtomicUsize = AtomicUsize::new(0);

/// Whether a session waits for a module.
pub(crate) fn awaits_a_module() -> bool {
    // A session that has been told that it waits has counted before; whoever loads a module then
    // comes later.
    AWAITED.load(Ordering::SeqCst) != 0
}

/// What a command asks for.
pub(crate) enum PortRequest {
    /// Ports to record.
    Ports(PortRange),
    /// Code to follow.
    Code(PortCode),
}

/// What has begun.
///
/// # Invariants
/// `watch` stays until the probes were removed.
struct Running {
    /// Sorted by their numbers.
    probes: Vec<Probe>,
    watch: Owned<Watch>,
}

/// A session's recording of accesses to ports.
pub(crate) struct PortAccesses {
    running: Option<Running>,
    /// Modules whose code is searched as they are loaded.
    modules: Vec<[u8; MODULE_LENGTH]>,
    /// What was counted, but for what probes that are there have missed.
    counts: PortCounts,
}

impl PortAccesses {
    pub(super) fn new() -> Self {
        Self { running: None, modules: Vec::new(), counts: PortCounts::default() }
    }

    fn watch_ports(&mut self, host: &mut Host<'_>, range: &PortRange) -> Result<(), Errno> {
        let running = match self.running.take() {
            Some(running) => running,
            None => {
                let watch = Watch::new(host.sink, glue::glue_nr_cpu_ids() as usize)
                    .and_then(Owned::new)
                    .map_err(|_| Errno::NO_MEMORY)?;
                // INVARIANT: `stop` removes the probes before it drops the watch.
                Running { probes: Vec::new(), watch }
            }
        };
        let added = running.watch.add(range);
        self.running = Some(running).filter(|running| !running.watch.is_empty());
        added
    }

    fn follow(&mut self, host: &mut Host<'_>, code: &PortCode) -> Result<(), Errno> {
        let is_stretch = code.start != 0;
        let is_module = code.module[0] != 0;
        let mut rest = code.module.iter().skip_while(|byte| **byte != 0);
        if rest.next().is_none() || rest.any(|byte| *byte != 0) {
            return Err(Errno::INVALID);
        }
        if self.running.is_none() || !(is_stretch || is_module) || is_stretch != (code.length != 0) {
            return Err(Errno::INVALID);
        }
        if code.length > MAX_PORT_CODE || (is_module && self.modules.len() == MAX_PORT_MODULES) {
            return Err(Errno::TOO_BIG);
        }
        if is_module {
            if self.modules.contains(&code.module) {
                return Err(Errno::EXISTS);
            }
            self.modules.try_reserve(1).map_err(|_| Errno::NO_MEMORY)?;
            self.modules.push(code.module);
            AWAITED.fetch_add(1, Ordering::SeqCst);
        }
        if !is_stretch {
            return Ok(());
        }
        let end = code.start.checked_add(code.length).ok_or(Errno::INVALID)?;
        // Who reads the kernel's symbols knows where the last function begins, not where it ends.
        let whole = glue::glue_function_end(end - 1);
        if glue::glue_function_end(code.start) == 0 || whole == 0 {
            return Err(Errno::FAULT);
        }
        let length = whole.max(end) - code.start;
        if self.add(host, code.start, length.min(MAX_PORT_CODE)) { Ok(()) } else { Err(Errno::FAULT) }
    }

    /// Probes what accesses ports in a stretch; false if not all of it can be read.
    fn add(&mut self, host: &mut Host<'_>, start: u64, length: u64) -> bool {
        let Some(Running { probes, watch }) = &mut self.running else { return true };
        let mut patching = host.unlocked.patching();
        let mut found = Vec::new();
        let mut lost = 0;
        let is_whole = search(&mut patching, start, length, |address, access| {
            if found.try_reserve(1).is_ok() {
                found.push((address, access));
            } else {
                lost += 1;
            }
        });
        for instruction in found {
            if probes.iter().any(|probe| probe.address() == instruction.0) {
                continue;
            }
            self.counts.found += 1;
            let id = patching.control().control.next_id();
            let registered = probes.try_reserve(1).map_err(|_| Errno::NO_MEMORY).and_then(|()| {
                // SAFETY: the watch stays where it is, on the heap, and so does what is kept of the
                // probe, until `stop` or `forget_gone` has removed the probe.
                unsafe { Probe::register(Registry::of(&mut patching), watch, instruction, id, host.owner) }
            });
            match registered {
                Ok(probe) => probes.push(probe),
                // No instruction begins there.
                Err(Errno::ILLEGAL_SEQUENCE) => self.counts.found -= 1,
                Err(_) => self.counts.refused += 1,
            }
        }
        self.counts.found += lost;
        self.counts.refused += lost;
        is_whole
    }

    /// A module was loaded, and runs once this has returned: its code lies in these stretches.
    pub(crate) fn module_comes(
        &mut self,
        host: &mut Host<'_>,
        name: &[u8; MODULE_LENGTH],
        stretches: &[(u64, u64)],
    ) {
        if self.running.is_none() || !self.modules.contains(name) {
            return;
        }
        // It may have been there before: what was probed of it then is not any more.
        self.forget_gone(host);
        for &(start, length) in stretches.iter().filter(|(_, length)| *length != 0) {
            // Code of a module that is being loaded can be read.
            self.add(host, start, length.min(MAX_PORT_CODE));
        }
    }

    /// Removes the probes whose code is not there any more.
    fn forget_gone(&mut self, host: &mut Host<'_>) {
        let Some(Running { probes, .. }) = &mut self.running else { return };
        let mut patching = host.unlocked.patching();
        let registry = Registry::of(&mut patching);
        for probe in probes.iter_mut() {
            probe.is_leaving = registry.is_gone(probe.id);
        }
        self.counts.missed += remove(registry, probes);
        probes.retain(|probe| !probe.is_leaving);
    }

    /// What was counted so far, and after the end.
    pub(crate) fn told(&self, host: &mut Host<'_>) -> PortCounts {
        let mut counts = self.counts;
        if let Some(Running { probes, watch }) = &self.running {
            counts.missed += watch.missed.load(Ordering::Relaxed);
            let mut patching = host.unlocked.patching();
            counts.missed += Registry::of(&mut patching).missed(|id| of(probes, id).is_some());
        }
        counts
    }
}

/// The probe with this number, if it is one of these.
fn of(probes: &[Probe], id: u64) -> Option<&Probe> {
    probes.binary_search_by_key(&id, |probe| probe.id).ok().and_then(|at| probes.get(at))
}

/// Removes those of these probes that are leaving: none of them records anything any more when it
/// returns. Tells what they had missed.
fn remove(registry: &mut Registry, probes: &[Probe]) -> u64 {
    let is_leaving = |id| of(probes, id).is_some_and(|probe| probe.is_leaving);
    if !probes.iter().any(|probe| probe.is_leaving) {
        return 0;
    }
    let missed = registry.missed(is_leaving);
    registry.remove(is_leaving);
    missed
}

impl Source for PortAccesses {
    type Request = PortRequest;
    type Counts = ();

    fn start(&mut self, host: &mut Host<'_>, request: &mut PortRequest) -> Result<(), Errno> {
        match request {
            PortRequest::Ports(range) => self.watch_ports(host, range),
            PortRequest::Code(code) => self.follow(host, code),
        }
    }

    /// No access is recorded for it when this returns.
    fn stop(&mut self, host: &mut Host<'_>) {
        AWAITED.fetch_sub(self.modules.len(), Ordering::SeqCst);
        self.modules = Vec::new();
        let Some(Running { mut probes, watch }) = take(&mut self.running) else { return };
        probes.iter_mut().for_each(|probe| probe.is_leaving = true);
        let mut patching = host.unlocked.patching();
        self.counts.missed += remove(Registry::of(&mut patching), &probes);
        self.counts.missed += watch.missed.load(Ordering::Relaxed);
        drop((probes, watch));
    }

    fn counts(&self, _engine: &Engine<Kernel>) {}

    fn memory(&self) -> usize {
        let modules = self.modules.capacity() * MODULE_LENGTH;
        let probes = |running: &Running| size_of::<Watch>() + running.probes.capacity() * Probe::MEMORY;
        modules + self.running.as_ref().map_or(0, probes)
    }
}
