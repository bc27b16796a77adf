//! What to inject into which accesses; `trapline inject`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::accesses::Targets;
use super::taking::Taking;
use crate::units::parse_number;

/// Lie to a driver about its device: change what it reads, drop or double what it writes, by rules
///
/// Everything is traced meanwhile, until Ctrl-C, until --duration is over, or while COMMAND runs; a
/// changed value is told with what the device had said. Before anything is armed it is said what
/// will be done to which device, and at the end how often each rule was applied. A device that
/// holds the root file system, swap or the only console is refused. This can crash the machine: use
/// one that may.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "trapline inject [OPTIONS] <--device <DEVICE>|--driver <NAME>|--range <PHYS+LEN>>... <RULE|--rules <FILE>>... [-- <COMMAND>...]",
    after_long_help = INJECT_HELP,
    group = ArgGroup::new("what").required(true).multiple(true).args(["devices", "drivers", "ranges"]),
    group = ArgGroup::new("lies").required(true).multiple(true).args(["rules", "files"])
)]
pub(crate) struct Inject {
    /// Into accesses to what.
    #[command(flatten)]
    pub targets: Targets,
    /// By which rules.
    #[command(flatten)]
    pub lies: Lies,
    /// How to trace.
    #[command(flatten)]
    pub taking: Taking,
    /// End at once when process PID does, which has started this: for `trapline harden`
    #[arg(long, value_name = "PID", hide = true)]
    pub with_parent: Option<u32>,
}

/// What is injected.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct Lies {
    /// Rules, each one word for the shell: '[read|write] WHERE WHAT [WHEN...]', as in 'STATUS.LU =
    /// 0 from 10'; where several apply, the first decides
    #[arg(value_name = "RULE")]
    pub rules: Vec<String>,
    /// Rules from a TOML file, after those of the command line (may be repeated)
    #[arg(long = "rules", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What random values and chances are made from: the same seed, rules and accesses give the
    /// same lies. Told, and kept in the trace; chosen at random if not given
    #[arg(long, value_name = "N", value_parser = parse_number)]
    pub seed: Option<u64>,
    /// Inject even if the device holds the root file system, swap or the only console
    #[arg(long)]
    pub yes: bool,
}

const INJECT_HELP: &str = "\
Rules: [read|write] WHERE WHAT [WHEN...]
  WHERE  STATUS, RAL[2]          a register, as the register files name it
         CTRL.RST                a field of it
         BAR0+0x8, BAR0+0x10:8   4 bytes of a BAR, or as many as the width says
         BAR0+0x100-0x1ff        bytes of a BAR, the last included
         0xfebc0000+0x100        bytes of physical memory
         *                       all that is traced
  WHAT   = V, ones               a value, all ones
         and V, or V, xor V      bits kept, set, flipped
         stale N                 what was read N reads ago, 1 to 15
         withhold                a polling loop gets what it got first, again and again
         random                  random bytes
         drop, twice             the write is not made, or made twice
         gone                    reads get all ones, writes are dropped, the device is left alone
         delay 50us              the access takes longer, up to 1ms
  WHEN   from N, at N, times N   from the Nth such access on, only the Nth, so many
         chance P%               to so many of them, by chance
         after 2s                when so long has passed
         after CTRL.RST=1        when this was written
         until CTRL.RST=0        until this is written
         in FUNCTION             made by this function of the kernel, not by what it calls
         pid N, cpu N            made by this task, on this CPU
Without `read` or `write` a rule is about reads, `drop` and `twice` are about writes, `gone` and `delay` about both. Numbers are decimal or \
hexadecimal (0x...). A register of several devices is a rule for each of them.

COMMAND is started once everything is armed. The injection ends when it exits, and its status is ours; when it is 0 and nothing was \
injected, the status is 1.

Examples:
  A network card that says that it has 10 Mb/s:
    trapline inject --driver e1000e 'STATUS.SPEED = 0' -- modprobe e1000e
  It goes away in the middle of its work:
    trapline inject --device 00:02.0 '* gone after 2s' --output gone.trace -- ping -c 5 10.0.2.2
  One read in a thousand has a flipped bit, repeatably:
    trapline inject --device 00:02.0 'read * xor 0x80 chance 0.1%' --seed 1 --duration 10s";
