//! What a trace is of: the seam between the way a trace is taken and each kind of source.

use trapline_abi::{FaultCounts, Record};
use trapline_trace::{Event, Header, ProbeTotals, Registers};

use super::arming::Arming;
use crate::device::Control;
use crate::refusal::Refusal;

/// A source of events. A trace has one or more of them.
pub(crate) trait Source {
    /// Whether it is of accesses, which mmiotrace's format can have.
    fn is_of_accesses(&self) -> bool {
        false
    }

    /// Arms it in the session that has just been started; says what is armed unless that is
    /// to be done quietly.
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal>;

    /// Adds to the trace's header what tells of this source.
    fn describe(&self, header: &mut Header);

    /// The register files that name registers, if it has any.
    fn registers(&self) -> Option<&Registers> {
        None
    }

    /// The process that it is about, if it is about one alone.
    fn process(&self) -> Option<u32> {
        None
    }

    /// What each event passes through before it is named; it lets events of other sources pass.
    fn prepare(&mut self) -> Option<Box<dyn Prepare + Send>> {
        None
    }

    /// Whether each page fault is told of with how long it took.
    fn latency(&self) -> bool {
        false
    }

    /// Whether calls of handlers are told of with how they ended.
    fn handlers(&self) -> bool {
        false
    }

    /// Looks, once in a while and at the end, whether what is traced is still there; tells it once
    /// if not.
    fn look(&mut self, _control: &dyn Control) {}

    /// What it counted, asked after the session was stopped.
    fn counted(&mut self, _control: &dyn Control) -> Counted {
        Counted::default()
    }

    /// What is said beside the trace when all is over: with the summary, which is where the trace
    /// is not. Only what must be known in any case if `quiet`.
    fn beside(&self, _quiet: bool) -> Option<String> {
        None
    }

    /// What it has not done that it was there for, if it has not.
    fn idle(&self) -> Option<&'static str> {
        None
    }

    /// What is printed on standard output when all is over.
    fn last_words(&self) -> Option<String> {
        None
    }
}

/// What a source counted in a session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// What its code probes did.
    pub probes: ProbeTotals,
    /// What its watch of page faults counted.
    pub faults: Option<FaultCounts>,
    /// Accesses to configuration space that the kernel could not deliver.
    pub config_missed: u64,
    /// Accesses to I/O ports that the kernel could not deliver.
    pub ports_missed: u64,
    /// Instructions that access I/O ports and could not be probed.
    pub ports_refused: u64,
    /// Calls about DMA that the kernel could not deliver.
    pub dma_missed: u64,
    /// Pieces of scatter lists that were not recorded.
    pub dma_pieces_missed: u64,
    /// Calls of devices' lifecycles that the kernel could not deliver.
    pub lifecycle_missed: u64,
    /// Lines of the kernel log that the kernel could not deliver.
    pub log_missed: u64,
}

impl Counted {
    /// With what another source counted.
    pub(super) fn and(mut self, other: Self) -> Self {
        let ProbeTotals { hits, missed, faults, fetch_faults, unfulfilled, undecided, gone } = other.probes;
        self.probes.hits += hits;
        self.probes.missed += missed;
        self.probes.faults += faults;
        self.probes.fetch_faults += fetch_faults;
        self.probes.unfulfilled += unfulfilled;
        self.probes.undecided += undecided;
        self.probes.gone += gone;
        self.faults = self.faults.or(other.faults);
        self.config_missed += other.config_missed;
        self.ports_missed += other.ports_missed;
        self.ports_refused += other.ports_refused;
        self.dma_missed += other.dma_missed;
        self.dma_pieces_missed += other.dma_pieces_missed;
        self.lifecycle_missed += other.lifecycle_missed;
        self.log_missed += other.log_missed;
        self
    }
}

/// What events pass through before they are named.
pub(crate) trait Prepare {
    /// The event with what is known of it; `None` if it was not asked for.
    fn prepare<'e>(&'e mut self, event: Event<'e>) -> Option<Event<'e>>;

    /// Looks at the records of events to come: what is asked of the system about them is asked as
    /// early as can be.
    fn ahead(&mut self, records: &[Record]);
}
