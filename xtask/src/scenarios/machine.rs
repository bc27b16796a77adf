//! `cargo xtask vm` itself, as a person calls it.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::Scenario;
use crate::exec;
use crate::failure::{MACHINE_FAILED, TIMED_OUT};
use crate::setup::Series;

pub(super) const TOLD: Scenario = Scenario {
    name: "a machine has the CPUs, memory, devices, modules and files asked for, and its exit status is COMMAND's, or tells of the time limit or of a crash",
    check: told,
};

fn xtask(series: Series, arguments: &[&str]) -> Result<Output> {
    // Not by its path: whoever runs the tests has cargo build xtask anew beside us, and then
    // another file is there, or none.
    // In turn: this is about what a machine is given, and QEMU with a thread for each CPU fails at
    // times by itself.
    let always = ["vm", "--one-thread", "--kernel", series.name()];
    exec::raw(Command::new("/proc/self/exe").args(always).args(arguments))
}

fn told(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    let (inside, back) = (folder.path().join("inside"), folder.path().join("back"));
    fs::write(&inside, "from the host\n")?;
    let inside = inside.to_str().context("a temporary file's name is no text")?;
    let back = back.to_str().context("a temporary folder's name is no text")?;
    let script = "nproc; cat /inside
sed -n 's/^MemTotal: *\\([0-9]*\\) kB/memory \\1/p' /proc/meminfo
cat /sys/bus/pci/devices/*/device | grep -c 0x11e8
modprobe dummy && echo dummy; modprobe e1000e 2>/dev/null || echo no e1000e
trapline status | head -n 1
echo out > /out/result
exit 7";
    let arguments = [
        "--cpus",
        "3",
        "--memory",
        "300",
        "--qemu",
        "-device",
        "--qemu",
        "edu",
        "--modules",
        "dummy",
        "--copy-in",
        inside,
        "--copy-out",
        back,
        "--timeout",
        "120",
        "--",
        script,
    ];
    let output = xtask(series, &arguments)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(7), "ended with {}: {output:?}", output.status);
    let lines: Vec<&str> = said.lines().collect();
    let memory = said.lines().find_map(|line| line.strip_prefix("memory ")?.parse::<u64>().ok());
    ensure!(lines.first() == Some(&"3"), "not 3 CPUs: {said}");
    ensure!(memory.is_some_and(|kib| (100 << 10..300 << 10).contains(&kib)), "not 300 MiB: {said}");
    for text in ["from the host", "\n1\n", "dummy\n", "no e1000e\n", "module                not loaded"] {
        ensure!(said.contains(text), "no `{text}`: {said}");
    }
    ensure!(fs::read_to_string(folder.path().join("back/result"))? == "out\n", "nothing came back");

    for (arguments, status, text) in [
        (["--timeout", "30", "--", "sleep 300"], TIMED_OUT, "COMMAND had not ended after 30 s"),
        (
            ["--timeout", "60", "--", "echo c > /proc/sysrq-trigger; sleep 30"],
            MACHINE_FAILED,
            "the virtual machine went down before COMMAND ended",
        ),
    ] {
        let output = xtask(series, &arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(status.into()),
            "{arguments:?} ended with {}:\n{said}",
            output.status
        );
        ensure!(said.contains(text), "{arguments:?} did not say `{text}`:\n{said}");
    }
    Ok(())
}
