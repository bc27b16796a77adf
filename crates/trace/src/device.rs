//! The machine's PCI devices, as sysfs tells of them.
//!
//! They are kept in a trace's header: that is what names addresses, also on another machine later,
//! and what the PCIDEV lines of mmiotrace's format need.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trapline_registers::Identity;

/// BARs 0 to 5 and the expansion ROM.
const RESOURCES: usize = 7;

/// A PCI device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Domain, bus, device, function: `0000:00:03.0`.
    pub address: String,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class, subclass and programming interface: `0x010802` for NVMe.
    pub class: u32,
    /// Interrupt number.
    pub irq: u32,
    /// Driver that it was bound to.
    pub driver: Option<String>,
    /// BARs 0 to 5 and the expansion ROM.
    pub bars: [Bar; RESOURCES],
}

/// One BAR as the kernel has set it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// First physical address (or port).
    pub start: u64,
    /// Bytes; 0 if there is none.
    pub length: u64,
    /// `IORESOURCE_*` flags (include/linux/ioport.h).
    pub flags: u64,
}

impl Bar {
    /// `IORESOURCE_IO`.
    pub(crate) const PORTS: u64 = 0x100;

    /// `IORESOURCE_MEM`.
    pub(crate) const MEMORY: u64 = 0x200;

    /// `IORESOURCE_PREFETCH`.
    const PREFETCHABLE: u64 = 0x2000;

    /// Whether reading it has no effect, so that whoever reads may read more than was asked for.
    pub fn is_prefetchable(&self) -> bool {
        self.flags & Self::PREFETCHABLE != 0
    }

    /// Whether it is a range of memory, not of ports, and there.
    pub fn is_memory(&self) -> bool {
        self.length > 0 && self.flags & Self::MEMORY != 0
    }

    /// Whether it is a range of I/O ports, and there.
    pub fn is_ports(&self) -> bool {
        self.length > 0 && self.flags & Self::PORTS != 0
    }

    /// Bytes from its start to `physical`, if that is inside.
    pub fn offset(&self, physical: u64) -> Option<u64> {
        physical.checked_sub(self.start).filter(|offset| *offset < self.length)
    }
}

/// Why a device can't be described.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says something else than expected.
    #[error("{} holds {text:?}, expected {expected}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// All PCI devices below `sysfs` (`/sys` on a running system), in the order of their addresses. A
/// machine without PCI has none.
///
/// # Errors
/// If sysfs can't be read, or doesn't read as expected. A device that goes away meanwhile is left
/// out.
pub fn devices(sysfs: &Path) -> Result<Vec<Device>, DeviceError> {
    let folder = sysfs.join("bus/pci/devices");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(DeviceError::Read { path: folder, source }),
    };
    let mut devices = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| DeviceError::Read { path: folder.clone(), source })?;
        match Device::read(&entry.path()) {
            Ok(device) => devices.push(device),
            Err(DeviceError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    devices.sort_by(|a, b| a.address.cmp(&b.address));
    Ok(devices)
}

impl Device {
    /// The device whose folder in sysfs is `folder`.
    ///
    /// # Errors
    /// If the folder can't be read, or doesn't read as expected.
    pub fn read(folder: &Path) -> Result<Self, DeviceError> {
        let number = |name: &str| {
            let (path, text) = read(folder, name)?;
            hex(text.trim()).ok_or(DeviceError::Text { path, text, expected: "a hexadecimal number" })
        };
        let (path, irq) = read(folder, "irq")?;
        let irq =
            irq.trim().parse().map_err(|_| DeviceError::Text { path, text: irq, expected: "a number" })?;
        let (path, text) = read(folder, "resource")?;
        let mut bars = [Bar::default(); RESOURCES];
        for (bar, line) in bars.iter_mut().zip(text.lines()) {
            let Some(found) = resource(line) else {
                return Err(DeviceError::Text {
                    path,
                    text: line.into(),
                    expected: "three hexadecimal numbers",
                });
            };
            *bar = found;
        }
        Ok(Self {
            address: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            vendor: number("vendor")? as u16,
            device: number("device")? as u16,
            class: number("class")? as u32,
            irq,
            driver: driver(folder),
            bars,
        })
    }

    /// What register files know it by.
    pub fn identity(&self) -> Identity<'_> {
        let Self { vendor, device, class, .. } = *self;
        Identity { vendor, device, class, driver: self.driver.as_deref() }
    }

    /// Its memory BARs, with their numbers.
    pub fn memory_bars(&self) -> impl Iterator<Item = (u8, &Bar)> {
        (0..).zip(&self.bars).filter(|(_, bar)| bar.is_memory())
    }

    /// Its BARs of I/O ports, with their numbers.
    pub fn port_bars(&self) -> impl Iterator<Item = (u8, &Bar)> {
        (0..).zip(&self.bars).filter(|(_, bar)| bar.is_ports())
    }
}

