//! What the kernel does with a device as a whole: drivers that bind and go, resets, power states,
//! firmware.
//!
//! All of that goes through a few functions of the kernel's PCI core and of its loader of firmware,
//! which are followed by return probes like any others; `trapline list` shows them. They are told
//! the device, so calls for all others are left out.
//!
//! Rejected: the tracepoints `power:device_pm_callback_start` and `rpm:*`, which tell neither the
//! driver nor the power state, and nothing of binding and resets; the notifications of a bus
//! (`bus_register_notifier()`), which tell of binding alone, and not how long it took.

mod calls;
mod functions;

use super::devices::Devices;
use super::functions::Probes;
use super::{Host, Source};
use crate::errno::Errno;
use crate::glue;
use crate::platform::Kernel;
use alloc::vec::Vec;
use core::ptr::NonNull;
use functions::{COUNT, FUNCTIONS};
use trapline_abi::{LifecycleCounts, LifecycleWatch, MAX_LIFECYCLE_DEVICES};
use trapline_engine::{Engine, Owned, Sink};

/// Whose calls are recorded, and where to.
///
/// # Invariants
/// `sink` is the session's, which outlives this.
pub(super) struct Watch {
    sink: NonNull<Sink>,
    devices: Devices<MAX_LIFECYCLE_DEVICES>,
}

// SAFETY: a sink is made to be shared by the traps of all CPUs.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

/// What has begun.
///
/// # Invariants
/// `watch` stays until the probes were removed.
struct Running {
    probes: Probes<Lifecycle>,
    watch: Owned<Watch>,
}

impl Running {
    fn counts(&self, host: &mut Host<'_>) -> LifecycleCounts {
        LifecycleCounts { missed: self.probes.missed(&mut host.unlocked.patching()) }
    }
}

/// A session's recording of devices' lifecycles.
pub(crate) struct Lifecycle {
    running: Option<Running>,
    /// What was counted when it was stopped.
    stopped: LifecycleCounts,
}

impl Lifecycle {
    pub(super) fn new() -> Self {
        Self { running: None, stopped: LifecycleCounts::default() }
    }

    /// Begins a watch of no device.
    fn begin(host: &mut Host<'_>) -> Result<Running, Errno> {
        let watch = Owned::new(Watch { sink: host.sink, devices: Devices::new() });
        let watch = watch.map_err(|_| Errno::NO_MEMORY)?;
        let mut ids = Vec::new();
        ids.try_reserve_exact(COUNT).map_err(|_| Errno::NO_MEMORY)?;
        {
            let control = &mut host.unlocked.control().control;
            ids.extend((0..COUNT).map(|_| control.next_id()));
        }
        // SAFETY: the watch stays where it is, on the heap, until `stop` has ended the probes.
        let probes =
            unsafe { Probes::begin(&mut host.unlocked.patching(), &FUNCTIONS, &*watch, &ids, host.owner) }?;
        // INVARIANT: `stop` ends the probes before it drops the watch.
        Ok(Running { probes, watch })
    }

    /// What was counted so far, and after the end.
    pub(crate) fn told(&self, host: &mut Host<'_>) -> LifecycleCounts {
        self.running.as_ref().map_or(self.stopped, |running| running.counts(host))
    }
}

impl Source for Lifecycle {
    type Request = LifecycleWatch;
    type Counts = ();

    /// Says in the request which functions are followed, and which could not be.
    fn start(&mut self, host: &mut Host<'_>, request: &mut LifecycleWatch) -> Result<(), Errno> {
        (request.followed, request.refused) = (0, 0);
        if request.reserved != 0 || request.device.0 >> 48 != 0 {
            return Err(Errno::INVALID);
        }
        if !glue::glue_has_pci_device(request.device.0) {
            return Err(Errno::NOT_FOUND);
        }
        let running = match self.running.take() {
            Some(running) => running,
            None => Self::begin(host)?,
        };
        let Running { probes, watch } = self.running.insert(running);
        (request.followed, request.refused) = (probes.followed, probes.refused);
        watch.devices.add(request.device)
    }

    /// No call is recorded for it when this returns.
    fn stop(&mut self, host: &mut Host<'_>) {
        let Some(running) = self.running.take() else { return };
        self.stopped = running.counts(host);
        let Running { probes, watch } = running;
        probes.end(&mut host.unlocked.patching());
        drop(watch);
    }

    fn counts(&self, _engine: &Engine<Kernel>) {}

    fn memory(&self) -> usize {
        self.running.as_ref().map_or(0, |running| size_of::<Watch>() + running.probes.memory())
    }
}
