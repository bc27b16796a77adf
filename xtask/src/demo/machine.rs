//! The machine of the demo: all of each device is traced, while QEMU and the kernel's own
//! tracepoints tell the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use indicatif::HumanCount;

use crate::compare::{self, Comparison, OnCpu};
use crate::drivers::{self, SUBJECTS, Subject};
use crate::progress::Step;
use crate::setup::Series;
use crate::vm::{self, Ended, Options, Outcome, Output};
use crate::witnesses::{Events, config, dma, interrupts, lost_nothing, ports};

/// What is shown beside the two drivers: one whose device has ports instead of registers in memory.
/// Its driver stays until the names of its functions were read, which takes seconds in emulation.
const SMBUS: Subject = Subject {
    name: "i801",
    title: "i2c-i801: its driver binds, and asks a memory module what it is",
    prepare: "modprobe i2c-dev",
    command: "modprobe i2c-i801
bus=$(grep -l I801 /sys/bus/i2c/devices/i2c-*/name | sed \"s/.*i2c-\\([0-9]*\\).*/\\1/\")
i2cdetect -y $bus 0x50 0x57
sleep 5
modprobe -r i2c-i801",
    bdf: "0000:00:1f.3",
    handlers: "i801_smbus",
    ports: &["pm-smbus"],
    regions: &[],
    // It has no registers in memory to compare.
    model: compare::Device { narrowest: 1, widest: 1 },
};
const MODULES: [&str; 2] = ["i2c-dev", "i2c-i801"];

/// The device that marks QEMU's record.
const MARKS: &str = "0000:00:01.0";

/// What the guest prints before the title of the subject that comes next.
const TOLD: &str = "next: ";

/// Machines that are tried until no event is missed. The kernel's kprobes serve one hit at a time
/// on each CPU: an interrupt within the few instructions before a handler may lead to a hit that is
/// only counted. That is told, and then the trace can't be equal.
const MACHINES: usize = 3;

/// What all witnesses tell of one device.
#[derive(Debug)]
pub(super) struct Seen {
    /// The device, and what was done to it.
    pub subject: Subject,
    /// The trace file.
    pub file: PathBuf,
    /// Its accesses to registers, held against QEMU's record.
    pub registers: Comparison,
    /// What else was compared.
    pub rows: Vec<Row>,
    /// What no other witness tells of, a sentence each.
    pub alone: Vec<String>,
}

/// How much two witnesses tell of something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Of what.
    pub what: &'static str,
    /// The trace's.
    pub traced: usize,
    /// The other's.
    pub recorded: usize,
    /// Who that is.
    pub witness: &'static str,
    /// What differs.
    pub unequal: usize,
}

impl Row {
    fn of(what: &'static str, cpus: &[OnCpu], witness: &'static str) -> Self {
        let sum = |of: fn(&OnCpu) -> usize| cpus.iter().map(of).sum();
        Self {
            what,
            traced: sum(|on| on.traced),
            recorded: sum(|on| on.recorded),
            witness,
            unequal: sum(|on| on.unequal),
        }
    }
}

impl Seen {
    /// Whether the trace is the truth.
    pub(super) fn is_equal(&self) -> bool {
        self.registers.is_equal() && self.rows.iter().all(|row| row.unequal == 0)
    }
}

/// All devices that are shown.
fn subjects() -> impl Iterator<Item = Subject> {
    SUBJECTS.into_iter().chain([SMBUS])
}

/// Runs it, with its files in `folder`, and reads what all witnesses left.
pub(super) fn run(series: Series, folder: &Path) -> Result<Vec<Seen>> {
    let step = Arc::new(Step::new("the virtual machine starts"));
    for _ in 0..MACHINES {
        drivers::clean_folder(folder)?;
        let teller = step.clone();
        let see = move |text: &str| {
            text.lines().filter_map(|line| line.strip_prefix(TOLD)).for_each(|title| teller.tell(title));
        };
        let outcome = vm::run(&options(series, folder)?, Output::Watched(Arc::new(see)))?;
        step.tell("comparing the traces with what other witnesses tell");
        if let Some(seen) = seen(&outcome, folder)? {
            return Ok(seen);
        }
        step.tell("hits of code probes were missed, which the traces say; once more");
    }
    bail!("hits were missed in each of {MACHINES} machines")
}

fn options(series: Series, folder: &Path) -> Result<Options> {
    let qemu = drivers::qemu()?.into_iter().chain(config::RECORDED.map(str::to_owned));
    Ok(Options {
        cpus: 4,
        modules: drivers::MODULES.into_iter().chain(MODULES).map(Into::into).collect(),
        qemu: qemu.map(Into::into).collect(),
        record: Some(folder.join("record")),
        copy_out: Some(folder.to_owned()),
        // Code is probed, and patched by that: QEMU with a thread for each CPU may go on running
        // what was patched.
        ..Options::in_turn(series, script())
    })
}

