//! The devices that a person means by `--device` and `--driver`, for every source.

mod driver;
mod followed;

use trapline_trace::{Device, DeviceError};

use crate::args;
use crate::nearest::nearest;
use crate::pci::{self, Bdf, CalledError, DeviceName, is_traceable};
use crate::system::System;
use driver::Driver;
pub(super) use driver::modules_for;
#[cfg(test)]
pub(super) use driver::tests::machine;
pub(super) use followed::{Followed, Words};

/// Why no device is meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoDevice {
    /// sysfs can't be read.
    #[error("can't list the PCI devices: {0}; is sysfs mounted at /sys?")]
    List(#[from] DeviceError),
    /// `--device` names nothing.
    #[error("there is no PCI device {name}; devices here that can be traced:{present}")]
    Unknown {
        /// What was asked for.
        name: DeviceName,
        /// What there is.
        present: String,
    },
    /// `--device` names nothing, or several things, by what they are called.
    #[error(transparent)]
    Called(#[from] CalledError),
    /// `--driver` names neither a loaded PCI driver nor a module for PCI devices.
    #[error(
        "there is no PCI driver `{driver}`: none is loaded by that name, and no module of kernel {release} by that name \
         drives PCI devices; did you mean one of: {near}?"
    )]
    NoDriver {
        /// What was asked for.
        driver: String,
        /// Names like it.
        near: String,
        /// The running kernel.
        release: String,
    },
    /// `--driver` names a driver with nothing to drive here.
    #[error(
        "driver {driver} is bound to no PCI device here and matches none without a driver; devices here that can be traced:{present}"
    )]
    DriverWithoutDevice {
        /// What was asked for.
        driver: String,
        /// What there is.
        present: String,
    },
}

/// All devices of the machine.
pub(super) fn all(system: &System) -> Result<Vec<Device>, NoDevice> {
    Ok(trapline_trace::devices(&system.path("sys"))?)
}

/// The devices that `name` means.
pub(crate) fn devices_called(system: &System, name: &DeviceName) -> Result<Vec<Device>, NoDevice> {
    Ok(named(system, &all(system)?, name)?.into_iter().cloned().collect())
}

/// What a device is called in messages: its address and driver.
pub(super) fn describe(device: &Device) -> String {
    format!("{} ({})", device.address, device.driver.as_deref().unwrap_or("no driver"))
}

/// The devices that a person means, by their names and their drivers, in the order of the words.
pub(super) fn chosen<'a>(
    system: &System,
    devices: &'a [Device],
    wanted: &args::Targets,
) -> Result<Vec<&'a Device>, NoDevice> {
    let mut chosen: Vec<&Device> = Vec::new();
    for name in &wanted.devices {
        chosen.extend(named(system, devices, name)?);
    }
    for driver in &wanted.drivers {
        chosen.extend(of_driver(system, devices, driver)?);
    }
    Ok(chosen)
}

/// Each of the devices once, with its address.
pub(super) fn distinct(devices: Vec<&Device>) -> Vec<(Bdf, &Device)> {
    let mut found: Vec<(Bdf, &Device)> = Vec::new();
    for device in devices {
        // sysfs names devices by their addresses.
        let Ok(address) = device.address.parse() else { continue };
        if !found.iter().any(|(known, _)| *known == address) {
            found.push((address, device));
        }
    }
    found
}

/// The devices that a person means by a name.
fn named<'a>(system: &System, devices: &'a [Device], name: &DeviceName) -> Result<Vec<&'a Device>, NoDevice> {
    let is_meant = |device: &&Device| match name {
        DeviceName::Address(address) => device.address == address.to_string(),
        DeviceName::Id { vendor, device: id } => (device.vendor, device.device) == (*vendor, *id),
        DeviceName::Called(_) => false,
    };
    if let DeviceName::Called(name) = name {
        return Ok(pci::by_name(system, devices, name)?);
    }
    let found: Vec<&Device> = devices.iter().filter(is_meant).collect();
    if found.is_empty() {
        return Err(NoDevice::Unknown { name: name.clone(), present: listing(devices) });
    }
    Ok(found)
}

/// The devices with memory BARs that `driver` drives or would drive.
fn of_driver<'a>(system: &System, devices: &'a [Device], driver: &str) -> Result<Vec<&'a Device>, NoDevice> {
    let Some(known) = Driver::find(system, driver) else {
        let names = driver::names(system);
        let near = nearest(driver, names.iter().map(String::as_str));
        // All when none is alike.
        let near = if near.is_empty() { names } else { near }.join(", ");
        return Err(NoDevice::NoDriver { driver: driver.into(), near, release: system.release().into() });
    };
    let found: Vec<&Device> = devices.iter().filter(|device| known.drives(system, device)).collect();
    if found.is_empty() {
        return Err(NoDevice::DriverWithoutDevice { driver: driver.into(), present: listing(devices) });
    }
    let with_memory: Vec<&Device> = found.iter().copied().filter(|device| is_traceable(device)).collect();
    // One port of several without memory is no reason to trace none of them.
    Ok(if with_memory.is_empty() { found } else { with_memory })
}

/// Devices with something to trace, one a line.
fn listing(devices: &[Device]) -> String {
    let lines: Vec<String> = devices
        .iter()
        .filter(|device| is_traceable(device))
        .map(|device| format!("\n  {}", describe(device)))
        .collect();
    if lines.is_empty() { "\n  none with a memory BAR".into() } else { lines.concat() }
}
