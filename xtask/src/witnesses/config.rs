//! Accesses to configuration space, as a trace and as QEMU's record tell them.
//!
//! QEMU's record has a line for each access that reached a device's configuration space,
//! `pci_cfg_read e1000e 00:05.0 @0x4 -> 0x107`, and beside it one of the region that it went
//! through, which tells CPU and width: before it of a write, after it of a read
//! (hw/pci/pci_host.c, system/memory.c). Both are written with the device lock held.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{ByCpu, number};

/// What has QEMU record them.
pub const RECORDED: [&str; 2] = ["-trace", "pci_cfg_*"];

/// Where a device is read to mark the record: nobody else reads it there.
pub const MARK: u64 = 0xf0;

/// An access, as both witnesses tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The device's address, with its domain.
    pub device: String,
    /// Whether it wrote.
    pub write: bool,
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub width: u64,
    /// What was read or written.
    pub value: u64,
}

/// A shell function `mark` that reads a device's configuration space at [`MARK`].
pub fn mark(device: &str) -> String {
    format!(
        "mark() {{ dd if=/sys/bus/pci/devices/{device}/config of=/dev/null bs=1 skip={MARK} count=1 2> /dev/null; }}"
    )
}

/// Those of events of a trace.
///
/// # Errors
/// An access that failed, or lacks something.
pub fn traced<'a>(events: impl IntoIterator<Item = &'a Value>) -> Result<ByCpu<Access>> {
    let mut all = ByCpu::default();
    for event in events {
        ensure!(event["error"].is_null(), "an access failed: {event}");
        let device = event["device"].as_str().with_context(|| format!("no device in {event}"))?;
        let access = Access {
            device: device.to_owned(),
            write: event["op"] == "W",
            offset: number(event, "offset")?,
            width: number(event, "width")?,
            value: number(event, "value")?,
        };
        all.push(u32::try_from(number(event, "cpu")?)?, access);
    }
    Ok(all)
}

/// What QEMU recorded between each pair of marks of the device `marks`, with the marks.
///
/// # Errors
/// A line of this kind that has another form, or no pair of marks.
pub fn recorded(record: &str, marks: &str) -> Result<Vec<Vec<(u32, Access)>>> {
    let mut all: Vec<(u32, Access)> = Vec::new();
    // CPU and width of the write that is being made; the read whose CPU and width are to come.
    let (mut writing, mut reading) = (None, None);
    for line in record.lines() {
        let told = || format!("the record says: {line}");
        if let Some(region) = line.find("memory_region_ops_") {
            let line = &line[region..];
            if !["'pci-conf-data'", "'pcie-mmcfg-mmio'"].iter().any(|name| line.contains(name)) {
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            let after = |word: &str| {
                let at = words.iter().position(|known| *known == word)?;
                words.get(at + 1)?.parse::<u32>().ok()
            };
            let from = after("cpu").zip(after("size").map(u64::from)).with_context(told)?;
            if line.starts_with("memory_region_ops_write ") {
                writing = Some(from);
            } else if let Some(read) = reading.take() {
                all.push((from.0, Access { width: from.1, ..read }));
            }
        } else if let Some(at) = line.find("pci_cfg_") {
            let mut access = configured(&line[at..]).with_context(told)?;
            if !access.write {
                reading = Some(access);
            } else if let Some((cpu, width)) = writing.take() {
                access.width = width;
                access.value &= u64::MAX >> (64 - 8 * width.clamp(1, 8));
                all.push((cpu, access));
            }
        }
    }
    let is_mark = |(_, access): &&(u32, Access)| access.device == marks && access.offset == MARK;
    let at: Vec<usize> = (0..all.len()).filter(|&number| is_mark(&&all[number])).collect();
    ensure!(at.len() >= 2 && at.len().is_multiple_of(2), "{} marks are recorded, expected pairs", at.len());
    let pairs = at.chunks_exact(2).map(|pair| all[pair[0]..=pair[1]].to_vec());
    Ok(pairs.collect())
}

/// `pci_cfg_read e1000e 00:05.0 @0x4 -> 0x107`; QEMU before 6.2 has `e1000e 05:0` without the bus,
/// which no version that is used here does.
fn configured(line: &str) -> Option<Access> {
    let words: Vec<&str> = line.split(' ').collect();
    let [event, _, place, offset, _, value] = words[..] else { return None };
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    Some(Access {
        device: format!("0000:{place}"),
        write: event == "pci_cfg_write",
        offset: hex(offset.strip_prefix('@')?)?,
        width: 0,
        value: hex(value)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "pci_cfg_read edu 00:01.0 @0xf0 -> 0x0
memory_region_ops_read cpu 1 mr 0x1 addr 0xcfc value 0x0 size 1 name 'pci-conf-data'
memory_region_ops_write cpu 2 mr 0x1 addr 0xb0028004 value 0x107 size 2 name 'pcie-mmcfg-mmio'
pci_cfg_write e1000e 00:05.0 @0x4 <- 0x30107
pci_cfg_read edu 00:01.0 @0xf0 -> 0x0
memory_region_ops_read cpu 0 mr 0x1 addr 0xcfc value 0x0 size 1 name 'pci-conf-data'
pci_cfg_read e1000e 00:05.0 @0x0 -> 0x10d38086
memory_region_ops_read cpu 3 mr 0x1 addr 0xcfc value 0x10d38086 size 4 name 'pci-conf-data'
";

    #[test]
    fn what_lies_between_marks_is_read_with_cpu_and_width() {
        let parts = recorded(RECORD, "0000:00:01.0").unwrap();
        let [part] = &parts[..] else { panic!("{parts:?}") };
        let written =
            Access { device: "0000:00:05.0".into(), write: true, offset: 4, width: 2, value: 0x107 };
        assert_eq!((part.len(), &part[1]), (3, &(2, written)));
        assert_eq!((part[0].0, part[2].0), (1, 0));
        assert!(recorded(RECORD, "0000:00:02.0").is_err());
        let odd =
            format!("{RECORD}{}", RECORD.lines().take(2).map(|line| format!("{line}\n")).collect::<String>());
        assert!(recorded(&odd, "0000:00:01.0").is_err());
    }
}
