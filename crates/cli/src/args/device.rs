//! `trapline device`: all that can be traced of a device, which `trace` has an option each for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::taking::Taking;
use super::trace::parse_data;
use crate::pci::DeviceName;

/// Trace all of a device together: accesses to its registers and I/O ports, its interrupts, its
/// configuration space, the memory that it is given, its lifecycle (binding, resets, power states,
/// firmware), what the kernel logs meanwhile
///
/// Short for `trace` with `--device DEVICE --interrupts --config --ports --dma --lifecycle --log`;
/// what each tells and what of it may be missing is described there. What a device does not have is
/// said and left out.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = DEVICE_HELP)]
pub(crate) struct Whole {
    /// The device: its address (00:03.0), its ids (8086:10d3), or what it is called (eth0, nvme0n1,
    /// drm/card0, /dev/sda); `trapline devices` lists them
    #[arg(value_name = "DEVICE", required = true)]
    pub devices: Vec<DeviceName>,
    /// Leave PART out (several with commas, or repeated)
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub without: Vec<Part>,
    /// Name registers as FILE says, or the files of a folder, before all other register files (may
    /// be repeated)
    #[arg(long, value_name = "FILE")]
    pub registers: Vec<PathBuf>,
    /// Record the first N bytes of each buffer too, whenever it changes hands; at most 224
    #[arg(long, value_name = "N", value_parser = parse_data)]
    pub dma_data: Option<u32>,
    /// How to trace.
    #[command(flatten)]
    pub taking: Taking,
}

/// A part of what is traced of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Accesses to its registers
    Accesses,
    /// Calls of its interrupts' handlers
    Interrupts,
    /// Accesses to its configuration space
    Config,
    /// Accesses to its I/O ports
    Ports,
    /// Memory that it is given to access by itself
    Dma,
    /// Drivers that bind and go, resets, power states, firmware
    Lifecycle,
    /// Lines of the kernel log meanwhile
    Log,
}

const DEVICE_HELP: &str = "\
COMMAND is started once everything is set. The trace ends when it exits, and its status is ours.

Examples:
  A network card while a driver comes up:
    trapline device 00:03.0 -- modprobe e1000e
  Five seconds of a disk, into a file:
    trapline device nvme0n1 --duration 5s --output disk.trace
    trapline report disk.trace
  Its interrupts alone:
    trapline device eth0 --without accesses,config,ports,dma,lifecycle,log --duration 5s";
