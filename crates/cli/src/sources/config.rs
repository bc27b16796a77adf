//! Configuration space of devices: the accesses to it, by whomever.

use std::io;

use rustix::io::Errno;
use trapline_abi::{CONFIG_FUNCTIONS, ConfigWatch};
use trapline_registers::config::Broken;
use trapline_trace::{Device, Header, Space, Spaces};

use super::devices::{self, NoDevice, chosen, describe, distinct};
use crate::args::Beside;
use crate::device::Control;
use crate::pci::{self, Bdf};
use crate::refusal::Refusal;
use crate::say::say;
use crate::system::System;
use crate::trace::{Arming, Counted, Source};

/// Why there is no configuration space to record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// What was asked for is not there.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// A device's configuration space can't be read.
    #[error("can't read the configuration space of {device}: {source}")]
    Read {
        /// The device.
        device: String,
        /// Why.
        source: io::Error,
    },
}

/// A device whose configuration space is recorded.
struct Followed {
    address: Bdf,
    /// What it is called for a person.
    name: String,
    space: Space,
    broken: Option<Broken>,
}

/// Configuration spaces of devices.
pub(crate) struct Config {
    /// All devices of the machine, for the header.
    all: Vec<Device>,
    devices: Vec<Followed>,
    /// Whether what there is of a device is enough.
    is_enough: bool,
    /// Whether nothing else is traced.
    is_alone: bool,
    /// Known once they are armed: functions that are not followed, and the probes on the others.
    not_followed: Vec<&'static str>,
    probes: Vec<u64>,
}

impl Config {
    /// Those of the devices that are asked for. Their capabilities are read now, so that the trace
    /// does not begin with that.
    pub(crate) fn new(system: &System, wanted: &Beside) -> Result<Self, ConfigError> {
        let all = devices::all(system)?;
        let mut devices: Vec<Followed> = Vec::new();
        for (address, device) in distinct(chosen(system, &all, &wanted.targets)?) {
            let name = describe(device);
            let read = |source| ConfigError::Read { device: name.clone(), source };
            let walked = pci::config_space(system, device).map_err(read)?;
            let space = Space { device: device.address.clone(), layout: walked.layout };
            devices.push(Followed { address, name, space, broken: walked.broken });
        }
        let (not_followed, probes) = Default::default();
        Ok(Self { all, devices, is_enough: wanted.is_enough, is_alone: false, not_followed, probes })
    }
}

impl Config {
    /// Tells whether nothing else is traced: then what is left out must not be all.
    pub(crate) fn alone(self, is_alone: bool) -> Self {
        Self { is_alone, ..self }
    }
}

