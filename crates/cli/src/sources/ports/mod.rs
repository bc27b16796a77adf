//! I/O ports of devices: the accesses to them that instructions of drivers make.

mod modules;

use rustix::io::Errno;
use trapline_abi::{MAX_PORT_MODULES, MODULE_LENGTH, PortCode, PortCounts, PortRange};
use trapline_trace::{Device, Header, Registers, Symbols};

use super::devices::{self, NoDevice, chosen, describe};
use crate::args::Beside;
use crate::device::Control;
use crate::naming::{RegistersError, load_registers};
use crate::refusal::Refusal;
use crate::say::say;
use crate::system::System;
use crate::trace::{Arming, Counted, Source};
use modules::Modules;

/// The kernel's functions for accesses to what is a port or memory, whichever a driver has; those
/// that a kernel lacks are left out.
const FUNCTIONS: [&str; 28] = [
    "ioread8",
    "ioread16",
    "ioread16be",
    "ioread32",
    "ioread32be",
    "ioread8_rep",
    "ioread16_rep",
    "ioread32_rep",
    "ioread64_lo_hi",
    "ioread64_hi_lo",
    "ioread64be_lo_hi",
    "ioread64be_hi_lo",
    "pio_read64_lo_hi",
    "pio_read64_hi_lo",
    "iowrite8",
    "iowrite16",
    "iowrite16be",
    "iowrite32",
    "iowrite32be",
    "iowrite8_rep",
    "iowrite16_rep",
    "iowrite32_rep",
    "iowrite64_lo_hi",
    "iowrite64_hi_lo",
    "iowrite64be_lo_hi",
    "iowrite64be_hi_lo",
    "pio_write64_lo_hi",
    "pio_write64_hi_lo",
];

/// Ports that there are.
const ALL_PORTS: u64 = 1 << 16;

/// Why there are no accesses to ports to record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortsError {
    /// What was asked for is not there.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// Registers can't be named.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// A device has none.
    #[error("{device} has no I/O ports; leave out --ports")]
    None {
        /// The device.
        device: String,
    },
}

/// A range of ports that is recorded.
struct Region {
    /// What the device is called for a person.
    device: String,
    bar: u8,
    range: PortRange,
}

impl Region {
    /// `0xefa0-0xefbf of 0000:00:1f.3 (i801_smbus), BAR 4`.
    fn name(&self) -> String {
        let PortRange { first, count, .. } = self.range;
        format!("{first:#06x}-{:#06x} of {}, BAR {}", first + count - 1, self.device, self.bar)
    }
}

/// The I/O ports of devices.
pub(crate) struct Ports {
    system: System,
    /// All devices of the machine, for the header.
    all: Vec<Device>,
    /// Addresses of those whose ports they are.
    devices: Vec<String>,
    regions: Vec<Region>,
    modules: Modules,
    /// What is not recorded, a sentence each.
    left_out: Vec<String>,
    /// Whether what there is of a device is enough.
    is_enough: bool,
    /// Whether nothing else is traced.
    is_alone: bool,
    registers: Registers,
}

impl Ports {
    /// Those of the devices that are asked for; `None` if none of them has any, which is said
    /// unless `quiet`.
    pub(crate) fn new(system: &System, wanted: &Beside, quiet: bool) -> Result<Option<Self>, PortsError> {
        let all = devices::all(system)?;
        let registers = load_registers(&wanted.targets.registers)?.whole()?;
        let is_enough = wanted.is_enough;
        let (mut with, mut regions): (Vec<&Device>, Vec<Region>) = Default::default();
        let mut left_out: Vec<String> = Vec::new();
        for device in chosen(system, &all, &wanted.targets)? {
            if with.iter().any(|known| known.address == device.address) {
                continue;
            }
            let found = regions_of(device);
            if found.is_empty() {
                match is_enough {
                    true => left_out.push(format!("{} has no I/O ports", describe(device))),
                    false => return Err(PortsError::None { device: describe(device) }),
                }
                continue;
            }
            with.push(device);
            // Old devices may have the same.
            let is_new = |region: &Region| regions.iter().all(|known| known.range != region.range);
            let found: Vec<Region> = found.into_iter().filter(is_new).collect();
            regions.extend(found);
        }
        if regions.is_empty() {
            left_out.iter().filter(|_| !quiet).for_each(|sentence| say!("{sentence}"));
            return Ok(None);
        }
        let mut modules = Modules::of(system, &with);
        if modules.names.len() > MAX_PORT_MODULES {
            let rest = modules.names.split_off(MAX_PORT_MODULES);
            left_out.push(format!(
                "accesses to I/O ports by {} are left out: one trace can follow {MAX_PORT_MODULES} modules",
                rest.join(", ")
            ));
        }
        let devices = with.iter().map(|device| device.address.clone()).collect();
        let (system, is_alone) = (system.clone(), false);
        Ok(Some(Self { system, all, devices, regions, modules, left_out, is_enough, is_alone, registers }))
    }

    /// Tells whether nothing else is traced: then they must not be left out.
    pub(crate) fn alone(self, is_alone: bool) -> Self {
        Self { is_alone, ..self }
    }

