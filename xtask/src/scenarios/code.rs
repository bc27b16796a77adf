//! Code probes: handlers that fault in every way, and many probes at one instruction.
//!
//! The test module runs inside of the kernel, on all CPUs, and checks counters, results and contexts itself; here its verdicts are counted, and the kernel's log must be clean.

use anyhow::{Result, ensure};

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;

pub(super) const FAULTS: Scenario = Scenario {
    name: "handlers of code probes that fault are abandoned, counted, and leave no trace, on 4 CPUs",
    check: faults,
};

pub(super) const CROWD: Scenario = Scenario {
    name: "64 probes of 4 users on one instruction come and go under 4 CPUs, and none misses a hit",
    check: crowd,
};

/// Hits of each test, all CPUs together.
const HITS: u64 = 100_000;
/// Tests that the module runs: at each of its two places, and of other kinds of probes.
const TESTS: usize = 2 * (6 * 3 + 5 + 2 + 6 * 2 + 2) + 2;

fn faults(series: Series) -> Result<()> {
    let outcome = succeeds(&Options {
        cpus: 4,
        ..Options::new(
            series,
            format!(
                "modprobe trapline_code hits={HITS} && modprobe -r trapline_code && modprobe -r trapline"
            ),
        )
    })?;
    let log = outcome.log.text();
    let passed = log.lines().filter(|line| line.contains("trapline_code: ok ")).count();
    ensure!(passed == TESTS, "{passed} tests passed, expected {TESTS}:\n{log}");
    Ok(())
}

fn crowd(series: Series) -> Result<()> {
    let outcome = succeeds(&Options {
        cpus: 4,
        // Code is patched that CPUs are running: see `probes`.
        one_thread: true,
        ..Options::new(
            series,
            "modprobe trapline_crowd changes=80 && modprobe -r trapline_crowd && modprobe -r trapline",
        )
    })?;
    let log = outcome.log.text();
    ensure!(
        log.contains("trapline_crowd: ") && log.contains(" hits, 0 wrong"),
        "it did not say how it went:\n{log}"
    );
    Ok(())
}
