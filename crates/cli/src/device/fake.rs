//! A module in memory, for tests of everything but the kernel.

use std::cell::{Cell, RefCell};
use std::io;

use rustix::io::Errno;
use trapline_abi::{
    CONFIG_FUNCTIONS, CodeProbe, ConfigWatch, Counters, DMA_FUNCTIONS, DmaCounts, DmaWatch, FaultCounts,
    FaultWatch, Info, Inject, InjectCounts, InjectRule, InterruptWatch, LIFECYCLE_FUNCTIONS, LIST_GONE,
    LifecycleCounts, LifecycleWatch, ListEntry, ListKind, LogCounts, PortCode, PortCounts, PortRange,
    ProbeCounts, ProbeError, RingGeometry, Step, Watch, WatchError,
};

use super::Control;

/// Takes what it is given, or refuses it as it was told to.
#[derive(Default)]
pub(crate) struct Module {
    /// Its state.
    pub info: Info,
    /// What `START` fails with.
    pub start: Option<Errno>,
    /// What `WATCH` fails with, and why.
    pub watch: Option<(Errno, WatchError)>,
    /// The rule that `INJECT` refuses, and with what.
    pub bad_rule: Option<(u32, Errno)>,
    /// Rules taken.
    pub rules: RefCell<Vec<InjectRule>>,
    /// What they count, in their order; nothing if not given.
    pub rule_counts: RefCell<Vec<InjectCounts>>,
    /// Whether a range is watched.
    pub watched: Cell<bool>,
    /// What `PROBE` fails with, and why.
    pub refusal: Option<(ProbeError, Errno)>,
    /// Where it fails with that; everywhere if there is no address.
    pub refused: Vec<u64>,
    /// Who has the watch of page faults already, if anybody.
    pub faults_owner: u32,
    /// What `INTERRUPTS` fails with.
    pub no_interrupts: Option<Errno>,
    /// Devices whose interrupts are recorded.
    pub interrupts: RefCell<Vec<InterruptWatch>>,
    /// What `CONFIG` fails with.
    pub no_config: Option<Errno>,
    /// Functions that `CONFIG` does not follow, a bit for each.
    pub not_followed: u32,
    /// Devices whose configuration space is recorded.
    pub config: RefCell<Vec<ConfigWatch>>,
    /// What `DMA` fails with.
    pub no_dma: Option<Errno>,
    /// Devices whose DMA is recorded.
    pub dma: RefCell<Vec<DmaWatch>>,
    /// What `LIFECYCLE` fails with.
    pub no_lifecycle: Option<Errno>,
    /// Devices whose lifecycle is recorded.
    pub lifecycle: RefCell<Vec<LifecycleWatch>>,
    /// What `LOG` fails with.
    pub no_log: Option<Errno>,
    /// What `PORTS` fails with.
    pub no_ports: Option<Errno>,
    /// Ranges of ports that are recorded.
    pub ports: RefCell<Vec<PortRange>>,
    /// What `PORT_CODE` fails with, of a stretch that begins there.
    pub no_code: Option<(u64, Errno)>,
    /// Code that is searched for instructions that access ports.
    pub port_code: RefCell<Vec<PortCode>>,
    /// What is told of these.
    pub port_counts: PortCounts,
    /// Code probes taken, the first with number 100.
    pub taken: RefCell<Vec<(CodeProbe, Vec<Step>)>>,
    /// Whether the module that is probed has gone.
    pub is_gone: Cell<bool>,
    /// What it does while it stops, and counted by then.
    pub on_stop: Option<Box<dyn Fn() -> Counters>>,
    /// Whether it was stopped.
    pub stopped: Cell<bool>,
}

impl Control for Module {
    fn info(&self) -> io::Result<Info> {
        Ok(self.info)
    }

    fn start(&self, buffer: u64) -> io::Result<RingGeometry> {
        match self.start {
            Some(errno) => Err(errno.into()),
            None => Ok(RingGeometry { rings: 1, reserved: 0, capacity: buffer / 64 }),
        }
    }

    fn watch(&self, watch: &mut Watch) -> io::Result<()> {
        match self.watch {
            Some((errno, reason)) => {
                (watch.error, watch.failed_at) = (reason as u32, watch.physical);
                watch.owner = std::process::id();
                Err(errno.into())
            }
            None => {
                self.watched.set(true);
                Ok(())
            }
        }
    }

    fn inject(&self, inject: &mut Inject, rules: &[InjectRule]) -> io::Result<()> {
        inject.failed_at = u32::MAX;
        if self.watched.get() || !self.rules.borrow().is_empty() {
            return Err(Errno::BUSY.into());
        }
        if let Some((number, errno)) = self.bad_rule {
            inject.failed_at = number;
            return Err(errno.into());
        }
        self.rules.borrow_mut().extend(rules);
        Ok(())
    }

