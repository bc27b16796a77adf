//! The command line, from which `--help`, the man page and the shell completions are made.
//!
//! Plain data, one file a command: commands read it, and it knows none of them.

mod accesses;
mod convert;
mod device;
mod diff;
mod explain;
mod faults;
mod harden;
mod inject;
mod module;
mod probe;
mod registers;
mod report;
mod selection;
mod taking;
mod trace;
mod words;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use accesses::{Accesses, Mmio, Targets};
pub(crate) use convert::{Convert, ConvertTo};
pub(crate) use device::Whole;
pub(crate) use diff::{Diff, DiffFormat};
pub(crate) use explain::{Code, CodeOrDash, Explain, ExplainFormat};
pub(crate) use faults::{FaultGate, Faults, Filter};
pub(crate) use harden::{Harden, HardenFormat};
pub(crate) use inject::{Inject, Lies};
pub(crate) use module::{Build, Module, ModuleCommand};
pub(crate) use probe::{Hits, MOST_PLACES, Probe};
pub(crate) use registers::{Import, ImportFrom, Registers, RegistersCommand, Show};
pub(crate) use report::Report;
pub(crate) use selection::Selection;
pub(crate) use taking::{Format, Taking};
pub(crate) use trace::{Beside, Request, Trace, View};
pub(crate) use words::at_condition;

/// Trace every access to the registers of a device on a running Linux system
///
/// Trapline shows each access that a driver makes to its device's registers: when, on which CPU, by
/// which task and function, which register, read or write, how wide, which value. All CPUs stay
/// online, and the driver may be bound already.
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
  1  tracing failed or ended early, or the trace lacks something; what was written before is good;
     of `diff`: the traces differ; of `inject`: nothing was injected
  2  the command line is wrong, or names something that is not there
  3  this machine can't do it as it is: no root, no module, lockdown, another tracer, …
  4  a file can't be read or written, or is no trace; one that is cut off is read as far as it goes
  5  of `harden`: something was found
  6  of `harden`: the machine has to be started anew
  With `… -- COMMAND`, COMMAND's own status if it is not 0: 128+N if signal N ended it, 127 if
  it was not found, 126 if it can't be run.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Mmio(Mmio),
    Inject(Inject),
    Harden(Box<Harden>),
    Probe(Probe),
    Faults(Faults),
    Trace(Trace),
    Device(Whole),
    Report(Report),
    Convert(Convert),
    Diff(Diff),
    Explain(Explain),
    Registers(Registers),
    Module(Module),
    /// List the PCI devices that can be traced: driver, what they are called, memory, registers
    ///
    /// Each name stands for the device after --device. What can't be traced has the reason in the
    /// column of its memory. The last column has the register file that names its registers.
    Devices,
    /// List every probe of every kind, with its owner, what it counted, and how the kernel runs it
    ///
    /// `pre-faults` and `post-faults` are handlers that were abandoned before and after the
    /// instruction (of a return probe, at entry and return), `fetch-faults` arguments that could
    /// not be fetched, `fixed` faults that the probe's own fault handler resolved.
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
    /// Print a man page, in troff: `trapline man registers import | man -l -`
    Man {
        /// The command that it is about, in as many words as it has; trapline as a whole if not
        /// given
        #[arg(value_name = "COMMAND")]
        about: Vec<String>,
        /// Write the pages about all of them into this folder instead
        #[arg(long, value_name = "FOLDER", conflicts_with = "about")]
        all: Option<PathBuf>,
    },
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
        assert_eq!(mmio.taking.command, ["dd", "--help", "if=x"]);
        assert_eq!((mmio.accesses.reads, mmio.accesses.writes), (false, true));
        assert_eq!(mmio.taking.buffer, 8 << 20);
    }

    #[test]
    fn several_sources_are_asked_for_at_once_each_in_the_words_of_its_own_command() {
        let line = [
            "trapline",
            "trace",
            "--device",
            "00:03.0",
            "--probe",
            "ksys_read fd 'n=$arg3' --return --pre",
            "--faults",
        ];
        let Command::Trace(trace) = Cli::parse_from(line).command else { panic!("not trace") };
        let Request { accesses, probes, faults, .. } = trace.into();
        assert_eq!(accesses.unwrap().targets.devices.len(), 1);
        assert_eq!((probes[0].spec.as_str(), probes[0].fetch.len()), ("ksys_read", 2));
        assert!(probes[0].at_return && probes[0].pre && !probes[0].post);
        assert!(faults.is_some_and(|faults| !faults.user && !faults.kernel));
        let line = ["trapline", "trace", "--faults=user why=not-present,hlat --latency", "--", "ls"];
        let Command::Trace(trace) = Cli::parse_from(line).command else { panic!("not trace") };
        let faults = trace.faults.unwrap();
        assert!(faults.user && !faults.kernel && faults.latency && faults.why.len() == 2);
        assert_eq!(trace.taking.command, ["ls"]);
    }

    #[test]
    fn a_mistake_in_the_words_of_a_source_is_told_as_that() {
        let mistake = |arguments: &[&str]| {
            Cli::try_parse_from(["trapline", "trace"].iter().chain(arguments)).unwrap_err().to_string()
        };
        assert!(mistake(&["--probe", "f 'x"]).contains("a quote that is not closed"));
        assert!(mistake(&["--probe", ""]).contains("<SPEC>"), "{}", mistake(&["--probe", ""]));
        assert!(mistake(&["--probe", "f --active 0"]).contains("0 is not in 1..=4096"));
        assert!(mistake(&["--faults=usr"]).contains("'--usr'"), "{}", mistake(&["--faults=usr"]));
        assert!(mistake(&["--writes"]).contains("--probe <WORDS>"), "{}", mistake(&["--writes"]));
    }
}
