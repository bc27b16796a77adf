//! Injection by the command: the stock driver of a device binds while registers of it lie, and what
//! QEMU recorded, what the driver made of it, what the trace says and what the table counts agree.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::account::CARD;
use super::{Scenario, succeeds};
use crate::record::Record;
use crate::setup::Series;
use crate::vm::{Options, Outcome};
use crate::{build, exec};

pub(super) const TOLD: Scenario = Scenario {
    name: "e1000e believes a register that lies, the device of QEMU never said so, and the trace and the table of trapline inject tell of each lie",
    check: told,
};

/// The rules: a speed that the device has not, a write that is not made, one that is never met.
const RULES: [&str; 3] = ["STATUS.SPEED = 0", "write FCAL drop", "BAR0+0x5b58 ones at 1000000"];

/// The seed, which the trace must have.
const SEED: u64 = 7;

/// Where STATUS is, and its field SPEED.
const STATUS: u64 = 0x8;
const SPEED: u64 = 0xc0;

/// Where FCAL is.
const FCAL: u64 = 0x28;

fn told(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let [speed, dropped, unmet] = RULES;
    let script = format!(
        "set -e
edu=$(head -n 1 /sys/bus/pci/devices/0000:00:01.0/resource | cut -d ' ' -f 1)
mark() {{ devmem $edu > /dev/null; }}
status() {{ wanted=$1; shift; got=0; \"$@\" 2> /tmp/said || got=$?; test $got = $wanted || {{ echo \"$* gave $got\"; cat /tmp/said; exit 1; }}; }}
card=0000:00:02.0
modprobe trapline
mark
trapline inject --device $card '{speed}' '{dropped}' '{unmet}' --seed {SEED} --output /out/lies.trace -- \\
    sh -ec 'modprobe e1000e
ip link set eth0 up
until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do sleep 0.05; done
cat /sys/class/net/eth0/speed > /out/speed
modprobe -r e1000e' > /out/table 2> /out/said
mark
# Without lies the card is as it was.
modprobe e1000e
ip link set eth0 up
until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do sleep 0.05; done
cat /sys/class/net/eth0/speed > /out/speed-after
modprobe -r e1000e
# What is not to be had is told, and nothing of it is left.
status 2 trapline inject --device $card 'STATSU ones' -- true
grep -q 'did you mean one of: STATUS' /tmp/said
status 1 trapline inject --device $card 'STATUS ones' -- true
grep -q 'nothing was injected' /tmp/said
status 9 trapline inject --device $card 'STATUS ones' -- sh -c 'exit 9'
grep -q 'COMMAND ended with status 9, and nothing was injected before that' /tmp/said
# It goes away before its driver comes, which must cope with that.
status 0 trapline inject --device $card '* gone' --output /out/gone.trace -- modprobe e1000e > /out/gone-table
test ! -e /sys/class/net/eth0"
    );
    let outcome = succeeds(&Options {
        cpus: 2,
        qemu: CARD.map(Into::into).into(),
        modules: vec!["e1000e".into()],
        record: Some(folder.path().join("record")),
        copy_out: Some(folder.path().to_owned()),
        ..Options::in_turn(series, script)
    })?;
    let said = |name: &str| {
        let path = folder.path().join(name);
        fs::read_to_string(&path).with_context(|| format!("no {name}"))
    };
    let speeds = (said("speed")?.trim().to_owned(), said("speed-after")?.trim().to_owned());
    ensure!(speeds == ("10".into(), "1000".into()), "the driver took the card's speed for {speeds:?}");

    let lines = lines(&folder.path().join("lies.trace"))?;
    let header = lines.first().context("the trace is empty")?;
    let injected = &header["sources"][0]["injected"];
    ensure!(injected["seed"] == SEED, "the header tells of seed {}", injected["seed"]);
    let rules: Vec<&str> =
        injected["rules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(rules == RULES, "the header tells of the rules {rules:?}");
    let lies = marked(&lines)?;
    as_qemu_recorded(folder.path(), &lines)?;

    let table = said("table")?;
    for (rule, lies) in [(RULES[0], lies.reads), (RULES[1], lies.writes)] {
        let line = format!("{lies:>12} {lies:>12}  {rule}\n");
        ensure!(lies > 0 && table.contains(&line), "no line `{line}` in\n{table}");
    }
    let unmet = format!("{}  never applied", RULES[2]);
    ensure!(table.contains(&unmet), "no `{unmet}` in\n{table}");
    let before = said("said")?;
    for words in ["injecting into 0000:00:02.0", "seed 7", "BAR 0+0x8 bits 7:6", "BAR 0+0x28, 4 bytes"] {
        ensure!(before.contains(words), "it did not say `{words}`:\n{before}");
    }
    as_the_kernel_said(&outcome, lies)?;
    let gone = said("gone-table")?;
    ensure!(
        gone.contains("  * gone\n") || gone.trim_end().ends_with("  * gone"),
        "no line of `* gone` in\n{gone}"
    );
    Ok(())
}

/// How many accesses were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lies {
    reads: usize,
    writes: usize,
}

/// A trace file as JSON, with its header; nothing may be missing from it.
fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = exec::output(Command::new(build::command()?).arg("convert").arg(path).args(["--to", "json"]))?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let end = lines.last().filter(|line| line["kind"] == "end").context("the trace is cut off")?;
    ensure!(end["dropped"] == 0 && end["malformed"] == 0, "records are missing: {end}");
    Ok(lines)
}

/// A number that JSON has as a hexadecimal text.
fn hex(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// The accesses of a direction to what is at `offset`.
fn accesses<'a>(
    lines: &'a [Value],
    op: &'static str,
    register: &'static str,
) -> impl Iterator<Item = &'a Value> {
    lines
        .iter()
        .filter(move |line| line["kind"] == "access" && line["op"] == op && line["register"] == register)
}

