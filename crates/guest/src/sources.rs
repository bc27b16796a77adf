//! `trapline-sources PHYSICAL LENGTH [PROBED]`: one session watches a physical range, probes the
//! instruction at PROBED and records page faults, all at once; a second one is told whose the
//! accesses and page faults are, and has them when the first has stopped. Without PROBED a session
//! has rules of injection ([`injection`]). Fails if anything is not as it must be.
//!
//! The range is that of the module `trapline_hotplug`, which accesses it when a CPU goes or comes;
//! PROBED is in `ksys_read()`.
#![allow(unsafe_code, reason = "talks to the device by ioctl")]

mod injection;
#[allow(dead_code, reason = "the conformance suite accesses devices by it as well")]
mod mapping;

use std::fs::{self, File, OpenOptions};
use std::process::ExitCode;
use std::ptr;

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Updater};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use trapline_abi::{
    ABI_VERSION, ANY, CodeProbe, Counters, DEVICE_PATH, FAULT_COUNTS, FAULTS, FAULTS_USER, FaultCounts,
    FaultWatch, INFO, Info, Kind, MARK, MARK_LENGTH, Mark, NAME_LENGTH, PROBE, Record, RingGeometry, START,
    STOP, Start, WATCH, WATCH_READS, WATCH_WRITES, Watch, WatchError,
};

use mapping::Mapping;

/// Bytes of records for each CPU: all that comes, since it is read at the end.
const BUFFER: u64 = 4 << 20;
/// What the module accesses while a CPU goes and comes: a write and a read each.
const ACCESSES: usize = 4;
const TEXT: &[u8] = b"for all";
const PAGE: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match check(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trapline-sources: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: &[String]) -> Result<()> {
    let number = |text: &String| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, 16).with_context(|| format!("{text} is no hexadecimal number"))
    };
    let numbers = arguments.iter().map(number).collect::<Result<Vec<_>>>()?;
    let (physical, length, probed) = match numbers[..] {
        [physical, length] => (physical, length, None),
        [physical, length, probed] => (physical, length, Some(probed)),
        _ => anyhow::bail!("usage: trapline-sources PHYSICAL LENGTH [PROBED]"),
    };
    let watch = Watch { physical, length, flags: WATCH_READS | WATCH_WRITES, ..Watch::default() };
    match probed {
        Some(probed) => several(watch, probed),
        None => injection::check(watch),
    }
}

fn several(watch: Watch, probed: u64) -> Result<()> {
    let faults = FaultWatch { flags: FAULTS_USER, process: own(), last: u64::MAX, ..FaultWatch::default() };

    let (mut first, mut second) = (Session::start()?, Session::start()?);
    first.watch(watch).map_err(|refused| anyhow::anyhow!("the first WATCH: {refused:?}"))?;
    first.faults(faults).map_err(|refused| anyhow::anyhow!("the first FAULTS: {refused:?}"))?;
    for session in [&first, &second] {
        session.probe(probed)?;
    }
    let refused = second.watch(watch).err().map(|(errno, watch)| (errno, watch.error, watch.owner));
    ensure!(refused == Some((Errno::BUSY, WatchError::Taken as u32, own())), "the second WATCH: {refused:?}");
    let refused = second.faults(faults).err().map(|(errno, faults)| (errno, faults.error, faults.owner));
    ensure!(refused == Some((Errno::BUSY, 0, own())), "the second FAULTS: {refused:?}");
    let info = first.give::<{ INFO as Opcode }, _>(Info::default())?;
    ensure!((info.sessions, info.accesses_owner, info.faults_owner) == (2, own(), own()), "{info:?}");
    second.mark()?;
    happen()?;

    let stopped = first.give::<{ STOP as Opcode }, _>(Counters::default())?;
    ensure!(stopped.accesses.iter().sum::<u64>() == ACCESSES as u64 && stopped.dropped == 0, "{stopped:?}");
    let counts = first.give::<{ FAULT_COUNTS as Opcode }, _>(FaultCounts::default())?;
    let told = first.count()?;
    ensure!(told.accesses == ACCESSES && told.marks == 1, "the first session's rings hold {told:?}");
    ensure!(told.hits > 0 && told.faults > 0 && told.faults as u64 == counts.passed, "{told:?}, {counts:?}");
    // Nothing of it goes on.
    happen()?;
    ensure!(first.count()?.is_nothing(), "the first session records after it was stopped");

    let told = second.count()?;
    ensure!(told.marks == 1 && told.hits > 0, "the second session's rings hold {told:?}");
    ensure!(told.accesses == 0 && told.faults == 0, "the second session's rings hold {told:?}");
    second.watch(watch).map_err(|refused| anyhow::anyhow!("WATCH after the first: {refused:?}"))?;
    second.faults(faults).map_err(|refused| anyhow::anyhow!("FAULTS after the first: {refused:?}"))?;
    happen()?;
    drop(first);
    let told = second.count()?;
    ensure!(told.accesses == ACCESSES && told.hits > 0 && told.faults > 0, "the second has {told:?}");
    drop(second);
    let info = Session::start()?.give::<{ INFO as Opcode }, _>(Info::default())?;
    let left = (info.sessions, info.accesses_owner, info.faults_owner, info.armed_pages, info.code_probes);
    ensure!(left == (1, 0, 0, 0, 0), "{info:?}");
    Ok(())
}

