//! The kernel log from some moment on: `/dev/kmsg`, of which every reader has a place of its own
//! (Documentation/ABI/testing/dev-kmsg).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

/// Longer than any record.
const RECORD: usize = 8192;

/// What is kept of a log at most, in bytes: half of it of the beginning, half of the end.
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

    /// What was written since it was read last, a line for each.
    pub(crate) fn read(&mut self) -> String {
        let (mut kept, mut record) = (Kept::default(), vec![0; RECORD]);
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return kept.text(),
                Ok(length) => {
                    let record = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                    if let Some(line) = line(&record) {
                        kept.add(&line);
                    }
                }
                // What was overwritten before it was read is lost, and reading goes on behind it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => kept.add(LOST),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return kept.text(),
            }
        }
    }
}

/// Stands for lines that are not kept.
const LOST: &str = "(here lines are missing)\n";

/// Of many lines the first and the last ones: those tell what happened, these how it ended.
#[derive(Debug, Default)]
struct Kept {
    head: String,
    tail: VecDeque<String>,
    /// Bytes of `tail`.
    length: usize,
    is_missing: bool,
}

impl Kept {
    fn add(&mut self, line: &str) {
        if self.tail.is_empty() && self.head.len() + line.len() <= MOST / 2 {
            self.head.push_str(line);
            return;
        }
        self.length += line.len();
        self.tail.push_back(line.to_owned());
        while self.length > MOST / 2 {
            let Some(first) = self.tail.pop_front() else { return };
            self.length -= first.len();
            self.is_missing = true;
        }
    }

    fn text(self) -> String {
        let missing = if self.is_missing { LOST } else { "" };
        self.head + missing + &self.tail.into_iter().collect::<String>()
    }
}

/// The beginning and the end of a text that is too long to be kept.
pub(crate) fn shortened(text: &str) -> String {
    let mut kept = Kept::default();
    text.split_inclusive('\n').for_each(|line| kept.add(line));
    kept.text()
}

/// What the kernel log has before each experiment, so that what it wrote last is told apart by
/// experiments even if nothing else outlives the machine.
const MARKER: &str = "trapline: harden begins experiment ";

/// Writes to the kernel log that the experiment of this number begins.
pub(crate) fn mark(number: usize) -> io::Result<()> {
    // 11 is an error of a program: it goes to the console too. Opened anew each time, since the
    // kernel limits how much each writer writes.
    OpenOptions::new().write(true).open("/dev/kmsg")?.write_all(format!("<11>{MARKER}{number}\n").as_bytes())
}

/// What `text` has behind the last experiment's marker, if that is of this number; all of it if it
/// has no marker.
pub(crate) fn of_experiment(text: &str, number: usize) -> &str {
    let Some((_, rest)) = text.rsplit_once(MARKER) else { return text };
    let (told, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    if told.trim() == number.to_string() { rest } else { "" }
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

    #[test]
    fn of_a_long_log_the_beginning_and_the_end_are_kept() {
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}\n")).collect();
        let text = shortened(&lines.concat());
        assert!(text.len() <= MOST + LOST.len() && text.len() > MOST / 2, "{}", text.len());
        assert!(text.starts_with("line 0\n") && text.ends_with("line 19999\n"), "{text}");
        assert_eq!(text.matches(LOST).count(), 1);
        assert_eq!(shortened("a\nb"), "a\nb");
    }

    #[test]
    fn last_words_are_of_the_experiment_that_began_last() {
        let text = format!("[1.0] {MARKER}7\r\n[1.1] Oops: of 7\n[2.0] {MARKER}8\r\n[2.1] last\n");
        assert_eq!(of_experiment(&text, 8), "[2.1] last\n");
        assert_eq!(of_experiment(&text, 9), "");
        assert_eq!(of_experiment("[2.1] last\n", 9), "[2.1] last\n");
        assert_eq!(of_experiment(MARKER, 9), "");
    }
}
