//! Kinds of reports, and the lines that begin them.

use crate::scan::{after, from};
use crate::user::foreign_fault;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A page fault of the kernel that nothing resolved.
    PageFault,
    /// A general protection fault of the kernel.
    GeneralProtection,
    /// `BUG()`: a check of the kernel's own that failed.
    KernelBug,
    /// A double fault.
    DoubleFault,
    /// A stack's guard page was hit.
    StackOverflow,
    /// A division by zero, or one whose result is too large.
    DivideError,
    /// Another exception of the kernel.
    Exception,
    /// The kernel stopped, and nothing before says why.
    Panic,
    /// KASAN's.
    Kasan,
    /// KFENCE's.
    Kfence,
    /// UBSAN's: what C does not define.
    Ubsan,
    /// Lockdep's: a wrong use of a lock.
    Lock,
    /// `WARN()`.
    Warning,
    /// A CPU that did not schedule.
    SoftLockup,
    /// A CPU that took no interrupts.
    HardLockup,
    /// A task that did not wake.
    HungTask,
    /// A grace period that did not end.
    RcuStall,
    /// The hardware reported an error.
    MachineCheck,
    /// Another line that begins with `BUG: `.
    OtherBug,
    /// A report of which the beginning is missing.
    Headless,
    /// A page fault of a program, which ended it.
    Segfault,
    /// A fault of a program on another machine than x86.
    UserFault,
    /// Another exception of a program.
    UserTrap,
    /// A locked access over two cache lines, of a program.
    SplitLock,
}

/// How much a report matters beside others; the first of the highest is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// The kernel could not go on where it was.
    Oops,
    /// The kernel complains of itself or of the hardware.
    Complaint,
    /// A program's own.
    User,
}

impl Kind {
    /// How much it matters.
    pub fn rank(self) -> Rank {
        if self <= Kind::Panic {
            Rank::Oops
        } else if self <= Kind::Headless {
            Rank::Complaint
        } else {
            Rank::User
        }
    }

    /// One word, for machines.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PageFault => "page-fault",
            Kind::GeneralProtection => "general-protection",
            Kind::KernelBug => "kernel-bug",
            Kind::DoubleFault => "double-fault",
            Kind::StackOverflow => "stack-overflow",
            Kind::DivideError => "divide-error",
            Kind::Exception => "exception",
            Kind::Panic => "panic",
            Kind::Kasan => "kasan",
            Kind::Kfence => "kfence",
            Kind::Ubsan => "ubsan",
            Kind::Lock => "lock",
            Kind::Warning => "warning",
            Kind::SoftLockup => "soft-lockup",
            Kind::HardLockup => "hard-lockup",
            Kind::HungTask => "hung-task",
            Kind::RcuStall => "rcu-stall",
            Kind::MachineCheck => "machine-check",
            Kind::OtherBug => "bug",
            Kind::Headless => "headless",
            Kind::Segfault => "segfault",
            Kind::UserFault => "user-fault",
            Kind::UserTrap => "user-trap",
            Kind::SplitLock => "split-lock",
        }
    }
}

/// The line that begins a report: its kind, and the line without what stands before the words that
/// tell it.
pub(crate) fn begin(line: &str) -> Option<(Kind, &str)> {
    let of = |kind: Kind, mark: &str| from(line, mark).map(|rest| (kind, rest));
    user(line)
        .map(|kind| (kind, line.trim_start().trim_start_matches("traps: ")))
        .or_else(|| of(Kind::Kasan, "BUG: KASAN: "))
        .or_else(|| of(Kind::Kfence, "BUG: KFENCE: "))
        .or_else(|| of(Kind::PageFault, "BUG: kernel NULL pointer dereference"))
        .or_else(|| of(Kind::PageFault, "BUG: unable to handle"))
        .or_else(|| of(Kind::PageFault, "BUG: Kernel NULL pointer dereference"))
        .or_else(|| of(Kind::PageFault, "BUG: Unable to handle "))
        .or_else(|| of(Kind::PageFault, "Unable to handle kernel "))
        .or_else(|| of(Kind::StackOverflow, "BUG: stack guard page was hit"))
        .or_else(|| {
            from(line, "BUG: ")
                .filter(|rest| rest.contains(" stack guard page was hit"))
                .map(|rest| (Kind::StackOverflow, rest))
        })
        .or_else(|| of(Kind::KernelBug, "kernel BUG at "))
        .or_else(|| of(Kind::KernelBug, "Kernel BUG at "))
        .or_else(|| of(Kind::DoubleFault, "PANIC: double fault"))
        .or_else(|| of(Kind::SoftLockup, "BUG: soft lockup"))
        .or_else(|| from(line, "Watchdog detected hard LOCKUP").map(|rest| (Kind::HardLockup, rest)))
        .or_else(|| {
            of(Kind::HungTask, "INFO: task ").filter(|(_, rest)| rest.contains(" blocked for more than "))
        })
        .or_else(|| of(Kind::RcuStall, "INFO: rcu").filter(|(_, rest)| rest.contains("stall")))
        .or_else(|| line.trim_start().starts_with("UBSAN: ").then(|| (Kind::Ubsan, line.trim_start())))
        .or_else(|| lock(line))
        .or_else(|| warning(line))
        .or_else(|| of(Kind::MachineCheck, "[Hardware Error]"))
        .or_else(|| line.trim_start().starts_with("BUG: ").then(|| (Kind::OtherBug, line.trim_start())))
        .or_else(|| slub(line))
        .or_else(|| die(line).map(|(kind, _)| (kind, line.trim())))
}

