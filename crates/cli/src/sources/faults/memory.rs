//! What lies at the address of a fault: heap, stack, file mapping, or a region of the kernel's.
//!
//! A process's memory is read from its `/proc/PID/maps` as soon as a fault of it arrives, and again
//! when an address is not in what was read, or that is old, or a page is not present that was
//! touched since. By then the fault is over: a mapping may have grown, come or gone since, and a
//! process that has ended can't be asked, so what is said is what is known a moment later.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use trapline_abi::ErrorCode;
use trapline_trace::PageFault;
use trapline_trace::fault::{Cause, Layout, Levels, region};

use crate::system::System;

/// How old what was read may be before it is read again when faults arrive.
const STALE: Duration = Duration::from_millis(1);

/// Processes remembered; when there are more all are forgotten.
const PROCESSES: usize = 4096;

/// Bits of an address within its page.
const PAGE: u32 = 12;

/// One mapping of a process: a line of `/proc/PID/maps` (fs/proc/task_mmu.c).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Area {
    start: u64,
    end: u64,
    permissions: String,
    offset: u64,
    /// File, `[heap]` and the like; empty for anonymous memory.
    name: String,
}

impl Area {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let (permissions, offset) = (words.next()?.to_owned(), words.next()?);
        let name = words.nth(2).unwrap_or("").trim().to_owned();
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { start: hex(start)?, end: hex(end)?, permissions, offset: hex(offset)?, name })
    }

    fn holds(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// What it is, in words.
    fn kind(&self) -> String {
        match self.name.as_str() {
            "" => "anonymous".into(),
            "[heap]" => "heap".into(),
            "[stack]" => "stack".into(),
            name if name.starts_with('[') => name.trim_matches(['[', ']']).into(),
            name => format!("file {}", short(name)),
        }
    }
}

/// A file's name without its folders.
fn short(name: &str) -> &str {
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    name.rsplit('/').next().unwrap_or(name)
}

#[derive(Debug)]
struct Process {
    areas: Vec<Area>,
    read: Instant,
    /// Pages that faulted since it was read, by number.
    touched: HashSet<u64>,
    /// Those of them that were not present later: something was done to them that what was read
    /// does not tell, and the process was gone before it could be read again.
    changed: HashSet<u64>,
}

/// The memory of the processes that faulted.
#[derive(Debug)]
pub(super) struct Memory {
    proc: PathBuf,
    processes: HashMap<u32, Process>,
    /// Where the kernel has what it moves about, once the module has told.
    layout: Option<Layout>,
}

/// What is known of a fault.
pub(super) struct Described<'m> {
    /// What lies at the address and what the fault is for.
    pub memory: Option<String>,
    /// The program or library that the instruction is in, and its offset in that file.
    pub site: Option<(&'m str, u64)>,
}

impl Memory {
    pub(super) fn new(system: &System) -> Self {
        Self { proc: system.path("proc"), processes: HashMap::new(), layout: None }
    }

    /// Names the kernel's addresses by what it has moved where.
    pub(super) fn set_layout(&mut self, layout: Layout) {
        self.layout = Some(layout);
    }

