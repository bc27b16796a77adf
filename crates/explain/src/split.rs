//! A text to its reports.

use std::collections::HashMap;

use crate::code::Code;
use crate::kind::{Kind, Rank, begin, die};
use crate::lines;
use crate::report::Report;
use crate::user::Trap;

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// Those of the kernel, as they come.
    pub kernel: Vec<Report>,
    /// Those of programs, as they come.
    pub programs: Vec<Trap>,
}

impl Reports {
    /// The one that matters most: the first oops, else the first complaint. Of each, one whose
    /// lines stand among another's only if there is no other: little is told of it. `None` if the
    /// kernel has none.
    pub fn first(&self) -> Option<usize> {
        let of = |rank: Rank| {
            let mut all = self.kernel.iter().enumerate().filter(|(_, report)| report.kind.rank() == rank);
            let first = all.clone().next();
            all.find(|(_, report)| !report.is_interleaved()).or(first).map(|(at, _)| at)
        };
        of(Rank::Oops).or_else(|| of(Rank::Complaint))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.kernel.is_empty() && self.programs.is_empty()
    }
}

/// Reads a text.
pub fn read(text: &str) -> Reports {
    let mut splitter = Splitter::default();
    let mut caller = None;
    for line in lines::read(text) {
        // A line without one goes on with the one before it.
        caller = line.caller.or(caller);
        splitter.take(caller.as_deref(), &line.text);
    }
    splitter.reports.kernel.iter_mut().for_each(Report::settle);
    splitter.reports
}

#[derive(Default)]
struct Splitter {
    reports: Reports,
    /// Where the reports of this boot begin.
    boot: usize,
    /// CPUs may print at once, line by line among each other: what each caller prints is a text of
    /// its own, where the lines tell their callers.
    streams: HashMap<Option<String>, Stream>,
}

impl Splitter {
    fn take(&mut self, caller: Option<&str>, line: &str) {
        let text = line.trim();
        if text.starts_with("Linux version ") || text.starts_with("Booting Linux") {
            // Nothing of the boot before goes on.
            self.streams.clear();
            self.boot = self.reports.kernel.len();
            return;
        }
        let stalled = self.stalled().filter(|_| text.contains(BACKTRACE));
        let stream = self.streams.entry(caller.map(str::to_owned)).or_default();
        // The CPU that stalled prints for itself what belongs to the report of the one that saw it.
        if stream.open.is_none() && stalled.is_some() {
            (stream.open, stream.last) = (stalled, stalled);
        }
        stream.take(line, &mut self.reports, self.boot);
    }

    /// The last report, if it is of a CPU that stalled and does not tell yet what ran there.
    fn stalled(&self) -> Option<usize> {
        let last = self.reports.kernel.len().checked_sub(1).filter(|last| *last >= self.boot)?;
        let report = self.reports.kernel.get(last)?;
        let waits = matches!(report.kind, Kind::RcuStall | Kind::HardLockup) && report.kernel.is_none();
        waits.then_some(last)
    }
}

/// What one caller prints, or all of them where nothing tells them apart.
#[derive(Default)]
struct Stream {
    /// The report of the kernel that goes on.
    open: Option<usize>,
    /// The last report of the kernel.
    last: Option<usize>,
    /// The one that had not come to its calls when `last` began: cut off, or printed at once with
    /// it.
    unfinished: Option<usize>,
    /// The exception of a program that the line before told, so that `Code:` is its.
    program: Option<usize>,
    /// The lines since `cut here`: what the report that begins now is about.
    cut: Option<Vec<String>>,
    /// The last line that named a corruption, and how many came after it.
    corruption: Option<(String, usize)>,
    /// Whether a dump goes on that is no report of a fault, but has registers too.
    dump: bool,
}

/// How many lines may stand between `cut here` and the line that begins the report.
const CAUSES: usize = 4;

/// The same of a line that names a corruption, `cut here` not counted.
const CORRUPTION: usize = 1;

/// What begins a dump that is not read. All but a backtrace, which belongs to a stall, end what
/// came before.
const BACKTRACE: &str = "NMI backtrace for cpu";
const DUMPS: [&str; 3] = ["invoked oom-killer", "page allocation failure", "sysrq: Show"];