/// `WARNING: CPU: 5 PID: 1234 at FILE:LINE …`, and since 6.18
/// `WARNING: FILE:LINE at FUNCTION, …`.
fn warning(line: &str) -> Option<(Kind, &str)> {
    let rest = line.trim_start();
    let said = rest.strip_prefix("WARNING: ")?;
    let known = said.starts_with("CPU: ") || said.contains(" at ") || said.contains("detected");
    known.then_some((Kind::Warning, rest))
}

/// `WARNING: possible circular locking dependency detected`, before 4.13
/// `[ INFO: possible circular locking dependency detected ]`.
fn lock(line: &str) -> Option<(Kind, &str)> {
    const SAYS: [&str; 12] = [
        "possible circular locking dependency",
        "possible recursive locking",
        "possible irq lock inversion",
        "inconsistent lock state",
        "suspicious RCU usage",
        "bad unlock balance",
        "bad contention",
        "held lock freed",
        "lock held when returning to user space",
        "lock held at task exit",
        "still has locks held",
        "Invalid wait context",
    ];
    let text = line.trim();
    let lead = ["WARNING: ", "[ INFO: ", "[ BUG: "].iter().find_map(|lead| text.strip_prefix(lead))?;
    let said = SAYS.iter().any(|says| lead.starts_with(says))
        || lead.contains("-safe -> ") && lead.contains(" lock order detected");
    said.then_some((Kind::Lock, text))
}

/// `BUG kmalloc-256 (Not tainted): Object already free` of the slab allocator.
fn slub(line: &str) -> Option<(Kind, &str)> {
    let text = line.trim_start();
    let (cache, said) = text.strip_prefix("BUG ")?.split_once("): ")?;
    let known = cache.contains(" (Not tainted") || cache.contains(" (Tainted: ");
    (known && !said.is_empty()).then_some((Kind::OtherBug, text))
}

/// Lines of programs.
fn user(line: &str) -> Option<Kind> {
    if foreign_fault(line).is_some() {
        Some(Kind::UserFault)
    } else if after(line, "]: segfault at ").is_some() {
        Some(Kind::Segfault)
    } else if line.contains("split lock detection: #") && line.contains(" trap at address: ") {
        Some(Kind::SplitLock)
    } else {
        // `rip:` and `rsp:` before 2.6.25, on x86-64.
        let (who, what) = line.split_once(" ip:").or_else(|| line.split_once(" rip:"))?;
        let has_stack = what.contains(" sp:") || what.contains(" rsp:");
        (who.contains(']') && has_stack && what.contains(" error:")).then_some(Kind::UserTrap)
    }
}