/// Something of each kind: a CPU goes and comes, files are read, pages are touched.
fn happen() -> Result<()> {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    fs::write(ONLINE, "0").context(ONLINE)?;
    fs::write(ONLINE, "1").context(ONLINE)?;
    fs::read("/proc/self/stat")?;
    // Not from the allocator, which would give the same pages again.
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: with a null address and no MAP_FIXED the kernel chooses unused addresses.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), PAGE, access, MapFlags::PRIVATE) }?;
    // SAFETY: mapped just now, readable and writable, and nobody else's; unmapped after its last
    // use.
    unsafe {
        page.cast::<u8>().write_volatile(1);
        munmap(page, PAGE)?;
    }
    Ok(())
}

fn own() -> u32 {
    std::process::id()
}

/// How many records of each kind there are.
#[derive(Debug, Default)]
struct Told {
    accesses: usize,
    hits: usize,
    faults: usize,
    marks: usize,
}

impl Told {
    fn is_nothing(&self) -> bool {
        self.accesses + self.hits + self.faults + self.marks == 0
    }
}

/// A session, and its rings.
struct Session {
    file: File,
    geometry: RingGeometry,
    rings: Vec<Mapping>,
}

/// An argument of the device's commands that is integers only.
trait Argument {}
impl Argument for Start {}
impl Argument for Watch {}
impl Argument for FaultWatch {}
impl Argument for FaultCounts {}
impl Argument for Counters {}
impl Argument for Info {}
impl Argument for Mark {}
impl Argument for CodeProbe {}

fn give<const COMMAND: Opcode, T: Argument>(file: &File, argument: &mut T) -> rustix::io::Result<()> {
    // SAFETY: a command's number holds the size of its argument, so another type than the command's
    // is no command of the device; each of these types is integers only, and the device reads and
    // writes nothing but it, and the rules that an `Inject` names: a probe's program has no steps.
    unsafe { ioctl::ioctl(file, Updater::<COMMAND, T>::new(argument)) }
}

impl Session {
    fn start() -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE_PATH);
        let file = file.with_context(|| format!("cannot open {DEVICE_PATH}"))?;
        let mut start = Start { version: ABI_VERSION, buffer: BUFFER, ..Start::default() };
        give::<{ START as Opcode }, _>(&file, &mut start).context("START")?;
        let geometry = start.rings;
        let stride = geometry.stride();
        let rings =
            (0..geometry.rings).map(|cpu| Mapping::new(&file, u64::from(cpu) * stride as u64, stride));
        let rings = rings.collect::<Result<_, _>>().context("cannot map the rings")?;
        Ok(Self { file, geometry, rings })
    }

    /// Gives a command that must succeed; its argument as it is then.
    fn give<const COMMAND: Opcode, T: Argument>(&self, mut argument: T) -> Result<T> {
        give::<COMMAND, T>(&self.file, &mut argument).with_context(|| format!("command {COMMAND:#x}"))?;
        Ok(argument)
    }

    fn watch(&self, mut watch: Watch) -> Result<(), (Errno, Watch)> {
        give::<{ WATCH as Opcode }, _>(&self.file, &mut watch).map_err(|errno| (errno, watch))
    }

    fn faults(&self, mut watch: FaultWatch) -> Result<(), (Errno, FaultWatch)> {
        give::<{ FAULTS as Opcode }, _>(&self.file, &mut watch).map_err(|errno| (errno, watch))
    }

    fn probe(&self, address: u64) -> Result<()> {
        self.give::<{ PROBE as Opcode }, _>(CodeProbe {
            address,
            program: 0,
            steps: 0,
            flags: 0,
            process: own(),
            cpu: ANY,
            active: 0,
            condition: 0,
            id: 0,
            error: 0,
            errno: 0,
            name: [0; NAME_LENGTH],
        })?;
        Ok(())
    }

    fn mark(&self) -> Result<()> {
        let mut text = [0; MARK_LENGTH];
        text[..TEXT.len()].copy_from_slice(TEXT);
        self.give::<{ MARK as Opcode }, _>(Mark { length: TEXT.len() as u32, reserved: 0, text })?;
        Ok(())
    }

    /// What has come into the rings since it was last asked, each CPU's in order.
    fn records(&mut self) -> Result<Vec<Record>> {
        let mut records: Vec<Record> = Vec::new();
        for ring in &mut self.rings {
            let mut reader = ring.ring(&self.geometry)?;
            while reader.drain(usize::MAX, &mut records) > 0 {}
        }
        Ok(records)
    }

    /// How many of each kind have come since it was last asked.
    fn count(&mut self) -> Result<Told> {
        let records = self.records()?;
        let of = |kind: Kind| records.iter().filter(|record| record.kind == kind as u8).count();
        ensure!(of(Kind::Lost) == 0, "records were lost");
        Ok(Told {
            accesses: of(Kind::Access),
            hits: of(Kind::Hit),
            faults: of(Kind::Fault),
            marks: of(Kind::Mark),
        })
    }
}
