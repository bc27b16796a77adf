//! What can be traced: one folder for each kind of source, and which of them a request asks for.

mod accesses;
mod config;
mod devices;
mod dma;
mod faults;
mod hits;
mod inject;
mod interrupts;
mod lifecycle;
mod log;
mod ports;

use trapline_trace::Symbols;

use crate::args::{Request, View};
use crate::module::{self, ModuleError};
use crate::output::{Output, OutputError};
use crate::say::say;
use crate::system::{NoProcess, System};
use crate::trace::{self, Source};

use accesses::Accesses;
pub(crate) use accesses::{AccessesError, TargetError};
use config::Config;
pub(crate) use config::ConfigError;
pub(crate) use devices::{NoDevice, devices_called};
use dma::Dma;
pub(crate) use dma::DmaError;
use faults::Faults;
pub(crate) use hits::HitsError;
use hits::{Hits, Kernel};
pub(crate) use inject::{InjectError, refuse_held};
use interrupts::Interrupts;
pub(crate) use interrupts::InterruptsError;
use lifecycle::Lifecycle;
use log::Log;
use ports::Ports;
pub(crate) use ports::PortsError;

/// Why there is nothing to trace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourcesError {
    /// It can't be written as asked for.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// No accesses.
    #[error(transparent)]
    Accesses(#[from] AccessesError),
    /// Nothing that could be injected.
    #[error(transparent)]
    Inject(#[from] InjectError),
    /// No code probe.
    #[error(transparent)]
    Hits(#[from] HitsError),
    /// No page faults, since there is no such process.
    #[error(transparent)]
    Faults(#[from] NoProcess),
    /// No interrupts.
    #[error(transparent)]
    Interrupts(#[from] InterruptsError),
    /// No configuration space.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No accesses to I/O ports.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// No DMA.
    #[error(transparent)]
    Dma(#[from] DmaError),
    /// No lifecycle.
    #[error(transparent)]
    Lifecycle(NoDevice),
    /// The user is not root.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// Addresses of functions can't be seen even by root.
    #[error(
        "the kernel hides the addresses of its functions (/proc/kallsyms); show them: sysctl kernel.kptr_restrict=1"
    )]
    HiddenSymbols,
}

/// The sources that a request asks for.
pub(crate) struct Sources {
    /// They themselves.
    pub all: Vec<Box<dyn Source>>,
    /// The kernel's symbols, if they were needed to find one of them.
    pub symbols: Option<Symbols>,
    /// What shows events, if not what `--output` and `--format` say.
    pub view: Option<Output>,
}

impl Sources {
    /// Finds what `request` asks for.
    ///
    /// Everything that can be wrong with what was typed is found here, before the module is asked
    /// for anything.
    pub(crate) fn new(system: &System, request: &Request) -> Result<Self, SourcesError> {
        let Request { accesses, beside, lies, probes, faults, log, view, taking } = request;
        let rules = lies.as_ref().map(|lies| inject::Rules::new(system, lies)).transpose()?;
        for wanted in probes {
            hits::check_words(system, wanted)?;
        }
        let is_of_accesses = probes.is_empty() && faults.is_none() && beside.is_none() && !log;
        trace::choose_output(taking, is_of_accesses)?;
        let mut all: Vec<Box<dyn Source>> = Vec::new();
        let is_enough = beside.as_ref().is_some_and(|beside| beside.is_enough);
        let wants_ports = beside.as_ref().filter(|beside| beside.ports);
        // Its interrupts are something, and so are its ports if they are asked for.
        let is_enough_memory = is_enough || wants_ports.is_some();
        let found = accesses.as_ref().map(|wanted| Accesses::new(system, wanted, is_enough_memory));
        let mut accesses = match found.transpose() {
            Err(AccessesError::Target(error)) if is_enough_memory && error.is_of_memory() => {
                if !taking.quiet {
                    say!("{error}");
                }
                None
            }
            accesses => accesses?,
        };
        let names_functions = rules.as_ref().is_some_and(inject::Rules::name_functions);
        let needs_symbols = names_functions || !probes.is_empty();
        let symbols = if needs_symbols { Some(symbols(system)?) } else { None };
        if let (Some(accesses), Some(rules)) = (&mut accesses, rules) {
            accesses.inject(rules, symbols.as_ref())?;
        }
        all.extend(accesses.map(|accesses| Box::new(accesses) as _));
        if let Some(wanted) = beside.as_ref().filter(|beside| beside.interrupts) {
            all.extend(
                Interrupts::new(system, wanted, taking.quiet)?.map(|interrupts| Box::new(interrupts) as _),
            );
        }
        let ports = wants_ports.map(|wanted| Ports::new(system, wanted, taking.quiet)).transpose()?.flatten();
        let dma = beside.as_ref().map(|wanted| Dma::new(system, wanted)).transpose()?.flatten();
        let wants_lifecycle = beside.as_ref().filter(|beside| beside.lifecycle);
        let lifecycle = wants_lifecycle.map(|wanted| Lifecycle::new(system, wanted)).transpose();
        let lifecycle = lifecycle.map_err(SourcesError::Lifecycle)?;
        if let Some(wanted) = beside.as_ref().filter(|beside| beside.config) {
            let is_alone = all.is_empty() && ports.is_none() && dma.is_none() && lifecycle.is_none();
            all.push(Box::new(Config::new(system, wanted)?.alone(is_alone)));
        }
        if let Some(ports) = ports {
            all.push(Box::new(ports.alone(all.is_empty() && dma.is_none() && lifecycle.is_none())));
        }
        if let Some(dma) = dma {
            all.push(Box::new(dma.alone(all.is_empty() && lifecycle.is_none())));
        }
        if let Some(lifecycle) = lifecycle {
            all.push(Box::new(lifecycle.alone(all.is_empty())));
        }
        if all.is_empty() && is_enough && !log {
            return Err(InterruptsError::Nothing.into());
        }
        if let Some(symbols) = &symbols {
            let kernel = Kernel::new(system, symbols);
            for wanted in probes {
                all.push(Box::new(Hits::new(&kernel, wanted)?));
            }
        }
        if let Some(wanted) = faults {
            all.push(Box::new(Faults::new(system, wanted, *view == View::Counts)?));
        }
        if *log {
            all.push(Box::new(Log::new(is_enough && !all.is_empty())));
        }
        Ok(Self { all, symbols, view: (*view == View::Table).then(faults::table) })
    }
}

/// The kernel's symbols, without which nothing can be probed.
fn symbols(system: &System) -> Result<Symbols, SourcesError> {
    let symbols = Symbols::load(&system.path("proc")).unwrap_or_default();
    if symbols.is_empty() {
        module::require_root("find the kernel's functions")?;
        return Err(SourcesError::HiddenSymbols);
    }
    Ok(symbols)
}
