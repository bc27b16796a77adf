//! CPUs that go and come while Trapline patches code: neither waits for the other for ever.
//!
//! Whoever registers a probe in code, or switches a tracepoint, an ftrace hook or the page-fault
//! gate, waits for CPU hotplug; and a driver may map its device in a hotplug callback, where a
//! trace of that device waits for Trapline. If Trapline held there what it needs here, both would
//! hang.

use std::fs;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::account::{DEVICES, NVME};
use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::trace::Trace;
use crate::vm::Options;

pub(super) const SURVIVED: Scenario = Scenario {
    name: "CPUs go and come, whose driver maps its traced device then, while code probes, page-fault watches and handlers begin and end: nothing hangs, and the trace is whole",
    check: survived,
};

/// Times that everything which patches code begins and ends.
const ROUNDS: u32 = 6;

fn survived(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        copy_out: Some(folder.path().to_owned()),
        // Code is patched while CPUs run it: see `probes`.
        ..Options::in_turn(
            series,
            format!(
                "set -ex
modprobe trapline_hotplug device=nvme
told=/sys/module/trapline_hotplug/parameters
cat > /churn <<'END'
set -ex
(
    cd /sys/devices/system/cpu
    until [ -e /tmp/enough ]; do
        for cpu in 1 2 3; do
            echo 0 > cpu$cpu/online
            echo 1 > cpu$cpu/online
        done
    done
) &
cpus=$!
quiet='--quiet --buffer 64KiB --format json --output /dev/null'
for round in $(seq {ROUNDS}); do
    trapline probe $quiet ksys_read -- true || test $? = 1
    trapline probe $quiet ksys_write --return -- true || test $? = 1
    trapline faults $quiet --latency -- true || test $? = 1
    trapline faults $quiet --gate idt -- true || test $? = 1
    trapline device {NVME} --without accesses $quiet -- true || test $? = 1
    modprobe trapline_claims
    rmmod trapline_claims
done
> /tmp/enough
wait $cpus
END
before=$(cat $told/callbacks)
trapline mmio --device {NVME} --quiet --format json --output /out/trace.json -- sh /churn
echo $(($(cat $told/callbacks) - before)) > /out/callbacks
grep . $told/*
grep -qx 0 $told/mismatches
rmmod trapline_hotplug
rmmod trapline"
            ),
        )
    })?;
    let read = |name: &str| fs::read_to_string(folder.path().join(name));
    let trace = Trace::parse(&read("trace.json")?)?;
    let callbacks: usize = read("callbacks")?.trim().parse().context("the module told no number")?;
    // Each CPU goes and comes.
    ensure!(callbacks >= 12, "CPUs came and went {callbacks} times only");
    ensure!(
        trace.dropped == 0 && trace.windows == 0 && trace.accesses.len() == 2 * callbacks,
        "{callbacks} callbacks made two accesses each; the trace has {}, dropped {}",
        trace.accesses.len(),
        trace.dropped
    );
    Ok(())
}
