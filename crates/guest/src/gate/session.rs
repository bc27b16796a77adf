//! A session that counts page faults.

use std::fs::{File, OpenOptions};

use anyhow::{Context, Result, bail};
use rustix::ioctl::{self, Opcode, Updater};
use trapline_abi::{
    ABI_VERSION, Counters, DEVICE_PATH, FAULT_COUNTS, FAULTS, FAULTS_COUNT_ONLY, FaultCounts, FaultWatch,
    Gate, GateError, START, STOP, Start,
};

/// Bytes of records for each CPU: there are none, since faults are only counted.
const BUFFER: u64 = 64 << 10;

/// A session that runs.
pub(crate) struct Session(File);

impl Session {
    /// Counts faults of these modes (`FAULTS_USER`, `FAULTS_KERNEL`) in a process, or in any.
    pub(crate) fn begin(gate: Gate, modes: u32, process: u32) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE_PATH);
        let file = file.with_context(|| format!("cannot open {DEVICE_PATH}"))?;
        let mut start = Start { version: ABI_VERSION, buffer: BUFFER, ..Start::default() };
        give::<{ START as Opcode }, _>(&file, &mut start).context("START")?;
        let mut watch = FaultWatch {
            flags: modes | FAULTS_COUNT_ONLY,
            gate: gate as u32,
            process,
            last: u64::MAX,
            ..FaultWatch::default()
        };
        match give::<{ FAULTS as Opcode }, _>(&file, &mut watch) {
            Ok(()) => Ok(Self(file)),
            Err(error) => bail!("FAULTS: {error}: {:?}", GateError::from_code(watch.error)),
        }
    }

    /// Stops it; what it has counted.
    pub(crate) fn end(self) -> Result<FaultCounts> {
        give::<{ STOP as Opcode }, _>(&self.0, &mut Counters::default()).context("STOP")?;
        let mut counts = FaultCounts::default();
        give::<{ FAULT_COUNTS as Opcode }, _>(&self.0, &mut counts).context("FAULT_COUNTS")?;
        Ok(counts)
    }
}

/// An argument of the device's commands.
trait Argument {}
impl Argument for Start {}
impl Argument for FaultWatch {}
impl Argument for FaultCounts {}
impl Argument for Counters {}

fn give<const COMMAND: Opcode, T: Argument>(file: &File, argument: &mut T) -> rustix::io::Result<()> {
    // SAFETY: a command's number holds the size of its argument, so another type than the command's
    // is no command of the device; each of these types is integers only, and the device reads and
    // writes nothing but it.
    unsafe { ioctl::ioctl(file, Updater::<COMMAND, T>::new(argument)) }
}
