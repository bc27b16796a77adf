//! The device, its driver, and how the one is bound to the other.

use std::path::{Path, PathBuf};

use trapline_trace::Device;

use crate::system::System;

/// Why a driver can't be bound anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindingError {
    /// Nothing drives the device.
    #[error(
        "{device} has no driver: bind the one that is to be tried (modprobe its module), so that the device works, then type this again"
    )]
    NoDriver {
        /// Which device.
        device: String,
    },
    /// The driver does not let go of it.
    #[error("driver {driver} can't be unbound from {device} and bound again: it has no `{file}` in {}; a campaign needs that", folder.display())]
    NoWay {
        /// The driver.
        driver: String,
        /// The device.
        device: String,
        /// What is missing.
        file: &'static str,
        /// Where.
        folder: PathBuf,
    },
}

/// A device and its driver.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// The device's PCI address.
    pub device: String,
    /// The driver.
    pub driver: String,
    /// The driver's module, or its name if it is built in.
    pub module: String,
    /// The driver's folder, with `bind` and `unbind`.
    pub folder: PathBuf,
    /// The file that resets the device, if it can be reset by itself.
    reset: Option<PathBuf>,
}

impl Binding {
    /// That of `device`, which must have a driver.
    pub(crate) fn of(system: &System, device: &Device) -> Result<Self, BindingError> {
        let address = device.address.clone();
        let Some(driver) = device.driver.clone() else {
            return Err(BindingError::NoDriver { device: address });
        };
        let folder = format!("sys/bus/pci/drivers/{driver}");
        let module = system.link_name(format!("{folder}/module")).unwrap_or_else(|| driver.clone());
        let folder = system.path(folder);
        for file in ["unbind", "bind"] {
            if !folder.join(file).exists() {
                return Err(BindingError::NoWay { driver, device: address, file, folder });
            }
        }
        let reset = system.path(format!("sys/bus/pci/devices/{address}/reset"));
        Ok(Self { device: address, driver, module, folder, reset: reset.exists().then_some(reset) })
    }

    /// Whether the device can be reset by itself.
    pub(crate) fn can_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// Whether the driver is bound.
    pub(crate) fn is_bound(&self) -> bool {
        self.folder.join(&self.device).exists()
    }

    /// The status of [`quiet`](Self::quiet) where the driver is unbound and the reset fails.
    pub(crate) const NO_RESET: i32 = 3;

    /// What a shell runs to have nothing bound, and the device reset if it can be and `resets`.
    pub(crate) fn quiet(&self, resets: bool) -> Vec<String> {
        const SCRIPT: &str = "\
[ ! -e \"$2/$1\" ] || echo \"$1\" > \"$2/unbind\" || exit 1
[ -z \"$3\" ] || echo 1 > \"$3\" || exit 3";
        let reset = self
            .reset
            .as_ref()
            .filter(|_| resets)
            .map(|reset| reset.display().to_string())
            .unwrap_or_default();
        ["sh", "-c", SCRIPT, "sh", &self.device, &self.folder.display().to_string(), &reset]
            .map(str::to_owned)
            .to_vec()
    }

    /// What a shell runs to bind the driver, then `command`, then to unbind it. What is under way
    /// is noted in the file `stage`.
    pub(crate) fn round(&self, stage: &Path, command: &[String]) -> Vec<String> {
        const SCRIPT: &str = "\
stage=$1 device=$2 driver=$3
shift 3
echo bind > \"$stage\"
[ -e \"$driver/$device\" ] || echo \"$device\" > \"$driver/bind\" || exit 1
echo command > \"$stage\"
\"$@\"
status=$?
echo unbind > \"$stage\"
echo \"$device\" > \"$driver/unbind\" || exit 1
echo \"done $status\" > \"$stage\"
exit $status";
        let text = |path: &Path| path.display().to_string();
        let words = ["sh", "-c", SCRIPT, "sh", &text(stage), &self.device, &text(&self.folder)];
        words.into_iter().map(str::to_owned).chain(command.iter().cloned()).collect()
    }

    /// What a shell runs to bind the driver.
    pub(crate) fn bind(&self) -> Vec<String> {
        let file = self.folder.join("bind").display().to_string();
        ["sh", "-c", "echo \"$1\" > \"$2\"", "sh", &self.device, &file].map(str::to_owned).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn machine(files: &[&str]) -> (tempfile::TempDir, System) {
        let files: Vec<(String, &str)> =
            files.iter().map(|file| (format!("sys/bus/pci/{file}"), "")).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (file.as_str(), *text)).collect();
        crate::system::tests::with(&files)
    }

    fn device(driver: Option<&str>) -> Device {
        Device { address: "0000:00:01.0".into(), driver: driver.map(str::to_owned), ..Device::default() }
    }

    #[test]
    fn a_device_without_a_driver_or_one_that_can_not_be_bound_anew_is_told() {
        let (_root, system) = machine(&["drivers/edu/unbind"]);
        let none = Binding::of(&system, &device(None)).unwrap_err().to_string();
        assert!(none.contains("0000:00:01.0 has no driver"), "{none}");
        let stuck = Binding::of(&system, &device(Some("edu"))).unwrap_err().to_string();
        assert!(stuck.contains("driver edu can't be unbound") && stuck.contains("no `bind`"), "{stuck}");
    }

    #[test]
    fn a_round_binds_runs_the_command_and_unbinds_and_tells_where_it_is() {
        let (root, system) =
            machine(&["drivers/edu/unbind", "drivers/edu/bind", "devices/0000:00:01.0/reset"]);
        let binding = Binding::of(&system, &device(Some("edu"))).unwrap();
        assert!(binding.can_reset() && !binding.is_bound());
        let stage = root.path().join("stage");
        let shell =
            |words: Vec<String>| std::process::Command::new(&words[0]).args(&words[1..]).status().unwrap();
        let run = |command: &[&str]| {
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            let status = shell(binding.round(&stage, &command));
            (status.code(), fs::read_to_string(&stage).unwrap().trim().to_owned())
        };
        assert_eq!(run(&["sh", "-c", "exit 7"]), (Some(7), "done 7".into()));
        assert_eq!(fs::read_to_string(binding.folder.join("bind")).unwrap(), "0000:00:01.0\n");
        assert_eq!(fs::read_to_string(binding.folder.join("unbind")).unwrap(), "0000:00:01.0\n");
        let reset = root.path().join("sys/bus/pci/devices/0000:00:01.0/reset");
        assert!(shell(binding.quiet(false)).success());
        assert_eq!(fs::read_to_string(&reset).unwrap(), "");
        assert!(shell(binding.quiet(true)).success());
        assert_eq!(
            fs::read_to_string(root.path().join("sys/bus/pci/devices/0000:00:01.0/reset")).unwrap(),
            "1\n"
        );
        // A folder can't be written to: the device refuses, then the driver.
        fs::remove_file(&reset).unwrap();
        fs::create_dir(&reset).unwrap();
        assert_eq!(shell(binding.quiet(true)).code(), Some(Binding::NO_RESET));
        fs::remove_file(binding.folder.join("bind")).unwrap();
        fs::create_dir(binding.folder.join("bind")).unwrap();
        assert_eq!(run(&["true"]), (Some(1), "bind".into()));
    }
}
