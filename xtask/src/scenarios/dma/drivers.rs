//! Six drivers that bind, work and go, call by call as the kernel's own tracepoints have it, where
//! the kernel has those; and the lines of the kernel log meanwhile.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Scenario, events};
use crate::scenarios::succeeds;
use crate::setup::Series;
use crate::vm::Options;
use crate::witnesses::{dma, lost_nothing};

pub(in crate::scenarios) const AS_THE_KERNEL: Scenario = Scenario {
    name: "every buffer of e1000e, NVMe, AHCI, xHCI, virtio and HD audio is told once, as the kernel's own tracepoints have it, and all are taken back; each line of the kernel log too",
    check: as_the_kernel,
};

const DEVICES: [&str; 24] = [
    "-netdev",
    "user,id=net,restrict=on",
    "-device",
    "e1000e,addr=5,netdev=net,romfile=",
    "-blockdev",
    "driver=null-co,node-name=disk,read-zeroes=on,size=67108864",
    "-device",
    "nvme,addr=3,serial=trapline,drive=disk",
    "-device",
    "qemu-xhci,id=usb,addr=6",
    "-device",
    "usb-kbd,bus=usb.0",
    "-blockdev",
    "driver=null-co,node-name=sata,read-zeroes=on,size=67108864",
    "-device",
    "ide-hd,bus=ide.0,drive=sata",
    "-device",
    "virtio-rng-pci,addr=7,disable-legacy=on,iommu_platform=on",
    "-audiodev",
    "none,id=sound",
    "-device",
    "intel-hda,addr=8",
    "-device",
    "hda-output,audiodev=sound",
];
/// Each device with its driver, and how many buffers it is given at least.
const DRIVEN: [(&str, &str, usize); 6] = [
    ("0000:00:05.0", "e1000e", 500),
    ("0000:00:03.0", "nvme", 50),
    ("0000:00:1f.2", "ahci", 50),
    ("0000:00:06.0", "xhci_pci", 20),
    ("0000:00:07.0", "virtio_pci", 3),
    ("0000:00:08.0", "snd_hda_intel", 3),
];

/// Machines that are tried until none of the calls is missed.
///
/// The kernel's kprobes serve one hit at a time on each CPU. An interrupt that comes while a hit is
/// being served, before the handler has switched interrupts off or after it has switched them on
/// again, may lead to another probe: that hit is only counted. Few interrupts find those few
/// instructions, but under emulation some do.
const MACHINES: usize = 4;

fn as_the_kernel(series: Series) -> Result<()> {
    for _ in 0..MACHINES {
        if is_as_the_kernel(series)? {
            return Ok(());
        }
    }
    bail!("calls were missed in each of {MACHINES} machines")
}

