//! The device's commands: `ioctl` numbers and their arguments.
//!
//! A session is one open of [`DEVICE_PATH`]: [`START`] it, then [`WATCH`] physical ranges,
//! [`PROBE`] instructions, record page [`FAULTS`], any of them or all: they are its *sources*, and
//! all of them write to the session's one set of rings. Map those and read; closing the file,
//! however that happens, ends the session and puts everything back. Any number of sessions exist at
//! a time; but one at a time watches accesses, and one page faults: the first [`WATCH`] or
//! [`FAULTS`] of another is refused with `EBUSY`, and told whose they are.

use crate::{
    CodeProbe, ConfigWatch, DmaCounts, DmaWatch, FaultCounts, FaultWatch, Inject, InjectCounts,
    InterruptWatch, LifecycleCounts, LifecycleWatch, ListEntry, LogCounts, LogWatch, PortCode, PortCounts,
    PortRange, RingGeometry,
};

/// The character device.
pub const DEVICE_PATH: &str = "/dev/trapline";

/// `_IOWR('T', nr, size)` as on x86-64 (include/uapi/asm-generic/ioctl.h).
const fn iowr(nr: u32, size: usize) -> u32 {
    3 << 30 | (size as u32) << 16 | (b'T' as u32) << 8 | nr
}

/// Fills an [`Info`]. Any open file may ask; no session is needed.
pub const INFO: u32 = iowr(1, size_of::<Info>());
/// Starts the session described by a [`Start`], which it completes.
pub const START: u32 = iowr(2, size_of::<Start>());
/// Watches a [`Watch`]: arms what is mapped of it now and whatever comes to be mapped later.
/// `EBUSY` if another session does.
pub const WATCH: u32 = iowr(3, size_of::<Watch>());
/// Puts a [`Mark`] into the trace of every session; `EINVAL` if there is none. Any open file may.
pub const MARK: u32 = iowr(4, size_of::<Mark>());
/// Stops all of the session's sources: when it returns nothing of it is armed and no event in
/// flight. The rings stay readable until the file is closed.
///
/// Fills a [`Counters`] with what was counted of accesses since the session's first [`WATCH`], and
/// with the records of all its sources that were dropped: nothing is to be subtracted from it. What
/// the others counted, [`FAULT_COUNTS`] and [`LIST`] tell, before and afterwards.
pub const STOP: u32 = iowr(5, size_of::<Counters>());
/// Puts a [`CodeProbe`] on an instruction.
pub const PROBE: u32 = iowr(6, size_of::<CodeProbe>());
/// Fills a [`ListEntry`]; `ENOENT` when nothing has a number that high. Any open file may ask. The
/// probes of a session that has stopped are listed, with their counts, until its file is closed.
pub const LIST: u32 = iowr(7, size_of::<ListEntry>());
/// Begins a [`FaultWatch`]; one in each session, and one at a time of all.
pub const FAULTS: u32 = iowr(8, size_of::<FaultWatch>());
/// Fills a [`FaultCounts`]; with zeros if the session never watched page faults.
pub const FAULT_COUNTS: u32 = iowr(9, size_of::<FaultCounts>());
/// Gives the session the rules of an [`Inject`], which hold for all that it watches: once, before
/// its first [`WATCH`], else `EBUSY`. All its watches are of reads and writes then.
pub const INJECT: u32 = iowr(10, size_of::<Inject>());
/// Fills an [`InjectCounts`], also after [`STOP`]; `ENOENT` if there is no such rule.
pub const INJECT_COUNTS: u32 = iowr(11, size_of::<InjectCounts>());
/// Begins to record the interrupts of a device: [`InterruptWatch`].
pub const INTERRUPTS: u32 = iowr(12, size_of::<InterruptWatch>());
/// Begins to record the accesses to a device's configuration space: [`ConfigWatch`].
pub const CONFIG: u32 = iowr(13, size_of::<ConfigWatch>());
/// Begins to record the accesses to a range of I/O ports: [`PortRange`].
pub const PORTS: u32 = iowr(14, size_of::<PortRange>());
/// Follows the instructions that access ports in a stretch of code, for the ranges of [`PORTS`],
/// of which there must be one: else `EINVAL`. [`PortCode`].
pub const PORT_CODE: u32 = iowr(15, size_of::<PortCode>());
/// Fills a [`PortCounts`], also after [`STOP`]; with zeros if the session never recorded accesses
/// to ports.
pub const PORT_COUNTS: u32 = iowr(16, size_of::<PortCounts>());
/// Begins to record what memory a device is given to access by itself: [`DmaWatch`].
pub const DMA: u32 = iowr(17, size_of::<DmaWatch>());
/// Fills a [`DmaCounts`], also after [`STOP`]; with zeros if the session never recorded DMA.
pub const DMA_COUNTS: u32 = iowr(18, size_of::<DmaCounts>());
/// Begins to record the lines of the kernel log: [`LogWatch`].
pub const LOG: u32 = iowr(19, size_of::<LogWatch>());
/// Fills a [`LogCounts`], also after [`STOP`]; with zeros if the session never recorded lines.
pub const LOG_COUNTS: u32 = iowr(20, size_of::<LogCounts>());
/// Begins to record what the kernel does with a device as a whole: [`LifecycleWatch`].
pub const LIFECYCLE: u32 = iowr(21, size_of::<LifecycleWatch>());
/// Fills a [`LifecycleCounts`], also after [`STOP`]; with zeros if the session never recorded that.
pub const LIFECYCLE_COUNTS: u32 = iowr(22, size_of::<LifecycleCounts>());

