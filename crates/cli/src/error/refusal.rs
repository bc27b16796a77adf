//! What it means when the kernel or the module refuses, and what to do about it.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use trapline_abi::{GateError, ProbeError, SelfTest, WatchError};

use super::Error;
use crate::system::System;

impl Error {
    /// Why the kernel refused module `path`, from the errno that `finit_module(2)` gave.
    pub(crate) fn module_refused(path: &Path, errno: Errno, system: &System) -> Self {
        let release = system.release();
        let hint = match errno {
            Errno::NOEXEC => format!("it is no kernel module, or was built for another kernel than the running {release}: build it for this one"),
            Errno::PERM => "the kernel is locked down, or modules are disabled (kernel.modules_disabled); \
                            sign the module with a key that the machine trusts, or boot without lockdown"
                .into(),
            Errno::KEYREJECTED | Errno::NOKEY => "it is not signed with a key that this machine trusts, and signatures are enforced; \
                            sign it (kmodsign, mokutil --import), or boot without module.sig_enforce and Secure Boot"
                .into(),
            Errno::BUSY if system.read("proc/sys/kernel/ftrace_enabled").is_ok_and(|value| value == "0") => {
                "kernel.ftrace_enabled is 0, and the module hooks by ftrace; run: sysctl kernel.ftrace_enabled=1".into()
            }
            Errno::BUSY => "something else, such as a live patch, has taken a function that the module must hook: \
                            see `trapline doctor`"
                .into(),
            _ => "`dmesg` tells more".into(),
        };
        Error::ModuleRefused { path: path.into(), source: errno.into(), hint }
    }
}

/// What a [`SelfTest`] code means.
pub(crate) fn self_test_text(outcome: u32) -> String {
    match outcome {
        o if o == SelfTest::NotRun as u32 => "it has not run yet".into(),
        o if o == SelfTest::Passed as u32 => "passed".into(),
        o if o == SelfTest::NoFault as u32 => "a fault on its own page did not reach it".into(),
        o if o == SelfTest::WrongValue as u32 => "a fault reached it, but the value was wrong".into(),
        other => format!("unknown outcome {other}"),
    }
}

/// Why a range can't be watched: the module's reason at `failed_at`, or only what the system call gave.
pub(super) fn watch_text(reason: Option<WatchError>, failed_at: u64, source: &io::Error) -> String {
    match reason {
        Some(WatchError::BadRange) => {
            "the range has length 0 or wraps around the end of the address space".into()
        }
        Some(WatchError::Ram) => format!(
            "there is system memory at {failed_at:#x}; only device memory can be watched (`/proc/iomem` tells which is which)"
        ),
        Some(WatchError::HugePage) => format!(
            "a mapping of it uses a page larger than 2 MiB at {failed_at:#x}; watch a range outside that page, \
             or boot with `nohugeiomap`"
        ),
        Some(WatchError::NoMemory) => {
            "there is not enough kernel memory for its tables; watch a smaller range".into()
        }
        Some(WatchError::SelfTest) => {
            "the module failed its self-test at load; see `dmesg` and `trapline doctor`".into()
        }
        Some(WatchError::TooLong) => {
            "it is longer than 1 GiB; watch the part that holds the registers: --range PHYS+LEN".into()
        }
        Some(WatchError::Alias) => format!(
            "no second mapping with the same cache attributes could be made at {failed_at:#x}; see `dmesg`, and watch less of it"
        ),
        None => format!("{source}"),
    }
}

/// Why an instruction can't be probed: the module's reason, with `nearby` instructions, or only what the system call gave.
pub(super) fn probe_text(reason: Option<ProbeError>, nearby: &str, source: &io::Error) -> String {
    match reason {
        Some(ProbeError::NotProbeable) => "the kernel allows no probe there: it is no code, or code that the handling of probes itself needs (probe a caller of it), \
             or a place that the kernel patches itself: a jump label, a static call, an alternative (probe an instruction beside it)"
            .into(),
        Some(ProbeError::InsideInstruction) => format!("it is inside of an instruction{nearby}; or a debugger has a breakpoint in the function before it"),
        Some(ProbeError::Own) => "it runs while a probe is served: it is in Trapline's own module, or is what that hooks \
             (fixup_exception, page_fault_oops)"
            .into(),
        Some(ProbeError::Taken) => {
            "somebody else has it in a way that can't be shared: a live patch, or a tracer that redirects it; end that first".into()
        }
        Some(ProbeError::NoMemory) => "there is not enough kernel memory for another probe".into(),
        Some(ProbeError::NotAFunction) => "--return needs the first instruction of a function, of one whose returns the kernel allows to be followed".into(),
        Some(ProbeError::Program | ProbeError::Flags) => {
            format!("the module did not take what this command made of the arguments ({source}): are they of one version?")
        }
        Some(ProbeError::Other) | None => format!("{source}"),
    }
}

/// Why this machine can have no page-fault gate of ours, and what to use instead.
pub(super) fn gate_text(reason: GateError) -> &'static str {
    match reason {
        GateError::PageTableIsolation => {
            "page-table isolation is on, so a table of interrupts of our own is not mapped in user mode; use --gate hook, or boot with pti=off if the machine may go without"
        }
        GateError::Fred => {
            "this CPU delivers exceptions by FRED, without a table of interrupts; use --gate hook, or boot with fred=off"
        }
        GateError::Entry => {
            "this CPU's entry into the kernel needs what ours does not do: it guards against predictions of returns (retbleed, SRSO), or has no WRGSBASE; use --gate hook"
        }
        GateError::ForeignTable => {
            "a CPU has a table of interrupts that is not the kernel's: somebody else has put it in (`dmesg` tells where it is); remove that, or use --gate hook"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::with;

    #[test]
    fn a_refused_watch_names_the_range_the_reason_and_a_way_out() {
        let error = Error::Watch {
            target: "0x1000+0x1000".into(),
            reason: Some(WatchError::Ram),
            failed_at: 0x1000,
            source: Errno::PERM.into(),
        };
        assert_eq!(
            error.to_string(),
            "can't watch 0x1000+0x1000: there is system memory at 0x1000; only device memory can be watched \
             (`/proc/iomem` tells which is which)"
        );
        assert_eq!(error.exit(), 2);
    }

    #[test]
    fn a_second_trace_is_told_who_has_the_first() {
        let error = Error::Busy { owner: 812, name: Some("trapline".into()) };
        assert!(error.to_string().contains("by process 812 (trapline);"), "{error}");
        assert_eq!(error.exit(), 3);
    }

    #[test]
    fn a_module_of_another_kernel_is_told_from_an_unsigned_one() {
        let path = Path::new("trapline.ko");
        let (_root, system) = with(&[]);
        let text = |errno| Error::module_refused(path, errno, &system).to_string();
        assert!(text(Errno::NOEXEC).contains("another kernel than the running 6.1.0-test"));
        assert!(text(Errno::KEYREJECTED).contains("not signed"));
        assert!(text(Errno::PERM).contains("locked down"));
    }

    #[test]
    fn a_module_that_found_ftrace_off_is_told_apart_from_one_that_found_its_hook_taken() {
        let text = |ftrace| {
            let (_root, system) = with(&[("proc/sys/kernel/ftrace_enabled", ftrace)]);
            Error::module_refused(Path::new("trapline.ko"), Errno::BUSY, &system).to_string()
        };
        assert!(text("0").ends_with("run: sysctl kernel.ftrace_enabled=1"), "{}", text("0"));
        assert!(text("1").contains("live patch"), "{}", text("1"));
    }
}
