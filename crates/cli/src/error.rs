//! Everything that can go wrong, with its message. Exit statuses are beside it, and what the kernel's refusals mean.
//!
//! A message names the thing, what is wrong with it, and what to do.

mod exit;
mod refusal;

use std::io;
use std::path::PathBuf;

use trapline_abi::{ABI_VERSION, DEVICE_PATH, GateError, ProbeError, WatchError};

use crate::probe::{FetchError, SpecError};
use crate::units::Bdf;
pub(crate) use exit::Exit;
pub(crate) use refusal::self_test_text;
use refusal::{gate_text, probe_text, watch_text};

/// What a function of the command gives.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

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
    /// Another session of page faults exists.
    #[error(
        "page faults are watched already, by another `trapline faults`; one can run at a time: end that one, or wait for it"
    )]
    FaultsTaken,
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
    /// The page-fault gate can't be had.
    #[error("can't put in a page-fault gate: {}", gate_text(*reason))]
    Gate {
        /// Why.
        reason: GateError,
    },
    /// `FAULTS` was refused.
    #[error(
        "can't watch page faults: {source}; `dmesg` tells why: does this kernel have the tracepoints exceptions:page_fault_user and page_fault_kernel?"
    )]
    Faults {
        /// What the kernel said.
        source: io::Error,
    },
    /// `explain` found nothing to explain.
    #[error(
        "standard input holds no oops: no line of a page fault (`BUG: unable to handle …`, `#PF: …`), a general protection fault or a `segfault at` was found; \
         give an error code instead: trapline explain CODE [ADDRESS]"
    )]
    NoOops,
    /// `explain` lacked something.
    #[error("the oops is cut off or incomplete: it lacks {missing}; what there is was explained")]
    OopsCut {
        /// What.
        missing: String,
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
    /// What to fetch can't be understood, or can't be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There is nothing to probe.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Addresses of functions can't be seen even by root.
    #[error(
        "the kernel hides the addresses of its functions (/proc/kallsyms); show them: sysctl kernel.kptr_restrict=1"
    )]
    HiddenSymbols,
    /// A return of something that does not return.
    #[error("`{name}` is inside of a function: --return needs the function itself, SYMBOL without an offset")]
    ReturnInside {
        /// The place.
        name: String,
    },
    /// `--args` where they are not known.
    #[error("the parameters of `{name}` are not known: {why}")]
    NoParameters {
        /// The place.
        name: String,
        /// Why.
        why: String,
    },
    /// `--pid` of nobody.
    #[error("there is no process {process}")]
    NoProcess {
        /// What was asked for.
        process: u32,
    },
    /// `--cpu` of a machine that has fewer.
    #[error("there is no CPU {cpu}: this machine has {possible}")]
    NoCpu {
        /// What was asked for.
        cpu: u32,
        /// What there is.
        possible: String,
    },
    /// `PROBE` was refused.
    #[error("can't probe {name} ({address:#x}): {}", probe_text(*.reason, .nearby, .source))]
    Probe {
        /// The place.
        name: String,
        /// Its address.
        address: u64,
        /// Why, if the module told.
        reason: Option<ProbeError>,
        /// Where instructions begin near it, if that is known.
        nearby: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// mmiotrace's format for something else.
    #[error("mmiotrace's format knows accesses to device registers only; use --format human, json or arrow")]
    OnlyAccesses,
    /// A trace converted onto itself.
    #[error("{file} is the trace itself: writing to it would destroy it; name another file with --output")]
    OntoItself {
        /// The trace.
        file: String,
    },
    /// A picture of a trace that has none.
    #[error("{file} has no page faults to draw: --svg is for traces of `trapline faults`")]
    NoPicture {
        /// The trace.
        file: String,
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

fn events_kept(kept: u64, exact: bool) -> String {
    if exact { format!("{kept} events") } else { format!("at least {kept} events") }
}