    /// Describes a fault of process `tgid`.
    pub(super) fn describe(&mut self, tgid: u32, fault: &PageFault<'_>) -> Described<'_> {
        let address = fault.address;
        if address >> 63 != 0 {
            let name = self
                .layout
                .map_or_else(|| region(address, Levels::Four).0.name, |layout| layout.name(address));
            let name = name.split([':', '(']).next().unwrap_or(name).trim();
            return Described { memory: Some(name.to_owned()), site: None };
        }
        let user = fault.error_code.has(ErrorCode::USER);
        let explains = |areas: &[Area]| {
            areas.iter().any(|area| area.holds(address) && allows(area, fault))
                && (!user || areas.iter().any(|area| area.holds(fault.ip)))
        };
        let changed = |known: &Process| known.changed.contains(&(address >> PAGE));
        let known = self.processes.get(&tgid).is_some_and(|known| !changed(known) && explains(&known.areas));
        // What was read before the fault can't tell that nothing is there.
        let current = !known && self.read(tgid);
        let Some(process) = self.processes.get(&tgid) else {
            return Described { memory: None, site: None };
        };
        let (areas, changed) = (&process.areas, changed(process));
        let memory = match areas.iter().find(|area| area.holds(address)) {
            Some(area) if current || !changed && allows(area, fault) => Some(purpose(area, fault)),
            None if current => Some(nowhere(areas, address).into()),
            _ => None,
        };
        let code = areas.iter().filter(|_| user).find(|area| area.holds(fault.ip) && !area.name.is_empty());
        let site = code.map(|area| (short(&area.name), (fault.ip - area.start).wrapping_add(area.offset)));
        Described { memory, site }
    }

    /// A fault of this process will have to be described: it may not live until then.
    pub(super) fn expect(&mut self, tgid: u32, address: u64, error_code: ErrorCode) {
        let page = address >> PAGE;
        let known = self.processes.get(&tgid);
        // It was there, since a fault on it was served: it was taken away, or access to it.
        let changed =
            !error_code.has(ErrorCode::PRESENT) && known.is_some_and(|known| known.touched.contains(&page));
        let stale = known.is_none_or(|known| known.read.elapsed() > STALE);
        // What was read a moment ago may be older than the mapping.
        let explained = known.is_some_and(|known| known.areas.iter().any(|area| area.holds(address)));
        let current = (changed || stale || !explained) && self.read(tgid);
        if let Some(known) = self.processes.get_mut(&tgid) {
            known.touched.insert(page);
            if changed && !current {
                known.changed.insert(page);
            }
        }
    }

    /// Reads what the process has now, and whether that could be done; what it had before is kept
    /// if it has ended, or is about to and has nothing any more.
    fn read(&mut self, tgid: u32) -> bool {
        if self.processes.len() >= PROCESSES {
            self.processes.clear();
        }
        // Names of files need not be UTF-8.
        let text = fs::read(self.proc.join(format!("{tgid}/maps"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let areas: Vec<_> = text.lines().filter_map(Area::parse).collect();
        let known = self.processes.entry(tgid).or_insert_with(|| Process {
            areas: Vec::new(),
            read: Instant::now(),
            touched: HashSet::new(),
            changed: HashSet::new(),
        });
        known.read = Instant::now();
        let current = !areas.is_empty();
        if current {
            known.areas = areas;
            known.touched.clear();
            known.changed.clear();
        }
        current
    }
}

/// Whether the area's permissions allow the access: then the fault is one that the kernel resolves.
fn allows(area: &Area, fault: &PageFault<'_>) -> bool {
    let needed = if fault.error_code.has(ErrorCode::FETCH) {
        'x'
    } else if fault.error_code.has(ErrorCode::WRITE) {
        'w'
    } else {
        'r'
    };
    area.permissions.contains(needed)
}

/// What the fault is for, and what lies there.
fn purpose(area: &Area, fault: &PageFault<'_>) -> String {
    let kind = area.kind();
    let write = fault.error_code.has(ErrorCode::WRITE);
    if !allows(area, fault) {
        if area.permissions.starts_with("---") {
            return format!("guard page, {kind}");
        }
        return format!("its mapping does not allow that now ({}), {kind}", area.permissions);
    }
    let private = area.permissions.ends_with('p');
    match fault.cause() {
        Cause::NotWritable if private => format!("copy on write, {kind}"),
        Cause::NotWritable => format!("first write, {kind}"),
        Cause::NotPresent if area.name.is_empty() || area.name.starts_with('[') => {
            format!("first touch, {kind}")
        }
        Cause::NotPresent if private && write => format!("copy on write, {kind}"),
        Cause::NotPresent => format!("page in, {kind}"),
        _ => kind,
    }
}

/// What an address is where nothing is mapped.
fn nowhere(areas: &[Area], address: u64) -> &'static str {
    /// As far below a stack as the kernel keeps free of other mappings (stack_guard_gap).
    const GAP: u64 = 1 << 20;
    let below_stack = |area: &Area| {
        area.name == "[stack]" && area.start.saturating_sub(GAP) <= address && address < area.start
    };
    if address < 1 << 16 {
        "null pointer"
    } else if areas.iter().any(below_stack) {
        "below the stack"
    } else {
        "nothing mapped"
    }
}

#[cfg(test)]
mod tests {
    use trapline_abi::Flags;

    use super::*;
    use crate::system::tests::with;

    const MAPS: &str = "\
00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/busybox
00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/busybox
00652000-00655000 rw-p 00052000 08:02 173521      /usr/bin/busybox
00e03000-00e24000 rw-p 00000000 00:00 0           [heap]
7f1000000000-7f1000021000 rw-p 00000000 00:00 0 
7f1000021000-7f1000022000 ---p 00000000 00:00 0 
7f2000000000-7f2000010000 rw-s 00000000 00:05 7 /dev/shm/with space (deleted)
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0   [stack]
";

    fn describe(code: u32, address: u64) -> (String, Option<(String, u64)>) {
        let (_folder, system) = with(&[("proc/5/maps", MAPS)]);
        let mut memory = Memory::new(&system);
        let (error_code, flags) = (ErrorCode(code), Flags(0));
        let fault = PageFault {
            address,
            error_code,
            ip: 0x400010,
            stack: 0,
            flags,
            took: None,
            memory: None,
            site: None,
        };
        let described = memory.describe(5, &fault);
        let site = described.site.map(|(name, offset)| (name.to_owned(), offset));
        (described.memory.unwrap_or_default(), site)
    }

    #[test]
    fn each_kind_of_memory_and_of_fault_is_told() {
        for (code, address, words) in [
            (7, 0xe04000, "copy on write, heap"),
            (6, 0xe04000, "first touch, heap"),
            (4, 0x7f1000000010, "first touch, anonymous"),
            (7, 0x7f1000000010, "copy on write, anonymous"),
            (4, 0x7f1000021010, "guard page, anonymous"),
            (6, 0x7ffd00000010, "first touch, stack"),
            (6, 0x7ffcffff0000, "below the stack"),
            (0x14, 0x400010, "page in, file busybox"),
            (6, 0x652010, "copy on write, file busybox"),
            (7, 0x651010, "its mapping does not allow that now (r--p), file busybox"),
            (0x15, 0xe04000, "its mapping does not allow that now (rw-p), heap"),
            (7, 0x7f2000000000, "first write, file with space"),
            (4, 0x18, "null pointer"),
            (4, 0x600000000000, "nothing mapped"),
            (2, 0xffff_c900_0000_0000, "vmalloc and ioremap"),
        ] {
            assert_eq!(describe(code, address).0, words, "{code:#x} {address:#x}");
        }
    }

    #[test]
    fn an_instruction_of_a_program_is_told_by_its_place_in_the_file() {
        assert_eq!(describe(6, 0xe04000).1, Some(("busybox".into(), 0x1010)));
        assert_eq!(describe(2, 0xe04000).1, None);
    }

    #[test]
    fn a_process_that_has_ended_leaves_its_fault_without_words() {
        let (_folder, system) = with(&[]);
        let (error_code, flags) = (ErrorCode(6), Flags(0));
        let fault = PageFault {
            address: 0x5000,
            error_code,
            ip: 0x400010,
            stack: 0,
            flags,
            took: None,
            memory: None,
            site: None,
        };
        let mut memory = Memory::new(&system);
        let described = memory.describe(5, &fault);
        assert!(described.memory.is_none() && described.site.is_none());
    }

    #[test]
    fn a_page_that_was_touched_and_is_not_present_any_more_is_not_told_by_what_was_read_before() {
        const AREA: &str = "7f1000000000-7f1000021000 rw-p 00000000 00:00 0\n\
                            00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/busybox\n";
        let (folder, system) = with(&[("proc/5/maps", AREA)]);
        let address = 0x7f10_0000_00ab;
        let fault = |code| PageFault {
            address,
            error_code: ErrorCode(code),
            ip: 0x400010,
            stack: 0,
            flags: Flags(0),
            took: None,
            memory: None,
            site: None,
        };
        let mut memory = Memory::new(&system);
        memory.expect(5, address, ErrorCode(6));
        assert_eq!(memory.describe(5, &fault(6)).memory.unwrap(), "first touch, anonymous");
        // It has taken the rights away, within the time for which nothing is read again.
        let maps = folder.path().join("proc/5/maps");
        fs::write(&maps, AREA.replace("rw-p", "---p")).unwrap();
        memory.expect(5, address, ErrorCode(4));
        assert_eq!(memory.describe(5, &fault(4)).memory.unwrap(), "guard page, anonymous");
        // The same of one that is gone before anybody can look: nothing is known.
        fs::write(&maps, AREA).unwrap();
        let mut memory = Memory::new(&system);
        memory.expect(5, address, ErrorCode(6));
        fs::remove_file(&maps).unwrap();
        memory.expect(5, address, ErrorCode(4));
        assert_eq!(memory.describe(5, &fault(4)).memory, None);
        // A write to what was only read before has nothing to do with that.
        fs::write(&maps, AREA).unwrap();
        let mut memory = Memory::new(&system);
        memory.expect(5, address, ErrorCode(4));
        fs::remove_file(&maps).unwrap();
        memory.expect(5, address, ErrorCode(7));
        assert_eq!(memory.describe(5, &fault(7)).memory.unwrap(), "copy on write, anonymous");
    }

    #[test]
    fn memory_mapped_just_after_the_last_look_is_told_though_its_process_has_ended_since() {
        const CODE: &str = "00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/busybox\n";
        let (folder, system) = with(&[("proc/5/maps", CODE)]);
        let maps = folder.path().join("proc/5/maps");
        let mut memory = Memory::new(&system);
        memory.expect(5, 0x400010, ErrorCode(0x14));
        fs::write(&maps, format!("{CODE}7f1000000000-7f1000021000 rw-p 00000000 00:00 0\n")).unwrap();
        let address = 0x7f10_0000_00ab;
        memory.expect(5, address, ErrorCode(7));
        fs::remove_file(&maps).unwrap();
        let fault = PageFault {
            address,
            error_code: ErrorCode(7),
            ip: 0x400010,
            stack: 0,
            flags: Flags(0),
            took: None,
            memory: None,
            site: None,
        };
        assert_eq!(memory.describe(5, &fault).memory.as_deref(), Some("copy on write, anonymous"));
    }
}