    fn inject_counts(&self, rule: u32) -> io::Result<InjectCounts> {
        if rule as usize >= self.rules.borrow().len() {
            return Err(Errno::NOENT.into());
        }
        let counts = self.rule_counts.borrow().get(rule as usize).copied().unwrap_or_default();
        Ok(InjectCounts { rule, ..counts })
    }

    fn probe(&self, probe: &mut CodeProbe, program: &[Step]) -> io::Result<()> {
        let is_refused = self.refused.is_empty() || self.refused.contains(&probe.address);
        if let Some((error, errno)) = self.refusal.filter(|_| is_refused) {
            probe.error = error as u32;
            return Err(errno.into());
        }
        let mut taken = self.taken.borrow_mut();
        probe.id = 100 + taken.len() as u64;
        taken.push((*probe, program.to_vec()));
        Ok(())
    }

    fn list(&self, id: u64) -> io::Result<Option<ListEntry>> {
        let counts = ProbeCounts { hits: id, missed: 1, ..ProbeCounts::default() };
        let flags = if self.is_gone.get() { LIST_GONE } else { 0 };
        Ok(Some(ListEntry { kind: ListKind::Code as u32, flags, counts, ..ListEntry::from(id) }))
    }

    fn faults(&self, watch: &mut FaultWatch) -> io::Result<()> {
        watch.owner = self.faults_owner;
        if watch.owner == 0 { Ok(()) } else { Err(Errno::BUSY.into()) }
    }

    fn fault_counts(&self) -> io::Result<FaultCounts> {
        Ok(FaultCounts::default())
    }

    fn interrupts(&self, watch: &mut InterruptWatch) -> io::Result<()> {
        if let Some(errno) = self.no_interrupts {
            return Err(errno.into());
        }
        watch.told = trapline_abi::INTERRUPT_THREADS_FOLLOWED;
        self.interrupts.borrow_mut().push(*watch);
        Ok(())
    }

    fn config(&self, watch: &mut ConfigWatch) -> io::Result<()> {
        if let Some(errno) = self.no_config {
            return Err(errno.into());
        }
        watch.followed = ((1 << CONFIG_FUNCTIONS.len()) - 1) & !self.not_followed;
        watch.probes = [200, 201, 202, 203];
        self.config.borrow_mut().push(*watch);
        Ok(())
    }

    fn dma(&self, watch: &mut DmaWatch) -> io::Result<()> {
        if let Some(errno) = self.no_dma {
            return Err(errno.into());
        }
        self.dma.borrow_mut().push(*watch);
        watch.followed = (1 << DMA_FUNCTIONS.len()) - 1;
        Ok(())
    }

    fn dma_counts(&self) -> io::Result<DmaCounts> {
        Ok(DmaCounts { missed: 3, pieces: 4 })
    }

    fn lifecycle(&self, watch: &mut LifecycleWatch) -> io::Result<()> {
        if let Some(errno) = self.no_lifecycle {
            return Err(errno.into());
        }
        self.lifecycle.borrow_mut().push(*watch);
        watch.followed = (1 << LIFECYCLE_FUNCTIONS.len()) - 1;
        Ok(())
    }

    fn lifecycle_counts(&self) -> io::Result<LifecycleCounts> {
        Ok(LifecycleCounts { missed: 6 })
    }

    fn log(&self) -> io::Result<()> {
        self.no_log.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn log_counts(&self) -> io::Result<LogCounts> {
        Ok(LogCounts { missed: 5 })
    }

    fn ports(&self, range: &PortRange) -> io::Result<()> {
        if let Some(errno) = self.no_ports {
            return Err(errno.into());
        }
        self.ports.borrow_mut().push(*range);
        Ok(())
    }

    fn port_code(&self, code: &PortCode) -> io::Result<()> {
        if self.ports.borrow().is_empty() {
            return Err(Errno::INVAL.into());
        }
        if let Some((_, errno)) = self.no_code.filter(|(start, _)| *start == code.start) {
            return Err(errno.into());
        }
        self.port_code.borrow_mut().push(*code);
        Ok(())
    }

    fn port_counts(&self) -> io::Result<PortCounts> {
        // One in each stretch.
        let stretches = self.port_code.borrow().iter().filter(|code| code.start != 0).count();
        Ok(PortCounts { found: stretches as u64, ..self.port_counts })
    }

    fn stop(&self) -> io::Result<Counters> {
        self.stopped.set(true);
        Ok(self.on_stop.as_ref().map(|stop| stop()).unwrap_or_default())
    }
}
