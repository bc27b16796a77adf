//! Equality on real drivers: the traces of e1000e and NVMe hold what QEMU recorded, access by
//! access.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Scenario, succeeds};
use crate::drivers::{machine, witnessed};
use crate::setup::Series;
use crate::{build, exec};

pub(super) const TRACED: Scenario =
    Scenario { name: "the traces of e1000e and NVMe equal QEMU's record on 4 CPUs", check: traced };

/// Fewer accesses than this would mean that the driver did not get to work.
const AT_LEAST: usize = 500;

fn traced(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let outcome = succeeds(&machine(series, folder.path())?)?;
    for seen in witnessed(&outcome, folder.path())? {
        let name = seen.subject.name;
        ensure!(seen.comparison.is_equal(), "{name}: {}", seen.comparison);
        ensure!(seen.record.len() >= AT_LEAST, "{name} made only {} accesses", seen.record.len());
        ensure!(seen.trace.dropped == 0, "{name}: {} records found no room", seen.trace.dropped);
        ensure!(
            seen.trace.windows == 0,
            "{name}: other CPUs may have been missed {} times",
            seen.trace.windows
        );
        let human =
            exec::output(Command::new(build::command()?).args(["convert", "--to", "human"]).arg(&seen.file))?;
        if name == "e1000e" {
            let mapped: Vec<&str> = human.lines().filter(|line| line.contains(" mapped by ")).collect();
            ensure!(
                mapped.iter().any(|line| line.contains(" in e1000_probe+")),
                "{name}: e1000_probe is not said to have mapped the registers, but:\n{}",
                mapped.join("\n")
            );
        }
    }
    Ok(())
}
