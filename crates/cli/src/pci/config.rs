//! What a device's configuration space says, as sysfs has it.

use trapline_trace::Device;

use crate::system::System;

/// Offsets in the standard header (include/uapi/linux/pci_regs.h): status, with the bit that tells
/// of a list of capabilities; where that begins; the pin of the interrupt line.
const STATUS: usize = 0x06;
const HAS_CAPABILITIES: u8 = 1 << 4;
const CAPABILITIES: usize = 0x34;
const PIN: usize = 0x3d;

/// Capabilities for interrupts by message.
const MSI: u8 = 0x05;
const MSI_X: u8 = 0x11;

/// So many capabilities fit behind the header, of four bytes each.
const MOST: usize = (256 - 64) / 4;

/// Whether a device has interrupts of any kind. One whose configuration can't be read may have.
pub(crate) fn has_interrupts(system: &System, device: &Device) -> bool {
    let path = system.path(format!("sys/bus/pci/devices/{}/config", device.address));
    let Ok(bytes) = std::fs::read(path) else { return true };
    let has_line = bytes.get(PIN).is_some_and(|pin| *pin != 0);
    // Without root there are 64 bytes, and no capability can be seen.
    bytes.len() <= 64 || has_line || capabilities(&bytes).any(|id| id == MSI || id == MSI_X)
}

/// The ids of the capabilities in the list of a device, which may be broken.
fn capabilities(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let at = |offset: usize| bytes.get(offset).copied();
    let listed = at(STATUS).is_some_and(|status| status & HAS_CAPABILITIES != 0);
    let next =
        move |offset: usize| at(offset).map(|byte| usize::from(byte & !3)).filter(|next| *next >= 0x40);
    let first = listed.then(|| next(CAPABILITIES)).flatten();
    std::iter::successors(first, move |offset| next(offset + 1)).take(MOST).filter_map(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_of_the_list_and_a_list_without_end_ends() {
        let mut bytes = [0; 256];
        (bytes[STATUS], bytes[CAPABILITIES]) = (HAS_CAPABILITIES, 0xc8);
        (bytes[0xc8], bytes[0xc9], bytes[0xd0], bytes[0xd1]) = (1, 0xd0, MSI, 0);
        assert_eq!(capabilities(&bytes).collect::<Vec<_>>(), [1, MSI]);
        bytes[0xd1] = 0xc8;
        assert_eq!(capabilities(&bytes).count(), MOST);
        bytes[STATUS] = 0;
        assert_eq!(capabilities(&bytes).count(), 0);
        assert_eq!(capabilities(&bytes[..64]).count(), 0);
    }
}
