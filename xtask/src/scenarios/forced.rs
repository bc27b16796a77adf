//! Handlers that the kernel's parameter `threadirqs` puts into threads: each call is told once,
//! though newer kernels have two functions for it, one of which calls the other.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;
use crate::witnesses::interrupts::has;
use crate::{build, exec};

pub(super) const ONCE: Scenario = Scenario {
    name: "with threadirqs each call of e1000e's handler in its thread is told once, as the kernel's own probe has it",
    check: once,
};

const DEVICES: [&str; 4] =
    ["-netdev", "user,id=net,restrict=on", "-device", "e1000e,addr=5,netdev=net,romfile="];
const CARD: &str = "0000:00:05.0";

fn once(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let script = format!(
        "set -e
tracing=/sys/kernel/tracing
grep -q ' irq_forced_thread_fn$' /proc/kallsyms
echo 'p:forced irq_forced_thread_fn' > $tracing/kprobe_events
echo 1 > $tracing/events/kprobes/forced/enable
modprobe trapline
trapline device {CARD} --without accesses --quiet --output /out/trace -- sh -ec '
    # Another return probe, which comes before ours: the return address is not on the stack then.
    echo r:other irq_thread_fn >> /sys/kernel/tracing/kprobe_events
    echo 1 > /sys/kernel/tracing/events/kprobes/other/enable
    modprobe e1000e IntMode=0
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do sleep 0.05; done
    ping -c 10 -i 0.1 -W 5 10.0.2.2
    ip link set eth0 down
    rmmod e1000e' > /dev/null
cat $tracing/trace > /out/ftrace
cat $tracing/per_cpu/cpu*/stats | grep '^overrun' | sort -u > /out/overrun"
    );
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        modules: vec!["e1000e".into()],
        copy_out: Some(folder.path().to_owned()),
        append: Some("threadirqs".into()),
        ..Options::in_turn(series, script)
    })?;
    let read =
        |what: &str| fs::read_to_string(folder.path().join(what)).with_context(|| format!("no {what}"));
    ensure!(read("overrun")? == "overrun: 0\n", "ftrace's buffer was too small");
    // The card's driver calls its interrupt so; the task's name is cut at 15 characters.
    let is_cards = |line: &&str| {
        line.contains(": forced: ") && line.trim_start().starts_with("irq/") && line.contains("-eth0-")
    };
    let forced = read("ftrace")?.lines().filter(is_cards).count();
    let mut convert = Command::new(build::command()?);
    convert.arg("convert").arg(folder.path().join("trace")).args(["--to", "json"]);
    let mut threads = 0;
    for line in exec::output(&mut convert)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["kind"] == "end" {
            ensure!(event["dropped"] == 0, "records are missing: {event}");
        }
        threads += usize::from(event["kind"] == "interrupt" && has(&event, "thread"));
    }
    ensure!(forced >= 10, "the kernel's own probe has {forced} calls");
    ensure!(threads == forced, "{threads} calls in threads are told, the kernel's own probe has {forced}");
    Ok(())
}