/// False if calls were missed.
fn is_as_the_kernel(series: Series) -> Result<bool> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let devices: Vec<String> = DRIVEN.iter().map(|(device, ..)| format!("--device {device}")).collect();
    let script = format!(
        "set -e
tracing=/sys/kernel/tracing
echo 20000 > $tracing/buffer_size_kb
modprobe trapline
cat > work <<'WORK'
set -e
modprobe e1000e
modprobe nvme
modprobe xhci_pci
modprobe ahci
modprobe sd_mod
modprobe virtio_pci
modprobe virtio-rng
modprobe snd-hda-intel
until [ -e /dev/nvme0n1 ] && [ -e /dev/sda ]; do sleep 0.05; done
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do sleep 0.05; done
for cpu in 0 1 2 3; do
    taskset -c $cpu dd if=/dev/nvme0n1 of=/dev/null bs=16k count=10 skip=$((cpu * 60)) iflag=direct 2>/dev/null &
    taskset -c $cpu dd if=/dev/sda of=/dev/null bs=16k count=10 skip=$((cpu * 60)) iflag=direct 2>/dev/null &
done
ping -c 3 -i 0.2 -W 5 10.0.2.2 > /dev/null
wait
dd if=/dev/hwrng of=/dev/null bs=16 count=4 2> /dev/null
# The command learns of modules once a second while it writes to a file.
sleep 2
ip link set eth0 down
for device in {addresses}; do
    echo $device > /sys/bus/pci/devices/$device/driver/unbind
done
sleep 1
WORK
! test -e $tracing/events/dma/enable || echo 1 > $tracing/events/dma/enable
dmesg > /out/log.before
trapline trace {devices} --dma --log --buffer 16MiB --output /out/drivers.trace -- sh work > /out/summary 2> /out/said || grep -q ' missed$' /out/summary || {{ cat /out/said /out/summary; exit 1; }}
! test -e $tracing/events/dma/enable || echo 0 > $tracing/events/dma/enable
dmesg > /out/log.after
cat $tracing/per_cpu/cpu*/stats > /out/stats
cat $tracing/trace > /out/ftrace
test \"$(trapline list)\" = 'nothing is probed'
rmmod trapline",
        addresses = DRIVEN.map(|(device, ..)| device).join(" "),
        devices = devices.join(" "),
    );
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        modules: [
            "e1000e",
            "nvme",
            "xhci_pci",
            "ahci",
            "sd_mod",
            "virtio_pci",
            "virtio-rng",
            "snd-hda-intel",
            "snd-hda-codec-generic",
        ]
        .map(Into::into)
        .into(),
        copy_out: Some(folder.path().to_owned()),
        // Code is probed, and patched by that.
        ..Options::in_turn(series, script)
    })?;
    let read = |name: &str| {
        fs::read_to_string(folder.path().join(name)).with_context(|| format!("cannot read {name}"))
    };
    let Some(all) = events(&folder.path().join("drivers.trace"))? else { return Ok(false) };
    logged(&all, &read("log.before")?, &read("log.after")?)?;
    let events: Vec<Value> = all.into_iter().filter(|event| event["kind"] == "dma").collect();
    let ours = dma::traced(&events)?;
    ensure!(dma::total(&ours) > 500, "only {} calls", dma::total(&ours));
    for (device, driver, least) in DRIVEN {
        let count = events.iter().filter(|event| event["device"] == device).count();
        ensure!(count >= least, "{driver}: only {count} calls, of {}", events.len());
    }
    // From 6.16 on NVMe's driver does not unmap what would need nothing to be done.
    let leaves = if series == Series::V6_1 { "" } else { "nvme" };
    for (device, _, _) in DRIVEN.iter().filter(|(_, driver, _)| *driver != leaves) {
        let left = dma::left(&events, device);
        ensure!(left.is_empty(), "{device} still has {left:?}");
    }
    let summary = read("summary")?;
    let left = if leaves.is_empty() { "STILL MAPPED" } else { "STILL ALLOCATED" };
    for words in [left, "TWICE", "NOT COMPLETE"] {
        ensure!(!summary.contains(words), "{words}:\n{summary}");
    }
    let ftrace = read("ftrace")?;
    if series == Series::V6_1 {
        ensure!(!ftrace.contains(" dma_"), "6.1 has tracepoints of DMA now: compare with them");
        return Ok(true);
    }
    lost_nothing(&read("stats")?)?;
    let theirs = dma::recorded(&ftrace, &DRIVEN.map(|(device, ..)| device))?;
    dma::equal(&ours, &theirs, "the kernel")?;
    Ok(true)
}

/// The lines of the trace are those that the kernel's log has got meanwhile. What several calls
/// have written of one line is one there, and what one call has written may be several lines.
fn logged(events: &[Value], before: &str, after: &str) -> Result<()> {
    let text = |line: &str| line.split_once("] ").map_or(line, |(_, text)| text).to_owned();
    let added = after.strip_prefix(before).context("the kernel's log has lost lines")?;
    let theirs: String = added.lines().map(text).collect();
    let lines = events.iter().filter(|event| event["kind"] == "log");
    let ours: Vec<&str> = lines.filter_map(|event| event["text"].as_str()).collect();
    ensure!(ours.len() > 20, "only {} lines of the kernel log", ours.len());
    let joined = ours.concat().replace('\n', "");
    ensure!(
        joined == theirs,
        "lines of the kernel log differ:\n{}\nand the kernel's:\n{added}",
        ours.join("\n")
    );
    Ok(())
}
