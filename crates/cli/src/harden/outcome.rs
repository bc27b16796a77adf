//! What came of an experiment, and which of it is a finding.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trapline_explain::{Kind, Report, Reports};

/// The worst that happened, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Trouble {
    /// `trapline inject` refused the rules.
    Refused,
    /// No lie was told: there was no such access.
    Untold,
    /// Nothing.
    #[default]
    Fine,
    /// The driver did not bind or COMMAND failed, and all works again afterwards: it noticed.
    Failed,
    /// COMMAND ran past its time, and could be ended.
    Late,
    /// The kernel warned.
    Warning,
    /// The device does not work any more, though its driver was bound anew.
    Broken,
    /// A task that could not be ended as long as the device lied.
    Stuck,
    /// A task that the kernel found hung.
    Hung,
    /// A CPU that the kernel found locked up, or stalled.
    Lockup,
    /// The kernel oopsed.
    Oops,
    /// The machine went down, and nothing of it says why.
    Died,
}

impl Trouble {
    /// Whether a driver should not do so, whatever its device says.
    pub(crate) fn is_finding(self) -> bool {
        self >= Self::Late
    }

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Untold => "-",
            Self::Fine => "fine",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Warning => "warning",
            Self::Broken => "broken",
            Self::Stuck => "stuck",
            Self::Hung => "hung",
            Self::Lockup => "lockup",
            Self::Oops => "oops",
            Self::Died => "died",
        }
    }

    /// What a report of the kernel amounts to; `None` of a program's own.
    fn of(report: &Report) -> Option<Self> {
        Some(match report.kind {
            Kind::SoftLockup | Kind::HardLockup | Kind::RcuStall => Self::Lockup,
            Kind::HungTask => Self::Hung,
            Kind::Kasan | Kind::Kfence => Self::Oops,
            kind if kind <= Kind::Panic => Self::Oops,
            kind if kind <= Kind::Headless => Self::Warning,
            _ => return None,
        })
    }
}

/// What came of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The worst.
    pub trouble: Trouble,
    /// What was under way when it ended: `bind`, `command`, `unbind`; empty if all was done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub during: String,
    /// COMMAND's status, if it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// Lies that were told, as far as the trace has them.
    pub lies: u64,
    /// The function of the driver in which it happened, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// What the kernel wrote to its log that reports something.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// What was said of rules that were refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// Whether the machine has to be started anew before anything else is tried.
    pub restart: bool,
    /// Milliseconds.
    pub took: u64,
}

impl Outcome {
    /// How long it took.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_millis(self.took)
    }
}

/// What was seen of an experiment, to be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Lies told.
    pub lies: u64,
    /// Whether the trace has all of them.
    pub complete: bool,
    /// COMMAND's status, if it ended by itself.
    pub status: Option<i32>,
    /// What was under way at the end.
    pub during: String,
    /// Whether it ran past its time.
    pub late: bool,
    /// Whether it could not be ended while the device lied.
    pub stuck: bool,
    /// Whether it could not be ended after that either.
    pub remains: bool,
    /// Whether the device works afterwards; `None` if that could not be tried.
    pub works: Option<bool>,
    /// Whether the kernel's taint flags say that it has oopsed meanwhile.
    pub oopsed: bool,
    /// What the kernel wrote meanwhile.
    pub log: String,
    /// The function that the last lie was told to.
    pub last: Option<String>,
}

/// The report of the kernel that matters most: the worst, of those the first.
fn worst(reports: &Reports) -> Option<(Trouble, &Report)> {
    let mut worst: Option<(Trouble, &Report)> = None;
    for report in &reports.kernel {
        let Some(trouble) = Trouble::of(report) else { continue };
        if worst.is_none_or(|(known, _)| trouble > known) {
            worst = Some((trouble, report));
        }
    }
    worst
}

