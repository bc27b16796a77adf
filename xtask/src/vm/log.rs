//! The guest's kernel log, and whether it holds anything that a good run does not.

/// What the kernel prints at the start of a report about itself. Sources: the kernel's lib/bug.c,
/// kernel/panic.c, arch/x86/kernel/dumpstack.c, mm/page_alloc.c, kernel/watchdog.c,
/// kernel/rcu/tree_stall.h, kernel/hung_task.c.
const REPORTS: &[&str] = &[
    "WARNING: ",
    "BUG: ",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "unchecked MSR access",
    "Unpatched return thunk",
    "Bad page state",
    "INFO: rcu_",
    "INFO: task ",
    "rcu: INFO:",
    "soft lockup",
    "Call Trace:",
];

/// What begins like a report and is none: a CPU that the machine is made to have lacks the
/// microcode for a mitigation, and the kernel says where to read of that
/// (arch/x86/kernel/cpu/bugs.c).
const NO_REPORTS: &[&str] = &["Speculative Return Stack Overflow: WARNING: See https://kernel.org/doc/"];

/// A kernel log in raw form: `<level>[time] text` lines, as `dmesg -r` prints them.
#[derive(Clone, Debug, Default)]
pub struct KernelLog {
    text: String,
}

impl KernelLog {
    /// Takes a log as `dmesg -r` or the console printed it.
    pub fn new(raw: &[u8]) -> Self {
        Self { text: String::from_utf8_lossy(raw).into_owned() }
    }

    /// The log without the level marks.
    pub fn text(&self) -> String {
        self.lines().collect::<Vec<_>>().join("\n")
    }

    /// Whether nothing was logged, or nothing arrived.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The lines in which the kernel reports a fault in itself.
    pub fn reports(&self) -> Vec<&str> {
        let holds = |line: &str, texts: &[&str]| texts.iter().any(|text| line.contains(text));
        self.lines().filter(|line| holds(line, REPORTS) && !holds(line, NO_REPORTS)).collect()
    }

    /// Whether the kernel is stuck in stopping all its CPUs at once (kernel/stop_machine.c), with
    /// no module of ours loaded, now or last: one of QEMU's CPUs never came. Nothing that goes on
    /// in such a machine can be trusted, and nothing of Trapline has brought it about.
    pub(super) fn is_stuck_without_us(&self) -> bool {
        let mut modules = None;
        for line in self.lines() {
            if line.contains("BUG: soft lockup") {
                modules = None;
            } else if let Some((_, loaded)) = line.split_once("Modules linked in:") {
                // What was unloaded last, in brackets, counts as well.
                modules = Some(loaded);
            } else if line.contains("Stopper: multi_cpu_stop") {
                return modules.is_some_and(|loaded| !loaded.contains("trapline"));
            }
        }
        false
    }

    /// Whether the kernel's first report of an oops is of a breakpoint that nobody knows of
    /// (arch/x86/kernel/traps.c, do_int3).
    pub(super) fn died_of_a_breakpoint(&self) -> bool {
        let first = self.lines().find(|line| line.contains(" [#1] "));
        first.is_some_and(|line| line.contains("int3: 0000"))
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((level, text)) if level.bytes().all(|byte| byte.is_ascii_digit()) => text,
            _ => line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_stuck_with_our_module_is_not_one_that_is_stuck_without() {
        let stuck = |modules: &str| {
            let log = format!(
                "[  40.1] Linux\n[  66.6] watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [migration/3:30]\n\
                 [  66.6] Modules linked in: {modules}\n[  66.6] CPU: 3 PID: 30 Comm: migration/3\n\
                 [  66.6] Stopper: multi_cpu_stop+0x0/0x120 <- stop_machine_cpuslocked+0x16c/0x1b0\n"
            );
            KernelLog::new(log.as_bytes()).is_stuck_without_us()
        };
        assert!(stuck("virtio_console") && stuck(" [last unloaded: nvme]"));
        assert!(!stuck("trapline(O) virtio_console") && !stuck("trapline_forms(O)"));
        assert!(!stuck(" [last unloaded: trapline(O)]"));
        let other =
            "[ 66.6] watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [sh:30]\n[ 66.6] Modules linked in:\n";
        assert!(!KernelLog::new(other.as_bytes()).is_stuck_without_us());
    }

    #[test]
    fn an_oops_by_a_breakpoint_is_told_from_others_and_from_one_that_it_followed() {
        let died = |log: &str| KernelLog::new(log.as_bytes()).died_of_a_breakpoint();
        assert!(died("[   11.5] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n"));
        assert!(died("[   11.5] int3: 0000 [#1] PREEMPT SMP NOPTI\n"));
        assert!(!died("[   11.5] Oops: 0002 [#1] PREEMPT SMP\n[   11.6] int3: 0000 [#2] PREEMPT SMP\n"));
        assert!(!died("[   11.5] all is well\n"));
    }

    #[test]
    fn a_report_is_found_and_an_ordinary_line_is_not() {
        let log = KernelLog::new(
            b"<6>[    0.1] Linux version 6.1\n<4>[    2.0] WARNING: CPU: 1 PID: 9 at mm/x.c:1\n<12>[    3.0] ok\n\
              <4>[    0.2] Speculative Return Stack Overflow: WARNING: See https://kernel.org/doc/html for more\n",
        );
        assert_eq!(log.reports(), ["[    2.0] WARNING: CPU: 1 PID: 9 at mm/x.c:1"]);
        assert!(log.text().starts_with("[    0.1] Linux"));
    }
}
