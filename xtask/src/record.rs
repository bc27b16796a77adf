//! QEMU's own record of device accesses: the ground truth that a trace must equal.
//!
//! `-trace memory_region_ops_* -D FILE` makes QEMU write a line for each call of a device model's
//! read or write function (QEMU 10.0, system/trace-events and system/memory.c):
//!
//! ```text
//! memory_region_ops_read cpu 0 mr 0x5596d8fc7040 addr 0xfea00000 value 0x10000ed size 4 name 'edu-mmio'
//! ```
//!
//! The line is written inside the device lock, so the order within one CPU is the order in which
//! the device saw them. Ports and memory share the address column: only the region's name tells
//! them apart. An access that the model refuses (a byte read of edu's word registers) makes no
//! line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::access::Access;

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index of the memory region's name in [`Record::regions`].
    pub region: usize,
    /// The access.
    pub access: Access,
}

/// The lines of a record that were wanted, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Names of the regions that occur.
    pub regions: Vec<String>,
    /// The accesses that CPUs made.
    pub entries: Vec<Entry>,
}

impl Record {
    /// Reads the accesses to regions whose name is wanted from a file; a record is mostly timers
    /// and PCI scans.
    pub fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open the record {}", path.display()))?;
        Self::parse(BufReader::with_capacity(1 << 20, file), wanted)
            .with_context(|| format!("cannot read the record {}", path.display()))
    }

    /// Reads the accesses to regions whose name is wanted.
    ///
    /// # Errors
    /// A line of this kind that has another form, or a record whose last line is cut off: QEMU was
    /// killed, and the record lacks what it still held.
    pub fn parse(mut reader: impl BufRead, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let mut record = Self::default();
        let mut index: BTreeMap<String, Option<usize>> = BTreeMap::new();
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                break;
            }
            let Some(text) = line.strip_suffix('\n') else {
                bail!("line {number} is cut off: QEMU was killed before it had written all of it: {line}");
            };
            let Some(fields) = fields(text) else { continue };
            let parsed =
                parse_fields(fields).with_context(|| format!("line {number} is malformed: {text}"))?;
            let region = match index.get(parsed.name) {
                Some(known) => *known,
                None => {
                    let region = wanted(parsed.name).then(|| {
                        record.regions.push(parsed.name.to_owned());
                        record.regions.len() - 1
                    });
                    index.insert(parsed.name.to_owned(), region);
                    region
                }
            };
            if let (Some(region), Some(access)) = (region, parsed.access) {
                record.entries.push(Entry { region, access });
            }
        }
        Ok(record)
    }

    /// The accesses alone, in the order of the file.
    pub fn accesses(&self) -> impl Iterator<Item = &Access> {
        self.entries.iter().map(|entry| &entry.access)
    }

    /// What lies between each pair of marks: what happened while somebody looked. An odd mark at
    /// the end, and what is outside the pairs, is left out.
    pub fn marked(&self, is_mark: impl Fn(&Entry) -> bool) -> Vec<Vec<Access>> {
        let mut parts: Vec<&[Entry]> = self.entries.split(|entry| is_mark(entry)).collect();
        // After the last mark nothing is enclosed.
        parts.pop();
        let inside = parts.iter().skip(1).step_by(2);
        inside.map(|part| part.iter().map(|entry| entry.access.clone()).collect()).collect()
    }
}

struct Parsed<'a> {
    name: &'a str,
    /// None for what no CPU did, such as a device's own write to another's registers.
    access: Option<Access>,
}

/// Direction and the rest of a line of the kind that matters, with or without a time stamp before
/// it.
fn fields(line: &str) -> Option<(bool, &str)> {
    let event = &line[line.find("memory_region_ops_")?..];
    let rest = event.strip_prefix("memory_region_ops_")?;
    let (kind, rest) = rest.split_once(' ')?;
    match kind {
        "read" => Some((false, rest)),
        "write" => Some((true, rest)),
        _ => None,
    }
}

fn parse_fields((write, text): (bool, &str)) -> Option<Parsed<'_>> {
    let (numbers, name) = text.split_once(" name '")?;
    let name = name.strip_suffix('\'')?;
    let words: Vec<&str> = numbers.split(' ').collect();
    let ["cpu", cpu, "mr", _, "addr", address, "value", value, "size", size] = words[..] else { return None };
    let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let (address, value, size) =
        (hex(address)?, hex(value)?, size.parse().ok().filter(|size| (1..=8).contains(size))?);
    let access = match cpu.parse::<i64>().ok()? {
        -1 => None,
        cpu => Some(Access::new(u32::try_from(cpu).ok()?, write, address, size, value)),
    };
    Some(Parsed { name, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../tests/records/edu-4-cpus.record");

    fn parse(text: &str) -> Result<Record> {
        Record::parse(text.as_bytes(), |name| name == "edu-mmio")
    }

    #[test]
    fn a_real_record_gives_edus_accesses_and_nothing_elses() {
        let record = parse(SAMPLE).unwrap();
        assert_eq!(record.regions, ["edu-mmio"]);
        assert_eq!(record.entries.len(), 16);
        let of_cpu_2: Vec<&Access> = record.accesses().filter(|access| access.cpu == 2).collect();
        let expected = [
            Access::new(2, false, 0xfea0_0000, 4, 0x0100_00ed),
            Access::new(2, true, 0xfea0_0004, 4, 0x1234_5672),
            Access::new(2, false, 0xfea0_0004, 4, 0xedcb_a98d),
            Access::new(2, true, 0xfea0_0080, 8, 0x1122_3344_5566_7788),
        ];
        assert_eq!(of_cpu_2, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_time_stamp_before_the_event_does_no_harm() {
        let line = SAMPLE.lines().find(|line| line.contains("edu-mmio")).unwrap();
        let plain = parse(&format!("{line}\n")).unwrap();
        let stamped = parse(&format!("17@1608130130.441188:{line}\n")).unwrap();
        assert_eq!(plain.entries, stamped.entries);
    }

    #[test]
    fn a_record_that_is_cut_off_is_an_error() {
        let error = format!("{:#}", parse(SAMPLE.trim_end()).unwrap_err());
        assert!(error.contains("cut off"), "{error}");
    }

    #[test]
    fn a_line_of_another_form_is_an_error_that_names_it() {
        let error = format!("{:#}", parse("memory_region_ops_read cpu 0 addr 0x1\n").unwrap_err());
        assert!(error.contains("line 1") && error.contains("addr 0x1"), "{error}");
    }

    #[test]
    fn what_a_device_did_by_itself_is_left_out() {
        let text = "memory_region_ops_write cpu -1 mr 0x1 addr 0xfea00000 value 0x1 size 4 name 'edu-mmio'\n";
        assert!(parse(text).unwrap().entries.is_empty());
    }

    #[test]
    fn marks_cut_out_what_happened_between_them() {
        // The identification register is read once on each of 4 CPUs: two pairs.
        let record = parse(SAMPLE).unwrap();
        let inside = record.marked(|entry| entry.access.address == 0xfea0_0000);
        let cpus: Vec<Vec<u32>> =
            inside.iter().map(|part| part.iter().map(|access| access.cpu).collect()).collect();
        assert_eq!(cpus, [[0, 0, 0], [2, 2, 2]]);
        assert!(record.marked(|entry| entry.access.address == 0).is_empty());
    }
}
