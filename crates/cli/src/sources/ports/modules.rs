//! Whose code accesses the ports of a device: the module of its driver, and what that builds on.

use std::collections::HashMap;
use std::fs;

use trapline_trace::Device;

use crate::sources::devices::{describe, modules_for};
use crate::system::System;

/// The modules whose code is followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Modules {
    /// Their names, those of drivers first.
    pub names: Vec<String>,
    /// Of devices without such a module, why, a sentence each.
    pub without: Vec<String>,
}

impl Modules {
    /// Those of these devices' drivers, and all that they build on.
    ///
    /// A device without a driver has that of the modules which say that they drive it, so that one
    /// is followed that is loaded, or bound, while the trace runs.
    pub(super) fn of(system: &System, devices: &[&Device]) -> Self {
        let loaded = Loaded::read(system);
        let mut found = Self::default();
        for device in devices {
            let name = describe(device);
            match &device.driver {
                Some(driver) => match module_of(system, device).filter(|name| loaded.holds(name)) {
                    Some(module) => found.add(module),
                    None => found.without.push(format!(
                        "{driver}, the driver of {}, is built into the kernel, where its own code can't be told apart: \
                         of its accesses to I/O ports those are recorded that the kernel's ioread and iowrite functions make",
                        device.address
                    )),
                },
                None => {
                    let modules = modules_for(system, device);
                    if modules.is_empty() {
                        found.without.push(format!(
                            "{name} has no driver, and no module says that it drives it: of accesses to its I/O ports \
                             those are recorded that the kernel's ioread and iowrite functions make"
                        ));
                    }
                    modules.into_iter().for_each(|module| found.add(module));
                }
            }
        }
        let known = Dependencies::read(system, &loaded);
        // What is added is looked at in its turn.
        let mut next = 0;
        while let Some(module) = found.names.get(next).cloned() {
            known.of(&module).for_each(|other| found.add(other.clone()));
            next += 1;
        }
        found
    }

    fn add(&mut self, module: String) {
        if !self.names.contains(&module) {
            self.names.push(module);
        }
    }
}

/// The module of the driver that a device is bound to. One that is built in may have a link to its
/// parameters here, too.
fn module_of(system: &System, device: &Device) -> Option<String> {
    let link = format!("sys/bus/pci/devices/{}/driver/module", device.address);
    system.link_name(link).map(|name| canonical(&name))
}

/// As the kernel names modules, whose files may be called otherwise.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The modules that are loaded, each with those that use it.
struct Loaded(Vec<(String, Vec<String>)>);

impl Loaded {
    /// As `/proc/modules` tells: `i2c_smbus 20480 1 i2c_i801, Live 0x0` (kernel/module/procfs.c).
    fn read(system: &System) -> Self {
        let text = system.read("proc/modules").unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let (name, users) = (words.next()?, words.nth(2)?);
            let users = users.split(',').filter(|user| !matches!(*user, "" | "-" | "[permanent]"));
            Some((name.to_owned(), users.map(Into::into).collect()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn holds(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

/// Which modules each builds on.
struct Dependencies(HashMap<String, Vec<String>>);

impl Dependencies {
    /// What `modules.dep` says (kmod, depmod(8)), and what the kernel says of those that are
    /// loaded: they may be of no package.
    fn read(system: &System, loaded: &Loaded) -> Self {
        let text = fs::read_to_string(system.modules().join("modules.dep")).unwrap_or_default();
        let mut known: HashMap<String, Vec<String>> = HashMap::new();
        for (file, others) in text.lines().filter_map(|line| line.split_once(':')) {
            let others = others.split_whitespace().filter_map(module_in);
            known.entry(module_in(file).unwrap_or_default()).or_default().extend(others);
        }
        for (name, users) in &loaded.0 {
            for user in users {
                known.entry(user.clone()).or_default().push(name.clone());
            }
        }
        Self(known)
    }

    fn of(&self, module: &str) -> impl Iterator<Item = &String> {
        self.0.get(module).into_iter().flatten()
    }
}

/// `kernel/drivers/i2c/busses/i2c-i801.ko.xz` is of `i2c_i801`.
fn module_in(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    Some(canonical(file.split_once(".ko").map_or(file, |(name, _)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::Machine;

    const ALIAS: &str = "lib/modules/6.1.0-test/modules.alias";
    const DEPENDENCIES: &str = "lib/modules/6.1.0-test/modules.dep";

    fn device(address: &str, driver: Option<&str>) -> Device {
        Device { address: address.into(), driver: driver.map(Into::into), ..Device::default() }
    }

    fn machine() -> Machine {
        let machine = Machine::new(&[
            (
                "proc/modules",
                "i2c_smbus 20480 1 i2c_i801, Live 0x0\ni2c_i801 40960 0 - Live 0x0\nown 4096 1 i2c_smbus,[permanent], Live 0x0\n",
            ),
            (
                ALIAS,
                "# Aliases\nalias pci:v00008086d00002922sv*sd*bc*sc*i* ahci\nalias pci:v*d*sv*sd*bc01sc06i01* ahci-too\n",
            ),
            (
                DEPENDENCIES,
                "kernel/drivers/ata/ahci.ko.xz: kernel/drivers/ata/libahci.ko.xz kernel/drivers/ata/libata.ko.xz\n\
                 kernel/drivers/ata/libahci.ko.xz: kernel/drivers/ata/libata.ko.xz\nkernel/drivers/ata/libata.ko.xz:\n",
            ),
            (
                "sys/bus/pci/devices/0000:00:1f.2/modalias",
                "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01\n",
            ),
            ("sys/bus/pci/devices/0000:00:01.0/modalias", "pci:v00001234d00000001sv0sd0bc00sc00i00\n"),
        ]);
        for (address, module) in [("0000:00:1f.3", "i2c_i801"), ("0000:00:02.0", "parameters_only")] {
            let link = format!("sys/bus/pci/devices/{address}/driver/module");
            machine.link(&link, &machine.system.path("sys/module").join(module));
        }
        machine
    }

    #[test]
    fn a_bound_driver_s_module_is_followed_with_all_that_it_builds_on_as_the_kernel_knows_it() {
        let machine = machine();
        let smbus = device("0000:00:1f.3", Some("i801_smbus"));
        let found = Modules::of(&machine.system, &[&smbus, &smbus]);
        assert_eq!(
            (found.names, found.without.len()),
            (vec!["i2c_i801".into(), "i2c_smbus".into(), "own".into()], 0)
        );
    }

    #[test]
    fn a_device_without_a_driver_has_the_modules_that_would_be_loaded_for_it() {
        let machine = machine();
        let found = Modules::of(&machine.system, &[&device("0000:00:1f.2", None)]);
        assert_eq!(found.names, ["ahci", "ahci_too", "libahci", "libata"]);
    }

    #[test]
    fn what_is_built_in_or_driven_by_no_module_is_told_of() {
        let machine = machine();
        let built_in = device("0000:00:02.0", Some("piix"));
        let found = Modules::of(&machine.system, &[&built_in, &device("0000:00:01.0", None)]);
        assert!(found.names.is_empty());
        assert!(found.without[0].starts_with("piix, the driver of 0000:00:02.0, is built into"), "{found:?}");
        assert!(found.without[1].starts_with("0000:00:01.0 (no driver) has no driver, and no module"));
    }
}
