//! Interrupts of devices: the calls of their handlers.

use trapline_abi::{INTERRUPT_THREADS_FOLLOWED, InterruptWatch, PciFunction};
use trapline_trace::{Device, Followed, Header};

use super::devices::{self, NoDevice, chosen, describe, distinct};
use crate::args::Beside;
use crate::device::Control;
use crate::pci::{self, Bdf};
use crate::refusal::Refusal;
use crate::say::say;
use crate::system::System;
use crate::trace::{Arming, Source};

/// Why there are no interrupts to record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterruptsError {
    /// What was asked for is not there.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// A device has none.
    #[error(
        "{device} has no interrupts: neither a line (INTx) nor messages (MSI, MSI-X); leave out --interrupts"
    )]
    None {
        /// The device.
        device: String,
    },
    /// Nothing that was asked for is there.
    #[error("nothing is left to trace: take something out of --without, or name another device")]
    Nothing,
}

/// The interrupts of devices.
pub(crate) struct Interrupts {
    /// All of the machine, for the header.
    all: Vec<Device>,
    /// Whose.
    devices: Vec<(Bdf, String)>,
    /// Devices that have none, a sentence each.
    left_out: Vec<String>,
    /// Whether what threads run is recorded: known once it is armed.
    threads: bool,
}

impl Interrupts {
    /// Those of the devices that are asked for; `None` if none of them has any, which is said
    /// unless `quiet`.
    pub(crate) fn new(
        system: &System,
        wanted: &Beside,
        quiet: bool,
    ) -> Result<Option<Self>, InterruptsError> {
        let all = devices::all(system)?;
        let (mut devices, mut left_out) = (Vec::new(), Vec::new());
        for (address, device) in distinct(chosen(system, &all, &wanted.targets)?) {
            if !pci::has_interrupts(system, device) {
                let error = InterruptsError::None { device: describe(device) };
                match wanted.is_enough {
                    true => left_out.push(format!("{} has no interrupts", describe(device))),
                    false => return Err(error),
                }
                continue;
            }
            devices.push((address, describe(device)));
        }
        if devices.is_empty() {
            left_out.iter().filter(|_| !quiet).for_each(|sentence| say!("{sentence}"));
            return Ok(None);
        }
        Ok(Some(Self { all, devices, left_out, threads: false }))
    }
}

impl Source for Interrupts {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        for (address, name) in &self.devices {
            let device = PciFunction::from(*address);
            let mut watch = InterruptWatch { device, ..InterruptWatch::default() };
            control
                .interrupts(&mut watch)
                .map_err(|source| Refusal::Interrupts { device: name.clone(), source })?;
            self.threads = watch.told & INTERRUPT_THREADS_FOLLOWED != 0;
            if !arming.quiet {
                say!("recording the interrupts of {name}");
            }
        }
        if arming.quiet {
            return Ok(());
        }
        self.left_out.iter().for_each(|sentence| say!("{sentence}"));
        if !self.threads {
            say!(
                "what the threads of handlers run is not recorded: this kernel has no irq_thread_fn() that can be followed"
            );
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        if header.devices.is_empty() {
            header.devices.clone_from(&self.all);
        }
        let devices = self.devices.iter().map(|(address, _)| address.to_string()).collect();
        header.sources.push(trapline_trace::Source::Interrupt(Followed { devices, threads: self.threads }));
    }

    fn handlers(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::args::Targets;
    use crate::device::fake::Module;
    use crate::system::tests::with;
    use crate::trace::tests::quietly;

    /// A device with a line, one with MSI alone, and one without interrupts.
    fn machine() -> (tempfile::TempDir, System) {
        let mut files = Vec::new();
        let config = |pin: u8, capability: Option<u8>| {
            let mut bytes = [0_u8; 256];
            bytes[0x3d] = pin;
            if let Some(id) = capability {
                (bytes[6], bytes[0x34], bytes[0x40]) = (0x10, 0x40, id);
            }
            // As the texts of the files that `with` writes: no byte is above 0x7f.
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        for (address, config) in [
            ("0000:00:01.0", config(1, None)),
            ("0000:00:02.0", config(0, Some(5))),
            ("0000:00:03.0", config(0, Some(1))),
        ] {
            for (name, text) in [
                ("vendor", "0x8086\n"),
                ("device", "0x10d3\n"),
                ("class", "0x020000\n"),
                ("irq", "0\n"),
                ("resource", "0x00000000febc0000 0x00000000febdffff 0x0000000000040200\n"),
            ] {
                files.push((format!("sys/bus/pci/devices/{address}/{name}"), text.to_owned()));
            }
            files.push((format!("sys/bus/pci/devices/{address}/config"), config));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
        with(&files)
    }

    fn interrupts(names: &[&str], is_enough: bool) -> Result<Option<Interrupts>, InterruptsError> {
        let (_root, system) = machine();
        let devices = names.iter().map(|name| name.parse().unwrap()).collect();
        let targets = Targets { devices, ..Targets::default() };
        Interrupts::new(&system, &Beside { interrupts: true, is_enough, ..Beside::of(targets) }, false)
    }

    #[test]
    fn each_device_is_asked_for_once_and_is_in_the_header() {
        let mut interrupts = interrupts(&["00:01.0", "00:02.0", "00:01.0"], false).unwrap().unwrap();
        let (module, mut header) = (Module::default(), Header::default());
        interrupts.arm(&module, &quietly(false)).unwrap();
        let asked: Vec<u64> = module.interrupts.borrow().iter().map(|watch| watch.device.0).collect();
        assert_eq!(asked, [1 << 3, 2 << 3]);
        interrupts.describe(&mut header);
        let devices = vec!["0000:00:01.0".into(), "0000:00:02.0".into()];
        let followed = Followed { devices, threads: true };
        assert_eq!(header.sources, [trapline_trace::Source::Interrupt(followed)]);
        assert_eq!(header.devices.len(), 3);
    }

    #[test]
    fn a_device_without_interrupts_is_an_error_or_left_out_where_what_there_is_is_enough() {
        let error = interrupts(&["00:01.0", "00:03.0"], false).err().unwrap().to_string();
        assert!(error.starts_with("0000:00:03.0 (no driver) has no interrupts"), "{error}");
        let some = interrupts(&["00:01.0", "00:03.0"], true).unwrap().unwrap();
        assert_eq!((some.devices.len(), some.left_out.len()), (1, 1));
        assert!(interrupts(&["00:03.0"], true).unwrap().is_none());
    }

    #[test]
    fn a_device_that_is_gone_is_told_as_that() {
        let mut interrupts = interrupts(&["00:01.0"], false).unwrap().unwrap();
        let module = Module { no_interrupts: Some(Errno::NOENT), ..Module::default() };
        let error = interrupts.arm(&module, &quietly(false)).unwrap_err().to_string();
        assert!(error.contains("0000:00:01.0 (no driver): the device is gone"), "{error}");
    }
}
