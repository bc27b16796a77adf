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
    /// Records it holds while it waits for CPUs, and as many while it waits for ends.
    pub records: usize,
}

impl Default for Bounds {
    /// A second: a record takes less than a microsecond, but the CPU may be a virtual machine's
    /// that is not running just now. Ten for the end of a fault: a page may come from a slow disk,
    /// and a fault that ends in a signal has no end. 64 MiB of records.
    fn default() -> Self {
        Self { wait: Duration::from_secs(1), ends: Duration::from_secs(10), records: 1 << 20 }
    }
}