/// Whether each access that the rules are about is marked, with what it was, and no other is.
fn marked(lines: &[Value]) -> Result<Lies> {
    let mut lies = Lies { reads: 0, writes: 0 };
    for read in accesses(lines, "R", "STATUS") {
        let (value, original) = (hex(&read["value"]), hex(&read["original"]));
        ensure!(
            read["change"] == "changed" && value.is_some() && value == original.map(|value| value & !SPEED),
            "a read of STATUS is not marked as it should be: {read}"
        );
        lies.reads += 1;
    }
    for write in accesses(lines, "W", "FCAL") {
        let flags = write["flags"].to_string();
        ensure!(flags.contains("dropped"), "a write of FCAL is not marked as dropped: {write}");
        lies.writes += 1;
    }
    let all = lines
        .iter()
        .filter(|line| !line["change"].is_null() || line["flags"].to_string().contains("dropped"));
    ensure!(all.count() == lies.reads + lies.writes, "other accesses are marked too");
    Ok(lies)
}

/// Holds what the device said by the trace against what it said by QEMU's record.
fn as_qemu_recorded(folder: &Path, lines: &[Value]) -> Result<()> {
    let record =
        Record::read(&folder.join("record"), |region| ["edu-mmio", "e1000e-mmio"].contains(&region))?;
    let edu = record.regions.iter().position(|region| region == "edu-mmio").context("no mark is recorded")?;
    let parts = record.marked(|entry| entry.region == edu);
    let recorded = parts.first().context("nothing is recorded between the marks")?;
    let first = lines.iter().find(|line| line["register"] == "STATUS").context("STATUS was not accessed")?;
    let bar = hex(&first["physical"]).context("no physical address")? - STATUS;
    let at = |offset: u64, write: bool| {
        recorded.iter().filter(move |access| access.address == bar + offset && access.write == write)
    };
    let mut device: Vec<u64> = at(STATUS, false)
        .map(|access| access.bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        .collect();
    let mut trace: Vec<u64> =
        accesses(lines, "R", "STATUS").filter_map(|read| hex(&read["original"])).collect();
    device.sort_unstable();
    trace.sort_unstable();
    ensure!(device == trace, "STATUS was {trace:x?} by the trace, {device:x?} by QEMU's record");
    ensure!(device.iter().any(|value| value & SPEED != 0), "the device itself said no speed: {device:x?}");
    ensure!(at(FCAL, true).count() == 0, "a write of FCAL that was dropped has reached the device");
    Ok(())
}

/// Whether the kernel log tells of the injection, for who reads an oops after it.
fn as_the_kernel_said(outcome: &Outcome, lies: Lies) -> Result<()> {
    let log = outcome.log.text();
    let ended = format!("injection has ended; accesses that were changed: {}", lies.reads + lies.writes);
    ensure!(log.contains("injection begins") && log.contains(&ended), "no `{ended}` in the kernel log");
    Ok(())
}
