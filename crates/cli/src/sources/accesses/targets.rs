//! The physical ranges to watch, of devices and of what `--range` names.

use trapline_trace::{Bar, Device};

use crate::args;
use crate::pci::{bars, is_frame_buffer, is_traceable, sizes};
use crate::sources::devices::{NoDevice, chosen, describe};
use crate::system::System;
use crate::units::PhysicalRange;

/// Why what was asked for can't be traced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// No device.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// `--bar` without a device that has it.
    #[error("--bar {bar}: {why}")]
    NoBar {
        /// What was asked for.
        bar: u8,
        /// What there is instead.
        why: String,
    },
    /// All that a device has is what is left out unless it is asked for.
    #[error("{device} has nothing but frame buffers: {bars}; --bar N traces one")]
    OnlyPictures {
        /// The device.
        device: String,
        /// Its BARs.
        bars: String,
    },
    /// A device has I/O ports at most.
    #[error(
        "{device} has no memory BAR with an address, so there are no registers in memory that can be traced{}",
        if *.has_ports { "; `trapline trace --ports` records its I/O ports" } else { "" }
    )]
    NoMemoryBar {
        /// The device.
        device: String,
        /// Whether it has I/O ports, which may not be asked for.
        has_ports: bool,
    },
}

impl TargetError {
    /// Whether it is that a device has no memory with registers in it, which is no mistake.
    pub(in crate::sources) fn is_of_memory(&self) -> bool {
        matches!(self, Self::OnlyPictures { .. } | Self::NoMemoryBar { .. })
    }
}

/// A range to watch and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sources) struct Target {
    /// Where it lies.
    pub range: PhysicalRange,
    /// The device and the number of the BAR that it is, `None` for a bare range.
    pub bar: Option<(Device, u8)>,
}

impl Target {
    /// What it is called in messages: `0000:00:03.0 BAR 0`, or the range itself.
    pub(in crate::sources) fn name(&self) -> String {
        match &self.bar {
            Some((device, index)) => format!("{} BAR {index} ({})", device.address, self.range),
            None => self.range.to_string(),
        }
    }
}

/// What is to be watched, and what of the same devices is not.
#[derive(Debug)]
pub(super) struct Targets {
    /// What is.
    pub watched: Vec<Target>,
    /// What is not, with the reason, a sentence each.
    pub left_out: Vec<String>,
}

/// Finds everything in `wanted` among `devices`, all those of the machine; each byte comes once,
/// though it may be asked for in several ways.
///
/// A driver stands for the devices bound to it and for the devices without a driver that its
/// module's aliases match, so that its probe is seen when it binds while the trace runs. That a
/// driver without any device is an error and not an empty trace: most often it is a typing mistake,
/// and waiting for a device to be plugged in is not possible, since it has no addresses yet.
///
/// If what there is `is_enough`, a device without such memory is left out unless no other has any.
pub(super) fn resolve(
    system: &System,
    devices: &[Device],
    wanted: &args::Targets,
    is_enough: bool,
) -> Result<Targets, TargetError> {
    let chosen = chosen(system, devices, wanted)?;
    let mut watched: Vec<Target> = Vec::new();
    let (mut left_out, mut without) = (Vec::new(), Vec::new());
    let mut add = |range: PhysicalRange, bar: Option<(&Device, u8)>| {
        let known: Vec<PhysicalRange> = watched.iter().map(|target| target.range).collect();
        let pieces = known.iter().fold(vec![range], |pieces, known| {
            pieces.iter().flat_map(|piece| piece.outside(known)).collect()
        });
        let bar = bar.map(|(device, index)| (device.clone(), index));
        watched.extend(pieces.into_iter().map(|range| Target { range, bar: bar.clone() }));
    };
    for &bar in &wanted.bars {
        let has_it = |device: &&Device| bars(device).any(|(index, _)| index == bar);
        if !chosen.iter().any(has_it) {
            return Err(TargetError::NoBar { bar, why: instead_of_a_bar(&chosen) });
        }
    }
    for device in chosen {
        if !is_traceable(device) {
            let has_ports = !is_enough && device.port_bars().next().is_some();
            let error = TargetError::NoMemoryBar { device: describe(device), has_ports };
            if !is_enough {
                return Err(error);
            }
            without.push(error);
            continue;
        }
        let is_wanted = |(index, bar): &(u8, &Bar)| match &*wanted.bars {
            [] => !is_frame_buffer(device, bar),
            some => some.contains(index),
        };
        let (taken, others): (Vec<_>, Vec<_>) = bars(device).partition(is_wanted);
        if taken.is_empty() && wanted.bars.is_empty() {
            let error = TargetError::OnlyPictures { device: describe(device), bars: sizes(&others) };
            if !is_enough {
                return Err(error);
            }
            without.push(error);
            continue;
        }
        if wanted.bars.is_empty() && !others.is_empty() {
            left_out.push(format!(
                "{} {} is left out: a frame buffer, with millions of accesses; --bar N traces it",
                device.address,
                sizes(&others)
            ));
        }
        for (index, bar) in taken {
            add(PhysicalRange { physical: bar.start, length: bar.length }, Some((device, index)));
        }
    }
    for &range in &wanted.ranges {
        add(range, None);
    }
    left_out.extend(without.iter().map(ToString::to_string));
    if let Some(error) = without.into_iter().next().filter(|_| watched.is_empty()) {
        return Err(error);
    }
    left_out.dedup();
    Ok(Targets { watched: joined(watched), left_out })
}

