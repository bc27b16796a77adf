//! Memory that devices access by themselves (DMA): what drivers say of it to the kernel.
//!
//! A driver has the kernel map a buffer before its device accesses it, and unmap it afterwards;
//! what both access at any time it has allocated. All of that goes through a few functions of the
//! kernel's, which are probed like any others, and `trapline list` shows them. They are told the
//! device, so calls for all others are left out. What the device does with the memory, nobody sees.
//!
//! Rejected: the tracepoints `dma:*`, which 6.1 does not have, whose arguments have changed since,
//! and which tell neither whom a function returns to, nor a coherent buffer's physical address; the
//! operations of a device (`struct dma_map_ops`), which most devices have none of.

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
use core::sync::atomic::{AtomicU64, Ordering};
use functions::{COUNT, FUNCTIONS};
use trapline_abi::{DmaCounts, DmaWatch, MAX_DMA_DATA, MAX_DMA_DEVICES};
use trapline_engine::{Engine, Owned, Sink};

/// Whose calls are recorded, and where to.
///
/// # Invariants
/// `sink` is the session's, which outlives this.
pub(super) struct Watch {
    sink: NonNull<Sink>,
    devices: Devices<MAX_DMA_DEVICES>,
    /// Bytes of a buffer that are recorded, at most.
    data: u32,
    /// Pieces of scatter lists that were not.
    pieces: AtomicU64,
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
    probes: Probes<DmaCalls>,
    watch: Owned<Watch>,
}

impl Running {
    fn counts(&self, host: &mut Host<'_>) -> DmaCounts {
        let missed = self.probes.missed(&mut host.unlocked.patching());
        DmaCounts { missed, pieces: self.watch.pieces.load(Ordering::Relaxed) }
    }
}

/// A session's recording of DMA.
pub(crate) struct DmaCalls {
    running: Option<Running>,
    /// What was counted when it was stopped.
    stopped: DmaCounts,
}

impl DmaCalls {
    pub(super) fn new() -> Self {
        Self { running: None, stopped: DmaCounts::default() }
    }

    /// Begins a watch of no device.
    fn begin(host: &mut Host<'_>, data: u32) -> Result<Running, Errno> {
        let watch = Watch { sink: host.sink, devices: Devices::new(), data, pieces: AtomicU64::new(0) };
        let watch = Owned::new(watch).map_err(|_| Errno::NO_MEMORY)?;
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
    pub(crate) fn told(&self, host: &mut Host<'_>) -> DmaCounts {
        self.running.as_ref().map_or(self.stopped, |running| running.counts(host))
    }
}

impl Source for DmaCalls {
    type Request = DmaWatch;
    type Counts = ();

    /// Says in the request which functions are followed, and which could not be.
    fn start(&mut self, host: &mut Host<'_>, request: &mut DmaWatch) -> Result<(), Errno> {
        (request.followed, request.refused) = (0, 0);
        let is_known = request.reserved == 0 && request.device.0 >> 48 == 0;
        if !is_known || request.data as usize > MAX_DMA_DATA {
            return Err(Errno::INVALID);
        }
        if self.running.as_ref().is_some_and(|running| running.watch.data != request.data) {
            return Err(Errno::INVALID);
        }
        if !glue::glue_has_pci_device(request.device.0) {
            return Err(Errno::NOT_FOUND);
        }
        let running = match self.running.take() {
            Some(running) => running,
            None => Self::begin(host, request.data)?,
        };
        let Running { probes, watch } = self.running.insert(running);
        // As many functions as bits.
        (request.followed, request.refused) = (probes.followed as u32, probes.refused as u32);
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
