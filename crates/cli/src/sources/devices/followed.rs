//! Devices of which a source records what functions of the kernel do: DMA, lifecycles.

use std::io;

use rustix::io::Errno;
use trapline_trace::{Device, Header};

use super::{NoDevice, all, chosen, describe, distinct};
use crate::args::Beside;
use crate::pci::Bdf;
use crate::refusal::Refusal;
use crate::say::say;
use crate::system::System;

/// The devices, and what of them is not recorded.
pub(in crate::sources) struct Followed {
    /// All devices of the machine, for the header.
    all: Vec<Device>,
    devices: Vec<(Bdf, String)>,
    /// What no function is followed for: known once it is armed.
    not_followed: Vec<String>,
    /// Whether what there is of a device is enough.
    is_enough: bool,
    /// Whether nothing else is traced.
    is_alone: bool,
}

/// What a source is, for messages.
pub(in crate::sources) struct Words {
    /// What of it is not recorded: `of DMA`.
    pub of: &'static str,
    /// What is recorded of a device with this name.
    pub recording: fn(&str) -> String,
    /// Why it can't be.
    pub refusal: fn(String, io::Error) -> Refusal,
}

impl Followed {
    /// The devices that are asked for, which must be there.
    pub(in crate::sources) fn new(system: &System, wanted: &Beside) -> Result<Self, NoDevice> {
        let all = all(system)?;
        let found = distinct(chosen(system, &all, &wanted.targets)?);
        let devices = found.into_iter().map(|(address, device)| (address, describe(device))).collect();
        Ok(Self { all, devices, not_followed: Vec::new(), is_enough: wanted.is_enough, is_alone: false })
    }

    /// Tells whether nothing else is traced: then what is left out must not be all.
    pub(in crate::sources) fn alone(self, is_alone: bool) -> Self {
        Self { is_alone, ..self }
    }

    /// Asks the module for each device by `follow`, which gives what of it is not followed.
    pub(in crate::sources) fn arm(
        &mut self,
        quiet: bool,
        words: &Words,
        follow: impl Fn(Bdf) -> io::Result<Vec<String>>,
    ) -> Result<(), Refusal> {
        for (number, (address, name)) in self.devices.iter().enumerate() {
            match follow(*address) {
                Ok(not_followed) => self.not_followed = not_followed,
                Err(source) => {
                    let is_missing = Errno::from_io_error(&source) == Some(Errno::NOSYS);
                    let refusal = (words.refusal)(name.clone(), source);
                    if !(self.is_enough && is_missing) || self.is_alone {
                        return Err(refusal);
                    }
                    say!("left out: {refusal}");
                    self.devices.truncate(number);
                    return Ok(());
                }
            }
            if !quiet {
                say!("recording {}", (words.recording)(name));
            }
        }
        // Said in any case: it is missing.
        if !self.not_followed.is_empty() {
            say!(
                "{} is not recorded: {}; this kernel has no such function that can be followed",
                words.of,
                self.not_followed.join(", ")
            );
        }
        Ok(())
    }

    /// The addresses of those that are recorded, and what of them is not, for the header, which
    /// gets all devices; `None` if none is recorded.
    pub(in crate::sources) fn describe(&self, header: &mut Header) -> Option<(Vec<String>, Vec<String>)> {
        if self.devices.is_empty() {
            return None;
        }
        if header.devices.is_empty() {
            header.devices.clone_from(&self.all);
        }
        let devices = self.devices.iter().map(|(address, _)| address.to_string()).collect();
        Some((devices, self.not_followed.clone()))
    }
}
