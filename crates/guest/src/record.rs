//! QEMU's record of what a device saw, as it comes back into the guest.
//!
//! The host copies the record's lines about our device into a virtio port while QEMU writes them.
//! What belongs to what is told by marks: writes of a number to the device's last register, which
//! the record shows in its place among the others.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The port's name: xtask's `scenarios/conformance.rs` gives it.
const PORT: &str = "trapline.seen";
/// How long a line may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// An access as the device saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) cpu: usize,
    pub(crate) write: bool,
    pub(crate) physical: u64,
    pub(crate) value: u64,
    pub(crate) width: u8,
}

impl Line {
    /// `memory_region_ops_read cpu 0 mr 0x5596d8fc7040 addr 0xfea00000 value 0x10000ed size 4 name
    /// 'edu-mmio'`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let write = match words.next()? {
            "memory_region_ops_read" => false,
            "memory_region_ops_write" => true,
            _ => return None,
        };
        let mut value_of = |name| {
            words.by_ref().find(|word| *word == name)?;
            words.next()
        };
        let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let cpu = value_of("cpu")?.parse().ok()?;
        let physical = hex(value_of("addr")?)?;
        let value = hex(value_of("value")?)?;
        Some(Self { cpu, write, physical, value, width: value_of("size")?.parse().ok()? })
    }
}

/// The port.
#[derive(Debug)]
pub(crate) struct Record {
    file: File,
    pending: Vec<u8>,
    at: usize,
}

impl Record {
    pub(crate) fn open() -> Result<Self> {
        let ports = Path::new("/sys/class/virtio-ports");
        for entry in fs::read_dir(ports).with_context(|| format!("cannot read {}", ports.display()))? {
            let entry = entry?;
            if fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT) {
                let path = Path::new("/dev").join(entry.file_name());
                let file = OpenOptions::new().read(true).write(true).open(&path);
                let file = file.with_context(|| format!("cannot open {}", path.display()))?;
                return Ok(Self { file, pending: Vec::new(), at: 0 });
            }
        }
        bail!("no virtio port is called {PORT}")
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> Result<Line> {
        loop {
            let rest = &self.pending[self.at..];
            if let Some(length) = rest.iter().position(|&byte| byte == b'\n') {
                let line = std::str::from_utf8(&rest[..length])?;
                let parsed = Line::parse(line).with_context(|| format!("QEMU recorded: {line}"))?;
                self.at += length + 1;
                return Ok(parsed);
            }
            self.pending.drain(..self.at);
            self.at = 0;
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&timeout))?;
        ensure!(ready > 0, "nothing of QEMU's record arrived for {} s", PATIENCE.as_secs());
        let mut piece = [0; 1 << 16];
        let length = self.file.read(&mut piece).context("cannot read QEMU's record")?;
        ensure!(length > 0, "nobody hands over QEMU's record");
        self.pending.extend_from_slice(&piece[..length]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_record_is_an_access() {
        let line = "memory_region_ops_write cpu 2 mr 0x5596d8fc7040 addr 0xfea00010 value 0x1f size 4 name 'nvme-cmb'";
        let expected = Line { cpu: 2, write: true, physical: 0xfea0_0010, value: 0x1f, width: 4 };
        assert_eq!(Line::parse(line), Some(expected));
        assert_eq!(Line::parse("memory_region_tb_read cpu 2 addr 0x10"), None);
    }
}
