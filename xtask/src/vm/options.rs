//! What kind of machine, and what to do in it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::setup::Series;

/// A machine and the command to run in it; `cargo xtask vm` is this and no more.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Series of kernel: Debian's stock ones, and the debugging one.
    #[arg(long, value_enum, default_value_t = Series::V6_1)]
    pub kernel: Series,

    /// The debugging kernel, with lockdep, KASAN and other checks: short for `--kernel 6.1-debug`.
    /// It is built once, which takes an hour or so; everything takes several times as long on it,
    /// and --timeout is stretched as much.
    #[arg(long, conflicts_with = "kernel")]
    pub debug_kernel: bool,

    /// Number of CPUs.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: u32,

    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..))]
    pub memory: u32,

    /// One argument added to QEMU's command line; give it again for each further one.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu: Vec<OsString>,

    /// Modules of the kernel's own package that modprobe shall find in the guest, with what they
    /// need.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub modules: Vec<String>,

    /// Write QEMU's own record of every device access to this file.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// A file or folder to put into the guest's `/`.
    #[arg(long, value_name = "PATH")]
    pub copy_in: Vec<PathBuf>,

    /// A program of the host to put into the guest, where it lies on the host, with the libraries
    /// that it needs; give it again for each further one.
    #[arg(long, value_name = "PROGRAM")]
    pub program: Vec<PathBuf>,

    /// Where to put what COMMAND leaves in the guest's `/out`.
    #[arg(long, value_name = "DIR")]
    pub copy_out: Option<PathBuf>,

    /// Longest time from power on to the end, in seconds, on a stock kernel: for what hangs,
    /// several times what the slowest takes on a quiet host.
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds)]
    pub timeout: Duration,

    /// Further words for the kernel's command line.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub append: Option<String>,

    /// Boot the compressed image, so that the kernel randomises its addresses (some seconds
    /// slower).
    #[arg(long)]
    pub kaslr: bool,

    /// Emulate all CPUs by one host thread, in turn. Slower; but code that is patched while another
    /// CPU runs it is never run as it was before.
    #[arg(long)]
    pub one_thread: bool,

    /// The kernel patches its own code while all CPUs run, and nobody's probes are in it: one that
    /// dies of a breakpoint which it had taken away is QEMU's failure.
    #[arg(skip)]
    pub patched_by_kernel: bool,

    /// Build and install neither the trapline command nor its modules.
    #[arg(long)]
    pub bare: bool,

    /// End with status 123 if the kernel log holds a warning or worse although COMMAND succeeded.
    #[arg(long)]
    pub strict_log: bool,

    /// Show the guest's console and, at the end, its kernel log on standard error.
    #[arg(long, short)]
    pub verbose: bool,

    /// What to run: one string for the guest's shell, or a program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl Options {
    /// The default machine, of a series, to run a line of shell.
    pub fn new(kernel: Series, command: impl Into<OsString>) -> Self {
        Self {
            kernel,
            debug_kernel: false,
            cpus: 4,
            memory: 1024,
            qemu: Vec::new(),
            modules: Vec::new(),
            record: None,
            copy_in: Vec::new(),
            program: Vec::new(),
            copy_out: None,
            timeout: Duration::from_secs(900),
            append: None,
            kaslr: false,
            one_thread: false,
            patched_by_kernel: false,
            bare: false,
            strict_log: false,
            verbose: false,
            command: vec![command.into()],
        }
    }

    /// Which kernel is meant.
    pub(super) fn series(&self) -> Series {
        if self.debug_kernel { Series::Debug } else { self.kernel }
    }

    /// Longest time from power on to the end, on the kernel that is meant.
    pub(super) fn limit(&self) -> Duration {
        self.timeout * self.series().slowness()
    }

    /// The same with all CPUs emulated in turn by one thread: for what is not about CPUs at once.
    /// It leaves the host's other cores to others, and QEMU has fewer ways to fail.
    pub fn in_turn(kernel: Series, command: impl Into<OsString>) -> Self {
        Self { one_thread: true, ..Self::new(kernel, command) }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number of seconds, 1 or more".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(words: &[&str]) -> Options {
        Line::try_parse_from([&["vm"], words].concat()).unwrap_or_else(|error| panic!("{error}")).options
    }

    #[test]
    fn a_command_line_without_options_is_the_default_machine() {
        let (typed, built) = (parse(&["--", "true"]), Options::new(Series::V6_1, "true"));
        assert_eq!(format!("{typed:?}"), format!("{built:?}"));
    }

    #[test]
    fn the_debugging_kernel_has_two_names_and_more_time() {
        for words in [&["--debug-kernel", "--", "true"][..], &["--kernel", "6.1-debug", "--", "true"]] {
            let options = parse(words);
            assert_eq!(options.series(), Series::Debug);
            assert!(options.limit() > options.timeout);
        }
        let stock = parse(&["--kernel", "6.12", "--timeout", "7", "--", "true"]);
        assert_eq!((stock.series(), stock.limit()), (Series::V6_12, Duration::from_secs(7)));
        let both = Line::try_parse_from(["vm", "--debug-kernel", "--kernel", "6.12", "--", "true"]);
        let error = both.err().expect("it is one kernel or the other").to_string();
        assert!(error.contains("--debug-kernel") && error.contains("--kernel"), "{error}");
    }

    #[test]
    fn arguments_for_qemu_may_begin_with_a_dash_and_command_is_what_follows_the_dashes() {
        let options =
            parse(&["--qemu", "-device", "--qemu", "edu", "--modules", "e1000e,nvme", "--", "ls", "-l"]);
        assert_eq!(options.qemu, ["-device", "edu"]);
        assert_eq!(options.modules, ["e1000e", "nvme"]);
        assert_eq!(options.command, ["ls", "-l"]);
    }
}
