//! Everything of a simulated machine that its actors share.

use crate::allocation::Side;
use crate::cpu::Core;
use crate::hardware::Hardware;
use crate::platform::Link;
use crate::schedule::{Scheduler, actor};
use crate::{Hit, Options};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trapline_abi::Record;
use trapline_engine::{CpuSink, Engine, Owned, Sink};
use trapline_insn::Registers;
use trapline_ring::RingReader;

/// What an NMI of a core runs.
#[derive(Clone, Copy)]
pub(crate) struct Interruption {
    pub(crate) registers: Registers,
    pub(crate) end: u64,
}

pub(crate) struct World {
    pub(crate) engine: Engine<Link>,
    pub(crate) scheduler: Scheduler,
    hardware: Mutex<Hardware>,
    pub(crate) cores: Box<[Core]>,
    pub(crate) gs_bases: Box<[AtomicU64]>,
    /// Where the cores' code lies.
    pub(crate) code_start: AtomicU64,
    /// The writer's state; taken by [`World::control`] alone.
    control: Mutex<trapline_engine::Control>,
    pub(crate) repair_wanted: AtomicBool,
    pub(crate) clock: AtomicU64,
    pub(crate) rings: Mutex<Vec<RingReader<'static>>>,
    /// Records that were drained while programs ran, by core.
    pub(crate) drained: Mutex<Vec<Vec<Record>>>,
    pub(crate) hits: Mutex<Vec<Hit>>,
    pub(crate) interruptions: Mutex<Vec<Option<Interruption>>>,
    pub(crate) options: Options,
}

/// The lock's content, whatever panic there was: the first panic is the one to be told.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(options: Options) -> Arc<Self> {
        let cpus = options.cpus;
        let ring =
            |cpu| trapline_ring::pair(options.ring as u64, cpu).expect("a capacity that a ring can have");
        let (writers, readers): (Vec<_>, _) = (0..cpus as u32).map(ring).unzip();
        let world = Arc::new_cyclic(|world| Self {
            engine: Engine::new(Link(world.clone()), cpus).expect("memory for the engine"),
            // The cores, the writer, the repair worker.
            scheduler: Scheduler::new(cpus + 2, options.seed),
            hardware: Mutex::new(Hardware::new(cpus, options.arming)),
            cores: (0..cpus).map(|_| Core::default()).collect(),
            gs_bases: (0..cpus).map(|_| AtomicU64::new(0)).collect(),
            code_start: AtomicU64::new(0),
            control: Mutex::new(trapline_engine::Control::new()),
            repair_wanted: AtomicBool::new(false),
            clock: AtomicU64::new(0),
            rings: Mutex::new(readers),
            drained: Mutex::new(vec![Vec::new(); cpus]),
            hits: Mutex::new(Vec::new()),
            interruptions: Mutex::new(vec![None; cpus]),
            options,
        });
        let sinks: Box<[CpuSink]> = writers.into_iter().map(CpuSink::new).collect();
        let sink = Owned::new(Sink::new(sinks.into()));
        let sink = sink.unwrap_or_else(|_| panic!("no memory for a sink"));
        // SAFETY: there was none before, so no trap has one.
        unsafe { world.engine.set_sink(Some(sink)).free() };
        world
    }

    /// The writer's actor; the one after it is the repair worker's.
    pub(crate) fn writer(&self) -> usize {
        self.cores.len()
    }

    pub(crate) fn hardware(&self) -> MutexGuard<'_, Hardware> {
        lock(&self.hardware)
    }

    /// The lock that may sleep: others run while it is waited for.
    pub(crate) fn control(&self) -> MutexGuard<'_, trapline_engine::Control> {
        loop {
            match self.control.try_lock() {
                Ok(guard) => return guard,
                Err(std::sync::TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(std::sync::TryLockError::WouldBlock) => {
                    let mut waited = false;
                    self.scheduler.wait_until(|| std::mem::replace(&mut waited, true));
                }
            }
        }
    }

    /// The core that runs the caller.
    pub(crate) fn cpu(&self) -> Option<usize> {
        actor().filter(|&actor| actor < self.cores.len())
    }

    /// A point at which others may run, and an NMI may come.
    pub(crate) fn point(&self) {
        self.scheduler.pause();
        let Some(cpu) = self.cpu() else { return };
        let Some(mut interruption) = lock(&self.interruptions)[cpu].take() else { return };
        if self.scheduler.draw(self.options.nmi_rarity) == 0 {
            let _side = Side::platform();
            let again = interruption;
            let fault = self.execute_nested(cpu, &mut interruption.registers, interruption.end);
            assert_eq!(fault, None, "an NMI met a fault that nobody claims");
            interruption = again;
        }
        // NMIs do not nest: the next one can come only now.
        lock(&self.interruptions)[cpu] = Some(interruption);
    }

    /// Reads rings, as far as the reader of this machine comes.
    pub(crate) fn drain(&self, most: usize) {
        let mut drained = lock(&self.drained);
        for (ring, records) in lock(&self.rings).iter_mut().zip(drained.iter_mut()) {
            ring.drain(most, records);
        }
    }

    /// Does what the trap path asked for.
    pub(crate) fn repair(&self) {
        if self.options.repairs && self.repair_wanted.swap(false, Ordering::Relaxed) {
            self.control().repair(&self.link());
        }
    }

    pub(crate) fn link(&self) -> Link {
        self.engine.platform().clone()
    }
}
