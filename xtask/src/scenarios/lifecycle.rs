//! What the kernel does with devices as a whole, against the kernel's own probe events on the same
//! functions: two cards whose drivers bind and go, again and again and beside each other, one that
//! does not take the device, resets, sleep with the system and alone, firmware that is not there.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;
use crate::witnesses::{Events, lost_nothing};

pub(super) const EQUAL: Scenario = Scenario {
    name: "binding, resets, power states and firmware of two devices are told once, at their beginning and end, as the kernel's own probe events have them",
    check: equal,
};

/// The second asks for firmware whenever it comes up. The third is not traced.
const DEVICES: [&str; 6] = [
    "-device",
    "e1000e,addr=5,romfile=",
    "-device",
    "i82559er,addr=4,romfile=",
    "-device",
    "e1000e,addr=6,romfile=",
];
const CARD: &str = "0000:00:05.0";
const OLD: &str = "0000:00:04.0";

/// What is told, and the function whose calls it is; what the function is called with.
const FUNCTIONS: [(&str, &str, Argument); 16] = {
    use Argument::{Device, Firmware, Pci};
    [
        ("bind", "pci_device_probe", Device),
        ("unbind", "pci_device_remove", Device),
        ("reset", "__pci_reset_function_locked", Pci),
        ("power", "__pci_set_power_state", Pci),
        ("power_up", "pci_power_up", Pci),
        ("prepare", "pci_pm_prepare", Device),
        ("complete", "pci_pm_complete", Device),
        ("suspend", "pci_pm_suspend", Device),
        ("suspend_late", "pci_pm_suspend_late", Device),
        ("suspend_noirq", "pci_pm_suspend_noirq", Device),
        ("resume", "pci_pm_resume", Device),
        ("resume_early", "pci_pm_resume_early", Device),
        ("resume_noirq", "pci_pm_resume_noirq", Device),
        ("runtime_suspend", "pci_pm_runtime_suspend", Device),
        ("runtime_resume", "pci_pm_runtime_resume", Device),
        ("firmware", "_request_firmware", Firmware),
    ]
};

/// What returns nothing.
const VOID: [&str; 2] = ["unbind", "complete"];

/// What must be among what is told, for the comparison to be worth something.
const SEEN: [&str; 6] = ["bind", "unbind", "reset", "power", "runtime_suspend", "firmware"];

/// The same where the machine sleeps.
const SEEN_IN_SLEEP: [&str; 8] = [
    "prepare",
    "suspend",
    "suspend_late",
    "suspend_noirq",
    "resume_noirq",
    "resume_early",
    "resume",
    "complete",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    /// A `struct device`, whose name is the first that it has.
    Device,
    /// A `struct pci_dev`.
    Pci,
    /// A name and a `struct device`.
    Firmware,
}

impl Argument {
    /// What a probe event fetches of it.
    fn fetched(self) -> &'static str {
        match self {
            Self::Device => "who=+0(+0(%di)):string",
            Self::Pci => "who=%di:x64",
            Self::Firmware => "who=+0(+0(%dx)):string name=+0(%si):string",
        }
    }
}

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let probes: String = FUNCTIONS
        .iter()
        .map(|(op, function, argument)| {
            format!(
                "echo 'p:life/begin_{op} {function} {}' >> $tracing/kprobe_events\n\
                 echo 'r:life/end_{op} {function}{}' >> $tracing/kprobe_events\n",
                argument.fetched(),
                if VOID.contains(op) { "" } else { " ret=$retval:s32" }
            )
        })
        .collect();
    let can_sleep = can_sleep(series);
    let sleep = if can_sleep { SLEEP } else { "" };
    let script = format!(
        "set -e
tracing=/sys/kernel/tracing
echo 20000 > $tracing/buffer_size_kb
{probes}
modprobe trapline
cat > work <<'WORK'
set -e
at=/sys/bus/pci/devices
modprobe e1000e
modprobe e100
# Firmware that is not there: the driver does without.
ip link set $(ls $at/{OLD}/net) up || true
ip link set $(ls $at/{OLD}/net) down
for round in 1 2 3 4 5; do
    (echo {CARD} > /sys/bus/pci/drivers/e1000e/unbind; echo {CARD} > /sys/bus/pci/drivers/e1000e/bind) &
    (echo {OLD} > /sys/bus/pci/drivers/e100/unbind; echo {OLD} > /sys/bus/pci/drivers/e100/bind) &
    wait
done
echo 1 > $at/{CARD}/reset
{sleep}# A driver that does not want the device.
echo {CARD} > /sys/bus/pci/drivers/e1000e/unbind
modprobe virtio_pci
echo virtio-pci > $at/{CARD}/driver_override
echo {CARD} > /sys/bus/pci/drivers/virtio-pci/bind || true
rmmod e100
rmmod e1000e
echo auto > $at/{CARD}/power/control
until [ \"$(cat $at/{CARD}/power/runtime_status)\" = suspended ]; do sleep 0.1; done
echo on > $at/{CARD}/power/control
WORK
echo 1 > $tracing/events/life/enable
trapline trace --quiet --device {CARD} --device {OLD} --lifecycle --output /out/trace -- sh work
echo 0 > $tracing/events/life/enable
cat $tracing/trace > /out/ftrace
cat $tracing/per_cpu/cpu*/stats > /out/stats
rmmod trapline"
    );
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        modules: ["e1000e", "e100", "virtio_pci"].map(Into::into).into(),
        copy_out: Some(folder.path().to_owned()),
        ..Options::in_turn(series, script)
    })?;
    compare(folder.path(), can_sleep)
}