/// What [`INFO`] tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// [`ABI_VERSION`](crate::ABI_VERSION) of the module.
    pub version: u32,
    /// [`HookState`] of the fault hook.
    pub hook: u32,
    /// What the self-test at load found: [`SelfTest`].
    pub self_test: u32,
    /// Sessions that exist now.
    pub sessions: u32,
    /// Thread group id of the process whose session watches accesses, 0 if none does.
    pub accesses_owner: u32,
    /// The same of page faults.
    pub faults_owner: u32,
    /// Pages armed now, of 4 KiB and of 2 MiB together.
    pub armed_pages: u64,
    /// Access probes registered now, those of a session and of other modules together.
    pub probes: u64,
    /// Code probes registered now, those of sessions and of other modules together.
    pub code_probes: u64,
    /// Page-fault handlers registered now by other modules.
    pub handlers: u64,
    /// Bytes of memory that Trapline holds now: rings, tables, alias mappings' tables not counted.
    pub memory: u64,
    /// Where this boot of the kernel has its map of physical memory (`PAGE_OFFSET`), which it may
    /// move about, as it may the next two.
    pub direct_map: u64,
    /// `VMALLOC_START`.
    pub vmalloc: u64,
    /// `VMEMMAP_START`: the array of `struct page`.
    pub vmemmap: u64,
    /// Since the module was loaded.
    pub counters: Counters,
}

/// States of [`Info::hook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HookState {
    /// Not installed.
    Absent = 0,
    /// ftrace with IPMODIFY on `fixup_exception`.
    FixupException = 1,
}

/// Outcomes in [`Info::self_test`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SelfTest {
    /// Not run yet.
    NotRun = 0,
    /// A page of our own was armed and accessed in each way; each access arrived once, with the
    /// right value.
    Passed = 1,
    /// The fault did not reach the hook; nothing else will be armed.
    NoFault = 2,
    /// The fault arrived but the value was wrong; nothing else will be armed.
    WrongValue = 3,
}

/// Counts of what happened.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Faults that the engine was asked about.
    pub faults: u64,
    /// Accesses performed, by [`Way`](crate::Way).
    pub accesses: [u64; 3],
    /// Accesses on an armed page outside every probe, performed without an event.
    pub beside: u64,
    /// Records that found a ring full.
    pub dropped: u64,
    /// Times a page was open for a single step, when another CPU's access could pass unseen.
    pub windows: u64,
    /// Faults on a page that had just been put back: retried.
    pub stale: u64,
    /// Accesses inside a handler too deep to call handlers for; performed and recorded all the
    /// same.
    pub nested: u64,
}

