//! What the system calls PCI devices: network interfaces, disks, cards, consoles, whatever has a
//! folder in sysfs. The path of such a folder goes through the devices that it is behind, the
//! nearest last.

use std::fs;
use std::path::{Path, PathBuf};

use trapline_trace::Device;

use crate::nearest::{nearest, suggestion};
use crate::system::System;

/// Why a name is no device's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CalledError {
    /// Nothing has it.
    #[error(
        "there is no device `{name}`: expected a PCI address (00:03.0), VENDOR:DEVICE (8086:10d3), or what a device is called (eth0, nvme0n1, /dev/sda); \
         {hint}"
    )]
    Nothing {
        /// What was asked for.
        name: String,
        /// What it may be instead.
        hint: String,
    },
    /// What has it is behind no PCI device.
    #[error(
        "`{name}` is behind no PCI device: it is {path}; --range traces other device memory by its address (/proc/iomem)"
    )]
    NotPci {
        /// What was asked for.
        name: String,
        /// Where it is in sysfs.
        path: String,
    },
    /// Several things have it.
    #[error(
        "`{name}` is the name of several devices:{list}\nsay which, as it stands there or by its address"
    )]
    Several {
        /// What was asked for.
        name: String,
        /// Those, one a line.
        list: String,
    },
}

/// Something in sysfs that a person may mean.
struct Found {
    /// By which it can be told from others of its name: `net/eth0`.
    label: String,
    /// Where it is, and what it is made of.
    paths: Vec<PathBuf>,
}

/// The devices that `name` is behind: one, or those that a disk or interface is made of.
pub(crate) fn by_name<'a>(
    system: &System,
    devices: &'a [Device],
    name: &str,
) -> Result<Vec<&'a Device>, CalledError> {
    let all = find(system, name);
    if all.is_empty() {
        let names: Vec<String> =
            devices.iter().flat_map(|device| names_of(system, devices, device)).collect();
        let near = suggestion(&nearest(name, names.iter().map(String::as_str)));
        let hint = near.unwrap_or_else(|| "`trapline devices` lists what can be traced".into());
        return Err(CalledError::Nothing { name: name.into(), hint });
    }
    let mut choices: Vec<(&str, Vec<&Device>)> = Vec::new();
    for found in &all {
        let mut behind: Vec<&Device> = Vec::new();
        for device in found.paths.iter().filter_map(|path| nearest_device(path, devices)) {
            if !behind.contains(&device) {
                behind.push(device);
            }
        }
        if !behind.is_empty() && !choices.iter().any(|(_, other)| *other == behind) {
            choices.push((&found.label, behind));
        }
    }
    match &*choices {
        [] => {
            let path = all.iter().find_map(|found| found.paths.first());
            let path = path.map(|path| path.display().to_string()).unwrap_or_default();
            Err(CalledError::NotPci { name: name.into(), path })
        }
        [(_, behind)] => Ok(behind.clone()),
        several => {
            let line = |(label, behind): &(&str, Vec<&Device>)| {
                let addresses: Vec<&str> = behind.iter().map(|device| &*device.address).collect();
                format!("\n  {label}  {}", addresses.join(", "))
            };
            Err(CalledError::Several { name: name.into(), list: several.iter().map(line).collect() })
        }
    }
}

/// The last device that a path in sysfs goes through.
fn nearest_device<'a>(path: &Path, devices: &'a [Device]) -> Option<&'a Device> {
    let mut parts = path.components().rev();
    parts.find_map(|part| devices.iter().find(|device| part.as_os_str() == &*device.address))
}

/// Everything in sysfs that has the name.
fn find(system: &System, name: &str) -> Vec<Found> {
    let found = |label: &str, paths: Vec<PathBuf>| {
        (!paths.is_empty()).then(|| Found { label: label.to_owned(), paths })
    };
    if let Some(file) = name.strip_prefix("/dev/") {
        return found(name, paths_of_file(system, file)).into_iter().collect();
    }
    if let Some(path) = name.strip_prefix("/sys/") {
        let real = system.real(Path::new("sys").join(path));
        return found(name, real.into_iter().collect()).into_iter().collect();
    }
    let kinds = match name.split_once('/') {
        Some((kind, name)) => vec![(kind.to_owned(), name)],
        None => {
            let kinds = ["sys/class", "sys/bus"].into_iter().flat_map(|folder| system.list(folder));
            kinds.map(|kind| (kind, name)).collect()
        }
    };
    let of = |(kind, name): &(String, &str)| found(&format!("{kind}/{name}"), paths_of(system, kind, name));
    kinds.iter().filter_map(of).collect()
}

