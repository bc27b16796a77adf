//! `trapline trace`, of several sources at once; what `mmio`, `probe` and `faults` are short for.

use clap::{ArgGroup, Args};
use trapline_abi::MAX_DMA_DATA;

use super::accesses::{Accesses, Mmio, Targets};
use super::device::{Part, Whole};
use super::faults::{Faults, Filter, parse_filter};
use super::inject::{Inject, Lies};
use super::probe::{Hits, Probe, parse_hits};
use super::taking::Taking;

/// Trace accesses to registers and I/O ports, interrupts, configuration space, DMA, lifecycles,
/// lines of the kernel log, hits of instructions and page faults together, in one order
///
/// Each kind is asked for by its own options, any number of them at once; at least one. `mmio`,
/// `probe` and `faults` are short for a trace of one kind. What each tells and what of it may be
/// missing is described there.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "trapline trace [OPTIONS] <--device <DEVICE>|--driver <NAME>|--range <PHYS+LEN>|--probe <WORDS>|--faults[=<WORDS>]|--log>... [-- <COMMAND>...]",
    after_long_help = TRACE_HELP,
    group = ArgGroup::new("source").required(true).multiple(true).args(["devices", "drivers", "ranges", "probes", "faults", "log"]),
    group = ArgGroup::new("whose").multiple(true).args(["devices", "drivers"])
)]
pub(crate) struct Trace {
    /// Which accesses.
    #[command(flatten)]
    pub accesses: Accesses,
    /// Record each time that an instruction of the kernel is executed: WORDS are what `trapline
    /// probe` takes, as in 'do_sys_openat2 filename' (may be repeated)
    #[arg(long = "probe", value_name = "WORDS", value_parser = parse_hits)]
    pub probes: Vec<Hits>,
    /// Record page faults: WORDS are options of `trapline faults` without their dashes, as in
    /// --faults='user comm=sort'; all faults if there are none
    #[arg(long, value_name = "WORDS", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = parse_filter)]
    pub faults: Option<Filter>,
    /// Record the interrupts of the devices too: each call of a handler, with what it returned and
    /// how long it took; of a line that devices share, the handlers of all of them
    #[arg(long, requires = "whose")]
    pub interrupts: bool,
    /// Record the accesses to the configuration space of the devices too, by whomever: drivers, the
    /// kernel itself, ACPI's code, programs
    #[arg(long, requires = "whose")]
    pub config: bool,
    /// Record the accesses to the I/O ports of the devices too, by the code of their drivers and by
    /// the kernel's functions for them
    #[arg(long, requires = "whose")]
    pub ports: bool,
    /// Record what memory the devices are given to access by themselves too: buffers that their
    /// drivers map, synchronise and unmap, and memory that they allocate for both
    #[arg(long, requires = "whose")]
    pub dma: bool,
    /// Record the first N bytes of each buffer too, whenever it changes hands; at most 224
    #[arg(long, value_name = "N", requires = "dma", value_parser = parse_data)]
    pub dma_data: Option<u32>,
    /// Record what the kernel does with the devices as a whole too: drivers that bind and go,
    /// resets, power states, firmware; each with how it went and how long it took
    #[arg(long, requires = "whose")]
    pub lifecycle: bool,
    /// Record the lines of the kernel log too, whoever writes them, with CPU and task
    #[arg(long)]
    pub log: bool,
    /// How to trace.
    #[command(flatten)]
    pub taking: Taking,
}

/// How much of a buffer may be recorded.
pub(super) fn parse_data(text: &str) -> Result<u32, String> {
    let most = MAX_DMA_DATA as u32;
    let number: Option<u32> = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("expected a number of bytes from 1 to {most}, as in 64"))
}

const TRACE_HELP: &str = "\
COMMAND is started once everything is set. The trace ends when it exits, and its status is ours. \
If each source is about one process alone, it ends with the last of those.

Examples:
  What a driver does to its device while it comes up, the functions on the way, and its page faults:
    trapline trace --driver e1000e --probe 'pci_enable_device dev' --faults=kernel -- modprobe e1000e
  A disk and whoever waits for it, into one file:
    trapline trace --device 00:03.0 --probe 'submit_bio --stack' --duration 10s --output disk.trace
    trapline report disk.trace
  Each interrupt of a network card, with the registers that its handlers access:
    trapline trace --device eth0 --interrupts --duration 5s
  Who switches a network card on and off, and by which registers:
    trapline trace --device eth0 --config -- modprobe -r e1000e
  What the driver of an SMBus controller, which has ports alone, does with it:
    trapline trace --device 00:1f.3 --ports --duration 5s
  A packet's way through a network card: its buffer, the doorbell, the interrupt; 64 bytes of it:
    trapline trace --device eth0 --interrupts --dma --dma-data 64 -- ping -c 1 192.0.2.1
  Why a device does not wake again: its power states, and what the kernel and its driver do to it:
    trapline trace --device 00:03.0 --config --lifecycle --log -- rtcwake -m freeze -s 5
  What a program's page faults and its opened files have to do with each other:
    trapline trace --faults='comm=sort latency' --probe 'do_sys_openat2 filename' -- sort /etc/services";