/// The function of `module` that a report is about: where it happened, or who called that.
fn function_of(report: &Report, module: &str) -> Option<String> {
    let is_in = |text: &str| text.ends_with(&format!("[{module}]"));
    let places = report
        .instruction
        .iter()
        .map(String::as_str)
        .chain(report.calls.iter().filter(|call| call.sure).map(|call| call.text.as_str()));
    let place = places.clone().find(|text| is_in(text))?;
    Some(place.split(['+', ' ']).next()?.to_owned())
}

/// What `seen` amounts to, for a driver that is in `module`.
pub(crate) fn judge(seen: Seen, module: &str, took: Duration) -> Outcome {
    let reports = trapline_explain::read(&seen.log);
    let reported = worst(&reports);
    let mut trouble = Trouble::Fine;
    let mut at_least = |other: Trouble| trouble = trouble.max(other);
    if seen.status != Some(0) || !seen.during.is_empty() {
        at_least(Trouble::Failed);
    }
    if seen.late {
        at_least(Trouble::Late);
    }
    if seen.works != Some(true) {
        at_least(Trouble::Broken);
    }
    if seen.stuck {
        at_least(Trouble::Stuck);
    }
    if let Some((reported, _)) = reported {
        at_least(reported);
    }
    if seen.oopsed {
        at_least(Trouble::Oops);
    }
    // Nobody was lied to: whatever came of it, it came without.
    let nothing_by_lies = if seen.complete { Trouble::Broken } else { Trouble::Failed };
    if seen.lies == 0 && trouble <= nothing_by_lies {
        trouble = Trouble::Untold;
    }
    let function = reported.and_then(|(_, report)| function_of(report, module));
    Outcome {
        trouble,
        restart: seen.remains || seen.works != Some(true) || trouble >= Trouble::Oops,
        function: function.or(seen.last).filter(|_| trouble.is_finding()),
        log: if reported.is_some() { seen.log } else { String::new() },
        during: seen.during,
        status: seen.status,
        lies: seen.lies,
        said: String::new(),
        took: took.as_millis() as u64,
    }
}

/// Whether `log` reports something of the kernel.
pub(crate) fn is_reported(log: &str) -> bool {
    worst(&trapline_explain::read(log)).is_some()
}

/// What an experiment amounts to whose rules were refused, and what was `said` then.
pub(crate) fn refused(said: String, took: Duration) -> Outcome {
    Outcome { trouble: Trouble::Refused, said, took: took.as_millis() as u64, ..Outcome::default() }
}

