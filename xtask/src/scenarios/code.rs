//! Code probes: handlers that fault in every way, and many probes at one instruction.
//!
//! The test module runs inside of the kernel, on all CPUs, and checks counters, results and
//! contexts itself; here its verdicts are counted, and the kernel's log must be clean.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;

pub(super) const FAULTS: Scenario = Scenario {
    name: "handlers of code probes that fault are abandoned, counted, and leave no trace, on 4 CPUs",
    check: faults,
};

pub(super) const CROWD: Scenario = Scenario {
    name: "64 probes of 4 users in 2 modules on one instruction come and go under 4 CPUs, those of commands as well, and none misses a hit",
    check: crowd,
};

pub(super) const TRACED: Scenario = Scenario {
    name: "handlers that fault inside of traced functions are abandoned, every return goes where it belongs, and a patched function can be probed",
    check: traced,
};

/// Hits of each test, all CPUs together.
const HITS: u64 = 100_000;
/// Ways to the probed code.
const WAYS: usize = 3;
/// Tests that the module runs: by each way to the probed code; and, by a breakpoint, of the probed
/// instruction's own faults and of other kinds of probes.
const TESTS: usize = WAYS * (7 * 3 + 5 + 3 + 2 + 7 * 2 + 4 + 5) - BY_JUMP_NOT + 9 + 2;
/// Those with a post handler: by a jump there is none.
const BY_JUMP_NOT: usize = 7 * 2 + 3;

fn faults(series: Series) -> Result<()> {
    let (mut passed, mut logs) = (0, String::new());
    // A machine for each way, so that none comes near its time limit on a slow host.
    for (way, jumps) in [("breakpoint", 0), ("jump", 1), ("entry", 1)] {
        let outcome = succeeds(&Options {
            cpus: 4,
            // QEMU with a thread for each CPU may go on running a breakpoint that was taken away,
            // of a probe that was disabled as of a test before. 6.1 looks whether one is there, and
            // if not runs the instruction, which is the breakpoint again (kprobe_int3_handler()): a
            // CPU was seen to do so for ever. Later kernels rely on the CPU and end in an oops.
            one_thread: true,
            ..Options::new(
                series,
                format!(
                    "set -e
echo {jumps} >/proc/sys/debug/kprobes-optimization
modprobe trapline_code hits={HITS} at={way}
rmmod trapline_code trapline"
                ),
            )
        })?;
        let log = outcome.log.text();
        passed += log.lines().filter(|line| line.contains("trapline_code: ok ")).count();
        logs.push_str(&log);
    }
    ensure!(passed == TESTS, "{passed} tests passed, expected {TESTS}:\n{logs}");
    Ok(())
}

/// Traced by kretprobes in the first rounds, by the function_graph tracer as well in the second.
fn traced(series: Series) -> Result<()> {
    let outcome = succeeds(&Options {
        // The tracer patches code: see `probes`.
        one_thread: true,
        ..Options::new(
            series,
            "set -e
modprobe trapline_traced
rounds=/sys/module/trapline_traced/parameters/rounds
echo 1000 >$rounds
cd /sys/kernel/tracing
echo ':mod:trapline_traced' >set_ftrace_filter
echo function_graph >current_tracer
echo 1000 >$rounds
echo innermost $(grep -c traced_innermost trace)
echo nop >current_tracer
echo 1000 >$rounds
echo 1000 >/sys/module/trapline_traced/parameters/patched
rmmod trapline_traced
rmmod trapline",
        )
    })?;
    let said = String::from_utf8_lossy(&outcome.stdout);
    let traced = said.lines().find_map(|line| line.strip_prefix("innermost "));
    let traced: u64 = traced.context("the guest did not say what was traced")?.trim().parse()?;
    // The ring may have lost some.
    ensure!(traced > 500, "the tracer saw {traced} calls");
    Ok(())
}

fn crowd(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    let outcome = succeeds(&Options {
        cpus: 4,
        // Code is patched that CPUs are running: see `probes`.
        one_thread: true,
        // Rings that hold what is hit while a command waits for others to patch code: with CPUs
        // that take turns, seconds.
        memory: 2048,
        copy_out: Some(folder.path().to_owned()),
        ..Options::new(
            series,
            format!(
                "set -e
modprobe trapline_crowd
modprobe trapline_crowd_one changes=500 & one=$!
modprobe trapline_crowd_two changes=500 & two=$!
probe() {{ trapline probe trapline_code_target number=%di:u64 --buffer 64MiB --quiet --format json --output /out/$*; }}
number=0
while kill -0 $one 2>/dev/null || kill -0 $two 2>/dev/null; do
  probe short.$number.json -- sleep 0.1 & short=$!
  probe long.$number.json -- sleep 0.5 & long=$!
  probe few.$number.json --max {FEW}
  wait $short
  wait $long
  number=$((number + 1))
done
wait $one
wait $two
rmmod trapline_crowd_one trapline_crowd_two
# Its own kprobe holds it for as long as that is being registered.
for try in $(seq 50); do
  if rmmod trapline_crowd 2>/dev/null; then break; fi
  sleep 0.1
done
rmmod trapline"
            ),
        )
    })?;
    let log = outcome.log.text();
    for module in ["trapline_crowd", "trapline_crowd_one", "trapline_crowd_two"] {
        let said = log.lines().find(|line| line.contains(&format!("{module}: ")) && line.ends_with(" wrong"));
        ensure!(said.is_some_and(|said| said.ends_with(", 0 wrong")), "{module} has not passed:\n{log}");
    }
    let mut commands = 0;
    for entry in fs::read_dir(folder.path())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hits = without_gap(&path).with_context(|| name.clone())?;
        ensure!(hits > 0 && (hits == FEW || !name.starts_with("few.")), "{name} has {hits} hits");
        commands += 1;
    }
    ensure!(commands >= 6, "only {commands} commands came and went");
    Ok(())
}

/// Hits of a command that asked for no more.
const FEW: u64 = 500;

/// The hits in a file of JSON Lines, if each CPU's are numbered without a gap.
fn without_gap(path: &Path) -> Result<u64> {
    let (mut last, mut hits, mut ended) = (BTreeMap::<u64, u64>::new(), 0, false);
    for line in fs::read_to_string(path)?.lines() {
        let event: serde_json::Value = serde_json::from_str(line)?;
        match event["kind"].as_str() {
            Some("hit") => {
                let cpu = event["cpu"].as_u64().context("a hit without a CPU")?;
                let number = event["arguments"][0]["value"].as_str().and_then(|value| value.parse().ok());
                let number: u64 = number.with_context(|| format!("a hit without its number: {line}"))?;
                let before = last.insert(cpu, number);
                ensure!(before.is_none_or(|before| number == before + 1), "after {before:?} came {line}");
                hits += 1;
            }
            Some("end") => ended = true,
            _ => {}
        }
    }
    ensure!(ended, "the trace was cut off");
    Ok(hits)
}
