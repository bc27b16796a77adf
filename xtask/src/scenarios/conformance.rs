//! The conformance suite on stock kernels: what holds for the simulated machine holds here, with
//! real faults on 4 CPUs.
//!
//! The suite asks what the device saw while it runs, in the guest. So QEMU's record, which it
//! writes here, is copied into a port of the guest line by line as it grows.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Scenario, succeeds};
use crate::build;
use crate::setup::Series;
use crate::vm::Options;

pub(super) const HELD: Scenario =
    Scenario { name: "the conformance suite holds on the kernel with 4 CPUs", check: held };

/// What can't be shown there: QEMU's device has no registers with side effects, its CPU no
/// `movdir64b`; page tables and control registers are the kernel's own.
const NOT_HERE: [&str; 6] = [
    "registers_with_side_effects_are_accessed_once",
    "a_stepped_instruction_with_two_armed_pages_opens_and_records_both",
    "a_fault_of_every_cause_is_delivered_with_its_error_code_and_address",
    "where_several_rules_forbid_an_access_the_manuals_bits_are_set",
    "an_access_that_no_rule_forbids_is_no_fault",
    "a_fault_on_the_second_page_of_an_access_has_that_pages_address",
];
/// Registers of every width that keep what is written: an NVMe controller's memory buffer, large
/// enough for every region.
const DEVICE: [&str; 2] = ["-device", "nvme,addr=2,serial=trapline,cmb_size_mb=64"];
/// The name of that memory in the record.
const REGION: &str = "name 'nvme-cmb'";

fn held(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let record = folder.path().join("record");
    let relay = Relay::start(folder.path(), &record)?;
    let mut qemu: Vec<OsString> = DEVICE.map(Into::into).into();
    qemu.extend(relay.arguments());
    let outcome = succeeds(&Options {
        cpus: 4,
        qemu,
        record: Some(record),
        copy_in: vec![build::conformance()?],
        ..Options::new(series, "modprobe trapline_conformance && /trapline-conformance")
    });
    let copied = relay.end();
    let said = outcome?.text();
    copied?;
    let with = |verdict: &str| {
        let name_of = |line: &str| Some(line.strip_prefix(verdict)?.split(':').next()?.to_owned());
        said.lines().filter_map(name_of).collect::<Vec<_>>()
    };
    ensure!(with("not here ") == NOT_HERE, "other scenarios than expected could not be set up:\n{said}");
    ensure!(
        with("ok ").len() + NOT_HERE.len() == said.lines().count(),
        "it said more than verdicts:\n{said}"
    );
    Ok(())
}

/// Copies the record's lines about the device into a port of the guest.
struct Relay {
    socket: PathBuf,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Relay {
    /// How often it looks whether there is something new.
    const PAUSE: Duration = Duration::from_millis(1);

    fn start(folder: &Path, record: &Path) -> Result<Self> {
        let socket = folder.join("seen");
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("cannot make the socket {}", socket.display()))?;
        listener.set_nonblocking(true)?;
        let over = Arc::new(AtomicBool::new(false));
        let (record, is_over) = (record.to_owned(), over.clone());
        let thread = thread::spawn(move || match connection(&listener, &is_over)? {
            Some(port) => copy(&record, port, &is_over),
            None => Ok(()),
        });
        Ok(Self { socket, over, thread })
    }

    /// QEMU's arguments for the port.
    fn arguments(&self) -> [OsString; 4] {
        let mut chardev = OsString::from("socket,id=seen,path=");
        chardev.push(&self.socket);
        let device = "virtserialport,chardev=seen,name=trapline.seen";
        ["-chardev".into(), chardev, "-device".into(), device.into()]
    }

    /// The machine is gone.
    fn end(self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("a thread that copies the record does not panic")
    }
}

fn connection(listener: &UnixListener, over: &AtomicBool) -> Result<Option<UnixStream>> {
    while !over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((port, _)) => {
                port.set_nonblocking(false)?;
                return Ok(Some(port));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Relay::PAUSE),
            Err(error) => return Err(error).context("cannot accept QEMU's connection"),
        }
    }
    Ok(None)
}

fn copy(record: &Path, mut port: UnixStream, over: &AtomicBool) -> Result<()> {
    let file = File::open(record).with_context(|| format!("cannot open the record {}", record.display()))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut wanted) = (Vec::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        // A line that QEMU has not finished yet stays in `line`.
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            if is_wanted(&line) {
                wanted.extend_from_slice(&line);
            }
            line.clear();
        }
        if wanted.is_empty() {
            thread::sleep(Relay::PAUSE);
        } else if let Err(error) = port.write_all(&wanted) {
            // QEMU has gone, which the one that waits for it tells.
            ensure!(error.kind() == ErrorKind::BrokenPipe, "cannot hand over the record: {error}");
            return Ok(());
        }
        wanted.clear();
    }
    Ok(())
}

fn is_wanted(line: &[u8]) -> bool {
    line.starts_with(b"memory_region_ops_") && line.trim_ascii_end().ends_with(REGION.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn whole_lines_about_the_device_are_handed_over_as_the_record_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut record = File::create(&path).unwrap();
        let relay = Relay::start(folder.path(), &path).unwrap();
        let mut guest = UnixStream::connect(&relay.socket).unwrap();
        let line = |address| {
            format!("memory_region_ops_read cpu 0 mr 0x1 addr {address} value 0x0 size 4 name 'nvme-cmb'\n")
        };
        let mut received = vec![0; line("0x10").len()];
        let first = line("0x10");
        write!(
            record,
            "memory_region_ops_read cpu 0 mr 0x1 addr 0x0 value 0x0 size 4 name 'other'\n{}",
            &first[..30]
        )
        .unwrap();
        record.write_all(&first.as_bytes()[30..]).unwrap();
        guest.read_exact(&mut received).unwrap();
        assert_eq!(received, first.as_bytes());
        let second = line("0x20");
        record.write_all(second.as_bytes()).unwrap();
        guest.read_exact(&mut received).unwrap();
        assert_eq!(received, second.as_bytes());
        relay.end().unwrap();
    }
}
