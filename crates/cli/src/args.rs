//! The command line, from which `--help`, the man page and the shell completions are made.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use trapline_abi::MAX_ACTIVE;
use trapline_trace::fault::Cause;

use crate::explain::{Code, parse_address, parse_code};
use crate::units::{AddressRange, Bdf, PhysicalRange, parse_duration, parse_size};

/// Trace every access to the registers of a device on a running Linux system
///
/// Trapline shows each access that a driver makes to its device's registers: when, on which CPU, by which task and function, which
/// register, read or write, how wide, which value. All CPUs stay online, and the driver may be bound already.
#[derive(Debug, Parser)]
#[command(
    name = "trapline",
    version,
    propagate_version = true,
    infer_long_args = false,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "`--help` tells more, with examples and the exit status.",
    after_long_help = AFTER_HELP
)]
pub(crate) struct Cli {
    /// When to use colours
    #[arg(long, value_enum, default_value_t, global = true, value_name = "WHEN")]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  sudo trapline mmio --driver e1000e -- modprobe e1000e
  sudo trapline mmio --device 00:03.0 --duration 10s --output nvme.trace
  sudo trapline probe do_sys_openat2 filename
  trapline report nvme.trace

Exit status:
  0  done; a reader that closed our output early is no failure, nor is Ctrl-C
  1  tracing failed or ended early, or the trace lacks something; what was written before is good
  2  the command line is wrong, or names something that is not there
  3  this machine can't do it as it is: no root, no module, lockdown, another tracer, …
  4  a file can't be read or written, or is no trace; one that is cut off is read as far as it goes
  With `… -- COMMAND`, COMMAND's own status if it is not 0: 128+N if signal N ended it, 127 if
  it was not found, 126 if it can't be run.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Mmio(Mmio),
    Probe(Probe),
    Report(Report),
    Convert(Convert),
    Explain(Explain),
    Faults(Faults),
    /// List every probe of every kind, with its owner, what it counted, and how the kernel runs it
    ///
    /// `pre-faults` and `post-faults` are handlers that were abandoned before and after the instruction (of a return probe, at entry and return), `fetch-faults` arguments
    /// that could not be fetched, `fixed` faults that the probe's own fault handler resolved.
    List,
    /// Tell the state of the kernel module: hook, self-test, session, probes, memory, counters
    Status,
    /// Check whether this machine can trace, what conflicts, and what to do about each
    ///
    /// Exit status 3 if there is a problem that prevents tracing.
    Doctor,
    /// Put a marker into the trace that is running
    Mark {
        /// The marker's text: one line, at most 120 bytes
        text: String,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a man page, in troff: `trapline man mmio | man -l -`
    Man {
        /// The command that it is about; trapline as a whole if not given
        #[arg(value_name = "COMMAND")]
        about: Option<String>,
    },
}

/// Trace accesses to device registers until Ctrl-C, until --duration is over, or while COMMAND runs
///
/// The kernel module is loaded if needed and stays loaded. A device's BARs are watched where they are mapped already and wherever they
/// come to be mapped, so a driver may be bound before or may bind while the trace runs.
#[derive(Debug, Args)]
#[command(
    override_usage = "trapline mmio [OPTIONS] <--device <BDF>|--driver <NAME>|--range <PHYS+LEN>>... [-- <COMMAND>...]",
    after_long_help = MMIO_HELP,
    group = ArgGroup::new("what").required(true).multiple(true).args(["devices", "drivers", "ranges"])
)]
pub(crate) struct Mmio {
    /// Trace the memory BARs of the PCI device at BDF, as in 0000:00:03.0 or 00:03.0 (may be repeated)
    #[arg(long = "device", value_name = "BDF")]
    pub devices: Vec<Bdf>,
    /// Trace the PCI devices bound to driver NAME, and those without a driver that it matches (may be repeated)
    #[arg(long = "driver", value_name = "NAME")]
    pub drivers: Vec<String>,
    /// Trace LEN bytes from physical address PHYS, as in 0xfebc0000+128K (may be repeated)
    #[arg(long = "range", value_name = "PHYS+LEN")]
    pub ranges: Vec<PhysicalRange>,
    /// Record reads only, unless --writes is given too
    #[arg(long)]
    pub reads: bool,
    /// Record writes only, unless --reads is given too
    #[arg(long)]
    pub writes: bool,
    /// Name registers as FILE says, before the files that Trapline comes with (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub registers: Vec<PathBuf>,
    /// How to trace.
    #[command(flatten)]
    pub trace: Trace,
}

