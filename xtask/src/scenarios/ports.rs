//! Accesses to I/O ports of three devices while their drivers bind, work and go, twice, as QEMU
//! recorded them: by instructions in the drivers' own code, in a module that a driver needs, and in
//! the kernel's `ioread8()` and its like; string instructions too.
//!
//! QEMU's record is marked by reads of a configuration register of `edu`, which nobody else makes.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;
use crate::witnesses::ports::{self, Access};
use crate::witnesses::{ByCpu, Events, config};

pub(super) const EQUAL: Scenario = Scenario {
    name: "every access to I/O ports by drivers, in their own code and the kernel's, is told once, as QEMU recorded it",
    check: equal,
};

const DEVICES: [&str; 12] = [
    "-device",
    "edu,addr=1",
    "-netdev",
    "user,id=one,restrict=on",
    "-device",
    "ne2k_pci,addr=5,netdev=one,romfile=",
    "-audiodev",
    "none,id=sound",
    "-device",
    "AC97,addr=6,audiodev=sound",
    "-trace",
    "pci_cfg_read",
];
const MARKS: &str = "0000:00:01.0";

/// A device: its address, what QEMU calls its ports, its driver, whose code accesses them, and how
/// many accesses there are at least.
struct Device {
    address: &'static str,
    regions: &'static [&'static str],
    modules: &'static [&'static str],
    least: usize,
}

const TRACED: [Device; 3] = [
    Device { address: "0000:00:05.0", regions: &["ne2000"], modules: &["ne2k_pci", "8390"], least: 500 },
    // By the kernel's ioread8() and its like: called by the driver.
    Device {
        address: "0000:00:06.0",
        regions: &["ac97-nam", "ac97-nabm"],
        modules: &["snd_intel8x0"],
        least: 50,
    },
    Device { address: "0000:00:1f.3", regions: &["pm-smbus"], modules: &["i2c_i801"], least: 50 },
];

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let devices = TRACED.map(|device| device.address).join(" ");
    let script = format!(
        "set -e
modprobe trapline
cat > work <<'WORK'
set -e
{mark}
mark
for round in 1 2; do
    modprobe ne2k-pci
    modprobe snd-intel8x0
    modprobe i2c-i801
    modprobe i2c-dev
    ip link set eth0 up
    ip address add 10.0.2.15/24 dev eth0
    # To nobody: the question who has the address is sent all the same.
    ping -c 1 -W 1 10.0.2.77 > /dev/null || true
    bus=$(grep -l I801 /sys/bus/i2c/devices/i2c-*/name | sed 's/.*i2c-\\([0-9]*\\).*/\\1/')
    i2cdetect -y $bus 0x50 0x57 > /dev/null
    # The command learns of modules once a second while it writes to a file.
    sleep 3
    ip link set eth0 down
    for module in ne2k_pci 8390 snd_intel8x0 i2c_i801; do rmmod $module; done
done
mark
WORK
trapline device {devices} --without accesses,interrupts,config,dma,lifecycle,log --buffer 16MiB --output /out/ports.trace -- sh work > /out/summary 2> /out/said || {{ cat /out/said; exit 1; }}
# A driver that is loaded before; and the second sees the breakpoints of the first.
modprobe ne2k-pci
ports='trapline device 0000:00:05.0 --without accesses,interrupts,config,dma,lifecycle,log --output'
$ports /out/first.trace -- $ports /out/second.trace -- true > /dev/null 2> both || {{ cat both; exit 1; }}
grep 'in the code of ne2k_pci, 8390$' both > found
cat found
test $(wc -l < found) = 2
test $(uniq < found | wc -l) = 1
test \"$(trapline list)\" = 'nothing is probed'
rmmod trapline",
        mark = config::mark(MARKS)
    );
    let record = folder.path().join("record");
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        modules: ["ne2k-pci", "snd-intel8x0", "i2c-i801", "i2c-dev"].map(Into::into).into(),
        copy_out: Some(folder.path().to_owned()),
        record: Some(record.clone()),
        // Code is probed, and patched by that.
        ..Options::in_turn(series, script)
    })?;
    let theirs = recorded(&fs::read_to_string(&record).context("cannot read the record")?)?;
    let events = Events::read(&folder.path().join("ports.trace"))?;
    ensure!(events.missed().is_empty(), "records are missing: {:?}", events.missed());
    ports::traced(events.of("port"))?.equals(&theirs, "QEMU")?;
    let widths: BTreeSet<u64> = theirs.all().map(|access| access.width).collect();
    ensure!(widths == [1, 2, 4].into(), "widths: {widths:?}");
    named(&events.of("port").collect::<Vec<_>>())?;
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).context("cannot read what it said");
    let (summary, said) = (read("summary")?, read("said")?);
    ensure!(!summary.contains("NOT COMPLETE"), "{summary}\n{said}");
    Ok(())
}

/// What QEMU recorded of the devices' ports between the first mark and the last.
fn recorded(record: &str) -> Result<ByCpu<Access>> {
    let mark = format!("@{:#x} ", config::MARK);
    let is_mark = |line: &&str| line.contains("pci_cfg_read edu ") && line.contains(&mark);
    let lines: Vec<&str> = record.lines().collect();
    let first = lines.iter().position(is_mark).context("no mark is recorded")?;
    let last = lines.iter().rposition(is_mark).context("no mark is recorded")?;
    ensure!(first < last, "one mark is recorded");
    let regions: Vec<&str> = TRACED.iter().flat_map(|device| device.regions).copied().collect();
    ports::recorded(&lines[first..last], &regions)
}

/// Of which device each is, and who made it.
fn named(events: &[&Value]) -> Result<()> {
    for Device { address, modules, least, .. } in &TRACED {
        let of_device: Vec<&Value> =
            events.iter().copied().filter(|event| event["device"] == *address).collect();
        let count = of_device.len();
        ensure!(count >= *least, "{address}: {count} accesses");
        for module in *modules {
            let is_of_module =
                |event: &&&Value| event["module"] == *module || event["caller"].to_string().contains(module);
            let known = of_device.iter().filter(is_of_module).count();
            ensure!(known > 0, "{address}: none of {count} accesses is known to be by {module}");
        }
        for write in ["R", "W"] {
            ensure!(of_device.iter().any(|event| event["op"] == write), "{address}: no {write}");
        }
    }
    let is_string =
        |event: &&Value| event["flags"].as_array().is_some_and(|flags| flags.contains(&"string".into()));
    ensure!(events.iter().any(is_string), "no string instruction");
    Ok(())
}