/// What an experiment amounts to that the kernel did not outlive. `log` is what it wrote last, if
/// that is known.
pub(crate) fn died(log: &str, module: &str, took: Duration) -> Outcome {
    let reports = trapline_explain::read(log);
    let reported = worst(&reports);
    Outcome {
        trouble: Trouble::Died,
        function: reported.and_then(|(_, report)| function_of(report, module)),
        log: if reported.is_some() { log.to_owned() } else { String::new() },
        took: took.as_millis() as u64,
        ..Outcome::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OOPS: &str = "\
[  9.1] BUG: unable to handle page fault for address: ffffc90000201000
[  9.1] #PF: supervisor write access in kernel mode
[  9.1] Oops: 0002 [#1] PREEMPT SMP NOPTI
[  9.1] CPU: 0 PID: 99 Comm: cat Tainted: G           O       6.1.0-1-amd64 #1
[  9.1] RIP: 0010:memset_orig+0x72/0xb0
[  9.1] Call Trace:
[  9.1]  <TASK>
[  9.1]  unit_clear+0x25/0x40 [flaws]
[  9.1]  unit_read+0x9a/0x120 [flaws]
[  9.1]  </TASK>
[  9.1] ---[ end trace 0000000000000000 ]---
";

    fn seen() -> Seen {
        Seen { lies: 3, status: Some(0), works: Some(true), ..Seen::default() }
    }

    fn trouble(seen: Seen) -> (Trouble, bool) {
        let outcome = judge(seen, "flaws", Duration::ZERO);
        (outcome.trouble, outcome.restart)
    }

    #[test]
    fn a_driver_that_notices_is_no_finding_and_one_that_does_not_work_again_is() {
        assert_eq!(trouble(seen()), (Trouble::Fine, false));
        assert_eq!(trouble(Seen { status: Some(1), ..seen() }), (Trouble::Failed, false));
        assert_eq!(trouble(Seen { during: "bind".into(), ..seen() }), (Trouble::Failed, false));
        assert_eq!(trouble(Seen { lies: 0, ..seen() }), (Trouble::Untold, false));
        assert!(!refused(String::new(), Duration::ZERO).trouble.is_finding());
        assert_eq!(trouble(Seen { status: None, late: true, ..seen() }), (Trouble::Late, false));
        assert_eq!(trouble(Seen { late: true, stuck: true, ..seen() }), (Trouble::Stuck, false));
        assert_eq!(trouble(Seen { works: Some(false), ..seen() }), (Trouble::Broken, true));
        assert_eq!(
            trouble(Seen { works: None, stuck: true, remains: true, ..seen() }),
            (Trouble::Stuck, true)
        );
        assert!(!Trouble::Failed.is_finding() && Trouble::Late.is_finding());
    }

    #[test]
    fn what_happens_without_any_lie_is_none_of_their_findings() {
        let untold = Seen { lies: 0, complete: true, ..seen() };
        assert_eq!(trouble(Seen { late: true, ..untold.clone() }), (Trouble::Untold, false));
        assert_eq!(trouble(Seen { works: Some(false), ..untold.clone() }), (Trouble::Untold, true));
        let log = "[  1.0] WARNING: CPU: 1 PID: 9 at mm/x.c:1 other+0x1/0x2\n".to_owned();
        assert_eq!(trouble(Seen { log, ..untold.clone() }), (Trouble::Untold, false));
        // Where the trace lacks its end, lies may be in what it lacks.
        let cut = Seen { complete: false, ..untold.clone() };
        assert_eq!(trouble(Seen { late: true, ..cut }), (Trouble::Late, false));
        assert_eq!(trouble(Seen { log: OOPS.into(), ..untold }), (Trouble::Oops, true));
    }

    #[test]
    fn an_oops_that_only_the_taint_flags_tell_is_one() {
        assert_eq!(trouble(Seen { oopsed: true, ..seen() }), (Trouble::Oops, true));
    }

    #[test]
    fn the_kernels_words_count_and_name_the_drivers_own_function() {
        let outcome = judge(Seen { log: OOPS.into(), status: Some(137), ..seen() }, "flaws", Duration::ZERO);
        assert_eq!((outcome.trouble, outcome.restart), (Trouble::Oops, true));
        assert_eq!(outcome.function.as_deref(), Some("unit_clear"));
        let warned =
            "[  1.0] WARNING: CPU: 1 PID: 9 at mm/x.c:1 other+0x1/0x2\n[  1.0] RIP: 0010:other+0x1/0x2\n";
        let last = Some("unit_wait".to_owned());
        let outcome = judge(Seen { log: warned.into(), last, ..seen() }, "flaws", Duration::ZERO);
        assert_eq!((outcome.trouble, outcome.function.as_deref()), (Trouble::Warning, Some("unit_wait")));
        // A program's own fault is none of the driver's.
        let segfault =
            "[  1.0] cat[12]: segfault at 0 ip 0000000000000001 sp 0000000000000002 error 4 in cat\n";
        assert_eq!(trouble(Seen { log: segfault.into(), ..seen() }), (Trouble::Fine, false));
    }

    #[test]
    fn a_kernel_that_died_is_a_finding_with_or_without_its_words() {
        assert_eq!(died("", "flaws", Duration::ZERO).trouble, Trouble::Died);
        assert_eq!(died(OOPS, "flaws", Duration::ZERO).function.as_deref(), Some("unit_clear"));
    }
}
