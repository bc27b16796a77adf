//! Exceptions of programs: one line each, perhaps with `Code:` after it.

use std::collections::BTreeMap;

use crate::code::Code;
use crate::kind::Kind;
use crate::scan::{after, from, hex};
use crate::task::Task;

/// What a line about a program tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// What it is.
    pub kind: Kind,
    /// The line, without what stands before the program.
    pub line: String,
    /// The program.
    pub task: Option<Task>,
    /// The exception, as in "invalid opcode".
    pub what: String,
    /// The address of a page fault, or of the instruction of a split lock.
    pub address: Option<u64>,
    /// The instruction.
    pub instruction: Option<u64>,
    /// The stack pointer.
    pub stack: Option<u64>,
    /// The error code.
    pub error_code: Option<u64>,
    /// The CPU, which is told since 6.2.
    pub cpu: Option<u32>,
    /// The file that the instruction is mapped from.
    pub file: Option<File>,
    /// The bytes around the instruction.
    pub code: Option<Code>,
    /// The machine, if it is not x86.
    pub machine: Option<&'static str>,
}

/// A mapped file, `libxul.so[71940c6,7d0628318000+6cc5000]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// The instruction's offset in the file, which is told since 6.10.
    pub offset: Option<u64>,
    /// Where the mapping begins.
    pub start: Option<u64>,
}

impl Trap {
    /// What `line`, which begins a report of `kind`, tells.
    pub(crate) fn read(kind: Kind, line: &str) -> Self {
        let mut trap = Self {
            kind,
            line: line.trim().to_owned(),
            task: None,
            what: String::new(),
            address: None,
            instruction: None,
            stack: None,
            error_code: None,
            cpu: None,
            file: None,
            code: None,
            machine: None,
        };
        match kind {
            Kind::SplitLock => trap.split_lock(line),
            Kind::UserFault => {
                if let Some(fault) = foreign_fault(line) {
                    trap.foreign(fault);
                }
            }
            Kind::Segfault => trap.segfault(line),
            _ => trap.other(line),
        }
        trap
    }

    /// `…: #AC: osu!.exe/11382 took a split_lock trap at address: 0x7aa6806d`.
    fn split_lock(&mut self, line: &str) {
        let said = from(line, "#").unwrap_or(line);
        let (who, address) = said.split_once(" took a ").unwrap_or((said, ""));
        self.task = who.split_once(": ").and_then(|(_, task)| Task::split(task, '/'));
        self.what = if address.starts_with("bus_lock") { "bus lock" } else { "split lock" }.into();
        self.instruction = after(address, "at address: ").and_then(hex);
    }

    /// `NAME[ID]: segfault at ADDRESS ip IP sp SP error CODE in FILE[…] likely on CPU 7 (…)`.
    fn segfault(&mut self, line: &str) {
        let (who, rest) = line.split_once(": segfault at ").unwrap_or((line, ""));
        self.what = "segfault".into();
        self.task = Task::split(who, '[');
        let (place, cpu) = rest.split_once(" likely on CPU ").unwrap_or((rest, ""));
        self.cpu = crate::scan::decimal(cpu);
        self.address = if place.starts_with("(null)") { Some(0) } else { followed(place) };
        self.instruction = after(place, " ip ").or_else(|| after(place, " rip ")).and_then(followed);
        self.stack = after(place, " sp ").or_else(|| after(place, " rsp ")).and_then(followed);
        self.error_code = after(place, " error ").and_then(hex);
        self.file = after(place, " in ").and_then(File::read);
    }

    /// `NAME[ID] trap invalid opcode ip:IP sp:SP error:CODE in FILE[…]`, also without `trap`,
    /// with a colon after the bracket, and with `rip:` and `rsp:` as before 2.6.25.
    fn other(&mut self, line: &str) {
        let (who, rest) = line.split_once(" ip:").or_else(|| line.split_once(" rip:")).unwrap_or((line, ""));
        if let Some((task, what)) = who.rsplit_once(']') {
            self.task = Task::split(task, '[');
            let what = what.trim_start_matches(':').trim();
            self.what = what.strip_prefix("trap ").unwrap_or(what).to_owned();
        }
        self.instruction = followed(rest);
        self.stack = after(rest, " sp:").or_else(|| after(rest, " rsp:")).and_then(followed);
        self.error_code = after(rest, " error:").and_then(hex);
        self.file = after(rest, " in ").and_then(File::read);
    }

    fn foreign(&mut self, fault: Foreign<'_>) {
        self.machine = Some(fault.machine);
        self.what = fault.what.to_owned();
        self.task = fault.task;
        self.address = fault.address;
        self.instruction = fault.instruction;
        self.file = after(&self.line, " in ").filter(|file| file.contains('[')).and_then(File::read);
    }

    /// 32 for a program whose instruction and stack lie where only such a one has both.
    pub(crate) fn bits(&self) -> u32 {
        let low = |address: Option<u64>| address.is_some_and(|address| address >> 32 == 0);
        if low(self.instruction) && low(self.stack) { 32 } else { 64 }
    }

