//! What a device's configuration space says, as sysfs has it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use trapline_registers::config::{Walked, walk};
use trapline_trace::Device;

use crate::system::System;

/// Offset in the standard header of the pin of the interrupt line, in the second byte
/// (include/uapi/linux/pci_regs.h).
const LINE_AND_PIN: u16 = 0x3c;

/// Where what only root may read begins.
const BEHIND_THE_HEADER: u16 = 0x40;

/// Capabilities for interrupts by message.
const MSI: u16 = 0x05;
const MSI_X: u16 = 0x11;

/// A device's configuration space.
struct Space(File);

impl Space {
    fn open(system: &System, device: &Device) -> io::Result<Self> {
        File::open(system.path(format!("sys/bus/pci/devices/{}/config", device.address))).map(Self)
    }

    /// Four bytes; `None` if there are none that this user may read.
    fn read(&self, offset: u16) -> Option<u32> {
        let mut bytes = [0; 4];
        self.0.read_exact_at(&mut bytes, offset.into()).ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    fn walked(&self) -> Walked {
        walk(|offset| self.read(offset))
    }
}

/// What a device's configuration space has where.
pub(crate) fn config_space(system: &System, device: &Device) -> io::Result<Walked> {
    Ok(Space::open(system, device)?.walked())
}

/// Whether a device has interrupts of any kind. One whose configuration can't be read may have.
pub(crate) fn has_interrupts(system: &System, device: &Device) -> bool {
    let Ok(space) = Space::open(system, device) else { return true };
    let has_line = space.read(LINE_AND_PIN).is_some_and(|word| word >> 8 & 0xff != 0);
    if has_line || space.read(BEHIND_THE_HEADER).is_none() {
        return true;
    }
    let is_message = |id| id == MSI || id == MSI_X;
    space.walked().layout.capabilities.iter().any(|one| !one.extended && is_message(one.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::with;

    #[test]
    fn a_virtual_function_whose_ids_read_as_ones_has_the_interrupts_that_it_lists() {
        let mut bytes = vec![0; 256];
        bytes[..8].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x04, 0x00, 0x10, 0x00]);
        (bytes[0x34], bytes[0x70], bytes[0x71], bytes[0xa0]) = (0x70, 0x11, 0xa0, 0x10);
        let (_root, system) = with(&[]);
        let device = Device { address: "0000:01:10.0".into(), ..Device::default() };
        let folder = system.path("sys/bus/pci/devices/0000:01:10.0");
        std::fs::create_dir_all(&folder).unwrap();
        let mut has = |id| {
            bytes[0x70] = id;
            std::fs::write(folder.join("config"), &bytes).unwrap();
            has_interrupts(&system, &device)
        };
        // MSI-X, MSI; and power management alone.
        assert_eq!([0x11, 0x05, 0x01].map(&mut has), [true, true, false]);
    }
}
