//! One thing that happened, as every reader, writer and report sees it.
//!
//! An event borrows its texts from whoever made it: the merge (task names), [`Names`](crate::Names)
//! (devices, registers, functions) or a file's dictionaries. Unnamed and named events are one type;
//! naming fills in each `place` and `site`.

use crate::What;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Nanoseconds on the kernel log's clock.
    pub time: u64,
    /// CPU it happened on.
    pub cpu: u16,
    /// Thread id; 0 is the idle task.
    pub pid: u32,
    /// Process (thread group) id; 0 if not known.
    pub tgid: u32,
    /// Name of the task; empty if not known.
    pub comm: &'a str,
    /// What happened.
    pub what: What<'a>,
}

impl Event<'_> {
    /// Whether the trace tells which task it was. mmiotrace's text does not; the idle task has a
    /// name.
    pub(crate) fn has_task(&self) -> bool {
        self.pid != 0 || !self.comm.is_empty()
    }
}

/// Where in a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// PCI address, as `0000:00:03.0`.
    pub device: &'a str,
    /// BAR, 0 to 5; 6 is the expansion ROM.
    pub bar: u8,
    /// Bytes from the BAR's start.
    pub offset: u64,
    /// Register, if a register file tells: `CC`, `RAL[2]`, `CAP+0x4` for an access inside a
    /// register.
    pub register: Option<&'a str>,
}

/// Where in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    /// Function.
    pub function: &'a str,
    /// Bytes from the function's start.
    pub offset: u64,
    /// Module, `None` for the kernel proper.
    pub module: Option<&'a str>,
}

/// A task's name as the kernel keeps it: at most 15 bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comm {
    bytes: [u8; 16],
    length: u8,
}

impl Comm {
    /// From a name padded with zeros. A task may call itself anything: bytes that are not UTF-8
    /// become `?`.
    pub fn new(mut name: [u8; 16]) -> Self {
        while let Err(error) = std::str::from_utf8(&name) {
            name[error.valid_up_to()] = b'?';
        }
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len()) as u8;
        Self { bytes: name, length }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_name_that_is_not_utf8_stays_readable() {
        assert_eq!(Comm::new(*b"ab\xff\xfecd\0\0\0\0\0\0\0\0\0\0").as_str(), "ab??cd");
        assert_eq!(Comm::new(*b"kworker/3:2\0\0\0\0\0").as_str(), "kworker/3:2");
        assert_eq!(Comm::new([b'x'; 16]).as_str(), "xxxxxxxxxxxxxxxx");
    }
}
