//! Why there is no module to work with, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use trapline_abi::{ABI_VERSION, DEVICE_PATH, SelfTest};

use crate::system::System;

/// Why the module can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// The user is not root.
    #[error("can't {what} as user {uid}: tracing a device takes root (CAP_SYS_ADMIN); run: sudo {command}")]
    NotRoot {
        /// What needs it.
        what: &'static str,
        /// Who we are.
        uid: u32,
        /// The command line, ready to be run again.
        command: String,
    },
    /// No module is loaded, and none is there to be loaded.
    #[error(
        "the trapline kernel module is not loaded and kernel {release} has none: neither `modprobe trapline` nor {} \
         found it ({detail}); run: sudo trapline module build, or name a built one: TRAPLINE_MODULE=PATH/trapline.ko",
        path.display()
    )]
    Missing {
        /// The running kernel.
        release: String,
        /// Where it was looked for last.
        path: PathBuf,
        /// What modprobe said.
        detail: String,
    },
    /// The kernel refused the module.
    #[error("the kernel refused the module {}: {source}; {hint}", path.display())]
    Refused {
        /// The module file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// What that means and what to do.
        hint: String,
    },
    /// The module is loaded but its device can't be opened.
    #[error("the trapline module is loaded, but {DEVICE_PATH} can't be opened: {source}")]
    DeviceOpen {
        /// Why.
        source: io::Error,
    },
    /// The loaded module is of another version.
    #[error(
        "the loaded trapline module speaks version {module} and this command version {ABI_VERSION}: they must be the same; \
         run: rmmod trapline; then install the module that came with this command, or build it: trapline module build"
    )]
    Version {
        /// The module's version; 0 if it could not even tell.
        module: u32,
    },
    /// The module can't be trusted to catch faults.
    #[error("the trapline module failed its self-test at load ({}), so nothing may be traced; see `dmesg` and `trapline doctor`", self_test_text(*.outcome))]
    SelfTest {
        /// [`SelfTest`] code.
        outcome: u32,
    },
    /// A command to the device failed for a reason of its own.
    #[error("the trapline module refused to {what}: {source}")]
    Command {
        /// What was asked.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ModuleError {
    /// Why the kernel refused module `path`, from the errno that `finit_module(2)` gave.
    pub(super) fn refused(path: &Path, errno: Errno, system: &System) -> Self {
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
        Self::Refused { path: path.into(), source: errno.into(), hint }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::with;

    #[test]
    fn a_module_of_another_kernel_is_told_from_an_unsigned_one() {
        let path = Path::new("trapline.ko");
        let (_root, system) = with(&[]);
        let text = |errno| ModuleError::refused(path, errno, &system).to_string();
        assert!(text(Errno::NOEXEC).contains("another kernel than the running 6.1.0-test"));
        assert!(text(Errno::KEYREJECTED).contains("not signed"));
        assert!(text(Errno::PERM).contains("locked down"));
    }

    #[test]
    fn a_module_that_found_ftrace_off_is_told_apart_from_one_that_found_its_hook_taken() {
        let text = |ftrace| {
            let (_root, system) = with(&[("proc/sys/kernel/ftrace_enabled", ftrace)]);
            ModuleError::refused(Path::new("trapline.ko"), Errno::BUSY, &system).to_string()
        };
        assert!(text("0").ends_with("run: sysctl kernel.ftrace_enabled=1"), "{}", text("0"));
        assert!(text("1").contains("live patch"), "{}", text("1"));
    }
}
