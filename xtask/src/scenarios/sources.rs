//! Sessions with several sources: accesses, hits of code probes and page faults in one set of
//! rings.

use anyhow::Result;

use super::account::DEVICES;
use super::{Scenario, succeeds};
use crate::build;
use crate::setup::Series;
use crate::vm::Options;

pub(super) const SHARED: Scenario = Scenario {
    name: "one session records accesses, hits and page faults in one set of rings; another is told whose they are, has them afterwards, and both are marked; one with rules of injection changes what they say",
    check: shared,
};

fn shared(series: Series) -> Result<()> {
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        copy_in: vec![build::sources()?],
        ..Options::in_turn(
            series,
            "set -e
modprobe trapline
modprobe trapline_hotplug device=nvme
# The module accesses the first page of the controller's memory buffer: its BAR 2.
base=$(sed -n 3p /sys/bus/pci/devices/0000:00:02.0/resource | cut -d ' ' -f 1)
probed=$(grep ' ksys_read$' /proc/kallsyms | cut -d ' ' -f 1)
/trapline-sources $base 1000 $probed
grep . /sys/module/trapline_hotplug/parameters/*
grep -qx 0 /sys/module/trapline_hotplug/parameters/mismatches
/trapline-sources $base 1000
# One read was changed, and no other.
grep -qx 1 /sys/module/trapline_hotplug/parameters/mismatches
rmmod trapline_hotplug
rmmod trapline",
        )
    })?;
    Ok(())
}
