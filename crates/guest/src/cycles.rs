//! `trapline-cycles COUNT PHYSICAL LENGTH ENTRIES`: starts and ends that many sessions that watch a
//! physical range, and fails unless each armed it and left the page tables as they were.
//!
//! ENTRIES is a file that tells the page-table entries of a mapping of that range, as
//! `trapline_hammer` offers it: it must read differently while the range is watched and the same
//! afterwards. Every other session ends without STOP, by nothing but the close of its file, as when
//! its owner was killed.
//!
//! It is a program because `trapline` starts too slowly to do this a thousand times in a test: most
//! of its time goes into a process and its symbols.
#![allow(unsafe_code, reason = "talks to the device by ioctl")]

use std::fs::{self, File, OpenOptions};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use rustix::ioctl::{self, Opcode, Updater};
use trapline_abi::{
    ABI_VERSION, Counters, DEVICE_PATH, START, STOP, Start, WATCH, WATCH_READS, WATCH_WRITES, Watch,
};

/// Bytes of records for each CPU: nobody reads them, so they may as well be few.
const BUFFER: u64 = 64 << 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match cycles(&arguments) {
        Ok(faults) => {
            println!("{faults} faults");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trapline-cycles: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the cycles; how many faults the sessions that were stopped tell of.
fn cycles(arguments: &[String]) -> Result<u64> {
    let [count, physical, length, entries] = arguments else {
        anyhow::bail!("usage: trapline-cycles COUNT PHYSICAL LENGTH ENTRIES");
    };
    let number = |text: &str| {
        let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
        number.with_context(|| format!("{text} is no number"))
    };
    let (count, physical, length) = (number(count)?, number(physical)?, number(length)?);
    let tables = || fs::read(entries).with_context(|| format!("cannot read {entries}"));

    let before = tables()?;
    let mut faults = 0;
    for cycle in 0..count {
        let session = watch(physical, length).with_context(|| format!("session {cycle}"))?;
        ensure!(tables()? != before, "session {cycle} left the page-table entries as they were: {entries}");
        if cycle % 2 == 0 {
            let mut counters = Counters::default();
            give::<{ STOP as Opcode }, _>(&session, &mut counters).context("STOP")?;
            ensure!(tables()? == before, "the page-table entries differ after STOP in session {cycle}");
            faults += counters.faults;
        }
        drop(session);
        ensure!(tables()? == before, "the page-table entries differ after session {cycle}");
    }
    Ok(faults)
}

/// A session that watches the range and has armed something of it.
fn watch(physical: u64, length: u64) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(DEVICE_PATH);
    let file = file.with_context(|| format!("cannot open {DEVICE_PATH}"))?;
    let mut start = Start { version: ABI_VERSION, buffer: BUFFER, ..Start::default() };
    give::<{ START as Opcode }, _>(&file, &mut start).context("START")?;
    let mut watch = Watch { physical, length, flags: WATCH_READS | WATCH_WRITES, ..Watch::default() };
    give::<{ WATCH as Opcode }, _>(&file, &mut watch).context("WATCH")?;
    ensure!(watch.pages > 0, "nothing of {physical:#x}+{length:#x} was armed: {watch:?}");
    Ok(file)
}

/// An argument of the device's commands.
trait Argument {}
impl Argument for Start {}
impl Argument for Watch {}
impl Argument for Counters {}

fn give<const COMMAND: Opcode, T: Argument>(file: &File, argument: &mut T) -> rustix::io::Result<()> {
    // SAFETY: a command's number holds the size of its argument, so another type than the command's
    // is no command of the device; each of these types is integers only, and the device reads and
    // writes nothing but it.
    unsafe { ioctl::ioctl(file, Updater::<COMMAND, T>::new(argument)) }
}
