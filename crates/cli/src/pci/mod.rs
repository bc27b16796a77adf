//! PCI devices as people name them: by where they sit, by their ids, or by what the system calls
//! what they are.

mod called;
mod config;
mod memory;

use std::fmt;
use std::str::FromStr;

use trapline_abi::PciFunction;

pub(crate) use called::{CalledError, by_name, names_of};
pub(crate) use config::{config_space, has_interrupts};
pub(crate) use memory::{bars, is_frame_buffer, is_traceable, sizes};

/// Where a PCI function sits: domain, bus, device, function. Ordered as `lspci` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Bdf {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.domain, self.bus, self.device, self.function)
    }
}

impl From<Bdf> for PciFunction {
    fn from(Bdf { domain, bus, device, function }: Bdf) -> Self {
        Self::new(domain, bus, device, function)
    }
}

impl FromStr for Bdf {
    type Err = String;

    /// Reads `0000:00:03.0` or, in domain 0, `00:03.0`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (path, function) = text.rsplit_once('.')?;
            let mut parts = path.rsplit(':');
            let (device, bus, domain) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
            let bdf = Bdf {
                domain: u32::from_str_radix(domain, 16).ok()?,
                bus: u8::from_str_radix(bus, 16).ok()?,
                device: u8::from_str_radix(device, 16).ok()?,
                function: function.parse().ok()?,
            };
            (parts.next().is_none() && bdf.device < 32 && bdf.function < 8).then_some(bdf)
        };
        parse().ok_or_else(|| {
            format!("`{text}` is not a PCI address such as 0000:00:03.0 or 00:03.0 (lspci lists them)")
        })
    }
}

/// What a person calls a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// Where it sits.
    Address(Bdf),
    /// Every device with these ids.
    Id {
        /// The vendor's.
        vendor: u16,
        /// The device's.
        device: u16,
    },
    /// What the system calls it, or something that it has: `eth0`, `nvme0n1`, `drm/card0`,
    /// `/dev/sda`.
    Called(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let id = |text: &str| (text.len() == 4).then(|| u16::from_str_radix(text, 16).ok()).flatten();
        if let Some((vendor, device)) = text.split_once(':')
            && let (Some(vendor), Some(device)) = (id(vendor), id(device))
        {
            return Ok(Self::Id { vendor, device });
        }
        let is_name = !text.trim().is_empty() && !text.contains(['\0', '\n']);
        if is_name { Ok(Self::Called(text.into())) } else { Err("it is empty or no name".into()) }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Id { vendor, device } => write!(f, "{vendor:04x}:{device:04x}"),
            Self::Called(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_may_leave_out_domain_0() {
        let bdf: Bdf = "00:1f.3".parse().unwrap();
        assert_eq!(bdf.to_string(), "0000:00:1f.3");
        assert_eq!("0000:00:1F.3".parse(), Ok(bdf));
        for text in ["", "00:03", "00:20.0", "00:03.8", "0:0:0:0.0", "e1000e"] {
            assert!(text.parse::<Bdf>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_is_named_by_address_by_ids_or_by_what_it_is_called() {
        let read = |text: &str| text.parse::<DeviceName>();
        assert_eq!(read("00:1f.3"), Ok(DeviceName::Address("0000:00:1f.3".parse().unwrap())));
        assert_eq!(read("8086:10D3"), Ok(DeviceName::Id { vendor: 0x8086, device: 0x10d3 }));
        for name in ["eth0", "/dev/dri/card0", "808:10d3", "00:1f", "1-1.2:1.0"] {
            assert_eq!(read(name), Ok(DeviceName::Called(name.into())));
        }
        assert!(read(" ").is_err() && read("a\0").is_err());
    }
}