impl Stream {
    fn take(&mut self, line: &str, reports: &mut Reports, boot: usize) {
        let text = line.trim();
        // The audit's line may come between.
        if self.program.is_some() && text.starts_with("audit: ") {
            return;
        }
        if let Some(program) = self.program.take()
            && let Some(bytes) = text.strip_prefix("Code: ")
        {
            if let Some(trap) = reports.programs.get_mut(program) {
                trap.code = Code::read(bytes);
            }
            return;
        }
        if text.contains("------------[ cut here ]------------") {
            (self.open, self.cut) = (None, Some(Vec::new()));
            return;
        }
        if DUMPS.iter().any(|mark| text.contains(mark)) {
            (self.open, self.dump) = (None, true);
        }
        self.dump |= text.contains(BACKTRACE);
        if text.contains("---[ end trace") {
            (self.cut, self.corruption, self.dump) = (None, None, false);
        }
        self.corruption = self
            .corruption
            .take()
            .map(|(line, lines)| (line, lines + usize::from(!text.is_empty())))
            .filter(|(_, lines)| *lines <= CORRUPTION + 1);
        let names_it =
            ["corruption", "usercopy: ", "page dumped because", "exploit attempt?", "Missing ENDBR: "]
                .iter()
                .any(|mark| text.contains(mark));
        if names_it && text.len() < 300 && !text.starts_with("BUG: ") {
            self.corruption = Some((text.to_owned(), 0));
        }
        if let Some(panic) = crate::scan::after(text, "Kernel panic - not syncing: ") {
            self.panic(panic, reports, boot);
            return;
        }
        match begin(line) {
            Some((kind, line)) if kind.rank() == Rank::User => {
                // In the middle of the kernel's own it ends nothing, but where registers follow.
                if kind == Kind::UserFault {
                    self.open = None;
                }
                self.program = Some(reports.programs.len());
                reports.programs.push(Trap::read(kind, line));
            }
            Some((kind, rest)) => self.begin(kind, rest, line, reports),
            None if self.open.is_some() => self.feed(line, reports),
            None => self.outside(line, reports),
        }
    }

    fn begin(&mut self, kind: Kind, rest: &str, line: &str, reports: &mut Reports) {
        let current = self.open.and_then(|at| reports.kernel.get(at));
        if current.is_some_and(|current| continues(current, kind, line)) {
            self.feed(line, reports);
            return;
        }
        // Of two reports that began one behind the other: the second `die()` is one of theirs, and
        // the first one if only the one before waits for it.
        let before = self.unfinished.and_then(|at| reports.kernel.get(at));
        let is_second = die(line).is_some()
            && current.is_some_and(|current| {
                let waits = before.is_some_and(|before| before.die.is_none());
                let is_twice = current.die.is_some() && (current.is_mixed() || before.is_some());
                current.calls.is_empty() && !current.ended && (is_twice || waits)
            });
        if is_second {
            self.mix(reports);
            return;
        }
        self.unfinished = self.open.filter(|_| current.is_some_and(Report::is_unfinished));
        self.dump = false;
        let mut report = Report::new(kind);
        report.headline = Some(rest.trim().to_owned());
        if let Some(cause) = self.cut.take() {
            report.hints = cause;
        }
        // `list_del corruption. …` stands before `cut here`.
        if matches!(kind, Kind::KernelBug | Kind::PageFault)
            && let Some((corruption, _)) = self.corruption.take()
            && !report.hints.contains(&corruption)
        {
            report.hints.push(corruption);
        }
        self.add(report, reports);
        self.feed(line, reports);
    }

    fn add(&mut self, report: Report, reports: &mut Reports) {
        self.open = Some(reports.kernel.len());
        self.last = self.open;
        reports.kernel.push(report);
    }

    fn feed(&mut self, line: &str, reports: &mut Reports) {
        let Some(report) = self.open.and_then(|at| reports.kernel.get_mut(at)) else { return };
        let goes_on = report.take(line);
        if report.is_mixed() {
            self.mix(reports);
        }
        if !goes_on {
            self.open = None;
        }
    }

    /// Notes that lines of the open report and of the one before it stand among each other.
    fn mix(&mut self, reports: &mut Reports) {
        if let Some(report) = self.open.and_then(|at| reports.kernel.get_mut(at)) {
            report.note_others_within();
        }
        if let Some(other) = self.unfinished.take().and_then(|at| reports.kernel.get_mut(at)) {
            other.note_others_behind();
        }
    }

    /// A line between reports.
    fn outside(&mut self, line: &str, reports: &mut Reports) {
        if let Some(causes) = self.cut.as_mut() {
            let text = line.trim();
            if !text.is_empty() {
                causes.push(text.to_owned());
            }
            if causes.len() > CAUSES {
                self.cut = None;
            }
        }
        // A report that is cut off at its top: the kernel prints this again after the end of one,
        // which is no new one.
        let again = self.last.and_then(|at| reports.kernel.get(at)).is_some_and(|last| last.ended);
        // The kernel's code segment: 0010 on x86-64, e030 under Xen, 0060 on 32-bit x86.
        let text = line.trim_start();
        // Behind calls, registers are those of what was interrupted.
        self.dump |= text.starts_with("Call Trace:");
        let headless = ["RIP: 0010:", "RIP: e030:", "EIP: 0060:"].iter().any(|mark| text.starts_with(mark))
            || text.contains("error_code(0x");
        if headless && !again && !self.dump {
            self.add(Report::new(Kind::Headless), reports);
            self.feed(line, reports);
        }
    }