/// Where the thing called `name` of a class or bus is, and what it is made of.
fn paths_of(system: &System, kind: &str, name: &str) -> Vec<PathBuf> {
    // A name, not a way to somewhere else.
    if [kind, name].iter().any(|part| part.is_empty() || part.contains('/') || part.starts_with('.')) {
        return Vec::new();
    }
    if kind == "block" {
        return system.paths_of_disk(name);
    }
    let folders = [
        Path::new("sys/class").join(kind).join(name),
        Path::new("sys/bus").join(kind).join("devices").join(name),
    ];
    let mut paths = Vec::new();
    for folder in folders {
        paths.extend(system.real(&folder));
        // What ACPI describes, and the interfaces that a bond or bridge is made of.
        paths.extend(system.real(folder.join("physical_node")));
        let lower = system.list(&folder).into_iter().filter(|entry| entry.starts_with("lower_"));
        paths.extend(lower.filter_map(|entry| system.real(folder.join(entry))));
    }
    paths
}

/// Where what a file in `/dev` stands for is.
fn paths_of_file(system: &System, file: &str) -> Vec<PathBuf> {
    let (Some(dev), Some(real)) = (system.real("dev"), system.real(Path::new("dev").join(file))) else {
        return Vec::new();
    };
    let Ok(file) = real.strip_prefix(dev) else { return Vec::new() };
    let file = file.to_string_lossy();
    let disk = system.paths_of_disk(&file.replace('/', "!"));
    if !disk.is_empty() {
        return disk;
    }
    // A device tells the name of its file there (device_get_devnode() in the kernel).
    let line = format!("DEVNAME={file}");
    let numbers =
        system.list("sys/dev/char").into_iter().map(|number| Path::new("sys/dev/char").join(number));
    numbers
        .filter(|folder| {
            let told = fs::read_to_string(system.path(folder.join("uevent"))).unwrap_or_default();
            told.lines().any(|told| told == line)
        })
        .filter_map(|folder| system.real(folder))
        .collect()
}

/// What a person may call a device, in words that [`by_name`] understands.
pub(crate) fn names_of(system: &System, devices: &[Device], device: &Device) -> Vec<String> {
    let mut names = Vec::new();
    for (kind, is_named) in KINDS {
        let folder = [format!("sys/class/{kind}"), format!("sys/bus/{kind}/devices")]
            .into_iter()
            .find(|folder| system.path(folder).exists());
        let Some(folder) = folder.map(PathBuf::from) else { continue };
        for name in system.list(&folder) {
            let Some(real) = system.real(folder.join(&name)) else { continue };
            if is_named(&name, &real) && nearest_device(&real, devices) == Some(device) {
                // Cards of two kinds have the same names.
                names.push(if name.starts_with("card") { format!("{kind}/{name}") } else { name });
            }
        }
    }
    names
}

