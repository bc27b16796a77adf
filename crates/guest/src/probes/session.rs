//! A session of code probes.
#![allow(unsafe_code, reason = "talks to the device by ioctl")]

use std::fs::{File, OpenOptions};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Updater};
use trapline_abi::{
    ABI_VERSION, ANY, CodeProbe, Counters, DEVICE_PATH, LIST, ListEntry, NAME_LENGTH, PROBE, Record,
    RingGeometry, START, STOP, Start, Step,
};

use crate::mapping::Mapping;

pub(crate) struct Session {
    file: File,
    geometry: RingGeometry,
    rings: Vec<Mapping>,
}

/// A probe on the instruction at `address`, of every process and CPU.
pub(crate) fn on(address: u64) -> CodeProbe {
    let name = [0; NAME_LENGTH];
    CodeProbe {
        address,
        program: 0,
        steps: 0,
        flags: 0,
        process: ANY,
        cpu: ANY,
        active: 0,
        condition: 0,
        id: 0,
        error: 0,
        errno: 0,
        name,
    }
}

impl Session {
    /// With `buffer` bytes of records for each CPU.
    pub(crate) fn start(buffer: u64) -> Result<Self> {
        let file = open()?;
        let mut start = Start { version: ABI_VERSION, buffer, ..Start::default() };
        // SAFETY: START takes a `Start`, which is integers only.
        unsafe { ioctl::ioctl(&file, Updater::<{ START as Opcode }, _>::new(&mut start)) }
            .context("START")?;
        let geometry = start.rings;
        let rings = (0..geometry.rings)
            .map(|cpu| Mapping::new(&file, geometry.offset(cpu) as u64, geometry.stride()));
        let rings = rings.collect::<Result<_, _>>().context("cannot map the rings")?;
        Ok(Self { file, geometry, rings })
    }

    /// Probes; the probe's number, or what was answered: the error, and its code in the argument.
    pub(crate) fn try_probe(&self, probe: CodeProbe, program: &[Step]) -> Result<u64, (Errno, u32)> {
        let mut probe = CodeProbe { program: program.as_ptr() as u64, steps: program.len() as u32, ..probe };
        // SAFETY: PROBE takes a `CodeProbe`, integers only, and reads the steps at `program`, which
        // are as many as it says.
        match unsafe { ioctl::ioctl(&self.file, Updater::<{ PROBE as Opcode }, _>::new(&mut probe)) } {
            Ok(()) => Ok(probe.id),
            Err(errno) => Err((errno, probe.error)),
        }
    }

    /// As [`Session::try_probe`], where it must succeed.
    pub(crate) fn probe(&self, probe: CodeProbe, program: &[Step]) -> Result<u64> {
        self.try_probe(probe, program)
            .map_err(|(errno, code)| anyhow::anyhow!("PROBE: {errno}, error {code}"))
    }

    /// Stops it; the records dropped.
    pub(crate) fn stop(&self) -> Result<u64> {
        let mut counters = Counters::default();
        // SAFETY: STOP fills a `Counters`, which is integers only.
        unsafe { ioctl::ioctl(&self.file, Updater::<{ STOP as Opcode }, _>::new(&mut counters)) }?;
        Ok(counters.dropped)
    }

    /// The records so far, CPU by CPU.
    pub(crate) fn records(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for ring in &mut self.rings {
            let mut reader = ring.ring(&self.geometry)?;
            while reader.drain(usize::MAX, &mut records) > 0 {}
        }
        Ok(records)
    }
}

fn open() -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(DEVICE_PATH);
    file.with_context(|| format!("cannot open {DEVICE_PATH}"))
}

/// What is registered, as LIST tells.
pub(crate) fn listed() -> Result<Vec<ListEntry>> {
    let file = open()?;
    let mut all = Vec::new();
    let mut entry = ListEntry::from(0);
    loop {
        // SAFETY: LIST takes a `ListEntry`, which is integers only.
        match unsafe { ioctl::ioctl(&file, Updater::<{ LIST as Opcode }, _>::new(&mut entry)) } {
            Ok(()) => all.push(entry),
            Err(Errno::NOENT) => return Ok(all),
            Err(error) => return Err(error).context("LIST"),
        }
        entry.id += 1;
    }
}