    /// A panic belongs to the report that it names, else to the one that goes on, else to none.
    fn panic(&mut self, why: &str, reports: &mut Reports, boot: usize) {
        let open = self.open.and_then(|at| at.checked_sub(boot));
        let of_boot = reports.kernel.get_mut(boot..).unwrap_or_default();
        let of_oops = ["Fatal exception", "Attempted to kill", "panic_on_oops"];
        let report = if of_oops.iter().any(|mark| why.contains(mark)) {
            of_boot.iter_mut().rev().find(|report| report.kind.rank() == Rank::Oops)
        } else if why.contains("achine check") {
            of_boot.iter_mut().rev().find(|report| report.kind == Kind::MachineCheck)
        } else if ["panic_on_warn", "kasan.fault=panic"].iter().any(|mark| why.contains(mark)) {
            of_boot.last_mut()
        } else {
            open.and_then(|at| of_boot.get_mut(at)).filter(|open| open.kind != Kind::MachineCheck)
        };
        match report {
            Some(report) if report.panic.is_none() => report.panic = Some(why.trim().to_owned()),
            Some(_) => {}
            None => {
                let mut report = Report::new(Kind::Panic);
                report.headline = Some(format!("Kernel panic - not syncing: {}", why.trim()));
                self.add(report, reports);
            }
        }
    }
}

/// Whether a line that could begin a report of `kind` belongs to `current`.
fn continues(current: &Report, kind: Kind, line: &str) -> bool {
    // All lines of the hardware's are one report.
    if current.kind == Kind::MachineCheck && kind == Kind::MachineCheck {
        return true;
    }
    // Decoded traces have a line for each function that is inlined where the access is.
    if current.kind == Kind::Kasan && kind == Kind::Kasan {
        return current.object.access.is_none() && current.kernel.is_none();
    }
    // `die()` follows the line that says what happened.
    let is_die = die(line).is_some();
    is_die
        && current.die.is_none()
        && !current.ended
        && match current.kind {
            Kind::PageFault | Kind::Headless => kind == Kind::PageFault,
            Kind::KernelBug => matches!(kind, Kind::Exception | Kind::KernelBug),
            Kind::DoubleFault => kind == Kind::DoubleFault,
            Kind::StackOverflow => {
                matches!(kind, Kind::StackOverflow | Kind::DoubleFault | Kind::PageFault | Kind::Exception)
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panics(text: &str) -> Vec<(Kind, Option<String>)> {
        read(text).kernel.into_iter().map(|report| (report.kind, report.panic)).collect()
    }

    #[test]
    fn a_panic_is_told_of_the_report_that_it_names() {
        let panic = |why: &str| format!("Kernel panic - not syncing: {why}\n");
        let oops = "Oops: 0000 [#1] SMP\n---[ end trace 0000000000000000 ]---\n";
        let warning = "WARNING: CPU: 5 PID: 1 at a/b.c:1 f+0x1/0x2\n---[ end trace 0000000000000000 ]---\n";
        let kasan = "BUG: KASAN: slab-out-of-bounds in f+0x1/0x2\n=========\n";
        for (text, why, expected) in [
            (oops.to_owned() + warning, "Fatal exception", [Some(Kind::PageFault), None]),
            (oops.to_owned() + warning, "kernel: panic_on_warn set ...", [None, Some(Kind::Warning)]),
            (oops.to_owned() + kasan, "kasan.fault=panic set ...", [None, Some(Kind::Kasan)]),
            (
                oops.to_owned() + warning,
                "Out of memory: system-wide panic_on_oom is enabled",
                [None, Some(Kind::Panic)],
            ),
            (oops.to_owned(), "Timeout: Not all CPUs entered broadcast handler", [None, Some(Kind::Panic)]),
            (oops.to_owned() + "Linux version 6.1.0\n", "Fatal exception", [None, Some(Kind::Panic)]),
        ] {
            let found = panics(&(text.clone() + &panic(why)));
            let of: Vec<Kind> = found.iter().filter(|(_, p)| p.is_some()).map(|(kind, _)| *kind).collect();
            let own = found.iter().any(|(kind, _)| *kind == Kind::Panic);
            let expected: Vec<Kind> = expected.into_iter().flatten().collect();
            if expected == [Kind::Panic] {
                assert!(own && of.is_empty(), "{why}: {found:?}");
            } else {
                assert!(!own && of == expected, "{why}: {found:?}");
            }
        }
    }

    #[test]
    fn code_behind_an_audit_line_is_the_programs() {
        let text = "INFO: task a:1 blocked for more than 120 seconds.\n\
            b[2]: segfault at 0 ip 0000560000001136 sp 00007ffd1cb3c380 error 4 in b[560000001000+1000]\n\
            audit: type=1701 audit(1.1:1): auid=0\nCode: 90 90 <48> 8b 02\n";
        let reports = read(text);
        assert!(reports.kernel[0].code.is_none() && reports.programs[0].code.is_some());
    }

    #[test]
    fn registers_behind_calls_begin_no_report() {
        assert!(read("Call Trace:\n f+0x1/0x2\nRIP: 0010:g+0x1/0x2\n").is_empty());
        assert_eq!(read("RIP: 0010:g+0x1/0x2\n").kernel.len(), 1);
    }
}
