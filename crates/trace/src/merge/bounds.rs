//! How long, and how much, a merge may hold back.

use std::time::Duration;

/// What a merge waits for at most, for the sake of the order. Past either bound it releases what it
/// holds, oldest first. What comes after all is then late: released at once, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long it waits for a CPU that is in the middle of a record.
    pub wait: Duration,
    /// How long it waits for the end of a page fault, or of an interrupt's handler.
    pub ends: Duration,
    /// Records it holds while it waits for CPUs.
    pub records: usize,
    /// Records it holds while it waits for ends, each of which takes three times as much memory.
    pub waiting: usize,
}

impl Default for Bounds {
    /// A second: a record takes less than a microsecond, but the CPU may be a virtual machine's
    /// that is not running just now. Ten for the end of a fault: a page may come from a slow disk,
    /// and a fault that ends in a signal has no end. 8 MiB of records, which is a ring of the usual
    /// size, and 12 MiB of those that wait for ends: one less than a power of two, since their
    /// queue doubles its room when it is full.
    fn default() -> Self {
        let (wait, ends) = (Duration::from_secs(1), Duration::from_secs(10));
        Self { wait, ends, records: 1 << 17, waiting: (1 << 16) - 1 }
    }
}
