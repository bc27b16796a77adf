//! Page faults of every cause: those that a program can raise, and those that only a mistake of the
//! kernel raises.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Fault, hex, read_faults};
use crate::build;
use crate::scenarios::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;

pub(in crate::scenarios) const NAMED: Scenario = Scenario {
    name: "page faults of every cause that a program can provoke are named right, with address and memory",
    check: named,
};
pub(in crate::scenarios) const MISTAKEN: Scenario = Scenario {
    name: "page faults that only a mistake of the kernel raises (SMAP, SMEP, its own read-only pages, reserved bits) are named right, and a handler that claims them was told the same",
    check: mistaken,
};

pub(in crate::scenarios) const AS_MODELLED: Scenario = Scenario {
    name: "page faults of each cause have the error code and address that the model of paging says",
    check: as_modelled,
};

/// Cause, what the program exits with, the cause's name, mode, error code, memory.
type Cause = (&'static str, i32, &'static str, &'static str, &'static str, &'static str);

const CAUSES: [Cause; 12] = [
    ("first-touch", 0, "not-present", "user", "0x6", "first touch, anonymous"),
    ("copy-on-write", 0, "not-writable", "user", "0x7", "copy on write, anonymous"),
    ("file", 0, "not-present", "user", "0x4", "page in, file trapline-faults"),
    ("guard", 139, "not-present", "user", "0x4", "guard page, anonymous"),
    (
        "read-only",
        139,
        "not-writable",
        "user",
        "0x7",
        "its mapping does not allow that now (r--p), anonymous",
    ),
    (
        "execute",
        139,
        "not-executable",
        "user",
        "0x15",
        "its mapping does not allow that now (rw-p), anonymous",
    ),
    ("kernel-page", 139, "not-user", "user", "0x5", "the kernel's text and data"),
    ("null", 139, "not-present", "user", "0x4", "null pointer"),
    ("stack", 0, "not-present", "user", "0x6", "first touch, stack"),
    ("by-kernel", 0, "not-present", "kernel", "0x2", "first touch, anonymous"),
    ("copy-on-write-by-kernel", 0, "not-writable", "kernel", "0x3", "copy on write, anonymous"),
    ("protected-later", 139, "not-present", "user", "0x4", "guard page, anonymous"),
];

fn named(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    raise(series, folder.path(), &CAUSES, false, "", |_| String::new(), "")?;
    CAUSES.iter().try_for_each(|cause| find(folder.path(), cause).map(drop))
}

/// Raises each, traced; leaves in `folder` what was seen and the address that the program told.
fn raise(
    series: Series,
    folder: &Path,
    causes: &[Cause],
    kaslr: bool,
    before: &str,
    after_each: impl Fn(&str) -> String,
    after: &str,
) -> Result<()> {
    let script: String = causes
        .iter()
        .map(|(cause, status, ..)| {
            format!(
                "trapline faults --quiet --comm trapline-faults --format json --output /out/{cause}.json -- \
                 sh -c '/trapline-faults {cause} > /out/{cause}' || status=$?\n\
                 test ${{status:-0}} = {status}; status=0\n{}\n",
                after_each(cause)
            )
        })
        .collect();
    succeeds(&Options {
        copy_in: vec![build::faults()?],
        copy_out: Some(folder.to_owned()),
        kaslr,
        // CPUs that take turns take long ones: a program would be gone before anybody looked at its
        // memory.
        ..Options::new(series, format!("set -e\nstatus=0\n{before}\n{script}{after}\nrmmod trapline"))
    })?;
    Ok(())
}

/// The fault, named right, where the program said that it would be.
fn find(folder: &Path, (name, status, cause, mode, code, memory): &Cause) -> Result<Fault> {
    let address = hex(&fs::read_to_string(folder.join(name))?)?;
    let mut there = read_faults(&folder.join(format!("{name}.json")))?;
    there.retain(|fault| hex(&fault.address).is_ok_and(|at| at == address));
    let found = there.iter().position(|fault| {
        let as_expected = [&*fault.cause, &*fault.mode, &*fault.error_code] == [*cause, *mode, *code];
        // A program that a signal ended has no memory left by the time it is asked about.
        as_expected && (fault.memory == *memory || fault.memory.is_empty() && *status == 139)
    });
    let found = found.with_context(|| {
        format!("{name}: expected {cause} in {mode} mode, {code}, {memory}, at {address:#x}; saw {there:#?}")
    })?;
    Ok(there.swap_remove(found))
}

/// Those that only the kernel can raise, by a mistake; the module `trapline_causes` does, and
/// claims them. QEMU's error code for a reserved bit lacks the bit PRESENT.
const MISTAKES: [Cause; 12] = [
    ("smap-read", 0, "user-page", "kernel", "0x1", "anonymous"),
    ("smap-write", 0, "user-page", "kernel", "0x3", "anonymous"),
    ("smep", 0, "user-page", "kernel", "0x11", "anonymous"),
    ("user-reserved", 0, "reserved", "user", "0xc", "anonymous"),
    ("kernel-reserved", 0, "reserved", "kernel", "0x8", "vmalloc and ioremap"),
    ("kernel-read-only", 0, "not-writable", "kernel", "0x3", "modules"),
    ("kernel-text-write", 0, "not-writable", "kernel", "0x3", "the kernel's text and data"),
    ("kernel-execute", 0, "not-executable", "kernel", "0x11", "vmalloc and ioremap"),
    ("kernel-hole", 0, "not-present", "kernel", "0x0", "the guard hole, reserved for a hypervisor"),
    // With one more fault, 0x0, between its tracepoint and its handler.
    ("nested", 0, "not-present", "kernel", "0x2", "the guard hole, reserved for a hypervisor"),
    ("safe-reader", 0, "not-present", "kernel", "0x0", "the guard hole, reserved for a hypervisor"),
    ("safe-reader-beside", 0, "not-present", "kernel", "0x0", "vmalloc and ioremap"),
];

fn mistaken(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    let module = "/sys/module/trapline_causes/parameters";
    raise(
        series,
        folder.path(),
        &MISTAKES,
        // The kernel's regions are named by where they are.
        true,
        "modprobe trapline_causes",
        |cause| format!("cat {module}/instruction {module}/error_code > /out/{cause}.told"),
        "rmmod trapline_causes",
    )?;
    for cause in &MISTAKES {
        let fault = find(folder.path(), cause)?;
        let told = fs::read_to_string(folder.path().join(format!("{}.told", cause.0)))?;
        let told: Vec<u64> = told.lines().map(str::parse).collect::<Result<_, _>>()?;
        ensure!(
            told == [hex(&fault.ip)?, hex(&fault.error_code)?],
            "{}: its handler was told of {told:x?}, the trace has {fault:?}",
            cause.0
        );
    }
    Ok(())
}

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