/// Traces the subjects one after another, with a mark before and after what is done.
fn script() -> String {
    let mut script = format!(
        "set -e
tracing=/sys/kernel/tracing
echo 20000 > $tracing/buffer_size_kb
cat > mark <<'MARK'
#!/bin/sh
{}
dd if=/sys/bus/pci/devices/{MARKS}/config of=/dev/null bs=1 skip={} count=1 2> /dev/null
MARK
chmod +x mark
switch() {{
    for events in irq/irq_handler_entry irq/irq_handler_exit dma; do
        ! test -e $tracing/events/$events/enable || echo $1 > $tracing/events/$events/enable
    done
}}
",
        drivers::MARK,
        config::MARK,
    );
    for subject @ Subject { name, title, prepare, .. } in subjects() {
        let said = format!("/out/{name}.said");
        script.push_str(&format!(
            "echo '{TOLD}{title}'
{prepare}
echo > $tracing/trace
switch 1
{} > {said} 2>&1 || grep -q ' missed$' {said} || {{ cat {said}; exit 1; }}
switch 0
cat $tracing/trace > /out/{name}.ftrace
cat $tracing/per_cpu/cpu*/stats > /out/{name}.stats
",
            command(&subject, &format!("/out/{name}.trace"))
        ));
    }
    script
}

/// What is typed to trace a subject.
pub(super) fn command(subject: &Subject, file: &str) -> String {
    let Subject { bdf, command, .. } = subject;
    format!("trapline device {bdf} --dma-data 16 --output {file} -- sh -ec './mark\n{command}\n./mark'")
}

/// What all witnesses tell; `None` if the trace says that hits were missed.
fn seen(outcome: &Outcome, folder: &Path) -> Result<Option<Vec<Seen>>> {
    ensure!(outcome.ended == Ended::Exited(0), "the guest's commands failed: {}", drivers::said(outcome));
    let read = |name: &str, what: &str| {
        let path = folder.join(format!("{name}.{what}"));
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let record = fs::read_to_string(folder.join("record")).context("cannot read the record")?;
    let configured = config::recorded(&record, MARKS)?;
    let (marked, traced) = (configured.len(), subjects().count());
    ensure!(
        marked == traced,
        "the record holds {marked} marked parts of configuration space, expected {traced}"
    );
    let mut registers = drivers::witnessed(outcome, folder)?.into_iter().map(|seen| seen.comparison);
    let mut all = Vec::new();
    for (subject, configured) in subjects().zip(configured) {
        let Subject { name, bdf, .. } = subject;
        let file = folder.join(format!("{name}.trace"));
        let events = Events::read(&file)?;
        if !events.missed().is_empty() {
            return Ok(None);
        }
        let registers = if subject.regions.is_empty() { None } else { registers.next() };
        let (mut rows, mut alone) = (Vec::new(), Vec::new());

        let of_device = configured.into_iter().filter(|(_, access)| access.device == bdf);
        let cpus = config::traced(events.of("config"))?.compare(&of_device.collect());
        rows.push(Row::of("configuration space", &cpus, "QEMU"));
        if !subject.ports.is_empty() {
            let lines: Vec<&str> = record.lines().collect();
            let theirs = ports::recorded(&lines, subject.ports)?;
            rows.push(Row::of("ports", &ports::traced(events.of("port"))?.compare(&theirs), "QEMU"));
        }
        let ftrace = read(name, "ftrace")?;
        lost_nothing(&read(name, "stats")?)?;
        let ours = interrupts::traced(events.of("interrupt"))?;
        // By the kernel's names, so that an interrupt that the trace lacks altogether is a
        // difference.
        let theirs = interrupts::recorded(&ftrace, &interrupts::numbers(&ftrace, subject.handlers))?;
        ensure!(theirs.cpus() > 0, "{name}: the kernel called no handler of `{}`", subject.handlers);
        rows.push(Row::of("interrupt handlers", &ours.compare(&theirs), "tracepoints"));

        let ours = dma::traced(events.of("dma"))?;
        let theirs = dma::recorded(&ftrace, &[bdf])?;
        let (traced, recorded) = (dma::total(&ours), dma::total(&theirs));
        if recorded > 0 {
            let unequal = dma::differing(&ours, &theirs).len();
            rows.push(Row { what: "buffers", traced, recorded, witness: "tracepoints", unequal });
        } else if traced > 0 {
            let left = dma::left(events.of("dma"), bdf).len();
            alone.push(format!(
                "buffers: {} calls, {left} buffers still the device's at the end; this kernel has no tracepoints of \
                 them to compare with",
                HumanCount(traced as u64)
            ));
        }
        all.push(Seen { subject, file, registers: registers.unwrap_or_default(), rows, alone });
    }
    Ok(Some(all))
}