    /// Where the instruction is, in words.
    pub(crate) fn place(&self) -> Option<String> {
        let at = self.instruction?;
        let Some(file) = &self.file else { return Some(format!("{at:#x}")) };
        let place = match (file.offset, file.start) {
            (Some(offset), _) => format!(", offset {offset:#x} in the file"),
            (None, Some(start)) if at >= start => {
                format!(
                    ", computed: {:#x} into its mapping at {start:#x}; the file's offset of that is not told",
                    at - start
                )
            }
            _ => String::new(),
        };
        Some(format!("{at:#x} in {}{place}", file.name))
    }

    /// What is alike in faults of one cause.
    fn group(&self) -> (String, String, Option<String>, Option<u64>) {
        let file = self.file.as_ref();
        let offset = file
            .and_then(|file| file.offset.or_else(|| Some(self.instruction?.wrapping_sub(file.start?))))
            .or(self.instruction);
        let name = self.task.as_ref().map_or_else(String::new, |task| task.name.clone());
        (name, self.what.clone(), file.map(|file| file.name.clone()), offset)
    }
}

impl File {
    fn read(text: &str) -> Option<Self> {
        let Some((name, rest)) = text.rsplit_once('[') else {
            let name = text.trim();
            return (!name.is_empty()).then(|| Self { name: name.to_owned(), offset: None, start: None });
        };
        let inside = rest.split(']').next().unwrap_or("");
        let (offset, mapping) = match inside.split_once(',') {
            Some((offset, mapping)) => (hex(offset), mapping),
            None => (None, inside),
        };
        let start = mapping.split_once('+').and_then(|(start, _)| hex(start));
        Some(Self { name: name.trim().to_owned(), offset, start })
    }
}

/// The number that `text` begins with, if something stands behind it: else it may be cut off.
fn followed(text: &str) -> Option<u64> {
    hex(text).filter(|_| text.contains(' '))
}

/// What a line about a fault of a program tells on another machine than x86.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign<'a> {
    machine: &'static str,
    /// What it was, in the kernel's words.
    what: &'a str,
    task: Option<Task>,
    address: Option<u64>,
    instruction: Option<u64>,
}

/// The fault of a program that `line` tells: arch/*/mm/fault.c and arch/*/kernel/traps.c.
pub(crate) fn foreign_fault(line: &str) -> Option<Foreign<'_>> {
    let line = line.trim();
    let number = |mark: &str| after(line, mark).and_then(hex);
    let fault = |machine, what, task, address: Option<u64>, instruction| {
        Some(Foreign { machine, what, task, address, instruction })
    };
    let named = |who: &str| Task::split(who, '[');
    if let Some((who, what)) = line.split_once("]: unhandled exception: ") {
        // `DABT (lower EL), ESR 0x…, level 2 translation fault in FILE[…]`.
        let what = what.split(" in ").next()?.rsplit(", ").next()?;
        fault("arm64", what, named(who), None, None)
    } else if let Some((who, what)) = line.split_once("]: unhandled ").filter(|_| line.contains(", esr 0x")) {
        fault("arm64", what.split(" (").next()?, named(who), number(" at 0x"), None)
    } else if line.contains(" nip ") && line.contains(" lr ") && line.contains(" code ") {
        let (who, what) = line.split_once("]: ")?;
        let what = what.split(" at ").next()?.split(" (").next()?.trim_start_matches("unhandled ");
        fault("powerpc", what, named(who), number(" at "), number(" nip "))
    } else if let Some((who, what)) = line.split_once("]: unhandled ").filter(|_| line.contains(" code 0x")) {
        let address = number(" at 0x")?;
        fault("riscv", what.split(" code ").next()?, named(who), Some(address), None)
    } else if line.contains(": unhandled ") && line.contains(" at 0x") && line.contains(", code 0x") {
        // The task's id is not told.
        let (_, what) = line.split_once(": unhandled ")?;
        fault("arm", what.split(" (").next()?, None, number(" at 0x"), None)
    } else if let Some((_, what)) = line.split_once("do_page_fault(): sending SIGSEGV to ") {
        let what = after(what, " for ")?.split(" from ").next()?;
        fault("mips or loongarch", what, None, number(" from "), None)
    } else if line.starts_with("User process fault: interruption code ") {
        let what = line.split(" in ").next()?.strip_prefix("User process fault: ")?;
        fault("s390", what, None, None, None)
    } else if let Some((who, rest)) = line.split_once("]: segfault at ").filter(|_| line.contains(" (rpc ")) {
        fault("sparc", "segfault", named(who), hex(rest), number(" ip "))
    } else {
        None
    }
}

