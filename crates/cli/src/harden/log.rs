//! The kernel log from some moment on: `/dev/kmsg`, of which every reader has a place of its own
//! (Documentation/ABI/testing/dev-kmsg).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// Longer than any record.
const RECORD: usize = 8192;

/// What is kept of a log at most, in bytes: what comes first tells most.
const MOST: usize = 64 << 10;

/// The log, at some place.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// From now on.
    pub(crate) fn from_now() -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file })
    }

    /// What was written since, a line for each.
    pub(crate) fn read(&mut self) -> String {
        let (mut text, mut record) = (String::new(), vec![0; RECORD]);
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return text,
                Ok(length) if text.len() < MOST => {
                    let record =
                        String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
                    text.extend(line(&record));
                }
                Ok(_) => {}
                // What was overwritten before it was read is lost, and reading goes on behind it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return text,
            }
        }
    }
}

/// A record, `PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT` and lines that begin with a blank, as
/// `dmesg` prints it. `None` of what programs wrote: that may be anything.
fn line(record: &str) -> Option<String> {
    let (head, text) = record.split_once(';')?;
    let text = text.lines().next().unwrap_or_default();
    let mut head = head.split(',');
    let priority: u64 = head.next()?.parse().ok()?;
    let microseconds: u64 = head.nth(1)?.parse().ok()?;
    let is_kernel = priority >> 3 == 0;
    is_kernel.then(|| format!("[{:5}.{:06}] {text}\n", microseconds / 1_000_000, microseconds % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_kernel_read_as_dmesg_has_them_and_those_of_programs_do_not() {
        let record =
            "4,339,5140900,-;WARNING: CPU: 0 PID: 1 at x.c:1\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:01.0\n";
        assert_eq!(line(record).as_deref(), Some("[    5.140900] WARNING: CPU: 0 PID: 1 at x.c:1\n"));
        assert_eq!(line("12,340,5140901,-;BUG: a program's\n"), None);
        assert_eq!(line(""), None);
        assert_eq!(line("4;x"), None);
    }
}
