//! One trace of three sources: a driver's load with its accesses, hits of code probes and page
//! faults, in one order, equal to what other witnesses and traces of one source each tell.
//!
//! Accesses are compared with QEMU's record, one by one. Hits and the registers that are accessed
//! are compared with those of a trace of one source, of the same load. Page faults, which depend on
//! what is in memory already, are compared with the kernel's own tracepoints, which stand
//! meanwhile. And the one file says the same in each format that it is converted to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::account::CARD;
use super::faults::{faults_of_ftrace, faults_of_json};
use super::{Scenario, succeeds};
use crate::compare::{Device, Span, compare};
use crate::record::Record;
use crate::setup::Series;
use crate::trace::Trace;
use crate::vm::Options;
use crate::witnesses::Events;
use crate::{build, exec};

pub(super) const EQUAL: Scenario = Scenario {
    name: "one trace of a driver's load has its accesses, hits and page faults in one order, as three traces, QEMU and the kernel's tracepoints have them, in every format",
    check: equal,
};

/// The probes: each is hit a few times by a driver that comes and goes.
const PROBES: [&str; 2] = ["pci_request_selected_regions_exclusive", "register_netdev"];

/// The load: on one CPU, so that it does the same each time.
const LOAD: &str = "taskset -c 1 sh -ec 'modprobe e1000e; modprobe -r e1000e'";

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let [first, second] = PROBES;
    let script = format!(
        "set -e
edu=$(head -n 1 /sys/bus/pci/devices/0000:00:01.0/resource | cut -d ' ' -f 1)
mark() {{ devmem $edu > /dev/null; }}
tracing=/sys/kernel/tracing
echo 20000 > $tracing/buffer_size_kb
modprobe trapline
mark
echo 1 > $tracing/events/exceptions/enable
trapline trace --device 0000:00:02.0 --probe '{first} --stack' --probe {second} --faults \\
    --buffer 64MiB --output /out/all.trace -- {LOAD} > /out/summary
echo 0 > $tracing/events/exceptions/enable
mark
cat $tracing/trace > /out/ftrace
trapline mmio --device 0000:00:02.0 --quiet --output /out/accesses.trace -- {LOAD}
trapline trace --probe '{first} --stack' --probe {second} --quiet --output /out/hits.trace -- {LOAD}
test \"$(trapline list)\" = 'nothing is probed'"
    );
    succeeds(&Options {
        cpus: 4,
        memory: 1024,
        qemu: CARD.map(Into::into).into(),
        modules: vec!["e1000e".into()],
        record: Some(folder.path().join("record")),
        copy_out: Some(folder.path().to_owned()),
        // Code is probed, and tracepoints are switched on and off: QEMU with a thread for each CPU
        // may go on running what was patched. The load is on one CPU in any case.
        ..Options::in_turn(series, script)
    })?;
    let read =
        |name: &str| Ok::<_, anyhow::Error>(Events::read(&folder.path().join(format!("{name}.trace")))?.all);
    let (all, accesses, hits) = (read("all")?, read("accesses")?, read("hits")?);

    ensure!(
        all.windows(2).all(|pair| pair[0]["time_ns"].as_u64() <= pair[1]["time_ns"].as_u64()),
        "the events are not in one order"
    );
    let kinds = counts(&all, "", &["kind"]);
    for (kind, least) in [("access", 500), ("hit", 2), ("fault", 100)] {
        let count = kinds.get(kind).copied().unwrap_or(0);
        ensure!(count >= least, "{count} events of kind {kind}, expected {least} at least: {kinds:?}");
    }
    as_qemu_recorded(folder.path())?;
    let registers = |events| counts(events, "access", &["register"]).into_keys().collect::<Vec<_>>();
    ensure!(registers(&all) == registers(&accesses), "other registers than in a trace of accesses alone");
    let probed = |events| counts(events, "hit", &["probe", "moment", "comm", "function"]);
    ensure!(
        probed(&all) == probed(&hits),
        "hits {:?}, in a trace of hits alone {:?}",
        probed(&all),
        probed(&hits)
    );
    as_the_kernel_counted(folder.path(), &all)?;
    in_every_format(folder.path(), &all)?;
    let summary = fs::read_to_string(folder.path().join("summary"))?;
    for section in ["accesses (", "hits", "page faults"] {
        ensure!(summary.contains(section), "the summary has no section with `{section}`:\n{summary}");
    }
    Ok(())
}

