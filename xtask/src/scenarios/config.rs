//! Configuration space of a card, and of a disk behind a bridge, while their drivers bind, work and
//! go, while programs on 4 CPUs read and write it, and while the card is reset, removed and found
//! again: access by access as QEMU recorded them, by ports and by memory.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;
use crate::witnesses::config::{self, Access};
use crate::witnesses::{ByCpu, Events};

pub(super) const EQUAL: Scenario = Scenario {
    name: "every access to configuration space, by drivers, the kernel and programs on 4 CPUs, is told once, as QEMU recorded it, with its register and who asked for it",
    check: equal,
};

const DEVICES: [&str; 12] = [
    "-device",
    "edu,addr=1",
    "-netdev",
    "user,id=net,restrict=on",
    "-device",
    "e1000e,addr=5,netdev=net,romfile=",
    "-device",
    "pcie-root-port,id=below,addr=4,chassis=1,slot=1",
    "-blockdev",
    "driver=null-co,node-name=disk,read-zeroes=on,size=67108864",
    "-device",
    "nvme,bus=below,serial=trapline,drive=disk",
];
const MARKS: &str = "0000:00:01.0";
const CARD: &str = "0000:00:05.0";
const BRIDGE: &str = "0000:00:04.0";
const DISK: &str = "0000:01:00.0";

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let script = format!(
        "set -e
modprobe trapline
cat > work <<'WORK'
set -e
space() {{ echo /sys/bus/pci/devices/$1/config; }}
{mark}
mark
modprobe e1000e
modprobe nvme
until [ -e /dev/nvme0n1 ]; do sleep 0.05; done
ip link set eth0 up
for cpu in 0 1 2 3; do
    (
        taskset -c $cpu od -A n -t x4 $(space {CARD}) > /dev/null
        taskset -c $cpu dd if=$(space {DISK}) of=/dev/null bs=1 count=70 2> /dev/null
        taskset -c $cpu dd if=$(space {BRIDGE}) of=/dev/null bs=2 count=40 2> /dev/null
        printf \"\\\\00$cpu\" | taskset -c $cpu dd of=$(space {CARD}) bs=1 seek=60 conv=notrunc 2> /dev/null
        printf \"\\\\00$cpu\\\\000\" | taskset -c $cpu dd of=$(space {CARD}) bs=2 seek=22 conv=notrunc 2> /dev/null
    ) &
done
wait
# The command learns of modules once a second while it writes to a file.
sleep 3
ip link set eth0 down
rmmod nvme
rmmod e1000e
echo 1 > /sys/bus/pci/devices/{CARD}/reset
echo 1 > /sys/bus/pci/devices/{CARD}/remove
echo 1 > /sys/bus/pci/rescan
test -e $(space {CARD})
mark
WORK
trapline device {MARKS} {CARD} {BRIDGE} {DISK} --without accesses,interrupts,ports,dma,lifecycle,log --buffer 16MiB --output /out/config.trace -- sh work > /out/summary 2> /out/said
test \"$(trapline list)\" = 'nothing is probed'
rmmod trapline",
        mark = config::mark(MARKS)
    );
    let record = folder.path().join("record");
    succeeds(&Options {
        qemu: DEVICES.into_iter().chain(config::RECORDED).map(Into::into).collect(),
        modules: vec!["e1000e".into(), "nvme".into()],
        copy_out: Some(folder.path().to_owned()),
        record: Some(record.clone()),
        // Code is probed, and patched by that.
        ..Options::in_turn(series, script)
    })?;
    let record = fs::read_to_string(&record).context("cannot read the record")?;
    let is_traced = |(_, access): &(u32, Access)| [MARKS, CARD, BRIDGE, DISK].contains(&&*access.device);
    let theirs = config::recorded(&record, MARKS)?.into_iter().flatten().filter(is_traced).collect();
    let events = Events::read(&folder.path().join("config.trace"))?;
    ensure!(events.missed().is_empty(), "records are missing: {:?}", events.missed());
    as_recorded(&config::traced(events.of("config"))?, &theirs)?;
    named(&events.of("config").collect::<Vec<_>>())?;
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).context("cannot read what it said");
    let (summary, said) = (read("summary")?, read("said")?);
    for words in [" to configuration space (", "device cfg+offset", "pci_read_config", "0 dropped"] {
        ensure!(summary.contains(words), "the summary lacks `{words}`:\n{summary}");
    }
    ensure!(!summary.contains("NOT COMPLETE") && !said.contains("not recorded"), "{summary}\n{said}");
    Ok(())
}

fn as_recorded(ours: &ByCpu<Access>, theirs: &ByCpu<Access>) -> Result<()> {
    ours.equals(theirs, "QEMU")?;
    ensure!(theirs.cpus() == 4, "not on 4 CPUs, but {}", theirs.cpus());
    for (device, least) in [(CARD, 1000), (BRIDGE, 100), (DISK, 200)] {
        let (reads, writes): (Vec<&Access>, Vec<&Access>) =
            theirs.all().filter(|access| access.device == device).partition(|access| !access.write);
        ensure!(reads.len() > least, "{device}: {} reads, {} writes", reads.len(), writes.len());
        ensure!(device == BRIDGE || writes.len() > 10, "{device}: {} writes", writes.len());
    }
    let widths: BTreeSet<u64> = theirs.all().map(|access| access.width).collect();
    ensure!(widths == [1, 2, 4].into(), "widths: {widths:?}");
    Ok(())
}

/// Registers, and who accessed them.
fn named(events: &[&Value]) -> Result<()> {
    let is =
        |event: &Value, fields: &[(&str, &str)]| fields.iter().all(|(field, text)| event[*field] == *text);
    for fields in [
        &[("device", CARD), ("register", "COMMAND"), ("op", "W")][..],
        &[("device", CARD), ("register", "MSIX_FLAGS"), ("op", "W")],
        &[("device", DISK), ("register", "MSIX_FLAGS"), ("op", "W")],
        &[("device", BRIDGE), ("register", "PRIMARY_BUS SECONDARY_BUS")],
        &[("device", CARD), ("register", "INTERRUPT_LINE"), ("op", "W"), ("comm", "dd"), ("value", "0x03")],
        &[("device", CARD), ("op", "R"), ("comm", "od"), ("function", "pci_read_config"), ("way", "memory")],
        &[("device", CARD), ("op", "R"), ("comm", "od"), ("function", "pci_read_config"), ("way", "ports")],
        &[("device", CARD), ("register", "BAR0"), ("value", "0xffffffff"), ("op", "W")],
    ] {
        ensure!(events.iter().any(|event| is(event, fields)), "no access has {fields:?}");
    }
    let passing = |event: &&&Value| {
        let function = event["function"].as_str().unwrap_or("nowhere");
        function == "nowhere" || function.contains("read_config_") || function == "pci_read"
    };
    let unknown = events.iter().find(passing);
    ensure!(unknown.is_none(), "it is not known who asked for {unknown:?}");
    let is_e1000e = |frame: &Value| frame["module"] == "e1000e" || frame["module"] == "nvme";
    let by_drivers = events
        .iter()
        .filter(|event| event["stack"].as_array().is_some_and(|frames| frames.iter().any(is_e1000e)));
    let by_drivers = by_drivers.count();
    ensure!(by_drivers > 50, "{by_drivers} accesses are known to be drivers'");
    Ok(())
}
