//! PCI drivers: which there are, and which devices one would claim by its module's aliases.

use trapline_trace::Device;

use crate::system::System;

const DRIVERS: &str = "sys/bus/pci/drivers";

/// Names of the PCI drivers that are loaded or built in.
pub(crate) fn names(system: &System) -> Vec<String> {
    system.list(DRIVERS)
}

/// The module that driver `name` is from: sysfs knows for a loaded one; else a module usually has
/// its driver's name.
fn module_of(system: &System, name: &str) -> String {
    system.link_name(format!("{DRIVERS}/{name}/module")).unwrap_or_else(|| name.to_owned()).replace('-', "_")
}

/// The devices that a driver can drive.
#[derive(Debug)]
pub(crate) struct Driver {
    name: String,
    aliases: Vec<glob::Pattern>,
}

impl Driver {
    /// The PCI driver called `name`: loaded, built in, or a module that claims PCI devices. `None`
    /// if there is no such thing.
    pub(crate) fn find(system: &System, name: &str) -> Option<Self> {
        let aliases = aliases(system, name);
        let known = !aliases.is_empty() || names(system).iter().any(|known| known == name);
        known.then(|| Self { name: name.into(), aliases })
    }

    /// Whether it drives `device`, or would: the device has no driver and the module's aliases
    /// match.
    pub(crate) fn drives(&self, system: &System, device: &Device) -> bool {
        match &device.driver {
            Some(driver) => *driver == self.name,
            None => system
                .read(format!("sys/bus/pci/devices/{}/modalias", device.address))
                .is_ok_and(|modalias| self.aliases.iter().any(|alias| alias.matches(&modalias))),
        }
    }
}

/// The modules that say that they drive `device`, as they would be loaded for it.
pub(in crate::sources) fn modules_for(system: &System, device: &Device) -> Vec<String> {
    let Ok(modalias) = system.read(format!("sys/bus/pci/devices/{}/modalias", device.address)) else {
        return Vec::new();
    };
    let Ok(text) = std::fs::read_to_string(system.modules().join("modules.alias")) else { return Vec::new() };
    let mut modules: Vec<String> = Vec::new();
    for (pattern, module) in claims(&text) {
        let module = module.replace('-', "_");
        let pattern = glob::Pattern::new(&format!("pci:{pattern}"));
        if !modules.contains(&module) && pattern.is_ok_and(|pattern| pattern.matches(&modalias)) {
            modules.push(module);
        }
    }
    modules
}

/// The alias patterns of driver `name`'s module, from the kernel's `modules.alias`.
///
/// Each line there is `alias PATTERN MODULE` (kmod, depmod(8)); only the PCI ones are of use here.
/// Empty if the driver is built in or not a module's.
fn aliases(system: &System, name: &str) -> Vec<glob::Pattern> {
    let module = module_of(system, name);
    let Ok(text) = std::fs::read_to_string(system.modules().join("modules.alias")) else { return Vec::new() };
    claims(&text)
        .filter(|(_, owner)| owner.replace('-', "_") == module)
        .filter_map(|(pattern, _)| glob::Pattern::new(&format!("pci:{pattern}")).ok())
        .collect()
}

/// The patterns of `modules.alias` for PCI devices, without what they begin with, and whose each
/// is.
fn claims(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("alias pci:")?.rsplit_once(' '))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// QEMU's e1000e: registers, flash, I/O ports, MSI-X.
    const E1000E: &str = "\
0x00000000febc0000 0x00000000febdffff 0x0000000000040200
0x00000000feba0000 0x00000000febbffff 0x0000000000040200
0x000000000000c000 0x000000000000c01f 0x0000000000040101
0x00000000febe0000 0x00000000febe3fff 0x0000000000040200
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000feb40000 0x00000000feb7ffff 0x0000000000046200
";
    const PORTS_ONLY: &str = "0x000000000000c040 0x000000000000c05f 0x0000000000040101\n";

    /// A machine with a bound NVMe disk, an e1000e without its driver (a module that is not loaded)
    /// and a device with I/O ports only.
    pub(crate) fn machine() -> (tempfile::TempDir, System) {
        let root = tempfile::tempdir().unwrap();
        let add = |bdf: &str, alias: &str, resource: &str, driver: Option<&str>| {
            let folder = root.path().join("sys/bus/pci/devices").join(bdf);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in
                [("vendor", "0x8086"), ("device", "0x10d3"), ("class", "0x020000"), ("irq", "10")]
            {
                fs::write(folder.join(name), text).unwrap();
            }
            fs::write(folder.join("modalias"), alias).unwrap();
            fs::write(folder.join("resource"), resource).unwrap();
            if let Some(driver) = driver {
                symlink(Path::new("../../../bus/pci/drivers").join(driver), folder.join("driver")).unwrap();
                fs::create_dir_all(root.path().join(DRIVERS).join(driver)).unwrap();
            }
        };
        add("0000:00:02.0", "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00\n", E1000E, None);
        let disk = "0x00000000febf0000 0x00000000febf3fff 0x0000000000140204\n";
        add("0000:00:03.0", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02\n", disk, Some("nvme"));
        add("0000:00:1f.3", "pci:v00008086d00002930sv00001AF4sd00001100bc0Csc05i00\n", PORTS_ONLY, None);
        let system = System::at(root.path(), "6.1.0-test");
        fs::create_dir_all(system.modules()).unwrap();
        let alias =
            "alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\nalias pci:v*d*sv*sd*bc01sc08i02* nvme\n";
        fs::write(system.modules().join("modules.alias"), alias).unwrap();
        (root, system)
    }

    #[test]
    fn a_driver_that_is_not_loaded_claims_devices_by_its_modules_aliases() {
        let (_root, system) = machine();
        let devices = trapline_trace::devices(&system.path("sys")).unwrap();
        let claimed = |name| {
            let driver = Driver::find(&system, name).unwrap();
            let claims = devices.iter().filter(|device| driver.drives(&system, device));
            claims.map(|device| device.address.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(claimed("e1000e"), ["0000:00:02.0"]);
        assert_eq!(claimed("nvme"), ["0000:00:03.0"]);
        assert!(Driver::find(&system, "igb").is_none());
    }
}