/// How many events of `kind`, or of all, have each value of these fields.
fn counts(events: &[Value], kind: &str, fields: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| kind.is_empty() || event["kind"] == kind) {
        let values: Vec<&str> = fields.iter().map(|field| event[field].as_str().unwrap_or("")).collect();
        *counts.entry(values.join(" ")).or_default() += 1;
    }
    counts
}

fn as_qemu_recorded(folder: &Path) -> Result<()> {
    let wanted = |region: &str| ["edu-mmio", "e1000e-mmio", "msix-table", "msix-pba"].contains(&region);
    let record = Record::read(&folder.join("record"), wanted)?;
    let edu = record.regions.iter().position(|region| region == "edu-mmio").context("no mark is recorded")?;
    let parts = record.marked(|entry| entry.region == edu);
    let recorded = parts.first().context("nothing is recorded between the marks")?;
    let trace = Trace::read(&build::command()?, &folder.join("all.trace"))?;
    let comparison = compare(&trace.accesses, recorded, Device::E1000E, Span::Whole);
    ensure!(comparison.is_equal(), "not as QEMU recorded: {comparison}");
    Ok(())
}

/// Holds the page faults of the programs that began and ended meanwhile against the tracepoints'.
fn as_the_kernel_counted(folder: &Path, all: &[Value]) -> Result<()> {
    let ours = faults_of_json(all)?;
    let theirs = faults_of_ftrace(&fs::read_to_string(folder.join("ftrace"))?)?;
    let modprobes: Vec<u32> = all
        .iter()
        .filter(|event| event["kind"] == "fault" && event["comm"] == "modprobe")
        .filter_map(|event| u32::try_from(event["pid"].as_u64()?).ok())
        .collect();
    ensure!(!modprobes.is_empty(), "no page fault of modprobe's was seen");
    for pid in modprobes {
        let (ours, theirs) = (ours.get(&pid), theirs.get(&pid));
        ensure!(ours == theirs, "modprobe-{pid}: we saw\n{ours:x?}, the tracepoints\n{theirs:x?}");
    }
    Ok(())
}

/// Holds what each format says against the events as JSON has them.
fn in_every_format(folder: &Path, all: &[Value]) -> Result<()> {
    let convert = |to: &str, name: &str| {
        let path = folder.join(name);
        let mut command = Command::new(build::command()?);
        command.arg("convert").arg(folder.join("all.trace")).args(["--to", to, "--output"]).arg(&path);
        exec::output(&mut command)?;
        Ok::<_, anyhow::Error>(path)
    };
    let rows = SerializedFileReader::new(File::open(convert("parquet", "all.parquet")?)?)?;
    let rows = rows.metadata().file_metadata().num_rows();
    // The last row is the trace's end.
    ensure!(rows == all.len() as i64 + 1, "{rows} rows of Parquet, {} events in JSON", all.len());
    // A line of a person's listing may stand for several reads: `… x12 in 3 us`.
    let human = fs::read_to_string(convert("human", "all.txt")?)?;
    let hits =
        human.lines().filter(|line| PROBES.iter().any(|probe| line.contains(&format!(" {probe}")))).count();
    ensure!(hits >= PROBES.len(), "a person's listing has {hits} lines with the probes");
    let report = exec::output(Command::new(build::command()?).arg("report").arg(folder.join("all.trace")))?;
    let faults = counts(all, "", &["kind"])["fault"];
    ensure!(report.contains("page faults") && report.contains("hit"), "the report lacks a kind:\n{report}");
    ensure!(
        faults > 0 && !report.contains("NOT COMPLETE"),
        "the report says that something is missing:\n{report}"
    );
    Ok(())
}
