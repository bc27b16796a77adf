//! What a trace says of itself: at its start where it was taken, at its end what was counted.

use serde::{Deserialize, Serialize};
use trapline_abi::{Counters, LIST_GONE, ListEntry, Way};

use crate::{Device, Probe, Source};

/// What is known when a trace starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the Trapline that took it.
    pub trapline: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// The machine's name (`uname -n`); empty in traces that don't tell it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// Possible CPUs of the machine.
    pub cpus: u32,
    /// Start of the trace: nanoseconds since 1970 by the wall clock.
    pub started: u64,
    /// The same moment on the trace's own clock, the kernel log's: nanoseconds. 0 if not known.
    pub started_clock: u64,
    /// What was asked for, as a person would type it.
    pub command: String,
    /// All PCI devices of the machine at the start, in the order of their addresses.
    pub devices: Vec<Device>,
    /// The code probes whose hits are in it.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// What it was asked to record, and with what parameters; nothing in traces of format 3, which
    /// don't tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

impl Header {
    /// Whether nothing but accesses was asked for, as far as it tells.
    pub fn is_of_accesses_alone(&self) -> bool {
        self.probes.is_empty() && self.sources.iter().all(|source| matches!(source, Source::Access(_)))
    }
}

/// What was counted by the end of a trace. A file without it was cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// End of the trace: nanoseconds since 1970 by the wall clock.
    pub ended: u64,
    /// Accesses that the engine performed, by [`Way`]: emulated, redirected, stepped.
    pub performed: [u64; Way::COUNT],
    /// Records that found a ring full: these are missing.
    pub dropped: u64,
    /// Times a page was open for a single step: accesses of other CPUs may be missing.
    pub windows: u64,
    /// What the code probes counted, all together.
    #[serde(default)]
    pub probes: ProbeTotals,
    /// Records that made no sense, not in the trace. Always 0 unless module and command disagree
    /// about the ABI.
    pub malformed: u64,
    /// Events that came too late to be put in order with those of other CPUs. They are in the
    /// trace, in order within their CPU.
    pub late: u64,
    /// Accesses to configuration space, of whichever device, that the kernel could not deliver:
    /// inside of another probe's handler, or with too many under way. Left out of files and JSON if
    /// there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub config_missed: u64,
    /// Accesses to I/O ports, to whichever, that the kernel could not deliver: inside of another
    /// probe's handler, or beyond 65,536 of one string instruction. Left out as well if there are
    /// none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub ports_missed: u64,
    /// Instructions that access I/O ports and could not be probed: what they accessed is not told.
    /// Left out as well if there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub ports_refused: u64,
    /// Calls of the DMA interface, for whichever device, that the kernel could not deliver: inside
    /// of another probe's handler, or with too many under way. Left out as well if there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub dma_missed: u64,
    /// Pieces of scatter lists that were too long or could not be read. Left out as well if there
    /// are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub dma_pieces_missed: u64,
    /// Lines of the kernel log that the kernel did not deliver. Left out as well if there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub log_missed: u64,
    /// Calls that do something with a device as a whole, whichever, that the kernel did not
    /// deliver. Left out as well if there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lifecycle_missed: u64,
}

/// What code probes counted by the end of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTotals {
    /// Hits.
    pub hits: u64,
    /// Hits that the kernel could not deliver: inside of another probe's handler, or, for a return,
    /// with too many calls under way.
    pub missed: u64,
    /// Handlers that were abandoned.
    pub faults: u64,
    /// Arguments that could not be fetched.
    pub fetch_faults: u64,
    /// Of the hits, those that were not recorded since they did not fulfil the condition.
    #[serde(default)]
    pub unfulfilled: u64,
    /// Of these, those about which nobody knows: something that the condition compares could not be
    /// fetched.
    #[serde(default)]
    pub undecided: u64,
    /// Probes whose module went away: what it did once it was loaded again is missing.
    #[serde(default)]
    pub gone: u64,
}

impl ProbeTotals {
    /// Adds one probe, as the module lists it.
    pub fn add(&mut self, ListEntry { flags, counts, .. }: &ListEntry) {
        self.hits += counts.hits;
        self.missed += counts.missed;
        self.faults += counts.pre_faults + counts.post_faults;
        self.fetch_faults += counts.fetch_faults;
        self.unfulfilled += counts.unfulfilled;
        self.undecided += counts.undecided;
        self.gone += u64::from(flags & LIST_GONE != 0);
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Totals {
    /// From what the module counted in the session, as `STOP` gives it, and from what the merge
    /// noticed.
    pub fn new(session: &Counters, merge: &crate::Merge) -> Self {
        Self {
            ended: 0,
            performed: session.accesses,
            dropped: session.dropped,
            windows: session.windows,
            probes: ProbeTotals::default(),
            malformed: merge.malformed(),
            late: merge.late(),
            config_missed: 0,
            ports_missed: 0,
            ports_refused: 0,
            dma_missed: 0,
            dma_pieces_missed: 0,
            log_missed: 0,
            lifecycle_missed: 0,
        }
    }
}