/// The whole machine sleeps, all but its CPUs, and is woken after five seconds.
const SLEEP: &str = "echo platform > /sys/power/pm_test
echo freeze > /sys/power/state
echo none > /sys/power/pm_test
";

/// Whether the machine comes back from its sleep: 7.3 mostly does not in QEMU, without Trapline
/// either.
fn can_sleep(series: Series) -> bool {
    series < Series::V7_2
}

fn compare(folder: &Path, can_sleep: bool) -> Result<()> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    lost_nothing(&read("stats")?)?;
    let events = Events::read(&folder.join("trace"))?;
    ensure!(events.missed().is_empty(), "not all is in the trace: {:?}", events.missed());
    // Another card's driver binds and goes with that of the first.
    let other =
        events.of("lifecycle").find(|event| ![CARD, OLD].iter().any(|device| event["device"] == *device));
    if let Some(other) = other {
        bail!("there is a device which nobody asked for: {other}");
    }
    let theirs = recorded(&read("ftrace")?)?;
    for device in [CARD, OLD] {
        // What nobody's probe event stands on: whether a device may sleep.
        let told = events.of("lifecycle").filter(|event| event["device"] == device);
        let told = told.filter(|event| event["op"] != "runtime_idle");
        let ours: Vec<String> = told.map(step).collect::<Result<_>>()?;
        let theirs: Vec<&String> =
            theirs.iter().filter(|(of, _)| of == device).map(|(_, step)| step).collect();
        ensure!(
            ours.iter().eq(theirs.iter().copied()),
            "of {device} we have {} steps, the kernel {}:\n{}\n\n{}",
            ours.len(),
            theirs.len(),
            ours.join("\n"),
            theirs.iter().map(|step| step.as_str()).collect::<Vec<_>>().join("\n")
        );
    }
    let of_sleep: &[&str] = if can_sleep { &SEEN_IN_SLEEP } else { &[] };
    took(&events)?;
    for op in SEEN.iter().chain(of_sleep).copied() {
        ensure!(events.of("lifecycle").any(|event| event["op"] == op), "nothing of `{op}` happened");
    }
    let says = |op: &str, field: &str, value: &str| {
        let mut found = events.of("lifecycle").filter(|event| event["op"] == op);
        found.any(|event| event[field] == value)
    };
    for (op, field, value) in [
        ("bind", "driver", "e1000e"),
        ("bind", "driver", "e100"),
        ("firmware", "firmware", "e100/d101s_ucode.bin"),
        ("power", "wanted", "D3hot"),
        ("suspend_noirq", "power", "D3hot"),
    ] {
        if value == "D3hot" && !can_sleep {
            continue;
        }
        ensure!(says(op, field, value), "no `{op}` whose `{field}` is {value}");
    }
    let mut ends = events.of("lifecycle").filter(|event| event["op"] == "bind" && event["phase"] == "end");
    ensure!(ends.any(|event| event["result"].as_i64().is_some_and(|result| result < 0)), "no driver refused");
    Ok(())
}

/// Each end tells how long it was since its beginning.
fn took(events: &Events) -> Result<()> {
    /// Nanoseconds by which a host that takes the CPU away may have them differ.
    const SLACK: u64 = 50_000_000;
    let number = |event: &Value, field: &str| {
        let value = &event[field];
        let text = value.as_str().and_then(|text| text.parse().ok());
        value.as_u64().or(text).with_context(|| format!("no number `{field}`: {event}"))
    };
    let mut begun: HashMap<String, Vec<u64>> = HashMap::new();
    for event in events.of("lifecycle") {
        let key = format!("{} {} {}", event["device"], event["op"], event["pid"]);
        let time = number(event, "time_ns")?;
        if event["phase"] == "begin" {
            begun.entry(key).or_default().push(time);
            continue;
        }
        let began =
            begun.get_mut(&key).and_then(Vec::pop).with_context(|| format!("no beginning: {event}"))?;
        let took = number(event, "took_ns")?;
        ensure!((time - began).abs_diff(took) < SLACK, "it took {} ns: {event}", time - began);
    }
    Ok(())
}

