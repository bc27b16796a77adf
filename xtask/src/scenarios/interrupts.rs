//! Interrupts of three drivers' devices while they bind, work and go, on 4 CPUs, by each way that
//! an interrupt has: a line, MSI, MSI-X, with handlers' threads and without. Three witnesses: the
//! trace, the kernel's own tracepoints, call by call, and its counts in `/proc/interrupts`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;
use crate::witnesses::interrupts::{self, has};
use crate::witnesses::{Events, lost_nothing};

pub(super) const EQUAL: Scenario = Scenario {
    name: "every interrupt of e1000e, NVMe and xHCI while they bind, work and go is told once, by line, MSI and MSI-X, as /proc/interrupts and the kernel's own tracepoints have it",
    check: equal,
};

/// The card, the disk, a USB controller that has MSI alone, and `edu` on the card's line: a device
/// in slot 1 and one in slot 5 share it.
const DEVICES: [&str; 14] = [
    "-device",
    "edu,addr=1",
    "-netdev",
    "user,id=net,restrict=on",
    "-device",
    "e1000e,addr=5,netdev=net,romfile=",
    "-blockdev",
    "driver=null-co,node-name=disk,read-zeroes=on,size=67108864",
    "-device",
    "nvme,addr=3,serial=trapline,drive=disk",
    "-device",
    "qemu-xhci,id=usb,addr=6,msi=on,msix=off",
    "-device",
    "usb-kbd,bus=usb.0",
];
const CARD: &str = "0000:00:05.0";
const DISK: &str = "0000:00:03.0";
const USB: &str = "0000:00:06.0";

/// A way in which the card interrupts.
struct Way {
    /// e1000e's parameter `IntMode`.
    mode: u32,
    /// NVMe's parameter `use_threaded_interrupts`.
    threads: u32,
    /// As the trace calls it; one of these.
    signals: &'static [&'static str],
    /// What the names of the card's handlers begin with.
    handlers: &'static [&'static str],
}

/// QEMU 10.0's card fails the test that its driver makes of MSI, without Trapline too ("MSI
/// interrupt test failed, using legacy interrupt"), and the driver takes the line after that. So
/// MSI is the USB controller's; of the card either will do.
const WAYS: [Way; 3] = [
    Way { mode: 0, threads: 0, signals: &["line"], handlers: &["e1000_intr"] },
    Way { mode: 1, threads: 1, signals: &["line", "msi"], handlers: &["e1000_intr"] },
    Way { mode: 2, threads: 0, signals: &["msi-x"], handlers: &["e1000_intr_msix", "e1000_msix_other"] },
];

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let script = format!(
        "set -e
tracing=/sys/kernel/tracing
echo 20000 > $tracing/buffer_size_kb
modprobe trapline
cat > work <<'WORK'
set -e
# What /proc/interrupts counts, also of a number that no driver has now, which it leaves out from
# 6.12 on.
counted() {{ grep . /sys/kernel/irq/*/per_cpu_count | sed 's|^/sys/kernel/irq/||; s|/per_cpu_count:|: |; s|,| |g'; }}
modprobe e1000e IntMode=$1
modprobe nvme use_threaded_interrupts=$2
modprobe xhci_pci
until [ -e /dev/nvme0n1 ]; do sleep 0.05; done
# The disk's driver has requested its vectors twice by now, and rests; the card is not up yet.
sleep 0.5
counted > /out/before1.$1
trapline mark bound
counted > /out/before2.$1
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do sleep 0.05; done
for device in {CARD} {DISK} {USB}; do
    ls /sys/bus/pci/devices/$device/msi_irqs 2>/dev/null || cat /sys/bus/pci/devices/$device/irq
done > /out/irqs.$1
for cpu in 0 1 2 3; do
    taskset -c $cpu dd if=/dev/nvme0n1 of=/dev/null bs=16k count=60 skip=$((cpu * 60)) iflag=direct 2>/dev/null &
done
ping -c 3 -i 0.2 -W 5 10.0.2.2 > /dev/null
wait
if [ $1 = 0 ]; then
    # edu raises the line that it shares, and takes it back when the shell has come that far.
    edu=$(head -n 1 /sys/bus/pci/devices/0000:00:01.0/resource | cut -d ' ' -f 1)
    devmem $((edu + 0x60)) 32 1; devmem $((edu + 0x64)) 32 1
fi
sleep 0.5
cat /proc/interrupts > /out/after1.$1
trapline mark counted
cat /proc/interrupts > /out/after2.$1
ip link set eth0 down
rmmod e1000e
rmmod nvme
rmmod xhci_pci
WORK
woken=$tracing/events/kprobes/woken/enable
if grep -q ' irq_thread_fn$' /proc/kallsyms && grep -q ' irq_forced_thread_fn$' /proc/kallsyms; then
    echo 'p:woken irq_thread_fn' > $tracing/kprobe_events
fi
for way in '0 0' '1 1' '2 0'; do
    set -- $way
    echo > $tracing/trace
    ! test -e $woken || echo 1 > $woken
    echo 1 > $tracing/events/irq/irq_handler_entry/enable
    echo 1 > $tracing/events/irq/irq_handler_exit/enable
    trapline device {CARD} {DISK} {USB} --without accesses,config,ports,dma,lifecycle,log --buffer 16MiB --output /out/$1.trace -- sh work $way > /out/summary.$1 2> /out/said.$1
    echo 0 > $tracing/events/irq/enable
    grep 'irq.*thread' /proc/kallsyms > /out/symbols.$1 || true
    ! test -e $woken || echo 0 > $woken
    cat $tracing/per_cpu/cpu*/stats > /out/stats.$1
    cat $tracing/trace > /out/ftrace.$1
done
test \"$(trapline list)\" = 'nothing is probed'
rmmod trapline"
    );
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        modules: vec!["e1000e".into(), "nvme".into(), "xhci_pci".into()],
        copy_out: Some(folder.path().to_owned()),
        // As in `together`: code is probed and patched.
        ..Options::in_turn(series, script)
    })?;
    WAYS.iter()
        .try_for_each(|way| check(folder.path(), way).with_context(|| format!("with IntMode={}", way.mode)))
}

