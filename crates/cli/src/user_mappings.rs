//! Device memory that processes have mapped themselves: what they access there goes past the
//! kernel, so no trace of ours has it.

use std::fs;

use trapline_trace::Device;

use crate::pci::Bdf;
use crate::system::System;
use crate::units::PhysicalRange;

/// A mapping of device memory by a process: a line of `/proc/PID/maps` (fs/proc/task_mmu.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserMapping {
    /// Its number.
    pub process: u32,
    /// What it is called.
    pub name: String,
    /// What is mapped.
    pub file: String,
    /// From where on in the file, and how many bytes.
    offset: u64,
    length: u64,
}

/// All of them, in the order of processes and addresses. Another user's can't be seen without root.
pub(crate) fn all(system: &System) -> Vec<UserMapping> {
    let mut found = Vec::new();
    let mut processes: Vec<u32> = system.list("proc").iter().filter_map(|name| name.parse().ok()).collect();
    processes.sort_unstable();
    for process in processes {
        // A process may just have ended: that is not worth a word.
        let Ok(maps) = system.read(format!("proc/{process}/maps")) else { continue };
        let mut name = None;
        for (file, offset, length) in maps.lines().filter_map(device_memory) {
            let name = name
                .get_or_insert_with(|| system.command_name(process).unwrap_or_else(|| "?".into()))
                .clone();
            // A file may be called anything, also what a terminal would obey.
            let file = file.replace(char::is_control, "?");
            found.push(UserMapping { process, name, file, offset, length });
        }
    }
    found
}

/// The file of a line of `maps`, where in it that is and how many bytes, if device memory may be
/// behind it.
fn device_memory(line: &str) -> Option<(&str, u64, u64)> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let offset = words.nth(1)?;
    let file = words.nth(2)?.trim();
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let length = hex(end)?.checked_sub(hex(start)?)?;
    let is_it = bar_of(file).is_some()
        || [MEMORY, UIO, "/dev/vfio/"].iter().any(|prefix| file.starts_with(prefix))
        || file == VFIO;
    is_it.then_some((file, hex(offset)?, length))
}

/// All of physical memory.
const MEMORY: &str = "/dev/mem";
/// A device handed to a program by UIO, and its number.
const UIO: &str = "/dev/uio";
/// A device handed to a program by VFIO.
const VFIO: &str = "anon_inode:[vfio-device]";

/// The device's address and the BAR of a file of sysfs that stands for one, wherever its bridge is.
fn bar_of(file: &str) -> Option<(&str, u8)> {
    let (folder, name) = file.strip_prefix("/sys/devices/")?.rsplit_once('/')?;
    let bar = name.strip_prefix("resource")?.trim_end_matches("_wc").parse().ok()?;
    let address = folder.rsplit('/').next()?;
    address.parse::<Bdf>().ok()?;
    Some((address, bar))
}

impl UserMapping {
    /// Whether it is of this range, which is that BAR of a device if it is one. Of what UIO and
    /// VFIO hand out it is not known which BAR is mapped.
    fn is_of(&self, system: &System, range: PhysicalRange, bar: Option<(&Device, u8)>) -> bool {
        if self.file == MEMORY {
            let end = self.offset.saturating_add(self.length);
            return self.offset < range.physical.saturating_add(range.length) && range.physical < end;
        }
        let Some((device, number)) = bar else { return false };
        if let Some(found) = bar_of(&self.file) {
            return found == (&*device.address, number);
        }
        if let Some(uio) = self.file.strip_prefix(UIO) {
            let link = fs::read_link(system.path(format!("sys/class/uio/uio{uio}/device")));
            return link.is_ok_and(|link| link.ends_with(&device.address));
        }
        // The one that it has now: it may have got that meanwhile. There are several for VFIO.
        let driver = fs::read_link(system.path(format!("sys/bus/pci/devices/{}/driver", device.address)));
        driver.is_ok_and(|driver| {
            driver.file_name().is_some_and(|name| name.to_string_lossy().contains("vfio"))
        })
    }
}

