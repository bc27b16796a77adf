//! What is done with a device as a whole, in names and words.

use std::borrow::Cow;
use std::io;

use trapline_abi::{LifecycleOp, NO_POWER};

/// As files and JSON name what is done; a person reads the same with spaces.
const OPS: [(LifecycleOp, &str); LifecycleOp::COUNT as usize] = {
    use LifecycleOp as Op;
    [
        (Op::Bind, "bind"),
        (Op::Unbind, "unbind"),
        (Op::Shutdown, "shutdown"),
        (Op::Reset, "reset"),
        (Op::Power, "power"),
        (Op::PowerUp, "power_up"),
        (Op::Prepare, "prepare"),
        (Op::Complete, "complete"),
        (Op::Suspend, "suspend"),
        (Op::SuspendLate, "suspend_late"),
        (Op::SuspendNoirq, "suspend_noirq"),
        (Op::Resume, "resume"),
        (Op::ResumeEarly, "resume_early"),
        (Op::ResumeNoirq, "resume_noirq"),
        (Op::Freeze, "freeze"),
        (Op::FreezeNoirq, "freeze_noirq"),
        (Op::Thaw, "thaw"),
        (Op::ThawNoirq, "thaw_noirq"),
        (Op::Poweroff, "poweroff"),
        (Op::PoweroffLate, "poweroff_late"),
        (Op::PoweroffNoirq, "poweroff_noirq"),
        (Op::Restore, "restore"),
        (Op::RestoreNoirq, "restore_noirq"),
        (Op::RuntimeSuspend, "runtime_suspend"),
        (Op::RuntimeResume, "runtime_resume"),
        (Op::RuntimeIdle, "runtime_idle"),
        (Op::Firmware, "firmware"),
    ]
};

pub(super) fn op_name(op: LifecycleOp) -> &'static str {
    OPS.iter().find(|(known, _)| *known == op).map_or("", |(_, name)| name)
}

pub(super) fn op_from_name(name: &str) -> Option<LifecycleOp> {
    OPS.iter().find(|(_, known)| *known == name).map(|(op, _)| *op)
}

/// The same for a person.
pub(super) fn op_words(op: LifecycleOp) -> String {
    op_name(op).replace('_', " ")
}

/// Power states by their numbers (`pci_power_names`, drivers/pci/pci.c).
const POWERS: [&str; 5] = ["D0", "D1", "D2", "D3hot", "D3cold"];

/// A power state's name; `None` of none.
pub(super) fn power_name(state: u8) -> Option<&'static str> {
    match state {
        NO_POWER => None,
        state => Some(POWERS.get(usize::from(state)).copied().unwrap_or("unknown")),
    }
}

/// `EPROBE_DEFER` and `ENOTSUPP` (include/linux/errno.h), which programs never see.
const PROBE_DEFER: i32 = 517;
const NOT_SUPPORTED: i32 = 524;

/// What an error number of the kernel's says; `None` of a result that is no error.
pub(super) fn error_words(result: i32) -> Option<Cow<'static, str>> {
    let number = result.checked_neg().filter(|number| (1..=4095).contains(number))?;
    match number {
        PROBE_DEFER => return Some(Cow::Borrowed("to be tried again later")),
        NOT_SUPPORTED => return Some(Cow::Borrowed("Operation is not supported")),
        _ => {}
    }
    let text = io::Error::from_raw_os_error(number).to_string();
    Some(Cow::Owned(text.split(" (os error").next().unwrap_or(&text).to_owned()))
}

/// Whether that is an error which somebody should look at. A driver that waits for another one, and
/// a device that is still in use or may not sleep yet, are the usual case.
pub(super) fn is_failure(op: LifecycleOp, result: i32) -> bool {
    /// `EAGAIN` and `EBUSY`.
    const NOT_NOW: [i32; 2] = [-11, -16];
    let is_usual = match op {
        LifecycleOp::RuntimeIdle => true,
        LifecycleOp::RuntimeSuspend => NOT_NOW.contains(&result),
        _ => result == -PROBE_DEFER,
    };
    !is_usual && error_words(result).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        for code in 0..LifecycleOp::COUNT {
            let op = LifecycleOp::from_code(code).unwrap();
            assert_eq!(op_from_name(op_name(op)), Some(op));
        }
        assert_eq!(op_from_name(""), None);
    }

    #[test]
    fn results_and_power_states_are_told_in_words() {
        assert_eq!(error_words(-19).unwrap(), "No such device");
        assert_eq!(error_words(-517).unwrap(), "to be tried again later");
        assert_eq!(error_words(-524).unwrap(), "Operation is not supported");
        for fine in [0, 1, 16, -4096, i32::MIN, i32::MAX] {
            assert_eq!(error_words(fine), None);
        }
        assert_eq!([0, 3, 4, 5, 14].map(power_name).map(Option::unwrap), ["D0", "D3hot", "D3cold", "unknown", "unknown"]);
        assert_eq!(power_name(NO_POWER), None);
    }

    #[test]
    fn what_is_the_usual_case_is_no_failure() {
        use LifecycleOp as Op;
        for (op, result) in [(Op::Bind, -19), (Op::Resume, -16), (Op::RuntimeSuspend, -5), (Op::Firmware, -2)] {
            assert!(is_failure(op, result), "{op:?} {result}");
        }
        for (op, result) in [(Op::Bind, -517), (Op::RuntimeIdle, -16), (Op::RuntimeSuspend, -16), (Op::Bind, 1)] {
            assert!(!is_failure(op, result), "{op:?} {result}");
        }
    }
}
