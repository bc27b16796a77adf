//! Sources: the kinds of events that a session can record, each with its beginning, its end and
//! what it counts.
//!
//! A session has one of each kind, which does nothing until a command asks for it; what all of them
//! record goes to the session's one sink. Nothing below imports this: a source is a user of the
//! engine, the mappings, the code probes and the hooks, as other modules are.
//!
//! A new kind of event is a file here, a field in [`Sources`] and a command (device.rs).

mod accesses;
mod code;
mod config;
mod devices;
mod dma;
mod faults;
mod functions;
mod interrupts;
mod lifecycle;
mod log;
mod ports;
mod returns;
mod text;

use crate::errno::Errno;
use crate::locks::Unlocked;
use crate::platform::Kernel;
use accesses::Accesses;
use code::CodeProbes;
use config::ConfigAccesses;
use core::ptr::NonNull;
use dma::DmaCalls;
use faults::Faults;
use interrupts::Interrupts;
use lifecycle::Lifecycle;
use log::Log;
use ports::PortAccesses;
use trapline_engine::{Engine, Sink};

pub(crate) use code::NewProbe;
pub(crate) use faults::owner as fault_watcher;
pub(crate) use ports::{PortRequest, awaits_a_module};

/// What a source has of the session that it belongs to.
pub(crate) struct Host<'a> {
    pub engine: &'a Engine<Kernel>,
    /// The session is reached through the sessions lock, so only that is held.
    pub unlocked: &'a mut Unlocked,
    /// Where events go. It stays where it is until after all sources were stopped.
    pub sink: NonNull<Sink>,
    /// Thread group id of the session's owner.
    pub owner: u32,
}

/// A kind of event that a session records.
pub(crate) trait Source {
    /// What a command asks for; what was done about it, or why nothing was, is filled in.
    type Request;
    /// What is counted of it.
    type Counts;

    /// Begins, or adds to what has begun. A source that serves one session at a time is refused
    /// with [`Errno::BUSY`] while it serves another.
    ///
    /// The sink may be used from here on until [`Source::stop`] has returned.
    fn start(&mut self, host: &mut Host<'_>, request: &mut Self::Request) -> Result<(), Errno>;

    /// Ends it: nothing of it is armed and no event of it in flight when this returns. Can't fail,
    /// and does nothing if nothing has begun. What was counted stays.
    fn stop(&mut self, host: &mut Host<'_>);

    /// What was counted so far.
    fn counts(&self, engine: &Engine<Kernel>) -> Self::Counts;

    /// Bytes of memory that it holds.
    fn memory(&self) -> usize {
        0
    }
}

/// A session's sources.
pub(crate) struct Sources {
    pub accesses: Accesses,
    pub code: CodeProbes,
    pub faults: Faults,
    pub interrupts: Interrupts,
    pub config: ConfigAccesses,
    pub ports: PortAccesses,
    pub dma: DmaCalls,
    pub lifecycle: Lifecycle,
    pub log: Log,
}

impl Sources {
    /// Nothing has begun.
    pub(crate) fn new() -> Self {
        Self {
            accesses: Accesses::new(),
            code: CodeProbes::new(),
            faults: Faults::new(),
            interrupts: Interrupts::new(),
            config: ConfigAccesses::new(),
            ports: PortAccesses::new(),
            dma: DmaCalls::new(),
            lifecycle: Lifecycle::new(),
            log: Log::new(),
        }
    }

    /// Stops all. In this order: what is most likely to make events of others when it ends, first.
    pub(crate) fn stop(&mut self, host: &mut Host<'_>) {
        self.faults.stop(host);
        self.interrupts.stop(host);
        self.config.stop(host);
        self.ports.stop(host);
        self.dma.stop(host);
        self.lifecycle.stop(host);
        self.code.stop(host);
        self.accesses.stop(host);
        // What the others' ends say in it is told.
        self.log.stop(host);
    }

    /// Bytes of memory that they hold.
    pub(crate) fn memory(&self) -> usize {
        self.faults.memory()
            + self.interrupts.memory()
            + self.config.memory()
            + self.ports.memory()
            + self.dma.memory()
            + self.lifecycle.memory()
            + self.code.memory()
            + self.accesses.memory()
    }
}