fn check(folder: &Path, way: &Way) -> Result<()> {
    let read = |what: &str| {
        let path = folder.join(format!("{what}.{}", way.mode));
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    lost_nothing(&read("stats")?)?;
    let events = Events::read(&folder.join(format!("{}.trace", way.mode)))?;
    let interrupts: Vec<&Value> = events.of("interrupt").collect();
    let is_in_thread = |event: &&&Value| has(event, "thread");
    let unended = interrupts.iter().filter(|event| event["took_ns"].is_null()).count();
    ensure!(unended == 0, "{unended} calls have no end");

    // Of the devices' interrupts and no others, call by call.
    let mut irqs: BTreeSet<u32> =
        read("irqs")?.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("irqs")?;
    ensure!(irqs.len() > 2, "the devices have no interrupts: {irqs:?}");
    let ours = interrupts::traced(interrupts.iter().copied())?;
    // A driver that requests its vectors anew while it binds had others before, which nobody
    // listed.
    irqs.extend(ours.all().map(|call| call.irq));
    ours.equals(&interrupts::recorded(&read("ftrace")?, &irqs)?, "the tracepoints")?;
    ensure!(ours.cpus() > 1, "all on one CPU");

    let counted = |when: &str| Ok::<_, anyhow::Error>(counts(&read(when)?));
    let (before, after) =
        ([counted("before1")?, counted("before2")?], [counted("after1")?, counted("after2")?]);
    // The card's driver tests its message and then requests it again, from when on the kernel
    // counts anew.
    let is_anew = |event: &&&Value| event["device"] == CARD && event["signal"] == "msi";
    let anew = interrupts.iter().filter(is_anew).map(|event| number(event, "irq"));
    let anew: BTreeSet<u32> = anew.collect::<Result<_>>()?;
    as_counted(&before, &after, &(&irqs - &anew), &events.all)?;
    handlers(way, &interrupts)?;
    let threads = interrupts.iter().filter(is_in_thread).count();
    let woken = read("ftrace")?.lines().filter(|line| line.contains(": woken: ")).count();
    ensure!(threads == woken, "{threads} calls in threads, the kernel's own probe has {woken}");
    // A kernel in which they were inlined does not tell, and the command says so.
    let symbols = read("symbols")?;
    let follows = ["irq_thread_fn", "irq_forced_thread_fn"]
        .iter()
        .all(|function| symbols.lines().any(|line| line.ends_with(&format!(" {function}"))));
    ensure!((way.threads == 1 && follows) == (threads > 100), "{threads} calls in threads");
    let said = read("said")?;
    ensure!(said.contains("threads of handlers run is not recorded") != follows, "{said}\n{symbols}");

    let summary = read("summary")?;
    for words in [" interrupts in ", "  vector", "  handler", "  took: half within", "0 dropped"] {
        ensure!(summary.contains(words), "the summary lacks `{words}`:\n{summary}");
    }
    // edu's interrupts are nobody's, and too many. A few of the USB controller's are nobody's, too.
    // How many come in a time is the host's, so that they are a storm is not demanded.
    ensure!(!summary.contains("INTERRUPT STORM") || way.mode == 0, "storms:\n{summary}");
    ensure!(summary.contains(" claimed by no handler") || way.mode != 0, "claims:\n{summary}");
    Ok(())
}

fn number(event: &Value, field: &str) -> Result<u32> {
    let number = event[field].as_u64().and_then(|number| u32::try_from(number).ok());
    number.with_context(|| format!("no `{field}` in {event}"))
}

/// Interrupts by number.
type Counts = BTreeMap<u32, u64>;

/// Holds the interrupts between the marks against `/proc/interrupts`, read right before and right
/// after each mark: one that comes just then is counted or not.
fn as_counted(
    before: &[Counts; 2],
    after: &[Counts; 2],
    irqs: &BTreeSet<u32>,
    events: &[Value],
) -> Result<()> {
    let mark = |text: &str| {
        let found = events.iter().position(|event| event["kind"] == "mark" && event["text"] == text);
        found.with_context(|| format!("there is no mark `{text}`"))
    };
    let (bound, counted) = (mark("bound")?, mark("counted")?);
    let is_counted =
        |event: &&Value| event["kind"] == "interrupt" && has(event, "first") && !has(event, "thread");
    let mut ours = Counts::new();
    for event in events[bound..counted].iter().filter(is_counted) {
        *ours.entry(number(event, "irq")?).or_default() += 1;
    }
    let count = |counts: &Counts, irq| counts.get(&irq).copied().unwrap_or(0);
    let between = |before, after, irq| count(after, irq).saturating_sub(count(before, irq));
    for &irq in irqs {
        let theirs = between(&before[1], &after[0], irq)..=between(&before[0], &after[1], irq);
        let told = count(&ours, irq);
        ensure!(theirs.contains(&told), "irq {irq}: {told} told, {theirs:?} counted");
    }
    let all: u64 = ours.values().sum();
    ensure!(all > 200, "{all} interrupts, expected some hundreds");
    Ok(())
}

/// What `/proc/interrupts` counts, of all CPUs together, by number: ` 26: 0 5 0 0 PCI-MSI …`.
fn counts(text: &str) -> Counts {
    let count = |line: &str| {
        let (irq, rest) = line.trim_start().split_once(':')?;
        let counts = rest.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        Some((irq.parse().ok()?, counts.sum()))
    };
    text.lines().filter_map(count).collect()
}

/// The handlers, what they are called by, and what they answer.
fn handlers(way: &Way, interrupts: &[&Value]) -> Result<()> {
    let of = |device: &str, field: &str| -> BTreeSet<String> {
        let of_device = interrupts.iter().filter(|event| event["device"] == device);
        of_device.filter_map(|event| event[field].as_str().map(str::to_owned)).collect()
    };
    let functions = of(CARD, "function");
    let is_called = |name: &str| functions.iter().any(|function| function.starts_with(name));
    ensure!(way.handlers.iter().all(|name| is_called(name)), "the card's handlers are {functions:?}");
    let foreign = functions.iter().find(|function| !function.starts_with("e1000_"));
    ensure!(foreign.is_none(), "the card's handlers are {functions:?}");
    let signals = of(CARD, "signal");
    let is_one = signals.len() == 1 && signals.iter().all(|signal| way.signals.contains(&&**signal));
    ensure!(is_one, "signals: {signals:?}");
    for (device, signal) in [(DISK, "msi-x"), (USB, "msi")] {
        ensure!(of(device, "signal") == [signal.to_owned()].into(), "{device}: {:?}", of(device, "signal"));
    }
    ensure!(of(USB, "function") == ["xhci_msi_irq".to_owned()].into(), "{:?}", of(USB, "function"));
    let (functions, results) = (of(DISK, "function"), of(DISK, "result"));
    // Its thread runs what is the handler itself without one.
    let expected = BTreeSet::from(["nvme_irq".to_owned()]);
    let checks = (way.threads == 1).then(|| "nvme_irq_check".to_owned());
    let expected: BTreeSet<String> = expected.into_iter().chain(checks).collect();
    ensure!(functions == expected, "the disk's handlers are {functions:?}, not {expected:?}");
    ensure!(results.contains("wake_thread") == (way.threads == 1), "results: {results:?}");
    ensure!(results.contains("handled"), "results: {results:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_the_kernel_prints_them() {
        let text = "           CPU0       CPU1
  4:         12          3   IO-APIC   4-edge      ttyS0
 26:          0        704   PCI-MSIX-0000:00:02.0   0-edge      eth0-rx-0
NMI:          0          0   Non-maskable interrupts
";
        assert_eq!(counts(text), [(4, 15), (26, 704)].into());
    }
}