/// What all commands that trace can be told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Trace {
    /// Write the trace to FILE instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to write: human on standard output and arrow to a file if not given
    #[arg(long, short, value_enum)]
    pub format: Option<Format>,
    /// Memory for records that are not read yet, on each CPU
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_buffer)]
    pub buffer: u64,
    /// Stop after TIME, as in 10s or 500ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Print no summary, no notes and no live counter; what was dropped or possibly missed is said all the same
    #[arg(long, short)]
    pub quiet: bool,
    /// Trace while COMMAND runs
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

const MMIO_HELP: &str = "\
COMMAND is started once everything is armed. The trace ends when it exits, and its status is ours. Ctrl-C reaches both; a second one ends the \
trace without waiting for COMMAND. With --duration, COMMAND is left to finish after the trace.

Examples:
  Watch a driver come up:
    trapline mmio --driver e1000e -- modprobe e1000e
  Record ten seconds of a disk that is in use, then look at what was hot:
    trapline mmio --device 00:03.0 --duration 10s --output nvme.trace
    trapline report nvme.trace
  Only writes, for a tool that reads the kernel's own mmiotrace format:
    trapline mmio --device 00:02.0 --writes --format mmiotrace --output mmio.log";

/// Record each time that an instruction of the kernel is executed, until Ctrl-C, until --duration is over, or while COMMAND runs
///
/// SPEC is SYMBOL, SYMBOL+OFFSET, MODULE:SYMBOL[+OFFSET] or an address. The kernel module is loaded if needed and stays loaded. A value
/// that can't be fetched reads (fault); the rest of its line stays, and the kernel goes on.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "trapline probe [OPTIONS] <SPEC> [FETCH]... [-- <COMMAND>...]",
    after_long_help = PROBE_HELP
)]
pub(crate) struct Probe {
    /// Where: SYMBOL, SYMBOL+OFFSET, MODULE:SYMBOL[+OFFSET] or an address
    #[arg(value_name = "SPEC")]
    pub spec: String,
    /// What to fetch at each hit: a parameter's name, or [NAME=]FETCH[:TYPE] as in the kernel's probe events
    #[arg(value_name = "FETCH")]
    pub fetch: Vec<String>,
    /// Fetch all parameters of the function, by their names and types
    #[arg(long)]
    pub args: bool,
    /// Record when the function returns
    #[arg(long = "return")]
    pub at_return: bool,
    /// With --return, follow N calls under way at once, 1 to 4096; what comes beyond is missed, and counted. The kernel chooses if not given
    #[arg(long, value_name = "N", requires = "at_return", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ACTIVE)))]
    pub active: Option<u32>,
    /// Record before the instruction; so it is unless --post or --return is given
    #[arg(long)]
    pub pre: bool,
    /// Record after the instruction
    #[arg(long)]
    pub post: bool,
    /// Record the kernel's stack with each hit
    #[arg(long)]
    pub stack: bool,
    /// Only in process PID, all its threads; the trace ends with it
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Only on CPU N
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,
    /// Stop after N hits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: Option<u64>,
    /// How to trace.
    #[command(flatten)]
    pub trace: Trace,
}

