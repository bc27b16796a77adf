//! Everything that can go wrong, with its message and its exit status in one place.
//!
//! A message names the thing, what is wrong with it, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use trapline_abi::{ABI_VERSION, DEVICE_PATH, SelfTest, WatchError};

use crate::units::Bdf;

/// What a function of the command gives.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit statuses of `trapline` itself; a traced COMMAND's own status takes the place of [`Exit::Success`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It was done. A reader that closed our output early is no failure.
    Success = 0,
    /// Tracing failed or ended early, or the trace lacks records that were dropped; what was written before is good.
    Failed = 1,
    /// The command line is wrong, or names something that is not there. clap's own status too.
    Usage = 2,
    /// This machine can't do it as it is: no root, no module, lockdown, a failed self-test, another tracer.
    Environment = 3,
    /// A file can't be read or written, or is no trace, or is one that was cut off; what can be read of that is read first.
    File = 4,
}

/// COMMAND exists but can't be run, as shells tell it.
pub(crate) const COMMAND_NOT_EXECUTABLE: u8 = 126;
/// COMMAND was not found, as shells tell it.
pub(crate) const COMMAND_NOT_FOUND: u8 = 127;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// sysfs can't be read.
    #[error("can't list the PCI devices: {0}; is sysfs mounted at /sys?")]
    PciList(#[from] trapline_trace::DeviceError),
    /// `--device` names nothing.
    #[error("there is no PCI device {bdf}; devices here that can be traced:{present}")]
    NoDevice {
        /// What was asked for.
        bdf: Bdf,
        /// What there is.
        present: String,
    },
    /// A device has I/O ports at most.
    #[error(
        "{device} has no memory BAR with an address, so there are no registers that can be traced; I/O ports can't be"
    )]
    NoMemoryBar {
        /// The device.
        device: String,
    },
    /// `--driver` names neither a loaded PCI driver nor a module for PCI devices.
    #[error(
        "there is no PCI driver `{driver}`: none is loaded by that name, and no module of kernel {release} by that name \
         drives PCI devices; did you mean one of: {near}?"
    )]
    NoDriver {
        /// What was asked for.
        driver: String,
        /// Names like it.
        near: String,
        /// The running kernel.
        release: String,
    },
    /// `--driver` names a driver with nothing to drive here.
    #[error(
        "driver {driver} is bound to no PCI device here and matches none without a driver; devices here that can be traced:{present}"
    )]
    DriverWithoutDevice {
        /// What was asked for.
        driver: String,
        /// What there is.
        present: String,
    },
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
         found it ({detail}); build and install it for this kernel, or name a built one: TRAPLINE_MODULE=PATH/trapline.ko",
        path.display()
    )]
    NoModule {
        /// The running kernel.
        release: String,
        /// Where it was looked for last.
        path: PathBuf,
        /// What modprobe said.
        detail: String,
    },
    /// The kernel refused the module.
    #[error("the kernel refused the module {}: {source}; {hint}", path.display())]
    ModuleRefused {
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
         unload the module with `rmmod trapline` and install the one that came with this command"
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
    /// The in-tree tracer is on.
    #[error(
        "the kernel's own mmiotrace is running, and both would arm the same pages; turn it off: \
         echo nop > /sys/kernel/tracing/current_tracer (end every reader of trace_pipe first, or that fails with EBUSY)"
    )]
    Mmiotrace,
    /// Another session exists.
    #[error("a trace is running already, by process {owner}{}; one can run at a time: end that one, or wait for it", .name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())]
    Busy {
        /// Its thread group id.
        owner: u32,
        /// Its command name.
        name: Option<String>,
    },
    /// `START` failed.
    #[error(
        "can't start a trace with {buffer} of buffer on each CPU: {source}; a smaller --buffer needs less memory"
    )]
    Start {
        /// The size asked for.
        buffer: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `WATCH` was refused.
    #[error("can't watch {target}: {}", watch_text(*.reason, *.failed_at, .source))]
    Watch {
        /// The range and what it is.
        target: String,
        /// Why, if the module told.
        reason: Option<WatchError>,
        /// Where.
        failed_at: u64,
        /// What the ioctl returned.
        source: io::Error,
    },
    /// A ring can't be mapped.
    #[error("can't map the trace buffer of CPU {cpu}: {source}")]
    RingMap {
        /// The ring.
        cpu: u32,
        /// Why.
        source: io::Error,
    },
    /// A ring is not what the module announced.
    #[error(transparent)]
    Ring(#[from] trapline_trace::RingError),
    /// Another command to the device failed.
    #[error("the trapline module refused to {what}: {source}")]
    Device {
        /// What was asked.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// `mark` without a session.
    #[error("no trace is running that could be marked; start one with `trapline mmio`")]
    NoSession,
    /// A marker that does not fit.
    #[error("the marker has {length} bytes; it must be one line of 1 to {limit}")]
    MarkText {
        /// Its length.
        length: usize,
        /// What fits.
        limit: usize,
    },
    /// `man` about nothing.
    #[error("trapline has no command `{name}`; it has: {commands}")]
    NoCommand {
        /// What was asked for.
        name: String,
        /// What there is.
        commands: String,
    },
    /// COMMAND can't be started.
    #[error("can't run {command}: {source}")]
    Command {
        /// Its name.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// COMMAND's status can't be had.
    #[error("can't tell how the command ended: {source}")]
    CommandLost {
        /// Why.
        source: io::Error,
    },
    /// Signals can't be caught.
    #[error("can't set up the handling of signals: {source}")]
    Signals {
        /// Why.
        source: io::Error,
    },
    /// The output file can't be made.
    #[error("can't create {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("can't write {path}: {source}; what was written before is good")]
    Write {
        /// Where to.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A trace can't be written any further.
    #[error("can't write {path}: {source}; tracing was stopped there, and {} before that are good", events_kept(*.kept, *.exact))]
    TraceEnded {
        /// Where to.
        path: String,
        /// Why.
        source: io::Error,
        /// Events that are in it for sure.
        kept: u64,
        /// Whether no others are.
        exact: bool,
    },
    /// What the command itself says can't be printed.
    #[error("can't write standard output: {source}")]
    Print {
        /// Why.
        source: io::Error,
    },
    /// Binary output to a terminal.
    #[error("{format} is binary and would garble the terminal; name a file with --output FILE")]
    BinaryToTerminal {
        /// The format.
        format: &'static str,
    },
    /// A register file is wrong.
    #[error(transparent)]
    Registers(#[from] trapline_trace::RegisterError),
    /// A trace file ends early.
    #[error("{file}: {cut}; all before that was read")]
    Cut {
        /// The file.
        file: String,
        /// Where and why.
        cut: trapline_trace::Cut,
    },
    /// A trace file is wrong.
    #[error(transparent)]
    Trace(#[from] trapline_trace::FileError),
}

impl Error {
    /// The exit status that tells of it.
    pub(crate) fn exit(&self) -> u8 {
        let exit = match self {
            Error::NoDevice { .. }
            | Error::NoMemoryBar { .. }
            | Error::NoDriver { .. }
            | Error::DriverWithoutDevice { .. }
            | Error::MarkText { .. }
            | Error::NoCommand { .. }
            | Error::BinaryToTerminal { .. } => Exit::Usage,
            Error::Watch {
                reason: Some(WatchError::BadRange | WatchError::TooLong | WatchError::Ram),
                ..
            } => Exit::Usage,
            Error::Watch { reason: Some(WatchError::SelfTest), .. } => Exit::Environment,
            Error::PciList(_)
            | Error::NotRoot { .. }
            | Error::NoModule { .. }
            | Error::ModuleRefused { .. }
            | Error::DeviceOpen { .. }
            | Error::Version { .. }
            | Error::Ring(_)
            | Error::SelfTest { .. }
            | Error::Mmiotrace
            | Error::Busy { .. }
            | Error::NoSession => Exit::Environment,
            Error::Create { .. }
            | Error::Read { .. }
            | Error::Registers(_)
            | Error::Cut { .. }
            | Error::Trace(_) => Exit::File,
            Error::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                return COMMAND_NOT_FOUND;
            }
            Error::Command { .. } => return COMMAND_NOT_EXECUTABLE,
            Error::Start { .. }
            | Error::Watch { .. }
            | Error::RingMap { .. }
            | Error::CommandLost { .. }
            | Error::Print { .. }
            | Error::Device { .. }
            | Error::Signals { .. }
            | Error::Write { .. }
            | Error::TraceEnded { .. } => Exit::Failed,
        };
        exit as u8
    }

    /// Why the kernel refused module `path`, from the errno that `finit_module(2)` gave.
    pub(crate) fn module_refused(path: &Path, errno: Errno, release: &str) -> Self {
        let hint = match errno {
            Errno::NOEXEC => format!("it was built for another kernel than the running {release}: build it for this one"),
            Errno::PERM => "the kernel is locked down, or modules are disabled (kernel.modules_disabled); \
                            sign the module with a key that the machine trusts, or boot without lockdown"
                .into(),
            Errno::KEYREJECTED | Errno::NOKEY => "it is not signed with a key that this machine trusts, and signatures are enforced; \
                            sign it (kmodsign, mokutil --import), or boot without module.sig_enforce and Secure Boot"
                .into(),
            Errno::BUSY => "something else, such as a live patch, has taken fixup_exception, on which the module must hook: \
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

fn events_kept(kept: u64, exact: bool) -> String {
    if exact { format!("{kept} events") } else { format!("at least {kept} events") }
}

fn watch_text(reason: Option<WatchError>, failed_at: u64, source: &io::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let text = |errno| Error::module_refused(path, errno, "6.1.0-56-amd64").to_string();
        assert!(text(Errno::NOEXEC).contains("another kernel than the running 6.1.0-56-amd64"));
        assert!(text(Errno::KEYREJECTED).contains("not signed"));
        assert!(text(Errno::PERM).contains("locked down"));
    }

    #[test]
    fn a_command_that_can_not_be_started_has_the_shells_status() {
        let error = |kind| Error::Command { command: "x".into(), source: io::Error::from(kind) };
        assert_eq!(error(io::ErrorKind::NotFound).exit(), 127);
        assert_eq!(error(io::ErrorKind::PermissionDenied).exit(), 126);
    }
}