impl Source for Config {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        let (mut armed, mut left_out) = (Vec::new(), None);
        for device in std::mem::take(&mut self.devices) {
            let mut watch = ConfigWatch { device: device.address.into(), ..ConfigWatch::default() };
            if let Err(source) = control.config(&mut watch) {
                // No way to follow it, or no function to follow it by.
                let can_not = matches!(Errno::from_io_error(&source), Some(Errno::OPNOTSUPP | Errno::NOSYS));
                let refusal = Refusal::Config { device: device.name, source };
                if !(self.is_enough && can_not) {
                    return Err(refusal);
                }
                if let Some(before) = left_out.replace(refusal) {
                    say!("left out: {before}");
                }
                continue;
            }
            let numbered = CONFIG_FUNCTIONS.iter().enumerate();
            let is_missing = |number: usize| watch.followed >> number & 1 == 0;
            self.not_followed =
                numbered.filter(|(number, _)| is_missing(*number)).map(|(_, name)| *name).collect();
            self.probes = watch.probes.to_vec();
            if !arming.quiet {
                say!("recording the configuration space of {}", device.name);
                if let Some(broken) = device.broken {
                    say!(
                        "registers in the configuration space of {} may have no name: {broken}",
                        device.name
                    );
                }
            }
            armed.push(device);
        }
        if let Some(refusal) = left_out {
            if armed.is_empty() && self.is_alone {
                return Err(refusal);
            }
            say!("left out: {refusal}");
        }
        self.devices = armed;
        // Said in any case: what goes through them is missing.
        if !self.not_followed.is_empty() {
            let functions: Vec<String> = self.not_followed.iter().map(|name| format!("{name}()")).collect();
            say!(
                "accesses to configuration space by {} are not recorded: this kernel has no such function that can be followed",
                functions.join(", ")
            );
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        if header.devices.is_empty() {
            header.devices.clone_from(&self.all);
        }
        let devices = self.devices.iter().map(|device| device.space.clone()).collect();
        let not_followed = self.not_followed.iter().map(|name| (*name).to_owned()).collect();
        header.sources.push(trapline_trace::Source::Config(Spaces { devices, not_followed }));
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        let missed = |id: &u64| {
            // One that is not followed has no probe.
            let entry = control.list(*id).ok().flatten().filter(|entry| entry.id == *id);
            entry.map_or(0, |entry| entry.counts.missed)
        };
        Counted { config_missed: self.probes.iter().map(missed).sum(), ..Counted::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Targets;
    use crate::device::fake::Module;
    use crate::system::tests::with;
    use crate::trace::tests::quietly;

    /// A device with PM alone, and one that does not answer.
    fn machine() -> (tempfile::TempDir, System) {
        let mut there = vec![0_u8; 256];
        (there[6], there[0x34], there[0x40]) = (0x10, 0x40, 1);
        let files = ["vendor", "device", "class", "irq", "resource"].map(|name| match name {
            "irq" => (name, "0\n"),
            "resource" => (name, "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"),
            _ => (name, "0x1\n"),
        });
        let (root, system) = with(&[]);
        for (address, config) in [("0000:00:01.0", there), ("0000:00:02.0", vec![0xff; 4096])] {
            let folder = system.path(format!("sys/bus/pci/devices/{address}"));
            std::fs::create_dir_all(&folder).unwrap();
            files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
            std::fs::write(folder.join("config"), config).unwrap();
        }
        (root, system)
    }

    fn config(names: &[&str], is_enough: bool) -> Config {
        let (_root, system) = machine();
        let devices = names.iter().map(|name| name.parse().unwrap()).collect();
        let targets = Targets { devices, ..Targets::default() };
        Config::new(&system, &Beside { config: true, is_enough, ..Beside::of(targets) }).unwrap()
    }

    #[test]
    fn each_device_is_asked_for_once_and_its_capabilities_are_in_the_header() {
        let mut config = config(&["00:01.0", "00:02.0", "00:01.0"], false);
        assert_eq!(config.devices[1].broken, Some(Broken::Silent));
        let (module, mut header) = (Module { not_followed: 1 << 3, ..Module::default() }, Header::default());
        config.arm(&module, &quietly(false)).unwrap();
        let asked: Vec<u64> = module.config.borrow().iter().map(|watch| watch.device.0).collect();
        assert_eq!(asked, [1 << 3, 2 << 3]);
        config.describe(&mut header);
        let [trapline_trace::Source::Config(spaces)] = &header.sources[..] else { panic!("{header:?}") };
        assert_eq!(spaces.not_followed, ["pci_mmcfg_write"]);
        let found: Vec<usize> = spaces.devices.iter().map(|space| space.layout.capabilities.len()).collect();
        assert_eq!((found, header.devices.len()), (vec![1, 0], 2));
        // What each of the four probes missed.
        assert_eq!(config.counted(&module).config_missed, 4);
    }

    #[test]
    fn a_device_that_is_reached_in_another_way_is_an_error_or_left_out_where_the_rest_is_enough() {
        let module = Module { no_config: Some(Errno::OPNOTSUPP), ..Module::default() };
        let error = config(&["00:01.0"], false).arm(&module, &quietly(false)).unwrap_err().to_string();
        assert!(error.contains("0000:00:01.0 (no driver)") && error.contains("VMD"), "{error}");
        let mut some = config(&["00:01.0"], true);
        some.arm(&module, &quietly(false)).unwrap();
        assert!(some.devices.is_empty());
        let error = config(&["00:01.0", "00:02.0"], true).alone(true).arm(&module, &quietly(false));
        assert!(error.is_err(), "an empty trace");
        let module = Module { no_config: Some(Errno::NOSYS), ..Module::default() };
        config(&["00:01.0"], true).arm(&module, &quietly(false)).unwrap();
        let module = Module { no_config: Some(Errno::NOENT), ..Module::default() };
        assert!(config(&["00:01.0"], true).arm(&module, &quietly(false)).is_err());
    }
}