    /// Has the instructions followed; how many there are in the code of modules that are loaded.
    fn follow(&self, control: &dyn Control, mut symbols: Symbols) -> Result<Found, Refusal> {
        let stretch = |start, end: u64| PortCode { start, length: end - start, module: [0; MODULE_LENGTH] };
        for name in FUNCTIONS {
            let own = symbols.named(name).filter(|symbol| symbol.is_code && symbol.module.is_none());
            for (address, size) in own.filter_map(|symbol| Some((symbol.address, symbol.size?))) {
                let code = stretch(address, address.saturating_add(size));
                let refused = |source| Refusal::PortCode { code: format!("{name}()"), source };
                control.port_code(&code).map_err(refused)?;
            }
        }
        let kernel = followed(&counts(control)?);
        // Before what is loaded is looked up: of one that is loaded meanwhile nothing is missed.
        for name in &self.modules.names {
            let refused = |source| Refusal::PortCode { code: name.clone(), source };
            control.port_code(&waiting_for(name)).map_err(refused)?;
        }
        // What was read is still there if that can't be read again.
        let _ = symbols.refresh();
        let (mut searched, mut absent): (Vec<&str>, Vec<&str>) = Default::default();
        for name in &self.modules.names {
            let Some(code) = symbols.code_of(name) else {
                absent.push(name);
                continue;
            };
            searched.push(name);
            match control.port_code(&stretch(code.start, code.end)) {
                // It went meanwhile, and is found again if it comes back.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::FAULT) => {}
                Err(source) => return Err(Refusal::PortCode { code: name.clone(), source }),
                Ok(()) => {}
            }
        }
        let all = followed(&counts(control)?);
        let modules = all.saturating_sub(kernel);
        Ok(Found { kernel, modules, searched: searched.join(", "), absent: absent.join(", ") })
    }

    /// Says what was found; what is in the way of a whole trace in any case.
    fn tell(&self, found: &Found, quiet: bool) {
        let modules = self.modules.names.join(", ");
        if !quiet {
            for region in &self.regions {
                say!("recording accesses to the I/O ports {}", region.name());
            }
            if found.modules > 0 {
                say!(
                    "following {} instructions that access I/O ports, in the code of {}",
                    found.modules,
                    found.searched
                );
            }
            if found.kernel > 0 {
                say!(
                    "following {} instructions that access I/O ports, in the kernel's ioread and iowrite functions",
                    found.kernel
                );
            }
            if !found.absent.is_empty() {
                say!("not loaded yet, and followed once they are: {}", found.absent);
            }
            self.left_out.iter().chain(&self.modules.without).for_each(|sentence| say!("{sentence}"));
        }
        if found.kernel + found.modules == 0 {
            say!(
                "no instruction that accesses I/O ports was found{}: as long as that is so, no access to a port is recorded",
                if modules.is_empty() {
                    String::new()
                } else {
                    format!(" in {modules} or in the kernel's functions")
                }
            );
        } else if found.modules == 0 && found.absent.is_empty() && !modules.is_empty() && !quiet {
            say!(
                "no instruction that accesses I/O ports was found in {modules}: accesses by the kernel's functions alone are recorded"
            );
        }
    }
}

/// Instructions that were found.
struct Found {
    /// In the kernel's functions.
    kernel: u64,
    /// In modules.
    modules: u64,
    /// The modules that are loaded.
    searched: String,
    /// Modules that are not loaded.
    absent: String,
}

/// The regions of ports that a device has.
fn regions_of(device: &Device) -> Vec<Region> {
    let is_there = |start: u64, length: u64| start.checked_add(length).is_some_and(|end| end <= ALL_PORTS);
    let bars = device.port_bars().filter(|(_, bar)| bar.start != 0 && is_there(bar.start, bar.length));
    let region = |(bar, found): (u8, &trapline_trace::Bar)| Region {
        device: describe(device),
        bar,
        range: PortRange { first: found.start as u32, count: found.length as u32, reserved: 0 },
    };
    bars.map(region).collect()
}

/// A module's code, whenever that is loaded.
fn waiting_for(name: &str) -> PortCode {
    let mut module = [0; MODULE_LENGTH];
    // The kernel's names are shorter (MODULE_NAME_LEN), and end with a zero.
    let length = name.len().min(MODULE_LENGTH - 1);
    module[..length].copy_from_slice(&name.as_bytes()[..length]);
    PortCode { start: 0, length: 0, module }
}

fn counts(control: &dyn Control) -> Result<PortCounts, Refusal> {
    let what = "tell which instructions access I/O ports";
    control.port_counts().map_err(|source| Refusal::Told { what, source })
}

/// Instructions that were found and could be probed.
fn followed(counts: &PortCounts) -> u64 {
    counts.found.saturating_sub(counts.refused)
}

impl Source for Ports {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        let symbols = Symbols::load(&self.system.path("proc")).unwrap_or_default();
        if symbols.is_empty() {
            let refusal = Refusal::PortsHidden;
            if !self.is_enough || self.is_alone {
                return Err(refusal);
            }
            say!("left out: {refusal}");
            self.devices.clear();
            return Ok(());
        }
        for region in &self.regions {
            let refused = |source| Refusal::Ports { ports: region.name(), source };
            control.ports(&region.range).map_err(refused)?;
        }
        let found = self.follow(control, symbols)?;
        self.tell(&found, arming.quiet);
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        if header.devices.is_empty() {
            header.devices.clone_from(&self.all);
        }
        if self.devices.is_empty() {
            return;
        }
        let (devices, modules) = (self.devices.clone(), self.modules.names.clone());
        header.sources.push(trapline_trace::Source::Port(trapline_trace::Ports { devices, modules }));
    }

    fn registers(&self) -> Option<&Registers> {
        Some(&self.registers)
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        let counts = control.port_counts().unwrap_or_default();
        Counted { ports_missed: counts.missed, ports_refused: counts.refused, ..Counted::default() }
    }
}

#[cfg(test)]
mod tests;
