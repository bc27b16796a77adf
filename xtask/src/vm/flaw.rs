//! What QEMU does wrong, for which a machine is started again.

use super::{Ended, Outcome};

/// What makes a machine one that has to be started again.
pub(super) enum Flaw {
    /// A CPU, this one, has no timer.
    DeadTimer(usize),
    /// A CPU does not come when all are stopped at once. Seen in about one of a hundred machines,
    /// when the kernel changes its clock as it boots or takes CPUs offline.
    Stuck,
    /// QEMU was ended by a signal, a segmentation fault say, before COMMAND began. Seen once in
    /// some thousand machines.
    Crashed,
    /// COMMAND had not begun after [`BOOT_LIMIT`](super::BOOT_LIMIT), and the console did not tell
    /// of a CPU that is stuck.
    NeverBooted,
    /// The kernel died of a breakpoint that nobody had put there: it patches code by way of
    /// breakpoints (text_poke_bp), and QEMU with a thread for each CPU may run what it had
    /// translated before one was taken away. Seen in one of some hundred machines as the kernel
    /// boots.
    StaleBreakpoint,
}

/// Says what QEMU did wrong, or `None` if what the machine left is to be believed.
///
/// Whatever kills a kernel before COMMAND begins is QEMU's: a stock kernel boots, and nothing of
/// Trapline is in the machine yet. After that, a breakpoint that nobody knows of is QEMU's only if
/// the machine said that no code of its kernel is probed (`patched_by_kernel`): of a machine where
/// some is, it must be believed.
pub(super) fn of_qemu(flaw: Option<&Flaw>, outcome: &Outcome, patched_by_kernel: bool) -> Option<String> {
    let has_begun = outcome.boot.is_some();
    Some(match flaw {
        Some(Flaw::DeadTimer(cpu)) => {
            format!("QEMU started the machine with a CPU, number {cpu}, whose timer is dead")
        }
        Some(Flaw::Stuck) => {
            "QEMU has lost a CPU of the machine, which is stuck while nothing of Trapline is loaded".into()
        }
        Some(Flaw::Crashed) => "QEMU itself crashed before COMMAND began".into(),
        Some(Flaw::NeverBooted) => format!(
            "the machine had not booted after {} s, with nothing of Trapline in it",
            super::BOOT_LIMIT.as_secs()
        ),
        Some(Flaw::StaleBreakpoint) if patched_by_kernel && has_begun => {
            "QEMU ran a breakpoint that the kernel had taken away from its code".into()
        }
        _ if outcome.ended == Ended::Died && !has_begun => format!(
            "the machine went down before anything of Trapline was in it ({})",
            outcome.log.reports().first().unwrap_or(&"its kernel reported nothing")
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::KernelLog;
    use super::*;

    /// A machine that died with an oops by a breakpoint, before COMMAND began or after.
    fn died(boot: Option<Duration>) -> Outcome {
        Outcome {
            ended: Ended::Died,
            stdout: Vec::new(),
            stderr: Vec::new(),
            log: KernelLog::new(b"[    2.2] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n"),
            boot,
        }
    }

    #[test]
    fn a_breakpoint_that_kills_a_booting_kernel_is_qemu_s_whatever_is_to_run_in_it() {
        for patched_by_kernel in [false, true] {
            let said = of_qemu(Some(&Flaw::StaleBreakpoint), &died(None), patched_by_kernel);
            assert!(said.is_some_and(|said| said.contains("[    2.2] Oops: int3")));
        }
    }

    #[test]
    fn a_breakpoint_that_kills_a_kernel_whose_code_is_probed_is_believed() {
        let later = died(Some(Duration::from_secs(2)));
        assert!(of_qemu(Some(&Flaw::StaleBreakpoint), &later, false).is_none());
        assert!(of_qemu(Some(&Flaw::StaleBreakpoint), &later, true).is_some());
        assert!(of_qemu(None, &later, true).is_none());
    }
}