/// Classes and buses whose members people know by name, and which of the members.
type Kind = (&'static str, fn(&str, &Path) -> bool);
const KINDS: [Kind; 8] = [
    ("net", |_, _| true),
    ("nvme", |_, _| true),
    ("block", |_, real| !real.join("partition").exists()),
    // Not its connectors, `card0-HDMI-A-1`.
    ("drm", |name, _| name.starts_with("card") && !name.contains('-')),
    ("sound", |name, _| name.starts_with("card")),
    ("usb", |name, _| name.starts_with("usb")),
    ("i2c-adapter", |_, _| true),
    ("tty", |_, _| true),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::Machine;

    const NIC: &str = "pci0000:00/0000:00:1c.0/0000:01:00.0";

    /// A card behind a bridge, a disk, a screen and a sound card.
    fn machine() -> (Machine, Vec<Device>) {
        let machine = Machine::new(&[("dev/dri/card0", ""), ("dev/sda1", "")])
            .device(&format!("{NIC}/net/enp1s0"), &["sys/class/net/enp1s0"])
            .device("virtual/net/lo", &["sys/class/net/lo"])
            .device("virtual/net/bond0", &["sys/class/net/bond0"])
            .device("pci0000:00/0000:00:02.0/drm/card0", &["sys/class/drm/card0", "sys/dev/char/226:0"])
            .device("pci0000:00/0000:00:02.0/drm/card0/card0-DP-1", &["sys/class/drm/card0-DP-1"])
            .file("sys/devices/pci0000:00/0000:00:02.0/drm/card0/uevent", "MAJOR=226\nDEVNAME=dri/card0\n")
            .device("pci0000:00/0000:00:1f.3/sound/card0", &["sys/class/sound/card0"])
            .disk("pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", "8:0")
            .disk("pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1", "8:1")
            .file("sys/class/block/sda1/partition", "1\n")
            .disk("virtual/block/dm-0", "253:0")
            .file("sys/class/block/dm-0/slaves/sda1/size", "1")
            .device("pci0000:00/0000:00:14.0/usb1", &["sys/bus/usb/devices/usb1"])
            .device("pci0000:00/0000:00:14.0/usb1/1-2", &["sys/bus/usb/devices/1-2"]);
        machine.link(
            "sys/class/net/bond0/lower_enp1s0",
            &machine.system.path(format!("sys/devices/{NIC}/net/enp1s0")),
        );
        machine.link("dev/mapper/root", &machine.system.path("dev/dm-0"));
        fs::write(machine.system.path("dev/dm-0"), "").unwrap();
        let device = |address: &str| Device { address: address.into(), ..Device::default() };
        let devices =
            ["0000:00:02.0", "0000:00:14.0", "0000:00:1c.0", "0000:00:1f.2", "0000:00:1f.3", "0000:01:00.0"];
        (machine, devices.map(device).to_vec())
    }

    #[test]
    fn a_name_is_the_nearest_device_that_its_path_goes_through() {
        let (machine, devices) = machine();
        for (name, address) in [
            ("enp1s0", "0000:01:00.0"),
            ("net/enp1s0", "0000:01:00.0"),
            ("bond0", "0000:01:00.0"),
            ("sda", "0000:00:1f.2"),
            ("sda1", "0000:00:1f.2"),
            ("dm-0", "0000:00:1f.2"),
            ("/dev/sda1", "0000:00:1f.2"),
            ("/dev/mapper/root", "0000:00:1f.2"),
            ("drm/card0", "0000:00:02.0"),
            ("/dev/dri/card0", "0000:00:02.0"),
            ("sound/card0", "0000:00:1f.3"),
            ("1-2", "0000:00:14.0"),
            ("/sys/class/net/enp1s0", "0000:01:00.0"),
        ] {
            let found =
                by_name(&machine.system, &devices, name).unwrap_or_else(|error| panic!("{name}: {error}"));
            let found: Vec<&str> = found.iter().map(|device| &*device.address).collect();
            assert_eq!(found, [address], "{name}");
        }
    }

    #[test]
    fn a_name_that_is_none_or_several_devices_is_told_with_what_there_is() {
        let (machine, devices) = machine();
        let mistake = |name| by_name(&machine.system, &devices, name).unwrap_err().to_string();
        assert!(mistake("enp1s1").contains("did you mean one of: enp1s0?"), "{}", mistake("enp1s1"));
        assert!(mistake("zzz").contains("`trapline devices` lists"), "{}", mistake("zzz"));
        let several = mistake("card0");
        assert!(several.contains("\n  drm/card0  0000:00:02.0\n  sound/card0  0000:00:1f.3\n"), "{several}");
        assert!(mistake("lo").contains("/virtual/net/lo; --range"), "{}", mistake("lo"));
        for nothing in
            ["../class/net/enp1s0", "net/../net/enp1s0", "/dev/../etc/passwd", "/dev/", "net/", "/"]
        {
            assert!(mistake(nothing).contains("there is no device"), "{}", mistake(nothing));
        }
    }

    #[test]
    fn a_device_has_the_names_of_what_it_is_and_not_of_what_is_behind_another() {
        let (machine, devices) = machine();
        let names: Vec<Vec<String>> =
            devices.iter().map(|device| names_of(&machine.system, &devices, device)).collect();
        assert_eq!(
            names,
            [vec!["drm/card0"], vec!["usb1"], vec![], vec!["sda"], vec!["sound/card0"], vec!["enp1s0"]]
        );
    }
}
