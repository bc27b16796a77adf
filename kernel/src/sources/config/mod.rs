//! Accesses to the configuration space of PCI devices: by drivers, the kernel's own code for PCI,
//! ACPI's code, and programs by way of sysfs, procfs and VFIO.
//!
//! On x86 all of these come to four functions of the kernel's, which do one access each, and which
//! are called through pointers alone: none is inlined into its callers. Return probes stand on
//! them, like any others, and `trapline list` shows them. Which device is accessed, they are told
//! by its number.
//!
//! Rejected: probes on what drivers call (`pci_bus_read_config_word()` and its like), since ACPI's
//! code and quirks of the kernel's go around these; on `pci_read()` and `raw_pci_read()`, which
//! call each other, and may be inlined into each other.

mod probes;

use super::devices::Devices;
use super::{Host, Source};
use crate::code::Registry;
use crate::errno::Errno;
use crate::glue;
use crate::names::text;
use crate::platform::Kernel;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use probes::{COUNT, Probes};
use trapline_abi::{ConfigWatch, ListEntry, ListKind, MAX_CONFIG_DEVICES, PciFunction, ProbeCounts};
use trapline_engine::{Engine, Owned, Sink};

/// No device's number: those have 48 bits.
const NO_DEVICE: u64 = u64::MAX;

/// Which devices' accesses are recorded, and where to.
///
/// # Invariants
/// `sink` is the session's, which outlives this.
struct Watch {
    sink: NonNull<Sink>,
    /// The device of which is looked whether its accesses come to the probes, and how many have.
    tried: AtomicU64,
    seen: AtomicU32,
    devices: Devices<MAX_CONFIG_DEVICES>,
}

// SAFETY: a sink is made to be shared by the traps of all CPUs.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl Watch {
    /// Whether an access to this device is to be recorded, which was seen.
    fn sees(&self, device: PciFunction) -> bool {
        // Relaxed: only who makes an access looks whether it was seen, after it has.
        if self.tried.load(Ordering::Relaxed) == device.0 {
            self.seen.fetch_add(1, Ordering::Relaxed);
        }
        self.devices.has(device)
    }

    /// Whether accesses to this device come to the probes, of which so many are on functions that
    /// read: makes some.
    fn try_out(&self, device: PciFunction, reading: u32) -> Result<(), Errno> {
        self.seen.store(0, Ordering::Relaxed);
        self.tried.store(device.0, Ordering::Relaxed);
        let touched = glue::glue_config_touch(device.0);
        self.tried.store(NO_DEVICE, Ordering::Relaxed);
        match u32::try_from(touched) {
            // What goes through a function that can't be followed is told of as that.
            Ok(touched) if self.seen.load(Ordering::Relaxed) >= touched.min(reading) => Ok(()),
            Ok(_) => Err(Errno::NOT_SUPPORTED),
            Err(_) => Err(Errno::from_status(touched)),
        }
    }
}

/// What has begun.
///
/// # Invariants
/// `watch` stays until the probes were removed.
struct Running {
    probes: Probes,
    watch: Owned<Watch>,
}

/// A session's recording of accesses to configuration space.
pub(crate) struct ConfigAccesses {
    running: Option<Running>,
    /// The probes when the session was stopped.
    stopped: [Option<Stopped>; COUNT],
}

/// What is kept of a probe: an entry of the list is large, and sessions lie beside each other.
#[derive(Clone, Copy)]
struct Stopped {
    id: u64,
    address: u64,
    owner: u32,
    missed: u64,
}

impl ConfigAccesses {
    pub(super) fn new() -> Self {
        Self { running: None, stopped: [None; COUNT] }
    }

    /// Begins a watch of no device.
    fn begin(host: &mut Host<'_>) -> Result<Running, Errno> {
        let watch = Watch {
            sink: host.sink,
            tried: AtomicU64::new(NO_DEVICE),
            seen: AtomicU32::new(0),
            devices: Devices::new(),
        };
        let watch = Owned::new(watch).map_err(|_| Errno::NO_MEMORY)?;
        let ids = {
            let control = &mut host.unlocked.control().control;
            [(); COUNT].map(|()| control.next_id())
        };
        // SAFETY: the watch stays where it is, on the heap, until `stop` has ended the probes.
        let probes = unsafe { Probes::begin(&mut host.unlocked.patching(), &watch, ids, host.owner) }?;
        // INVARIANT: `stop` ends the probes before it drops the watch.
        Ok(Running { probes, watch })
    }

    /// The probe of a session that was stopped with the lowest number from `from` on.
    pub(crate) fn first_stopped(&self, from: u64) -> Option<ListEntry> {
        let stopped = self.stopped.iter().flatten().find(|stopped| stopped.id >= from)?;
        let Stopped { id, address, owner, missed } = *stopped;
        Some(ListEntry {
            kind: ListKind::Code as u32,
            address,
            owner,
            counts: ProbeCounts { missed, ..ProbeCounts::default() },
            name: text(probes::NAME),
            ..ListEntry::from(id)
        })
    }
}

/// Keeps what a probe is, if it is there.
// A function of its own: an entry is large, and is on the stack as it is asked for.
#[inline(never)]
fn keep(registry: &Registry, id: u64, kept: &mut Option<Stopped>) {
    let entry = registry.list(id).filter(|entry| entry.id == id);
    *kept = entry.map(|ListEntry { address, owner, counts, .. }| Stopped {
        id,
        address,
        owner,
        missed: counts.missed,
    });
}

impl Source for ConfigAccesses {
    type Request = ConfigWatch;
    type Counts = ();

    /// Says in the request which functions are followed, and by which probes.
    fn start(&mut self, host: &mut Host<'_>, request: &mut ConfigWatch) -> Result<(), Errno> {
        if request.reserved != 0 {
            return Err(Errno::INVALID);
        }
        (request.followed, request.probes) = Default::default();
        let running = match self.running.take() {
            Some(running) => running,
            None => Self::begin(host)?,
        };
        let Running { probes, watch } = self.running.insert(running);
        (request.followed, request.probes) = (probes.followed(), probes.ids());
        let added =
            watch.try_out(request.device, probes.reading()).and_then(|()| watch.devices.add(request.device));
        if watch.devices.is_empty() {
            self.stop(host);
        }
        added
    }

    /// No access is recorded for it when this returns.
    fn stop(&mut self, host: &mut Host<'_>) {
        let Some(Running { probes, watch }) = self.running.take() else { return };
        let patching = &mut host.unlocked.patching();
        for (id, stopped) in probes.ids().into_iter().zip(&mut self.stopped) {
            keep(Registry::of(patching), id, stopped);
        }
        probes.end(patching);
        drop(watch);
    }

    fn counts(&self, _engine: &Engine<Kernel>) {}

    fn memory(&self) -> usize {
        self.running.as_ref().map_or(0, |_| size_of::<Watch>() + probes::MEMORY)
    }
}