/// Who has this range mapped, a sentence for each process; `name` is what the range is called.
pub(crate) fn sentences(
    mappings: &[UserMapping],
    system: &System,
    range: PhysicalRange,
    bar: Option<(&Device, u8)>,
    name: &str,
) -> Vec<String> {
    let mut told: Vec<String> = mappings
        .iter()
        .filter(|mapping| mapping.is_of(system, range, bar))
        .map(|UserMapping { process, name: who, file, .. }| {
            format!(
                "process {process} ({who}) has {name} mapped itself, by {file}: what it accesses there is not in the trace"
            )
        })
        .collect();
    // One process may have several of the same.
    told.dedup();
    told
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::system::tests::with;

    const MAPS: &str = "\
7f0000000000-7f0000001000 rw-s 00000000 00:15 12     /sys/devices/pci0000:00/0000:00:03.0/resource0
7f0000002000-7f0000003000 rw-s 00001000 00:15 12     /sys/devices/pci0000:00/0000:00:03.0/resource0
7f0000003000-7f0000004000 rw-s 00001000 00:15 12     /sys/devices/pci0000:00/0000:00:03.0/resource2_wc
7f0000004000-7f0000005000 r--p 00000000 08:01 99     /usr/share/resource0
7f0000005000-7f0000006000 r--p 00000000 08:01 99     /sys/devices/system/resource0
7f0000006000-7f0000007000 rw-p 00000000 00:00 0 
7f0000008000-7f000000a000 rw-s fed00000 00:05 4      /dev/mem
7f000000b000-7f000000c000 rw-s 00000000 00:05 9      /dev/uio3
7f000000d000-7f000000e000 rw-s 00000000 00:0f 9      anon_inode:[vfio-device]
";

    fn device(address: &str, driver: &str) -> Device {
        Device { address: address.into(), driver: Some(driver.into()), ..Device::default() }
    }

    #[test]
    fn device_memory_is_known_by_its_file() {
        let (_root, system) =
            with(&[("proc/77/maps", MAPS), ("proc/77/comm", "po\u{1b}ker\n"), ("proc/self/maps", MAPS)]);
        let found: Vec<_> =
            all(&system).into_iter().map(|found| (found.process, found.name, found.file)).collect();
        assert_eq!(found.len(), 6);
        assert!(found.iter().all(|(process, name, _)| (*process, &**name) == (77, "po?ker")));
        assert!(!found.iter().any(|(.., file)| file.is_empty() || file.starts_with("/usr")), "{found:?}");
    }

    #[test]
    fn a_range_is_told_by_who_has_it_mapped_and_by_what() {
        let (root, system) = with(&[("proc/77/maps", MAPS), ("proc/77/comm", "poker\n")]);
        fs::create_dir_all(root.path().join("sys/class/uio/uio3")).unwrap();
        let vfio = root.path().join("sys/bus/pci/devices/0000:00:06.0");
        fs::create_dir_all(&vfio).unwrap();
        symlink("../../drivers/mlx5-vfio-pci", vfio.join("driver")).unwrap();
        symlink("../../../0000:00:05.0", root.path().join("sys/class/uio/uio3/device")).unwrap();
        let mappings = all(&system);
        let told = |physical, bar: Option<(&Device, u8)>| {
            let range = PhysicalRange { physical, length: 0x1000 };
            let sentences = sentences(&mappings, &system, range, bar, "it");
            let files = sentences.iter().map(|sentence| {
                let rest = sentence.strip_prefix("process 77 (poker) has it mapped itself, by ").unwrap();
                rest.strip_suffix(": what it accesses there is not in the trace").unwrap().to_owned()
            });
            files.collect::<Vec<_>>()
        };
        let card = device("0000:00:03.0", "e1000e");
        let resource = |name: &str| format!("/sys/devices/pci0000:00/0000:00:03.0/{name}");
        assert_eq!(told(0x1000, Some((&card, 0))), [resource("resource0")]);
        assert_eq!(told(0x1000, Some((&card, 1))), [""; 0]);
        assert_eq!(told(0x1000, Some((&card, 2))), [resource("resource2_wc")]);
        assert_eq!(told(0xfecf_f000, None), [""; 0]);
        assert_eq!(told(0xfecf_f001, None), ["/dev/mem"]);
        assert_eq!(told(0xfed0_1fff, None), ["/dev/mem"]);
        assert_eq!(told(0xfed0_2000, None), [""; 0]);
        assert_eq!(told(0x1000, Some((&device("0000:00:05.0", "uio_pci_generic"), 4))), ["/dev/uio3"]);
        assert_eq!(told(0x1000, Some((&device("0000:00:06.0", "none, as it began"), 4))), [VFIO]);
        assert_eq!(told(0x1000, Some((&device("0000:00:04.0", "e1000e"), 0))), [""; 0]);
    }

    #[test]
    fn lines_of_any_form_are_no_mapping() {
        for line in ["", "x", "5-3 rw-s 0 0 0 /dev/mem", "g-h rw-s 0 0 0 /dev/mem", "1-2 rw-s x 0 0 /dev/mem"]
        {
            assert_eq!(device_memory(line), None, "{line}");
        }
        assert_eq!(bar_of("/sys/devices/pci0000:00/0000:00:03.0/resource"), None);
    }
}
