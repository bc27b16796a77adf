//! Where a PCI function sits, as text.

use std::fmt::{self, Write as _};

use trapline_abi::PciFunction;

/// A PCI address: `0000:00:03.0`. The text lies in it, so that an event that has one borrows and
/// allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// A domain of up to eight digits, a bus, a device and a function fit exactly.
    bytes: [u8; Self::LONGEST],
    length: u8,
}

impl PciAddress {
    const LONGEST: usize = 16;

    /// From its text; `None` if it is too long to be one.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::LONGEST];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: text.len() as u8 })
    }

    /// The whole of it.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    /// Without the domain, if that is 0.
    pub(crate) fn short(&self) -> &str {
        self.as_str().strip_prefix("0000:").unwrap_or(self.as_str())
    }
}

impl From<PciFunction> for PciAddress {
    fn from(function: PciFunction) -> Self {
        let (domain, bus, device, function) = function.parts();
        let mut address = Self { bytes: [0; Self::LONGEST], length: 0 };
        let written = write!(address, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}");
        debug_assert!(written.is_ok(), "the longest fits");
        address
    }
}

impl fmt::Write for PciAddress {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.length);
        let room = self.bytes.get_mut(start..start + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len() as u8;
        Ok(())
    }
}

impl fmt::Debug for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_and_the_longest_address_have_all_their_digits() {
        let text = |function: PciFunction| PciAddress::from(function).as_str().to_owned();
        assert_eq!(text(PciFunction::new(0, 0, 3, 0)), "0000:00:03.0");
        assert_eq!(text(PciFunction::new(u32::MAX, 0xff, 0x1f, 7)), "ffffffff:ff:1f.7");
        assert_eq!(PciAddress::from(PciFunction::new(0, 2, 0, 1)).short(), "02:00.1");
        assert_eq!(PciAddress::from(PciFunction::new(0x1_0000, 2, 0, 1)).short(), "10000:02:00.1");
        assert_eq!(PciAddress::from_text("0000:00:03.0"), Some(PciFunction::new(0, 0, 3, 0).into()));
        assert_eq!(PciAddress::from_text("0000000000:00:03.0"), None);
    }
}
