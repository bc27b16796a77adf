//! Two stock drivers at work, traced by Trapline and recorded by QEMU at once: what a scenario
//! checks, and the demo shows more of.
//!
//! e1000e is traced while it binds, brings the link up, sends and receives packets, and unbinds;
//! NVMe is attached after its driver was bound, while blocks are read. What QEMU recorded before
//! and after each trace is cut away by marks: reads of an edu device that nothing else uses.
//! Between the marks and the trace the device must rest, so that everything between the marks must
//! be in the trace; that is why e1000e, whose watchdog never rests, is unbound within it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::access::Access;
use crate::compare::{self, Comparison, Span, compare};
use crate::exec;
use crate::record::Record;
use crate::setup::Series;
use crate::trace::Trace;
use crate::vm::{Ended, Options, Outcome};
use crate::{build, workspace};

/// A device with its driver, and what is done to it while it is traced.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Short, and the name of its files.
    pub name: &'static str,
    /// What happens, for a person.
    pub title: &'static str,
    /// What is run before it is traced.
    pub prepare: &'static str,
    /// What is run while it is traced.
    pub command: &'static str,
    /// Its PCI address in the machine.
    pub bdf: &'static str,
    /// What the names of its interrupts' handlers begin with, as the kernel has them.
    pub handlers: &'static str,
    /// QEMU's names for its ports.
    pub ports: &'static [&'static str],
    /// QEMU's names for its registers.
    pub regions: &'static [&'static str],
    /// What its model takes.
    pub model: compare::Device,
}

/// What is traced, in this order. e1000e's driver stays for as long as it takes the command to read
/// the names of its functions.
pub const SUBJECTS: [Subject; 2] = [
    Subject {
        name: "e1000e",
        title: "e1000e: its driver binds, the link comes up, packets flow, the driver goes",
        prepare: "true",
        command: "modprobe e1000e
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do sleep 0.05; done
ping -c 5 -i 0.2 -W 5 10.0.2.2
sleep 2
modprobe -r e1000e",
        bdf: "0000:00:02.0",
        handlers: "eth0",
        ports: &[],
        regions: &["e1000e-mmio", "msix-table", "msix-pba"],
        model: compare::Device::E1000E,
    },
    Subject {
        name: "nvme",
        title: "NVMe: attached after its driver was bound, while blocks are read on 4 CPUs",
        prepare: "modprobe nvme
until [ -e /dev/nvme0n1 ]; do sleep 0.05; done
sleep 0.5",
        command: "for cpu in 0 1 2 3; do
    taskset -c $cpu dd if=/dev/nvme0n1 of=/dev/null bs=16k count=200 skip=$((cpu * 200)) iflag=direct 2>&1 &
done
wait",
        bdf: "0000:00:03.0",
        handlers: "nvme0q",
        ports: &[],
        regions: &["nvme", "msix-table", "msix-pba"],
        model: compare::Device::NVME,
    },
];

/// Size of the NVMe disk: what is read of it, and some more. It is sparse and holds zeros.
const DISK_BYTES: u64 = 64 << 20;

/// What two witnesses saw of one subject.
#[derive(Debug)]
pub struct Witnessed {
    /// The device.
    pub subject: Subject,
    /// The trace file.
    pub file: PathBuf,
    /// What it holds.
    pub trace: Trace,
    /// What QEMU recorded meanwhile.
    pub record: Vec<Access>,
    /// Whether they are equal.
    pub comparison: Comparison,
}

/// The drivers, as modules of the kernel.
pub const MODULES: [&str; 2] = ["e1000e", "nvme"];

/// The devices, and `edu` to mark the record with, for QEMU's command line.
pub fn qemu() -> Result<[String; 10]> {
    let disk = workspace::cache_dir("disks")?.join("nvme.raw");
    File::create(&disk)
        .and_then(|file| file.set_len(DISK_BYTES))
        .with_context(|| format!("cannot make the disk {}", disk.display()))?;
    Ok([
        "-device".to_owned(),
        "edu,addr=1".to_owned(),
        "-netdev".to_owned(),
        "user,id=net".to_owned(),
        "-device".to_owned(),
        // Without its boot program, which would use the card before the kernel does.
        "e1000e,addr=2,netdev=net,romfile=".to_owned(),
        "-drive".to_owned(),
        format!("if=none,id=disk,format=raw,read-only=on,file={}", disk.display()),
        "-device".to_owned(),
        "nvme,addr=3,serial=trapline,drive=disk".to_owned(),
    ])
}

/// The machine with the two devices, which traces each into a file in `folder`.
pub fn machine(series: Series, folder: &Path) -> Result<Options> {
    Ok(Options {
        cpus: 4,
        modules: MODULES.map(Into::into).into(),
        qemu: qemu()?.into_iter().map(Into::into).collect(),
        record: Some(folder.join("record")),
        copy_out: Some(folder.to_owned()),
        ..Options::new(series, script())
    })
}

/// What both witnesses left in `folder` after a run of a machine that traced the subjects before
/// anything else, with a mark before and after each.
///
/// # Errors
/// The guest's commands failed, or the record or a trace cannot be read.
pub fn witnessed(outcome: &Outcome, folder: &Path) -> Result<Vec<Witnessed>> {
    ensure!(outcome.ended == Ended::Exited(0), "the guest's commands failed: {}", said(outcome));
    let trapline = build::command()?;
    let wanted = |region: &str| {
        region == "edu-mmio" || SUBJECTS.iter().any(|subject| subject.regions.contains(&region))
    };
    let record = Record::read(&folder.join("record"), wanted)?;
    let edu =
        record.regions.iter().position(|region| region == "edu-mmio").context("the record holds no mark")?;
    let parts = record.marked(|entry| entry.region == edu);
    ensure!(
        parts.len() >= SUBJECTS.len(),
        "the record holds {} marked parts, expected {}",
        parts.len(),
        SUBJECTS.len()
    );

    let mut all = Vec::new();
    for (subject, recorded) in SUBJECTS.into_iter().zip(parts) {
        let file = folder.join(format!("{}.trace", subject.name));
        let trace = Trace::read(&trapline, &file)?;
        let comparison = compare(&trace.accesses, &recorded, subject.model, Span::Whole);
        all.push(Witnessed { subject, file, trace, record: recorded, comparison });
    }
    Ok(all)
}

/// How a machine ended, and what it said last.
pub fn said(outcome: &Outcome) -> String {
    format!(
        "{:?}\n{}\n{}",
        outcome.ended,
        exec::tail(&outcome.text(), 20),
        exec::tail(&String::from_utf8_lossy(&outcome.stderr), 40)
    )
}

/// Shell lines that mark the record.
pub const MARK: &str =
    "devmem $(head -n 1 /sys/bus/pci/devices/0000:00:01.0/resource | cut -d ' ' -f 1) > /dev/null";

/// Traces the subjects one after another, with a mark before and after each.
fn script() -> String {
    let mut script = String::from(
        "set -e
",
    );
    script.push_str(&format!("mark() {{\n{MARK}\n}}\n"));
    for Subject { name, prepare, command, bdf, .. } in SUBJECTS {
        script.push_str(&format!(
            "{prepare}\nmark\ntrapline mmio --device {bdf} --output /out/{name}.trace -- sh -ec '{command}'\nmark\n"
        ));
    }
    script
}

/// Removes what an earlier run left in `folder`, and makes it.
pub fn clean_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}