/// What is traced, and how: what all commands that trace come to.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Accesses, if any are.
    pub accesses: Option<Accesses>,
    /// What else of devices is traced, if anything is.
    pub beside: Option<Beside>,
    /// What is injected into them.
    pub lies: Option<Lies>,
    /// Code probes.
    pub probes: Vec<Hits>,
    /// Page faults, if they are.
    pub faults: Option<Filter>,
    /// Lines of the kernel log.
    pub log: bool,
    /// How events are shown.
    pub view: View,
    /// How it is taken.
    pub taking: Taking,
}

/// What of devices is traced beside accesses to their registers.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    /// Of which devices.
    pub targets: Targets,
    /// Their interrupts.
    pub interrupts: bool,
    /// Their configuration space.
    pub config: bool,
    /// Their I/O ports.
    pub ports: bool,
    /// What the kernel does with them as a whole.
    pub lifecycle: bool,
    /// What memory they are given.
    pub dma: bool,
    /// Bytes of it that are recorded.
    pub dma_data: u32,
    /// Whether what there is of a device is enough; else what is asked for must be there.
    pub is_enough: bool,
}

impl Beside {
    /// Nothing of these devices yet.
    pub(crate) fn of(targets: Targets) -> Self {
        let (interrupts, config, ports, lifecycle, dma, is_enough) = Default::default();
        Self { targets, interrupts, config, ports, lifecycle, dma, dma_data: 0, is_enough }
    }

    /// Whether there is anything of them.
    fn is_something(&self) -> bool {
        self.interrupts || self.config || self.ports || self.lifecycle || self.dma
    }
}

/// How events are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    /// One by one.
    #[default]
    Events,
    /// Page faults in a live table: `faults --top`.
    Table,
    /// Not at all, only their counts: `faults --count`.
    Counts,
}

impl Request {
    /// Of nothing.
    fn new(taking: Taking) -> Self {
        Self {
            accesses: None,
            beside: None,
            lies: None,
            probes: Vec::new(),
            faults: None,
            log: false,
            view: View::Events,
            taking,
        }
    }
}

impl From<Trace> for Request {
    fn from(trace: Trace) -> Self {
        let Trace {
            accesses,
            probes,
            faults,
            interrupts,
            config,
            ports,
            dma,
            dma_data,
            lifecycle,
            log,
            taking,
        } = trace;
        let targets = accesses.targets.clone();
        let dma_data = dma_data.unwrap_or(0);
        let beside = Beside { interrupts, config, ports, lifecycle, dma, dma_data, ..Beside::of(targets) };
        let beside = Some(beside).filter(Beside::is_something);
        let accesses = Some(accesses).filter(|accesses| !accesses.targets.is_empty());
        Self { accesses, beside, probes, faults, log, ..Self::new(taking) }
    }
}

impl From<Mmio> for Request {
    fn from(Mmio { accesses, taking }: Mmio) -> Self {
        Self { accesses: Some(accesses), ..Self::new(taking) }
    }
}

impl From<Whole> for Request {
    fn from(Whole { devices, without, registers, dma_data, taking }: Whole) -> Self {
        let wants = |part| !without.contains(&part);
        let targets = Targets { devices, registers, ..Targets::default() };
        let beside = Beside {
            interrupts: wants(Part::Interrupts),
            config: wants(Part::Config),
            ports: wants(Part::Ports),
            lifecycle: wants(Part::Lifecycle),
            dma: wants(Part::Dma),
            dma_data: dma_data.unwrap_or(0),
            is_enough: true,
            ..Beside::of(targets.clone())
        };
        let accesses = wants(Part::Accesses).then(|| Accesses { targets, ..Accesses::default() });
        Self { accesses, beside: Some(beside), log: wants(Part::Log), ..Self::new(taking) }
    }
}

impl From<Inject> for Request {
    fn from(Inject { targets, lies, taking, with_parent: _ }: Inject) -> Self {
        // A rule may be about either direction, and what it waits for too.
        let accesses = Accesses { targets, reads: true, writes: true };
        Self { accesses: Some(accesses), lies: Some(lies), ..Self::new(taking) }
    }
}

impl From<Probe> for Request {
    fn from(Probe { hits, taking }: Probe) -> Self {
        Self { probes: vec![hits], ..Self::new(taking) }
    }
}

impl From<Faults> for Request {
    fn from(Faults { filter, count, top, mut taking }: Faults) -> Self {
        let view = match (count, top) {
            (true, _) => View::Counts,
            (_, true) => View::Table,
            _ => View::Events,
        };
        // The counts are all that is told, and the live table all that is shown.
        taking.quiet |= view != View::Events;
        Self { faults: Some(filter), view, ..Self::new(taking) }
    }
}