/// The traps by program, exception and place, each with how often, in the order of first sight.
pub fn grouped(traps: &[Trap]) -> Vec<(&Trap, usize)> {
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    let mut groups: Vec<(&Trap, usize)> = Vec::new();
    for trap in traps {
        let at = *seen.entry(trap.group()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, count)) => *count += 1,
            None => groups.push((trap, 1)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::begin;

    fn trap(line: &str) -> Trap {
        let (kind, line) = begin(line).unwrap();
        Trap::read(kind, line)
    }

    #[test]
    fn each_form_is_read() {
        let found = trap(
            "traps: Isolated Web Co[8887] trap invalid opcode ip:7f605f9eea1b sp:7ffc00f85d80 error:0 in libxul.so[563aa1b,7f605a477000+5e99000]",
        );
        assert_eq!(found.task, Some(Task { name: "Isolated Web Co".into(), id: 8887 }));
        assert_eq!(found.what, "invalid opcode");
        assert_eq!(found.place().unwrap(), "0x7f605f9eea1b in libxul.so, offset 0x563aa1b in the file");
        let found = trap(
            "MainThread[7483]: segfault at 0 ip 00007d062c7950c6 sp 00007ffd1cb3c380 error 6 in libxul.so[71940c6,7d0628318000+6cc5000] likely on CPU 7 (core 12, socket 0)",
        );
        assert_eq!((found.address, found.error_code, found.cpu), (Some(0), Some(6), Some(7)));
        assert_eq!(found.file.unwrap().offset, Some(0x719_40c6));
        let found = trap("a.out[123]: segfault at 0 ip 0000000000401136 sp 00007ffd0ff0 error 6");
        assert_eq!((found.file.clone(), found.place().unwrap().as_str()), (None, "0x401136"));
        let found = trap(
            "x86/split lock detection: #AC: osu!.exe/11382 took a split_lock trap at address: 0x7aa6806d",
        );
        assert_eq!((found.task.unwrap().name.as_str(), found.instruction), ("osu!.exe", Some(0x7aa6_806d)));
    }

    #[test]
    fn faults_on_other_machines_are_read() {
        for (line, machine, what, id, address, file) in [
            (
                "app[812]: unhandled exception: DABT (lower EL), ESR 0x92000046, level 2 translation fault in libx.so[aaaad000+1000]",
                "arm64",
                "level 2 translation fault",
                Some(812),
                None,
                Some("libx.so"),
            ),
            (
                "app[812]: unhandled level 2 translation fault (11) at 0x00000008, esr 0x92000006",
                "arm64",
                "level 2 translation fault",
                Some(812),
                Some(8),
                None,
            ),
            (
                "my app[812]: segfault (11) at 8 nip 10000500 lr 100004c0 code 1 in app[10000000+10000]",
                "powerpc",
                "segfault",
                Some(812),
                Some(8),
                Some("app"),
            ),
            (
                "app[812]: unhandled signal 11 at 0000000000000008 nip 0000000010000500 lr 00000000100004c0 code 30001",
                "powerpc",
                "signal 11",
                Some(812),
                Some(8),
                None,
            ),
            (
                "app[812]: unhandled signal 11 code 0x1 at 0x0000000000000008 in app[10000+1000]",
                "riscv",
                "signal 11",
                Some(812),
                Some(8),
                Some("app"),
            ),
            (
                "app: unhandled page fault (11) at 0x00000008, code 0x017",
                "arm",
                "page fault",
                None,
                Some(8),
                None,
            ),
            (
                "do_page_fault(): sending SIGSEGV to app for invalid read access from 0000000000000008",
                "mips or loongarch",
                "invalid read access",
                None,
                Some(8),
                None,
            ),
            (
                "User process fault: interruption code 0010 ilc:3 in libx.so[3ff80000000+1000]",
                "s390",
                "interruption code 0010 ilc:3",
                None,
                None,
                Some("libx.so"),
            ),
            (
                "app[812]: segfault at 8 ip 0000000070001234 (rpc 0000000070001200) sp 00000000ff8e8a58 error 30002 in libx.so[70000000+1000]",
                "sparc",
                "segfault",
                Some(812),
                Some(8),
                Some("libx.so"),
            ),
        ] {
            let found = trap(line);
            let told = (found.kind, found.machine, found.what.as_str());
            assert_eq!(told, (Kind::UserFault, Some(machine), what), "{line}");
            assert_eq!((found.task.map(|task| task.id), found.address), (id, address), "{line}");
            assert_eq!(found.file.map(|file| file.name).as_deref(), file, "{line}");
        }
    }

    #[test]
    fn a_number_at_the_end_of_a_text_that_is_cut_off_is_not_told() {
        assert_eq!(trap("a[1]: segfault at 7f00").address, None);
        assert_eq!(trap("a[1]: segfault at 7f0012 ip 00007fbb").instruction, None);
    }

    #[test]
    fn many_of_one_cause_are_one_group() {
        let line = |id: u32, ip: u64| {
            trap(&format!(
                "a b[{id}]: segfault at 0 ip {ip:016x} sp 00007ffd0ff0 error 6 in x.so[{:x}+1000]",
                ip & !0xfff
            ))
        };
        let traps = [line(1, 0x7f00_0000_1136), line(2, 0x7f55_0000_2136), line(3, 0x7f00_0000_1137)];
        let groups = grouped(&traps);
        assert_eq!(
            groups.iter().map(|(trap, count)| (trap.task.as_ref().unwrap().id, *count)).collect::<Vec<_>>(),
            [(1, 2), (3, 1)]
        );
    }
}