const PROBE_HELP: &str = "\
What to fetch, as in the kernel's probe events (Documentation/trace/kprobetrace.rst):
  filename            a parameter of the function, by its name; texts are read, numbers have their sign
  %di                 a register
  $arg1, $retval      an argument by its place; what the function returns, with --return
  $stack, $stack2     the stack pointer; an entry of the stack
  $comm               the task's name
  @SYMBOL+8           memory at a symbol or an address; a name that several have is refused
  +8(FETCH)           memory 8 bytes behind what FETCH gives; +u8(FETCH) in user space; may be nested
  \\5, \\\"text\"        a number, a text
with NAME= before it and :TYPE behind it: u8 u16 u32 u64, s8 … signed, x8 … hexadecimal, char, string, ustring, symbol, symstr, \
bWIDTH@OFFSET/CONTAINER for some bits; TYPE[N] for an array. One that begins with a dash needs a NAME=.
With --pre and --return together, registers, stack and parameters are fetched before, $retval at the return. \
Hits that Trapline causes itself are left out, and counted.

COMMAND is started once the probe is set. The trace ends when it exits, and its status is ours.

Examples:
  Which files are opened, and by whom:
    trapline probe do_sys_openat2 filename
  What a program's reads return:
    trapline probe ksys_read fd count 'got=$retval:s64' --pre --return -- cat /etc/passwd
  Who sends packets, by which way, and how long they are:
    trapline probe __dev_queue_xmit 'device=+0(+16($arg1)):string' --stack --max 10";

/// Watch page faults until Ctrl-C, until --duration is over, or while COMMAND runs
///
/// Each fault, of user and kernel mode, is seen as it is raised, before anybody deals with it: why, on what kind of memory, by which task and instruction. Trapline's own
/// faults are left out, but of --count.
#[derive(Debug, Args)]
#[command(after_long_help = FAULTS_HELP)]
pub(crate) struct Faults {
    /// Only faults in user mode, unless --kernel is given too
    #[arg(long)]
    pub user: bool,
    /// Only faults in kernel mode, unless --user is given too
    #[arg(long)]
    pub kernel: bool,
    /// Only faults of the process PID; the trace ends with it
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// Only faults of tasks called NAME
    #[arg(long, value_name = "NAME", value_parser = parse_comm)]
    pub comm: Option<String>,
    /// Only faults on these addresses: FIRST-LAST or START+LEN
    #[arg(long, value_name = "RANGE")]
    pub address: Option<AddressRange>,
    /// Only faults with this cause, as `explain` tells them (several with commas, or repeated): not-present, not-writable, not-executable, not-user, user-page, reserved,
    /// protection-key, shadow-stack, hlat, sgx, rmp, unclear
    #[arg(long, value_name = "CAUSE", value_parser = parse_cause, value_delimiter = ',', conflicts_with = "count")]
    pub why: Vec<Cause>,
    /// Only count: nothing is recorded, and the counts are told at the end
    #[arg(long, conflicts_with_all = ["top", "output", "format"])]
    pub count: bool,
    /// Show a live table: rates by kind of fault, memory, task and function
    #[arg(long, conflicts_with_all = ["output", "format"])]
    pub top: bool,
    /// Tell how long each fault took: from where it is seen until the kernel's memory management is done with it. Faults that it has no part in have no time
    #[arg(long, conflicts_with_all = ["count", "top"])]
    pub latency: bool,
    /// Where faults are seen
    #[arg(long, value_enum, value_name = "GATE", default_value_t)]
    pub gate: FaultGate,
    /// How to trace.
    #[command(flatten)]
    pub trace: Trace,
}

/// Where faults are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultGate {
    /// By the kernel's own tracepoints
    #[default]
    Hook,
    /// By a page-fault gate of our own on every CPU, before the kernel's entry; not every machine allows it
    Idt,
}

const FAULTS_HELP: &str = "\
Examples:
  Every fault of a program, in words:
    trapline faults --comm sort -- sort /etc/services
  How many, of what kind, where:
    trapline faults --top
  Copy on write and other writes to read-only pages of one process, into a file:
    trapline faults --pid 412 --why not-writable --duration 10s --output cow.trace
    trapline report cow.trace
  How long they take, and a picture of when they came and where:
    trapline faults --latency --output sort.trace -- sort /etc/services
    trapline report sort.trace --svg sort.svg";

