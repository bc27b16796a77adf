//! Every form of instruction that accesses memory, on a device: the module's table, the trace and
//! QEMU's record agree.
//!
//! Among them are those that in-tree mmiotrace records wrong or loses: immediate stores with SIB,
//! `movq $imm32`, read-modify-write, locked and vector accesses, `memcpy_fromio`, an `ioremap` that
//! starts inside a page, pages of 2 MiB and 4 KiB in one mapping, two operands on the device,
//! accesses across two pages.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::account::{DEVICES, EDU, NVME, listed};
use super::{Scenario, succeeds};
use crate::access::Access;
use crate::build;
use crate::compare::{Device, Span, compare};
use crate::record::Record;
use crate::setup::Series;
use crate::trace::Trace;
use crate::vm::{Options, Outcome};

pub(super) const EQUAL: Scenario = Scenario {
    name: "each form of instruction is traced as its table says and as QEMU recorded it",
    check: equal,
};
pub(super) const BESIDE: Scenario = Scenario {
    name: "what an instruction does beside the traced range is done and not recorded",
    check: beside,
};
pub(super) const STEPPED: Scenario = Scenario {
    name: "an instruction that only the CPU can run is stepped, and the trace says what it may have missed",
    check: stepped,
};

/// The CPU that runs the forms.
const CPU: u32 = 2;
/// The registers of the controller memory buffer take every width (QEMU's hw/nvme/ctrl.c,
/// `nvme_cmb_ops`).
const BUFFER: Device = Device { narrowest: 1, widest: 8 };

/// Runs forms on a device, traced, and keeps what the module lists: `run DEVICE WHAT PLACE
/// TRACE-OPTIONS...`.
const RUN: &str = "set -e
forms=/sys/kernel/debug/trapline_forms
run() {
    name=$1.$2; command=\"$2 $3 2\"; shift 3
    trapline mmio \"$@\" --quiet --buffer 32MiB --output /out/$name.trace -- sh -ec \"echo $command > $forms/run\"
    cat $forms/accesses > /out/$name.accesses
    echo \"$name: $(cat $forms/results)\"
    grep -q 'mismatches 0$' $forms/results
}
";

fn machine(series: Series, folder: &Path, script: &str) -> Result<Outcome> {
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        record: Some(folder.join("record")),
        copy_out: Some(folder.to_owned()),
        ..Options::in_turn(series, format!("{RUN}{script}"))
    })
}

/// The trace of one run and what the module lists for it.
fn both(folder: &Path, name: &str) -> Result<(Vec<Access>, Vec<Access>)> {
    let trace = Trace::read(&build::command()?, &folder.join(format!("{name}.trace")))?;
    ensure!(trace.dropped == 0, "{name}: {} records found no room", trace.dropped);
    ensure!(trace.windows == 0, "{name}: a page was open {} times", trace.windows);
    ensure!(trace.performed[2] == 0, "{name}: {} accesses were stepped", trace.performed[2]);
    let listed = listed(&folder.join(format!("{name}.accesses")), CPU)?;
    ensure!(!listed.is_empty(), "{name}: the module accessed nothing");
    Ok((trace.accesses, listed))
}

/// Both are sequences of whole accesses: no reshaping excuses a difference.
fn same(name: &str, trace: &[Access], listed: &[Access]) -> Result<()> {
    let equal = trace.iter().zip(listed).take_while(|(traced, wanted)| traced == wanted).count();
    if equal == trace.len() && equal == listed.len() {
        return Ok(());
    }
    let show = |all: &[Access]| all.get(equal).map_or("nothing more".into(), Access::to_string);
    anyhow::bail!(
        "{name}: after {equal} equal accesses of {} the trace holds {}, the table wants {}",
        listed.len(),
        show(trace),
        show(listed)
    )
}

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = folder.path();
    machine(
        series,
        folder,
        &format!(
            "modprobe trapline_forms device=edu
run edu all all --device {EDU}
modprobe -r trapline_forms
modprobe trapline_forms device=nvme
cat $forms/entries > /out/entries
run nvme all all --device {NVME}
run nvme functions all --device {NVME}
cat $forms/entries | cmp - /out/entries
modprobe -r trapline_forms"
        ),
    )?;
    let entries = fs::read_to_string(folder.join("entries"))?;
    for level in ["level 1 ", "level 2 "] {
        ensure!(entries.contains(level), "the mapping should hold pages of both sizes:\n{entries}");
    }

    let (edu, table) = both(folder, "edu.all")?;
    same("edu", &edu, &table)?;
    let (mut nvme, table) = both(folder, "nvme.all")?;
    same("nvme", &nvme, &table)?;
    // What memcpy_fromio and the like access is the kernel's choice; the module checked what they
    // moved.
    let functions = Trace::read(&build::command()?, &folder.join("nvme.functions.trace"))?;
    nvme.extend(functions.accesses);

    for (trace, region, device) in [(&edu, "edu-mmio", Device::EDU), (&nvme, "nvme-cmb", BUFFER)] {
        let record = Record::read(&folder.join("record"), |name| name == region)?;
        let comparison = compare(trace, record.accesses(), device, Span::Whole);
        ensure!(comparison.is_equal(), "{region}: {comparison}");
    }
    Ok(())
}