/// An event of ours in the words that both have.
fn step(event: &Value) -> Result<String> {
    let text = |field: &str| event[field].as_str().with_context(|| format!("no `{field}`: {event}"));
    let op = text("op")?;
    Ok(match text("phase")? {
        "begin" if op == "firmware" => format!("{op} {} begins", text("firmware")?),
        "begin" => format!("{op} begins"),
        _ if VOID.contains(&op) => format!("{op} ends"),
        _ => format!("{op} ends with {}", event["result"]),
    })
}

/// What the kernel's probe events tell, in their order: of which device, and what.
fn recorded(ftrace: &str) -> Result<Vec<(String, String)>> {
    // A `struct pci_dev` has no name that an event can fetch: the first that is switched on by a
    // task that binds a driver is that of the device it binds.
    let (mut names, mut binding) = (HashMap::new(), HashMap::new());
    let mut under_way: HashMap<(String, String), Vec<String>> = HashMap::new();
    let mut steps = Vec::new();
    for line in ftrace.lines().filter(|line| !line.starts_with('#')) {
        let step = (|| -> Result<Option<(String, String)>> {
            let (task, rest) = line.trim_start().split_once(" [").context("no CPU")?;
            let task = task.trim_end().to_owned();
            let (phase, at) = [("begin", ": begin_"), ("end", ": end_")]
                .into_iter()
                .find_map(|(phase, key)| Some((phase, rest.find(key)? + key.len())))
                .context("no event of ours")?;
            let (op, rest) = rest[at..].split_once(": ").context("no end of its name")?;
            let value = |key: &str| {
                let at = rest.find(&format!("{key}="))? + key.len() + 1;
                Some(rest[at..].split(' ').next()?.trim_matches('"').to_owned())
            };
            let key = (task.clone(), op.to_owned());
            if phase == "begin" {
                let argument = FUNCTIONS.iter().find(|(name, ..)| *name == op).context("whose?")?.2;
                let mut who = value("who").context("no device")?;
                if argument == Argument::Pci {
                    if let Some(device) = binding.get(&task) {
                        names.entry(who.clone()).or_insert_with(|| String::clone(device));
                    }
                    who = names.get(&who).cloned().unwrap_or(who);
                }
                if op == "bind" {
                    binding.insert(task, who.clone());
                }
                under_way.entry(key).or_default().push(who.clone());
                let of = value("name").map(|name| format!(" {name}")).unwrap_or_default();
                return Ok(Some((who, format!("{op}{of} begins"))));
            }
            // One that had begun before is nobody's.
            let Some(who) = under_way.get_mut(&key).and_then(Vec::pop) else { return Ok(None) };
            if op == "bind" {
                binding.remove(&task);
            }
            let ends = if VOID.contains(&op) {
                format!("{op} ends")
            } else {
                format!("{op} ends with {}", value("ret").context("no result")?)
            };
            Ok(Some((who, ends)))
        })();
        steps.extend(step.with_context(|| format!("the kernel says: {line}"))?);
    }
    if steps.is_empty() {
        bail!("the kernel tells nothing:\n{ftrace}");
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_events_are_read_with_whose_they_are() {
        let ftrace = "# tracer: nop
        modprobe-170     [003] ...1.     9.332582: begin_bind: (pci_device_probe+0x0/0x1a0) who=\"0000:00:05.0\"
        modprobe-170     [003] ...1.     9.333907: begin_power: (__pci_set_power_state+0x0/0x20) who=0xffff88800345d000
        modprobe-170     [003] ...1.     9.334074: end_power: (do_pci_enable_device+0x35/0x110 <- __pci_set_power_state) ret=0
        modprobe-170     [003] ...1.     9.623204: end_bind: (really_probe+0xde/0x380 <- pci_device_probe) ret=-19
           sh-166        [001] ...1.    10.663014: begin_reset: (__pci_reset_function_locked+0x0/0x80) who=0xffff88800345d000
           sh-166        [001] ...1.    10.663015: begin_firmware: (_request_firmware+0x0/0x80) who=\"0000:00:04.0\" name=\"a/b.bin\"
           sh-167        [001] ...1.    10.663015: end_unbind: (x <- y) ret=1
";
        let expected = [
            ("0000:00:05.0", "bind begins"),
            ("0000:00:05.0", "power begins"),
            ("0000:00:05.0", "power ends with 0"),
            ("0000:00:05.0", "bind ends with -19"),
            ("0000:00:05.0", "reset begins"),
            ("0000:00:04.0", "firmware a/b.bin begins"),
        ];
        let expected = expected.map(|(who, what)| (who.to_owned(), what.to_owned()));
        assert_eq!(recorded(ftrace).unwrap(), expected);
        assert!(recorded("# nothing\n").is_err() && recorded("a [000] b: other: c\n").is_err());
    }
}
