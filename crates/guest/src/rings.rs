//! A session of `/dev/trapline` that watches nothing by itself: its rings get what probes of other
//! modules record.
#![allow(unsafe_code, reason = "reads mapped rings")]

use std::fs::{File, OpenOptions};

use anyhow::{Context, Result};
use rustix::ioctl::{self, Opcode, Updater};
use trapline_abi::{
    ABI_VERSION, Counters, DEVICE_PATH, INFO, Info, RingGeometry, START, Start, WATCH, WATCH_MODULES, Watch,
};
use trapline_sim::Trace;

use crate::mapping::Mapping;

/// Bytes of records for each CPU: all that the busiest scenario makes, since nobody reads while it
/// runs.
const BUFFER: u64 = 8 << 20;

/// The session. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Session {
    file: File,
    geometry: RingGeometry,
    rings: Vec<Mapping>,
    before: Counters,
}

impl Session {
    pub(crate) fn start() -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE_PATH);
        let file = file.with_context(|| format!("cannot open {DEVICE_PATH}"))?;
        let mut start = Start { version: ABI_VERSION, buffer: BUFFER, ..Start::default() };
        // SAFETY: START takes a `Start`, which is integers only.
        unsafe { ioctl::ioctl(&file, Updater::<{ START as Opcode }, _>::new(&mut start)) }
            .with_context(|| format!("cannot start a session of {DEVICE_PATH}"))?;
        let mut watch = Watch { flags: WATCH_MODULES, ..Watch::default() };
        // SAFETY: WATCH takes a `Watch`, which is integers only.
        unsafe { ioctl::ioctl(&file, Updater::<{ WATCH as Opcode }, _>::new(&mut watch)) }
            .with_context(|| format!("cannot watch what modules record: {watch:?}"))?;
        let geometry = start.rings;
        let rings = (0..geometry.rings)
            .map(|cpu| Mapping::new(&file, geometry.offset(cpu) as u64, geometry.stride()));
        let rings = rings.collect::<Result<_, _>>().context("cannot map the rings")?;
        let session = Self { file, geometry, rings, before: Counters::default() };
        Ok(Self { before: session.all_counters()?, ..session })
    }

    fn all_counters(&self) -> Result<Counters> {
        let mut info = Info::default();
        // SAFETY: INFO takes an `Info`, which is integers only.
        unsafe { ioctl::ioctl(&self.file, Updater::<{ INFO as Opcode }, _>::new(&mut info)) }
            .with_context(|| format!("cannot ask {DEVICE_PATH}"))?;
        Ok(info.counters)
    }

    /// The engine's counters since the session began.
    pub(crate) fn counters(&self) -> Result<Counters> {
        let (now, before) = (self.all_counters()?, &self.before);
        Ok(Counters {
            faults: now.faults - before.faults,
            accesses: std::array::from_fn(|way| now.accesses[way] - before.accesses[way]),
            beside: now.beside - before.beside,
            dropped: now.dropped - before.dropped,
            windows: now.windows - before.windows,
            stale: now.stale - before.stale,
            nested: now.nested - before.nested,
        })
    }

    /// What the rings hold; while nothing is traced.
    pub(crate) fn take(&mut self) -> Result<Trace> {
        let mut trace = Trace::default();
        for ring in &mut self.rings {
            let mut records = Vec::new();
            let mut reader = ring.ring(&self.geometry)?;
            while reader.drain(usize::MAX, &mut records) > 0 {}
            trace.read(&records);
        }
        Ok(trace)
    }
}
