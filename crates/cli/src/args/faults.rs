//! Which page faults to record; `trapline faults`.

use clap::{Args, Parser, ValueEnum};
use trapline_trace::fault::Cause;

use super::taking::Taking;
use super::words;
use crate::units::AddressRange;

/// Watch page faults until Ctrl-C, until --duration is over, or while COMMAND runs
///
/// Each fault, of user and kernel mode, is seen as it is raised, before anybody deals with it: why,
/// on what kind of memory, by which task and instruction. Trapline's own faults are left out, but
/// of --count.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = FAULTS_HELP)]
pub(crate) struct Faults {
    /// Which faults.
    #[command(flatten)]
    pub filter: Filter,
    /// Only count: nothing is recorded, and the counts are told at the end
    #[arg(long, conflicts_with_all = ["why", "latency", "top", "output", "format"])]
    pub count: bool,
    /// Show a live table: rates by kind of fault, memory, task and function
    #[arg(long, conflicts_with_all = ["latency", "output", "format"])]
    pub top: bool,
    /// How to trace.
    #[command(flatten)]
    pub taking: Taking,
}

/// Which faults to record, and how they are seen.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Filter {
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
    /// Only faults with this cause, as `explain` tells them (several with commas, or repeated):
    /// not-present, not-writable, not-executable, not-user, user-page, reserved, protection-key,
    /// shadow-stack, hlat, sgx, rmp, unclear
    #[arg(long, value_name = "CAUSE", value_parser = parse_cause, value_delimiter = ',')]
    pub why: Vec<Cause>,
    /// Tell how long each fault took: from where it is seen until the kernel's memory management is
    /// done with it. Faults that it has no part in have no time. One without an end, as of a
    /// program that a signal ends, holds back what comes after it for 10 seconds at most; one that
    /// takes longer has no time either
    #[arg(long)]
    pub latency: bool,
    /// Where faults are seen
    #[arg(long, value_enum, value_name = "GATE", default_value_t)]
    pub gate: FaultGate,
}

/// Where faults are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultGate {
    /// By the kernel's own tracepoints
    #[default]
    Hook,
    /// By a page-fault gate of our own on every CPU, before the kernel's entry; not every machine
    /// allows it
    Idt,
}

/// [`Filter`] as one text, `trace --faults='user comm=sort'`: options of `trapline faults`, their
/// dashes left out or not.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Words {
    #[command(flatten)]
    filter: Filter,
}

/// Reads the words of `--faults`.
pub(super) fn parse_filter(text: &str) -> Result<Filter, String> {
    let words = words::split(text)?.into_iter().map(|word| match word.starts_with('-') {
        true => word,
        false => format!("--{word}"),
    });
    Words::try_parse_from(words).map(|words| words.filter).map_err(|error| words::mistake(&error))
}

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
