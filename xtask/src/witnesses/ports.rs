//! Accesses to I/O ports, as a trace and as QEMU's record tell them: one line for each, with CPU,
//! port, value and width (system/memory.c).

use anyhow::{Context, Result};
use serde_json::Value;

use super::{ByCpu, number};

/// An access, as both witnesses tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether it wrote.
    pub write: bool,
    /// The port.
    pub port: u64,
    /// How many bytes.
    pub width: u64,
    /// What was read or written.
    pub value: u64,
}

/// Those of events of a trace.
///
/// # Errors
/// An access that lacks something.
pub fn traced<'a>(events: impl IntoIterator<Item = &'a Value>) -> Result<ByCpu<Access>> {
    let mut all = ByCpu::default();
    for event in events {
        let access = Access {
            write: event["op"] == "W",
            port: number(event, "port")?,
            width: number(event, "width")?,
            value: number(event, "value")?,
        };
        all.push(u32::try_from(number(event, "cpu")?)?, access);
    }
    Ok(all)
}

/// What QEMU recorded in these lines of the regions with these names.
///
/// # Errors
/// A line of this kind that has another form.
pub fn recorded(lines: &[&str], regions: &[&str]) -> Result<ByCpu<Access>> {
    let mut all = ByCpu::default();
    for line in lines {
        let Some(at) = line.find("memory_region_ops_") else { continue };
        if regions.iter().any(|region| line.ends_with(&format!(" name '{region}'"))) {
            let (cpu, access) = ported(&line[at..]).with_context(|| format!("the record says: {line}"))?;
            all.push(cpu, access);
        }
    }
    Ok(all)
}

/// `memory_region_ops_read cpu 0 mr 0x5596d8fc7040 addr 0xc000 value 0x21 size 1 name 'ne2000'`
fn ported(line: &str) -> Option<(u32, Access)> {
    let words: Vec<&str> = line.split(' ').collect();
    let after = |word: &str| words.get(words.iter().position(|known| *known == word)? + 1).copied();
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let width: u64 = after("size")?.parse().ok()?;
    let access = Access {
        write: words.first()?.ends_with("_write"),
        port: hex(after("addr")?)?,
        width,
        // As a model gives it, which may be wider than what it was asked for: the rest goes
        // nowhere.
        value: hex(after("value")?)? & u64::MAX >> (64 - 8 * width.clamp(1, 8)),
    };
    Some((after("cpu")?.parse().ok()?, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_to_the_regions_are_read_and_no_others() {
        let of = |region: &str| {
            format!(
                "17@1.2:memory_region_ops_read cpu 3 mr 0x1 addr 0xc007 value 0x4021 size 1 name '{region}'"
            )
        };
        let (ours, others) = (of("ne2000"), of("ne2000-rom"));
        let all = recorded(&[&ours, &others, "pci_cfg_read"], &["ne2000"]).unwrap();
        let read = Access { write: false, port: 0xc007, width: 1, value: 0x21 };
        assert_eq!(all.all().collect::<Vec<_>>(), [&read]);
        assert!(recorded(&["memory_region_ops_read cpu x name 'a'"], &["a"]).is_err());
    }
}