/// What to choose from instead of a BAR that no device has.
fn instead_of_a_bar(chosen: &[&Device]) -> String {
    if chosen.is_empty() {
        return "BARs are of devices: expected --device or --driver as well".into();
    }
    let line = |device: &&Device| {
        let all: Vec<_> = bars(device).collect();
        format!(
            "{} has {}",
            describe(device),
            if all.is_empty() { "no memory BAR".into() } else { sizes(&all) }
        )
    };
    format!("no such memory BAR; {}", chosen.iter().map(line).collect::<Vec<_>>().join("; "))
}

/// Bytes that the module watches at once at most.
const LONGEST: u64 = 1 << 30;

/// With bare ranges that touch as one: an access to both would be of two probes, and be changed
/// twice.
fn joined(targets: Vec<Target>) -> Vec<Target> {
    let (mut bare, mut all): (Vec<Target>, Vec<Target>) =
        targets.into_iter().partition(|target| target.bar.is_none());
    bare.sort_by_key(|target| target.range.physical);
    for target in bare {
        let next = target.range;
        let touches = |last: &Target| {
            let range = last.range;
            last.bar.is_none()
                && range.physical.checked_add(range.length) == Some(next.physical)
                && range.length.saturating_add(next.length) <= LONGEST
        };
        match all.last_mut().filter(|last| touches(last)) {
            Some(last) => last.range.length += next.length,
            None => all.push(target),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use trapline_trace::Bar;

    use super::*;
    use crate::pci::DeviceName;
    use crate::sources::devices::machine;

    fn names(wanted: args::Targets) -> Result<Vec<String>, TargetError> {
        let (_root, system) = machine();
        let devices = trapline_trace::devices(&system.path("sys")).unwrap();
        Ok(resolve(&system, &devices, &wanted, false)?.watched.iter().map(Target::name).collect())
    }

    #[test]
    fn a_device_stands_for_all_its_memory_bars() {
        let wanted = args::Targets { devices: vec!["00:02.0".parse().unwrap()], ..Default::default() };
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
        let bound = args::Targets { drivers: vec!["nvme".into()], ..Default::default() };
        assert_eq!(names(bound).unwrap(), ["0000:00:03.0 BAR 0 (0xfebf0000+0x4000)"]);
        let unbound = args::Targets { drivers: vec!["e1000e".into()], ..Default::default() };
        assert_eq!(names(unbound).unwrap().len(), 3);
    }

    #[test]
    fn a_byte_asked_for_in_several_ways_is_watched_once() {
        let name: DeviceName = "00:03.0".parse().unwrap();
        let ranges = vec!["0xfebf3000+8K".parse().unwrap(), "0xfec00000+4K".parse().unwrap()];
        let wanted = args::Targets {
            devices: vec![name.clone(), name],
            drivers: vec!["nvme".into()],
            ranges,
            ..Default::default()
        };
        assert_eq!(
            names(wanted).unwrap(),
            ["0000:00:03.0 BAR 0 (0xfebf0000+0x4000)", "0xfebf4000+0x1000", "0xfec00000+0x1000"]
        );
    }

    #[test]
    fn bare_ranges_that_touch_are_watched_as_one() {
        let ranges =
            ["0xfec00004+4", "0xfec00000+4", "0xfec00010+4"].map(|range| range.parse().unwrap()).to_vec();
        let wanted = args::Targets { ranges, ..Default::default() };
        assert_eq!(names(wanted).unwrap(), ["0xfec00000+0x8", "0xfec00010+0x4"]);
    }

    #[test]
    fn a_device_that_does_not_exist_is_refused_with_a_list_of_those_that_do() {
        let error = names(args::Targets { devices: vec!["00:09.0".parse().unwrap()], ..Default::default() })
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("0000:00:09.0") && text.contains("0000:00:03.0 (nvme)"), "{text}");
        assert!(!text.contains("1f.3"), "a device without memory is no choice: {text}");
    }

    #[test]
    fn a_device_without_a_memory_bar_is_refused_by_name() {
        let error = names(args::Targets { devices: vec!["00:1f.3".parse().unwrap()], ..Default::default() })
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains("0000:00:1f.3 (no driver) has no memory BAR"), "{error}");
        assert!(error.ends_with("; `trapline trace --ports` records its I/O ports"), "{error}");
    }

    #[test]
    fn a_device_without_a_memory_bar_is_left_out_where_what_there_is_is_enough() {
        let (_root, system) = machine();
        let devices = trapline_trace::devices(&system.path("sys")).unwrap();
        let of = |names: &[&str]| {
            let devices_wanted = names.iter().map(|name| name.parse().unwrap()).collect();
            resolve(&system, &devices, &args::Targets { devices: devices_wanted, ..Default::default() }, true)
        };
        let found = of(&["00:1f.3", "00:03.0"]).unwrap();
        assert_eq!((found.watched.len(), found.left_out.len()), (1, 1));
        assert!(found.left_out[0].starts_with("0000:00:1f.3 (no driver) has no memory BAR"));
        assert!(of(&["00:1f.3"]).unwrap_err().is_of_memory());
    }

    #[test]
    fn an_unknown_driver_is_refused_with_the_nearest_names() {
        let error = names(args::Targets { drivers: vec!["nvm".into()], ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("nvme"), "{error}");
    }

    /// A screen: a frame buffer of 16 MiB, registers of 4 KiB, both as QEMU's bochs-display has
    /// them; and a device of virtio, whose registers are prefetchable, as large as that.
    fn screen() -> Vec<Device> {
        let bar = |start, length, flags| Bar { start, length, flags };
        let mut screen = Device {
            address: "0000:00:01.0".into(),
            vendor: 0x1234,
            device: 0x1111,
            class: 0x03_8000,
            ..Device::default()
        };
        (screen.bars[0], screen.bars[2]) =
            (bar(0xfd00_0000, 16 << 20, 0x14_2208), bar(0xfebf_0000, 4096, 0x4_0200));
        let mut virtio =
            Device { address: "0000:00:04.0".into(), vendor: 0x1af4, device: 0x1041, ..Device::default() };
        virtio.bars[4] = bar(0xfe00_0000, 16 << 20, 0x14_220c);
        vec![screen, virtio]
    }

    fn of_screen(device: &str, bars: &[u8]) -> Result<(Vec<String>, Vec<String>), TargetError> {
        let (_root, system) = machine();
        let wanted = args::Targets {
            devices: vec![device.parse().unwrap()],
            bars: bars.to_vec(),
            ..Default::default()
        };
        let found = resolve(&system, &screen(), &wanted, false)?;
        Ok((found.watched.iter().map(Target::name).collect(), found.left_out))
    }

    #[test]
    fn a_frame_buffer_is_left_out_and_told_of_unless_it_is_asked_for() {
        let (watched, left_out) = of_screen("1234:1111", &[]).unwrap();
        assert_eq!(watched, ["0000:00:01.0 BAR 2 (0xfebf0000+0x1000)"]);
        assert!(left_out[0].starts_with("0000:00:01.0 BAR 0 (16 MiB) is left out"), "{left_out:?}");
        let (watched, left_out) = of_screen("1234:1111", &[0]).unwrap();
        assert_eq!((&*watched[0], watched.len()), ("0000:00:01.0 BAR 0 (0xfd000000+0x1000000)", 1));
        assert!(left_out.is_empty(), "{left_out:?}");
        assert_eq!(of_screen("00:04.0", &[]).unwrap().0, ["0000:00:04.0 BAR 4 (0xfe000000+0x1000000)"]);
    }

    #[test]
    fn a_bar_that_no_device_has_is_told_with_those_that_there_are() {
        let error = of_screen("00:01.0", &[1]).unwrap_err().to_string();
        assert!(
            error.starts_with("--bar 1: ") && error.ends_with("has BAR 0 (16 MiB), BAR 2 (4 KiB)"),
            "{error}"
        );
        let ranges = vec!["0xfec00000+4K".parse().unwrap()];
        let error =
            names(args::Targets { ranges, bars: vec![0], ..Default::default() }).unwrap_err().to_string();
        assert!(error.contains("expected --device or --driver"), "{error}");
    }
}