/// `die()`'s line, `WHAT: CODE [#NUMBER] …`: the exception that it names, and its error code if
/// the line has one. WHAT is "Oops" for a page fault; since 6.11 "Oops: " stands before all others,
/// too.
pub(crate) fn die(line: &str) -> Option<(Kind, Die<'_>)> {
    let before = numbered(line)?;
    let (what, code) = before.rsplit_once(": ").unwrap_or((before, ""));
    // PowerPC's `Oops: Kernel access of bad area, sig: 11` has a signal there.
    let (what, code) = match what.strip_suffix(", sig") {
        Some(what) => (what, ""),
        None => (what, code),
    };
    let mut what = what.trim();
    for lead in ["Internal error: ", "traps: ", "Oops: "] {
        what = what.strip_prefix(lead).unwrap_or(what);
    }
    // Of ARM's `Oops - X` X is the exception; a fault of memory is `Oops` alone.
    let named = what.strip_prefix("Oops - ");
    let what = named.unwrap_or(what);
    let kind = if named.is_some() {
        if what == "BUG" { Kind::KernelBug } else { Kind::Exception }
    } else if what.ends_with("Oops")
        || what.starts_with("Oops")
        || before.trim_start().starts_with("Oops") && code == before
        || matches!(what, "Kernel access of bad area" | "Weird page fault")
    {
        Kind::PageFault
    } else if what.starts_with("general protection fault") {
        Kind::GeneralProtection
    } else if what.starts_with("divide error") {
        Kind::DivideError
    } else if what.starts_with("double fault") {
        Kind::DoubleFault
    } else if what.eq_ignore_ascii_case("kernel stack overflow") || what.contains("stack guard page") {
        Kind::StackOverflow
    } else if what.eq_ignore_ascii_case("kernel BUG")
        || before.trim_start().starts_with("Internal error") && what.contains("BUG")
    {
        Kind::KernelBug
    } else {
        Kind::Exception
    };
    // A line of a log that only has `[#1]` in it is none, nor one of which a part was lost.
    let is_code = code.len() <= 16 && crate::scan::hex(code).is_some();
    let is_named = kind != Kind::Exception || is_name(what);
    let is_bare = before.contains("Oops")
        || before.trim() == "Kernel BUG"
        || line.ends_with("]:") && before.starts_with(|c: char| c.is_ascii_uppercase());
    ((is_code || is_bare) && is_named).then_some((kind, Die { what, code }))
}

/// Whether a text can be an exception's name: words, and no address nor function among them.
fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -/,:()".contains(&byte));
    letters && text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains("0x") && text.len() <= 60
}

/// What stands before the number of an oops: `[#1]`, MIPS' `Oops[#1]:`, and `Oops: 0000 [1]` of
/// x86-64 before 2.6.24.
fn numbered(line: &str) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let of = |(before, rest): (&'_ str, &str)| {
        rest.split_once(']').is_some_and(|(n, _)| is_number(n)) && !before.is_empty()
    };
    if let Some(found) = line.split_once("[#").filter(|found| of(*found)) {
        // MIPS and LoongArch print a colon behind it, and no blank before.
        let is_mips = found.1.ends_with("]:");
        return Some(found.0.trim_end()).filter(|_| is_mips || found.0.ends_with(' '));
    }
    let found = line.split_once(" [").filter(|found| of(*found))?;
    let code = found.0.rsplit(": ").next()?;
    (crate::scan::is_hex(code, 4) && code.len() < found.0.len()).then_some(found.0)
}