fn beside(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = folder.path();
    machine(
        series,
        folder,
        "modprobe trapline_forms device=nvme
place=$(sed -n 's/^small-page //p' $forms/places)
printf '%d' $((place + 8)) > /out/start
run nvme all small-page --range $(printf '0x%x' $((place + 8)))+24
modprobe -r trapline_forms",
    )?;
    let start: u64 = fs::read_to_string(folder.join("start"))?.parse()?;
    let range = start..start + 24;
    let (trace, listed) = both(folder, "nvme.all")?;
    let inside: Vec<Access> = listed
        .iter()
        .filter(|access| access.address < range.end && access.end() > range.start)
        .cloned()
        .collect();
    ensure!(inside.len() < listed.len(), "no access of the table is beside the range");
    same("nvme", &trace, &inside)?;
    let record = Record::read(&folder.join("record"), |name| name == "nvme-cmb")?;
    let comparison = compare(&listed, record.accesses(), BUFFER, Span::Whole);
    ensure!(comparison.is_equal(), "the device should have seen all of it: {comparison}");
    Ok(())
}

/// The word of a push goes to where the page fault's own frame lies, so the CPU must run it: what
/// is accessed is known all the same.
const PUSHES: [&str; 3] = ["push", "push_other_alignment", "push16"];
/// Other stepped forms, of which a vector register tells what they access.
const VECTORS: usize = 2;

fn stepped(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = folder.path();
    let pushes: String = PUSHES.map(|form| format!("run nvme {form} large-page --device {NVME}\n")).concat();
    machine(
        series,
        folder,
        &format!(
            "modprobe trapline_forms device=nvme
run nvme stepped large-page --device {NVME}
{pushes}modprobe -r trapline_forms"
        ),
    )?;
    let all = Told::read(folder, "stepped")?;
    let forms = PUSHES.len() + VECTORS;
    ensure!(
        all.windows >= forms as u64,
        "{forms} forms were stepped, the trace tells of {} windows",
        all.windows
    );
    for form in PUSHES {
        let told = Told::read(folder, form)?;
        // Among them is what the module does before and after, to see what the form did.
        let listed = listed(&folder.join(format!("nvme.{form}.accesses")), CPU)?;
        let wanted: Vec<_> =
            listed.iter().map(|access| (access.write, access.address, access.width())).collect();
        ensure!(told.accesses == wanted, "{form}: the trace tells {:x?}, not {wanted:x?}", told.accesses);
        ensure!(told.stepped > 0, "{form}: nothing was stepped");
        ensure!(told.windows == told.stepped, "{form}: {} steps, {} windows", told.stepped, told.windows);
    }
    Ok(())
}

/// What a trace tells where values are not known.
struct Told {
    /// Whether it writes, where, and how wide.
    accesses: Vec<(bool, u64, usize)>,
    /// How many of them were stepped.
    stepped: u64,
    windows: u64,
}

impl Told {
    fn read(folder: &Path, form: &str) -> Result<Self> {
        let converted = Command::new(build::command()?)
            .arg("convert")
            .arg(folder.join(format!("nvme.{form}.trace")))
            .args(["--to", "json"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run trapline")?;
        ensure!(converted.status.success(), "trapline convert failed");
        let text = String::from_utf8(converted.stdout)?;
        let mut lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let end = lines.pop().context("the trace is empty")?;
        ensure!(end["dropped"] == 0, "records found no room: {end}");
        let windows = end["windows"].as_u64().with_context(|| format!("the trace does not end: {end}"))?;
        let mut told = Self { accesses: Vec::new(), stepped: 0, windows };
        for line in lines.iter().filter(|line| line["kind"] == "access") {
            let is_stepped = line["way"] == "step";
            ensure!(is_stepped == line["value"].is_null(), "a value is known unless it was stepped: {line}");
            told.stepped += u64::from(is_stepped);
            let digits = line["physical"].as_str().and_then(|address| address.strip_prefix("0x"));
            let address = u64::from_str_radix(digits.with_context(|| format!("no address: {line}"))?, 16)?;
            let width = line["width"].as_u64().with_context(|| format!("no width: {line}"))?;
            told.accesses.push((line["op"] == "W", address, width as usize));
        }
        Ok(told)
    }
}
