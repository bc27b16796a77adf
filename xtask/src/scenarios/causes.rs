//! Page faults of every cause that a program can provoke, against the model of paging.

use anyhow::{Result, ensure};

use super::{Scenario, succeeds};
use crate::build;
use crate::setup::Series;
use crate::vm::Options;

pub(super) const AS_MODELLED: Scenario = Scenario {
    name: "page faults of each cause have the error code and address that the model of paging says",
    check: as_modelled,
};

/// Two sizes of pages with 21 accesses each, three of the kernel's half, six by the kernel.
const ACCESSES: usize = 51;

fn as_modelled(series: Series) -> Result<()> {
    let options = Options {
        copy_in: vec![build::provoke()?],
        ..Options::in_turn(series, "mount -t tracefs none /sys/kernel/tracing 2>/dev/null; /trapline-provoke")
    };
    let said = succeeds(&options)?.text();
    let told = said.lines().filter(|line| line.starts_with("ok ")).count();
    ensure!(told == ACCESSES, "{told} accesses, not {ACCESSES}:\n{said}");
    Ok(())
}
