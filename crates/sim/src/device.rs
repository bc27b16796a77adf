//! The simulated device: memory whose first registers have side effects, and a record of what
//! reached it.

/// Each page of the device begins with these; the rest of it is plain memory.
pub(crate) mod register {
    /// A read gives how often it was read before.
    pub(crate) const COUNTER: u64 = 0x10;
    /// A read clears it.
    pub(crate) const CLEARED_BY_READ: u64 = 0x18;
    /// A write puts a value in, a read takes the oldest out (0 if there is none).
    pub(crate) const FIFO: u64 = 0x20;
}

/// What is behind one region of physical memory.
pub(crate) struct PhysicalMemory {
    pub(crate) is_device: bool,
    bytes: Vec<u8>,
    fifo: std::collections::VecDeque<u64>,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl PhysicalMemory {
    pub(crate) fn new(length: usize, is_device: bool) -> Self {
        Self { is_device, bytes: vec![0; length], fifo: std::collections::VecDeque::new() }
    }

    /// Replaces content, past the registers; what waits in the FIFO is forgotten.
    pub(crate) fn replace(&mut self, offset: u64, bytes: &[u8]) {
        self.fifo.clear();
        self.bytes(offset, bytes.len()).copy_from_slice(bytes);
    }

    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> &mut [u8] {
        &mut self.bytes[offset as usize..][..length]
    }

    /// One read as it reaches the memory, side effects included.
    pub(crate) fn read(&mut self, offset: u64, into: &mut [u8]) {
        let at = offset as usize;
        into.copy_from_slice(&self.bytes[at..][..into.len()]);
        if !self.is_device {
            return;
        }
        match offset & 0xfff {
            register::COUNTER => {
                let next = number(into).wrapping_add(1).to_le_bytes();
                let width = into.len().min(8);
                self.bytes[at..][..width].copy_from_slice(&next[..width]);
            }
            register::CLEARED_BY_READ => self.bytes[at..][..into.len()].fill(0),
            register::FIFO => {
                let value = self.fifo.pop_front().unwrap_or(0).to_le_bytes();
                let width = into.len().min(8);
                into[..width].copy_from_slice(&value[..width]);
            }
            _ => {}
        }
    }

    /// One write as it reaches the memory.
    pub(crate) fn write(&mut self, offset: u64, from: &[u8]) {
        if self.is_device && offset & 0xfff == register::FIFO {
            self.fifo.push_back(number(&from[..from.len().min(8)]));
        } else {
            self.bytes[offset as usize..][..from.len()].copy_from_slice(from);
        }
    }
}
