//! What a person asked to trace (`--device`, `--driver`, `--range`), turned into the physical ranges to watch.

use trapline_trace::{Bar, Device};

use crate::driver::{self, Driver};
use crate::error::{Error, Result};
use crate::system::System;
use crate::units::{Bdf, PhysicalRange};

/// Index of the expansion ROM after BARs 0 to 5.
const ROM: u8 = 6;

/// A range to watch and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where it lies.
    pub range: PhysicalRange,
    /// The device and the number of the BAR that it is, `None` for a bare range.
    pub bar: Option<(Device, u8)>,
}

impl Target {
    /// What it is called in messages: `0000:00:03.0 BAR 0`, or the range itself.
    pub(crate) fn name(&self) -> String {
        match &self.bar {
            Some((device, index)) => format!("{} BAR {index} ({})", device.address, self.range),
            None => self.range.to_string(),
        }
    }
}

/// What to trace, as asked on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// `--device`.
    pub devices: Vec<Bdf>,
    /// `--driver`.
    pub drivers: Vec<String>,
    /// `--range`.
    pub ranges: Vec<PhysicalRange>,
}

/// What a device is called in messages: its address and driver.
pub(crate) fn describe(device: &Device) -> String {
    format!("{} ({})", device.address, device.driver.as_deref().unwrap_or("no driver"))
}

/// Finds everything in `wanted` among `devices`, all those of the machine; each byte comes once, though it may be asked for in several ways.
///
/// A driver stands for the devices bound to it and for the devices without a driver that its module's aliases match, so that its
/// probe is seen when it binds while the trace runs. That a driver without any device is an error and not an empty trace: most often it is
/// a typing mistake, and waiting for a device to be plugged in is not possible, since it has no addresses yet.
pub(crate) fn resolve(system: &System, devices: &[Device], wanted: &Wanted) -> Result<Vec<Target>> {
    let mut chosen: Vec<&Device> = Vec::new();
    for &bdf in &wanted.devices {
        let device = devices.iter().find(|device| device.address == bdf.to_string());
        chosen.push(device.ok_or_else(|| Error::NoDevice { bdf, present: listing(devices) })?);
    }
    for driver in &wanted.drivers {
        chosen.extend(of_driver(system, devices, driver)?);
    }
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |range: PhysicalRange, bar: Option<(&Device, u8)>| {
        let known: Vec<PhysicalRange> = targets.iter().map(|target| target.range).collect();
        let pieces = known.iter().fold(vec![range], |pieces, known| {
            pieces.iter().flat_map(|piece| piece.outside(known)).collect()
        });
        let bar = bar.map(|(device, index)| (device.clone(), index));
        targets.extend(pieces.into_iter().map(|range| Target { range, bar: bar.clone() }));
    };
    for device in chosen {
        if !is_traceable(device) {
            return Err(Error::NoMemoryBar { device: describe(device) });
        }
        for (index, bar) in bars(device) {
            add(PhysicalRange { physical: bar.start, length: bar.length }, Some((device, index)));
        }
    }
    for &range in &wanted.ranges {
        add(range, None);
    }
    Ok(targets)
}

/// The memory BARs of a device that have an address. The expansion ROM is left out: it holds no registers.
fn bars(device: &Device) -> impl Iterator<Item = (u8, &Bar)> {
    device.memory_bars().filter(|(index, bar)| *index < ROM && bar.start != 0)
}

fn is_traceable(device: &Device) -> bool {
    bars(device).next().is_some()
}

/// The devices with memory BARs that `driver` drives or would drive.
fn of_driver<'a>(system: &System, devices: &'a [Device], driver: &str) -> Result<Vec<&'a Device>> {
    let Some(known) = Driver::find(system, driver) else {
        let near = nearest(driver, &driver::names(system));
        return Err(Error::NoDriver { driver: driver.into(), near, release: system.release().into() });
    };
    let found: Vec<&Device> = devices.iter().filter(|device| known.drives(system, device)).collect();
    if found.is_empty() {
        return Err(Error::DriverWithoutDevice { driver: driver.into(), present: listing(devices) });
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

/// Up to five of `names` that `wanted` may have meant, the likeliest first; all when none is alike.
fn nearest(wanted: &str, names: &[String]) -> String {
    let mut alike: Vec<(f64, &String)> = names
        .iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shown: Vec<&str> = if alike.is_empty() {
        names.iter().map(String::as_str).collect()
    } else {
        alike.iter().take(5).map(|(_, name)| name.as_str()).collect()
    };
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::tests::machine;

    fn names(wanted: Wanted) -> Result<Vec<String>> {
        let (_root, system) = machine();
        let devices = trapline_trace::devices(&system.path("sys")).unwrap();
        Ok(resolve(&system, &devices, &wanted)?.iter().map(Target::name).collect())
    }

    #[test]
    fn a_device_stands_for_all_its_memory_bars() {
        let wanted = Wanted { devices: vec!["00:02.0".parse().unwrap()], ..Default::default() };
        assert_eq!(
            names(wanted).unwrap(),
            [
                "0000:00:02.0 BAR 0 (0xfebc0000+0x20000)",
                "0000:00:02.0 BAR 1 (0xfeba0000+0x20000)",
                "0000:00:02.0 BAR 3 (0xfebe0000+0x4000)",
            ]
        );
    }

    #[test]
    fn a_driver_stands_for_its_devices_bound_or_not() {
        let bound = Wanted { drivers: vec!["nvme".into()], ..Default::default() };
        assert_eq!(names(bound).unwrap(), ["0000:00:03.0 BAR 0 (0xfebf0000+0x4000)"]);
        let unbound = Wanted { drivers: vec!["e1000e".into()], ..Default::default() };
        assert_eq!(names(unbound).unwrap().len(), 3);
    }

    #[test]
    fn a_byte_asked_for_in_several_ways_is_watched_once() {
        let bdf: Bdf = "00:03.0".parse().unwrap();
        let ranges = vec!["0xfebf3000+8K".parse().unwrap(), "0xfec00000+4K".parse().unwrap()];
        let wanted = Wanted { devices: vec![bdf, bdf], drivers: vec!["nvme".into()], ranges };
        assert_eq!(
            names(wanted).unwrap(),
            ["0000:00:03.0 BAR 0 (0xfebf0000+0x4000)", "0xfebf4000+0x1000", "0xfec00000+0x1000"]
        );
    }

    #[test]
    fn a_device_that_does_not_exist_is_refused_with_a_list_of_those_that_do() {
        let error =
            names(Wanted { devices: vec!["00:09.0".parse().unwrap()], ..Default::default() }).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("0000:00:09.0") && text.contains("0000:00:03.0 (nvme)"), "{text}");
        assert!(!text.contains("1f.3"), "a device without memory is no choice: {text}");
    }

    #[test]
    fn a_device_without_a_memory_bar_is_refused_by_name() {
        let error =
            names(Wanted { devices: vec!["00:1f.3".parse().unwrap()], ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("0000:00:1f.3 (no driver) has no memory BAR"), "{error}");
    }

    #[test]
    fn an_unknown_driver_is_refused_with_the_nearest_names() {
        let error = names(Wanted { drivers: vec!["nvm".into()], ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("nvme"), "{error}");
    }
}
