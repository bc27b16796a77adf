//! One access to a device, as two independent witnesses report it: QEMU's record and Trapline's
//! trace.

use std::fmt;

/// A read or a write of the registers of a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The CPU that made it.
    pub cpu: u32,
    /// Whether it wrote.
    pub write: bool,
    /// Guest-physical address of the first byte.
    pub address: u64,
    /// What was read or written, lowest address first; its length is the access's width.
    pub bytes: Vec<u8>,
}

impl Access {
    /// An access of 1 to 8 bytes with a little-endian value.
    ///
    /// # Panics
    /// If `width` is above 8.
    pub fn new(cpu: u32, write: bool, address: u64, width: usize, value: u64) -> Self {
        Self { cpu, write, address, bytes: value.to_le_bytes()[..width].to_vec() }
    }

    /// How many bytes it read or wrote.
    pub fn width(&self) -> usize {
        self.bytes.len()
    }

    /// The address after the last byte.
    pub fn end(&self) -> u64 {
        self.address.wrapping_add(self.bytes.len() as u64)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.write { "write" } else { "read " };
        write!(f, "cpu {} {direction} {:2} bytes at {:#x}: 0x", self.cpu, self.width(), self.address)?;
        self.bytes.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_reads_as_a_sentence_with_its_value_as_a_number() {
        let access = Access::new(3, true, 0xfea0_0004, 4, 0x1234_5678);
        assert_eq!(access.to_string(), "cpu 3 write  4 bytes at 0xfea00004: 0x12345678");
    }
}
