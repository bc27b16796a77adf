//! `trapline harden`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::pci::DeviceName;
use crate::units::{parse_duration, parse_number};

/// Find out what a driver does when its device lies: a campaign of `trapline inject`
///
/// First the driver is bound, COMMAND is run and the driver is unbound, all traced: that tells what
/// the driver reads. Then the same again and again, each time with another lie: all ones, zero,
/// flipped and stuck bits, old and random values, a device that never gets ready or is gone; at
/// every register, all the time or at the first, a middle and the last read. After each, the device
/// must work again. What the kernel reports, what hangs and what stays broken is told, with the
/// shortest rule that shows it. This is made to crash the machine: use one that may.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "trapline harden [OPTIONS] --device <DEVICE> -- <COMMAND>...\n       trapline harden [--format <FORMAT>] --report <FOLDER>",
    after_long_help = HARDEN_HELP
)]
pub(crate) struct Harden {
    /// The PCI device whose driver is tried: its address (00:03.0), its ids (8086:10d3), or what it
    /// is called (eth0, nvme0n1). The driver must be bound
    #[arg(long, value_name = "DEVICE", required_unless_present = "report")]
    pub device: Option<DeviceName>,
    /// Keep what was done in FOLDER, and go on with what is kept there; harden-ADDRESS here if not
    /// given
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Time for experiments, those of earlier runs included
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    pub budget: Duration,
    /// Stop after N experiments, those of earlier runs included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub most: Option<u64>,
    /// How long the driver and COMMAND may take in an experiment: five times what they take
    /// without lies, and at least 10s, if not given
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub limit: Option<Duration>,
    /// How often each finding is shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Try only this rule, --repeat times, and tell how often something is found (several are tried
    /// together); nothing is kept
    #[arg(long = "try", value_name = "RULE", conflicts_with_all = ["state", "budget", "most"])]
    pub rules: Vec<String>,
    /// What random values and choices are made from: told, and kept
    #[arg(long, value_name = "N", value_parser = parse_number)]
    pub seed: Option<u64>,
    /// Name registers as FILE says, or the files of a folder, before all other register files (may
    /// be repeated)
    #[arg(long, value_name = "FILE")]
    pub registers: Vec<PathBuf>,
    /// Go on although the kernel has oopsed or the device does not work, without a restart between:
    /// what is found then may be of what came before
    #[arg(long)]
    pub go_on: bool,
    /// Also if the device holds the root file system, swap or the only console
    #[arg(long)]
    pub yes: bool,
    /// Print the report of the campaign that is kept in FOLDER, and do nothing else
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["device", "state", "budget", "most", "limit", "repeat", "rules", "seed", "go_on", "yes", "command"])]
    pub report: Option<PathBuf>,
    /// How to tell what was found
    #[arg(long, short, value_enum, default_value_t)]
    pub format: HardenFormat,
    /// What has the driver work, while it is bound
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "report")]
    pub command: Vec<String>,
}

/// How a report of a campaign is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum HardenFormat {
    /// Tables
    #[default]
    Human,
    /// One JSON object
    Json,
    /// A page for a browser, which needs nothing else
    Html,
}

const HARDEN_HELP: &str = "\
A finding is: an oops, a lockup or a stall, a hung task, a task that can't be ended while the device lies, a device that does not work \
again, a warning of the kernel, a COMMAND that runs past its time, a machine that goes down. That COMMAND fails, or the driver does not bind, \
while the device lies is none: it noticed.

Exit status:
  0    done: nothing was found
  1    it can't be done: COMMAND fails without any lie, an experiment can't be made
  2    the command line is wrong, names no device, or has a budget too small for one experiment
  3    the device holds what the machine needs, has no driver or one that can't be bound anew; no
       root, no module; the kernel has oopsed before
  4    what is kept can't be read or written, or is of another campaign
  5    done: something was found
  6    the machine has to be started anew; then the same command goes on
  130  Ctrl-C; the same command goes on

Examples:
  What does e1000e do if its card lies while packets flow?
    trapline harden --device 00:02.0 -- sh -c 'ip link set eth0 up; ping -c 3 10.0.2.2'
  The same of an NVMe disk, for two hours, kept in a folder:
    trapline harden --device nvme0 --budget 2h --state nvme -- sh -c 'sleep 1; dd if=/dev/nvme0n1 of=/dev/null bs=4k count=100'
  What was found, as a page for a browser:
    trapline harden --report nvme --format html > nvme.html
  Show one finding again, ten times:
    trapline harden --device 00:02.0 --try 'STATUS ones' --repeat 10 -- ip link set eth0 up";