fn read(folder: &Path, name: &str) -> Result<(PathBuf, String), DeviceError> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(DeviceError::Read { path, source }),
    }
}

/// Name of the driver that the device is bound to: where the link `driver` leads.
fn driver(folder: &Path) -> Option<String> {
    let target = fs::read_link(folder.join("driver")).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// A line of `resource`: first address, last address, flags (drivers/pci/pci-sysfs.c,
/// `resource_show`).
fn resource(line: &str) -> Option<Bar> {
    let mut numbers = line.split_whitespace().map(hex);
    let (start, end, flags) = (numbers.next()??, numbers.next()??, numbers.next()??);
    // As mmiotrace and /proc/bus/pci/devices have it: a resource that isn't longer than one byte
    // isn't there.
    let length = if start < end { (end - start).saturating_add(1) } else { 0 };
    Some(Bar { start, length, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sysfs with one NVMe disk, as QEMU's on a stock kernel.
    fn sysfs() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("bus/pci/devices/0000:00:04.0");
        fs::create_dir_all(&folder).unwrap();
        let files = [
            ("vendor", "0x1b36\n"),
            ("device", "0x0010\n"),
            ("class", "0x010802\n"),
            ("irq", "23\n"),
            (
                "resource",
                "0x00000000febd0000 0x00000000febd3fff 0x0000000000140204\n\
                 0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                 0x000000000000c040 0x000000000000c05f 0x0000000000040101\n",
            ),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../../../../bus/pci/drivers/nvme", folder.join("driver")).unwrap();
        root
    }

    #[test]
    fn a_device_is_described_with_its_ids_driver_and_bars() {
        let root = sysfs();
        let all = devices(root.path()).unwrap();
        let [nvme] = all.as_slice() else { panic!("one device, not {all:?}") };
        assert_eq!(nvme.address, "0000:00:04.0");
        assert_eq!((nvme.vendor, nvme.device, nvme.class, nvme.irq), (0x1b36, 0x10, 0x010802, 23));
        assert_eq!(nvme.driver.as_deref(), Some("nvme"));
        assert_eq!(nvme.bars[0], Bar { start: 0xfebd_0000, length: 0x4000, flags: 0x14_0204 });
    }

    #[test]
    fn a_bar_of_ports_is_no_memory_bar() {
        let root = sysfs();
        let all = devices(root.path()).unwrap();
        assert_eq!(all[0].bars[2].length, 0x20);
        assert_eq!(all[0].memory_bars().map(|(number, _)| number).collect::<Vec<_>>(), [0]);
        assert_eq!(all[0].port_bars().map(|(number, _)| number).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_machine_without_pci_has_no_devices() {
        assert_eq!(devices(tempfile::tempdir().unwrap().path()).unwrap(), []);
    }

    #[test]
    fn a_file_that_reads_otherwise_is_named_with_what_it_holds() {
        let root = sysfs();
        let file = root.path().join("bus/pci/devices/0000:00:04.0/vendor");
        fs::write(&file, "Intel\n").unwrap();
        let error = devices(root.path()).unwrap_err().to_string();
        assert_eq!(error, format!("{} holds \"Intel\\n\", expected a hexadecimal number", file.display()));
    }
}