/// Argument of [`START`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// In: [`ABI_VERSION`](crate::ABI_VERSION) of the caller.
    pub version: u32,
    /// Zero.
    pub reserved: u32,
    /// In: bytes of records wanted per CPU; rounded up to a power of two records.
    pub buffer: u64,
    /// Out: how the rings lie.
    pub rings: RingGeometry,
}

/// Argument of [`WATCH`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// In: first physical address.
    pub physical: u64,
    /// In: bytes; not 0, and `physical + length` must not wrap.
    pub length: u64,
    /// In: [`WATCH_READS`], [`WATCH_WRITES`] or both; or [`WATCH_MODULES`] alone.
    pub flags: u32,
    /// Out: mappings of it that were found and armed.
    pub mappings: u32,
    /// Out: pages that are armed for it now.
    pub pages: u64,
    /// Out, when it failed: the address it failed at.
    pub failed_at: u64,
    /// Out, when it failed: [`WatchError`] code.
    pub error: u32,
    /// Out, when it was [`WatchError::Taken`]: thread group id of the process whose session
    /// watches.
    pub owner: u32,
}

/// Record reads.
pub const WATCH_READS: u32 = 1;
/// Record writes.
pub const WATCH_WRITES: u32 = 2;
/// Watch no range: record only the accesses that other modules' probes ask to have recorded, as
/// every watch does beside its range.
pub const WATCH_MODULES: u32 = 4;

/// Why a [`WATCH`] was refused; `ioctl` itself returns the `errno` given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WatchError {
    /// Length 0, no direction, or wraps around (`EINVAL`).
    BadRange = 1,
    /// The range holds system RAM (`EPERM`).
    Ram = 2,
    /// A mapping of the range uses a page larger than 2 MiB (`EOPNOTSUPP`).
    HugePage = 3,
    /// No memory for the tables or the alias mapping (`ENOMEM`).
    NoMemory = 4,
    /// The self-test at load failed: nothing may be armed (`EPERM`).
    SelfTest = 5,
    /// More than 1 GiB in one range (`E2BIG`).
    TooLong = 6,
    /// The alias mapping could not be made or has other cache attributes (`EIO`).
    Alias = 7,
    /// Another session watches accesses (`EBUSY`).
    Taken = 8,
}

impl WatchError {
    /// The error with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::BadRange,
            2 => Self::Ram,
            3 => Self::HugePage,
            4 => Self::NoMemory,
            5 => Self::SelfTest,
            6 => Self::TooLong,
            7 => Self::Alias,
            8 => Self::Taken,
            _ => return None,
        })
    }
}

/// Bytes of text in a [`Mark`].
pub const MARK_LENGTH: usize = 120;

/// Argument of [`MARK`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bytes of `text` used.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
    /// UTF-8 text without a line end.
    pub text: [u8; MARK_LENGTH],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_numbered_as_the_kernels_macro_does() {
        // `_IOWR('T', 1, char[4])` and `_IOWR('T', 9, char[0x1234])`, as C has them.
        assert_eq!((iowr(1, 4), iowr(9, 0x1234)), (0xc004_5401, 0xd234_5409));
        let all = [
            INFO,
            START,
            WATCH,
            MARK,
            STOP,
            PROBE,
            LIST,
            FAULTS,
            FAULT_COUNTS,
            INJECT,
            INJECT_COUNTS,
            INTERRUPTS,
            CONFIG,
        ];
        assert_eq!(all.map(|command| command & 0xff), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!((START >> 16 & 0x3fff) as usize, size_of::<Start>());
    }

    #[test]
    fn a_ring_is_a_control_page_and_its_records() {
        let geometry = RingGeometry { rings: 2, reserved: 0, capacity: 64 };
        assert_eq!(geometry.stride(), 2 * 4096);
    }

    #[test]
    fn every_code_names_one_error() {
        for code in 0..64 {
            if let Some(error) = WatchError::from_code(code) {
                assert_eq!(error as u32, code);
            }
        }
        assert_eq!((0..64).filter_map(WatchError::from_code).count(), 8);
    }
}