fn parse_cause(text: &str) -> Result<Cause, String> {
    Cause::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Cause::ALL.into_iter().map(Cause::name).collect();
        format!("`{text}` is no cause of a page fault; expected one of: {}", names.join(", "))
    })
}

/// A task's name: what the kernel keeps of one.
fn parse_comm(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 15 {
        return Err(format!("`{text}` can't be a task's name: those have 1 to 15 bytes"));
    }
    Ok(text.into())
}

/// Summarise a trace: registers, probes, functions, tasks, time span, what was missed
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// A trace written with `--output`
    pub file: PathBuf,
    /// Draw page faults as an SVG picture too: when they came on which addresses, and how long they took
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Show at most N rows of each table
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rows: usize,
    /// Name registers as FILE says, whatever they were named when traced (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub registers: Vec<PathBuf>,
}

/// Write a trace in another format
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// A trace written with `--output`
    pub file: PathBuf,
    /// The format to write
    #[arg(long, value_enum)]
    pub to: ConvertTo,
    /// Write to FILE instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Name registers as FILE says, whatever they were named when traced (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub registers: Vec<PathBuf>,
}

/// Say what a page fault's error code means, or what happened in an oops
///
/// Decodes CODE by the manuals' names of its bits and says what is impossible about it; with ADDRESS, says where in the address space that is. Without CODE, or with
/// `-`, reads a whole oops, or a log with one, from standard input. Needs neither root nor the kernel module.
#[derive(Debug, Args)]
#[command(after_long_help = EXPLAIN_HELP)]
pub(crate) struct Explain {
    /// The error code: 0x7, 0007 as an oops prints it, or 7 in decimal
    #[arg(value_name = "CODE", value_parser = parse_code_or_dash)]
    pub code: Option<CodeOrDash>,
    /// The address, in hexadecimal
    #[arg(value_parser = parse_address)]
    pub address: Option<u64>,
}

const EXPLAIN_HELP: &str = "\
Examples:
  trapline explain 0x7 7ffd1c2f4ff8
  dmesg | trapline explain
  trapline explain < oops.txt

An oops that is cut off is explained as far as it goes; the exit status is then 4.";

/// An error code, or `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeOrDash {
    /// The code.
    Code(Code),
    /// An oops on standard input.
    Dash,
}

fn parse_code_or_dash(text: &str) -> Result<CodeOrDash, String> {
    if text == "-" { Ok(CodeOrDash::Dash) } else { parse_code(text).map(CodeOrDash::Code) }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What a trace is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned lines, polling loops folded
    Human,
    /// JSON Lines, one object an event
    Json,
    /// The text format of the kernel's own mmiotrace
    Mmiotrace,
    /// Arrow IPC stream: what report and convert read
    Arrow,
}

/// What a trace is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertTo {
    /// Aligned lines, polling loops folded
    Human,
    /// JSON Lines, one object an event
    Json,
    /// The text format of the kernel's own mmiotrace
    Mmiotrace,
    /// Apache Parquet
    Parquet,
}

/// A ring's size: at least a page of records, at most what a 32-bit length in the kernel's allocator can be.
fn parse_buffer(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if !(4096..=1 << 30).contains(&size) {
        return Err(format!("a buffer of {text} on each CPU can't be: expected 4K to 1G"));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_after_the_dashes_is_the_command() {
        let line = "trapline mmio --device 00:03.0 --range 0x1000+4K --writes -- dd --help if=x";
        let Command::Mmio(mmio) = Cli::parse_from(line.split(' ')).command else { panic!("not mmio") };
        assert_eq!(mmio.trace.command, ["dd", "--help", "if=x"]);
        assert_eq!((mmio.reads, mmio.writes), (false, true));
        assert_eq!(mmio.trace.buffer, 8 << 20);
    }
}