/// What `die()` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Die<'a> {
    /// The exception's name.
    pub(crate) what: &'a str,
    /// The error code's digits.
    pub(crate) code: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_by_its_first_line() {
        for (line, kind) in [
            ("BUG: kernel NULL pointer dereference, address: 0000000000000028", Kind::PageFault),
            ("BUG: unable to handle kernel paging request at ffffe0f000020000", Kind::PageFault),
            ("Unable to handle kernel NULL pointer dereference at virtual address 00000138", Kind::PageFault),
            ("Oops: 0002 [#1] SMP", Kind::PageFault),
            ("Oops: Oops: 0002 [#1] PREEMPT SMP PTI", Kind::PageFault),
            ("Oops: 0000 [#1]", Kind::PageFault),
            ("general protection fault: 0000 [#1] SMP", Kind::GeneralProtection),
            (
                "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
                Kind::GeneralProtection,
            ),
            ("kernel BUG at mm/slub.c:305!", Kind::KernelBug),
            ("Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP", Kind::KernelBug),
            ("Internal error: Oops - undefined instruction: 0 [#1] PREEMPT SMP ARM", Kind::Exception),
            ("Internal error: Oops: 96000004 [#1] PREEMPT SMP", Kind::PageFault),
            ("BUG: Kernel NULL pointer dereference on read at 0x00000000", Kind::PageFault),
            ("BUG: Unable to handle kernel data access on write at 0xc00a000000000000", Kind::PageFault),
            ("Oops: Kernel access of bad area, sig: 11 [#1]", Kind::PageFault),
            ("Oops: Exception in kernel mode, sig: 5 [#1]", Kind::Exception),
            ("Oops: Kernel stack overflow, sig: 11 [#1]", Kind::StackOverflow),
            ("Oops[#1]:", Kind::PageFault),
            ("Oops [#1]", Kind::PageFault),
            ("Unhandled kernel unaligned access[#1]:", Kind::Exception),
            ("Oops: 0000 [1] SMP ", Kind::PageFault),
            ("invalid opcode: 0000 [1] SMP", Kind::Exception),
            ("Kernel BUG at fs/ext3/super.c:425", Kind::KernelBug),
            ("Kernel BUG [#1]", Kind::KernelBug),
            ("traps: PANIC: double fault, error_code: 0x0", Kind::DoubleFault),
            ("double fault: 0000 [#1] SMP NOPTI", Kind::DoubleFault),
            ("BUG: stack guard page was hit at 000000008e97aa5f (stack is 0..1)", Kind::StackOverflow),
            ("BUG: TASK stack guard page was hit at ffffc90000377ff8 (stack is 0..1)", Kind::StackOverflow),
            ("divide error: 0000 [#1] PREEMPT SMP NOPTI", Kind::DivideError),
            ("Oops: divide error: 0000 [#1] PREEMPT SMP", Kind::DivideError),
            ("invalid opcode: 0000 [#1] SMP PTI", Kind::Exception),
            ("BUG: KASAN: slab-out-of-bounds in f+0x16/0x30 [m]", Kind::Kasan),
            ("BUG: KFENCE: use-after-free read in f+0x132/0x270", Kind::Kfence),
            ("WARNING: CPU: 5 PID: 1234 at a/b.c:728 f+0x2fe/0x380 [drm]", Kind::Warning),
            ("WARNING: a/b.c:728 at f+0x2fe/0x380, CPU#3: sh/99", Kind::Warning),
            ("UBSAN: shift-out-of-bounds in a/b.c:12:3", Kind::Ubsan),
            ("WARNING: inconsistent lock state", Kind::Lock),
            ("WARNING: possible circular locking dependency detected", Kind::Lock),
            ("WARNING: suspicious RCU usage", Kind::Lock),
            ("WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected", Kind::Lock),
            ("[ INFO: possible recursive locking detected ]", Kind::Lock),
            ("[ BUG: bad unlock balance detected! ]", Kind::Lock),
            ("watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [kworker/3:1:211]", Kind::SoftLockup),
            ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 2", Kind::HardLockup),
            ("INFO: task dd:3570 blocked for more than 120 seconds.", Kind::HungTask),
            ("rcu: INFO: rcu_sched self-detected stall on CPU", Kind::RcuStall),
            ("INFO: rcu_sched detected stalls on CPUs/tasks: { 2}", Kind::RcuStall),
            ("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: a600000000020408", Kind::MachineCheck),
            ("BUG: scheduling while atomic: sh/123/0x00000002", Kind::OtherBug),
            ("BUG kmalloc-256 (Not tainted): Object already free", Kind::OtherBug),
            ("BUG box_cache (Tainted: G    B  ): Poison overwritten", Kind::OtherBug),
            (
                "relay[7827]: segfault at 1000 ip 00007fbbeed70cba sp 0 error 4 in libc-2.13.so",
                Kind::Segfault,
            ),
            (
                "traps: Isolated Web Co[8887] trap invalid opcode ip:7f605f9eea1b sp:7f error:0 in x",
                Kind::UserTrap,
            ),
            ("httpd[3119] general protection rip:2b1d53a41f20 rsp:7fff6b8a9e10 error:0", Kind::UserTrap),
            ("k8s-wait[29857] general protection fault ip:7f52053fa611 sp:7f error:0 in x", Kind::UserTrap),
            (
                "x86/split lock detection: #AC: osu!.exe/11382 took a split_lock trap at address: 0x7aa6806d",
                Kind::SplitLock,
            ),
        ] {
            assert_eq!(begin(line).map(|(kind, _)| kind), Some(kind), "{line}");
        }
    }

    #[test]
    fn other_lines_begin_nothing() {
        for line in [
            "Linux version 6.1",
            "random: crng init done",
            "WARNING: unable to find the file",
            "bug #12 [#1] was closed",
            "a list: 0000 [one] and more",
            "state: 12 [1] of 5",
            "f+0x132/0x270x24b5f6bb1a24827e: 0000 [#1] SMP NOPTI",
            "0x24b5f6bb1a2480x27e: 0000 [#1] SMP",
            "R100xdffffc0000000014: 0000 [#1] SMP",
            "CPU: 2 PID: 133 Comm: sh Tainted: G",
            "KASAN: null-ptr-deref in range [0x0000000000000018-0x000000000000001f]",
            "Call Trace:",
        ] {
            assert_eq!(begin(line), None, "{line}");
        }
    }
}
