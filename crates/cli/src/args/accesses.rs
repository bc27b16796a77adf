//! Which accesses to trace; `trapline mmio`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::taking::Taking;
use crate::pci::DeviceName;
use crate::units::PhysicalRange;

/// Trace accesses to device registers until Ctrl-C, until --duration is over, or while COMMAND runs
///
/// The kernel module is loaded if needed and stays loaded. A device's BARs are watched where they
/// are mapped already and wherever they come to be mapped, so a driver may be bound before or may
/// bind while the trace runs.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "trapline mmio [OPTIONS] <--device <DEVICE>|--driver <NAME>|--range <PHYS+LEN>>... [-- <COMMAND>...]",
    after_long_help = MMIO_HELP,
    group = ArgGroup::new("what").required(true).multiple(true).args(["devices", "drivers", "ranges"])
)]
pub(crate) struct Mmio {
    /// Which accesses.
    #[command(flatten)]
    pub accesses: Accesses,
    /// How to trace.
    #[command(flatten)]
    pub taking: Taking,
}

/// Which accesses to trace.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct Accesses {
    /// To what.
    #[command(flatten)]
    pub targets: Targets,
    /// Record reads only, unless --writes is given too
    #[arg(long)]
    pub reads: bool,
    /// Record writes only, unless --reads is given too
    #[arg(long)]
    pub writes: bool,
}

/// Accesses to what.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct Targets {
    /// Trace the memory BARs of a PCI device: its address (00:03.0), its ids (8086:10d3), or what
    /// it is called (eth0, nvme0n1, drm/card0, /dev/sda); `trapline devices` lists them (may be
    /// repeated)
    #[arg(long = "device", value_name = "DEVICE")]
    pub devices: Vec<DeviceName>,
    /// Trace the PCI devices bound to driver NAME, and those without a driver that it matches (may
    /// be repeated)
    #[arg(long = "driver", value_name = "NAME")]
    pub drivers: Vec<String>,
    /// Of the devices trace only BAR N, from 0 to 5 (may be repeated). Without, all memory BARs are
    /// traced but frame buffers (prefetchable ones of 1 MiB or more, of a display controller), of
    /// which millions of accesses would drown the registers
    #[arg(long = "bar", value_name = "N", value_parser = clap::value_parser!(u8).range(0..=5))]
    pub bars: Vec<u8>,
    /// Trace LEN bytes from physical address PHYS, as in 0xfebc0000+128K (may be repeated)
    #[arg(long = "range", value_name = "PHYS+LEN")]
    pub ranges: Vec<PhysicalRange>,
    /// Name registers as FILE says, or the files of a folder, before all other register files (may
    /// be repeated)
    #[arg(long, value_name = "FILE")]
    pub registers: Vec<PathBuf>,
}

impl Targets {
    /// Whether any are asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.drivers.is_empty() && self.ranges.is_empty()
    }
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
