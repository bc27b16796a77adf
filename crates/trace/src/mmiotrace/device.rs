//! `PCIDEV` lines: the counterpart of what [`Mmiotrace`](crate::Mmiotrace) writes.

use super::line::hex;
use crate::{Bar, Device};

/// Base address registers and the expansion ROM.
const RESOURCES: usize = 7;

/// The low bits of a resource's start are flags: bit 0 of a BAR says that it is of ports, of the
/// ROM that it is enabled.
const FLAGS: u64 = 0xf;
const IS_PORTS: u64 = 1;

/// The device that a line tells of, behind its keyword: bus and function, ids, interrupt, starts,
/// lengths, driver. The format has neither a domain, which is taken to be 0, nor the class.
pub(super) fn parse(rest: &str) -> Option<Device> {
    let mut words = rest.split_ascii_whitespace();
    let place = number(words.next()?, 4)?;
    let ids = number(words.next()?, 8)?;
    let irq = hex(words.next()?)?;
    let mut numbers = [0; 2 * RESOURCES];
    for number in &mut numbers {
        *number = hex(words.next()?)?;
    }
    let (starts, lengths) = numbers.split_at(RESOURCES);
    let mut device = Device {
        address: format!("0000:{:02x}:{:02x}.{}", place >> 8, (place >> 3) & 0x1f, place & 7),
        vendor: (ids >> 16) as u16,
        device: ids as u16,
        irq: irq as u32,
        driver: words.next().map(Into::into),
        ..Device::default()
    };
    for (index, bar) in device.bars.iter_mut().enumerate() {
        let is_ports = starts[index] & IS_PORTS != 0 && index < RESOURCES - 1;
        let kind = match (lengths[index], is_ports) {
            (0, _) => 0,
            (_, true) => Bar::PORTS,
            (_, false) => Bar::MEMORY,
        };
        *bar = Bar {
            start: starts[index] & !FLAGS,
            length: lengths[index],
            flags: starts[index] & FLAGS | kind,
        };
    }
    Some(device)
}

/// A hexadecimal number with so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    hex(text).filter(|_| text.len() == digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_address_ids_and_bars() {
        let line = "0018 808610d3 16 feb80000 0 c041 0 0 0 feb40001 20000 0 20 0 0 0 40000 e1000e";
        let device = parse(line).unwrap();
        assert_eq!((device.address.as_str(), device.driver.as_deref()), ("0000:00:03.0", Some("e1000e")));
        assert_eq!((device.vendor, device.device, device.irq), (0x8086, 0x10d3, 0x16));
        let memory: Vec<_> =
            device.memory_bars().map(|(bar, range)| (bar, range.start, range.length)).collect();
        assert_eq!(memory, [(0, 0xfeb8_0000, 0x2_0000), (6, 0xfeb4_0000, 0x4_0000)]);
    }

    #[test]
    fn what_is_no_device_is_none() {
        for line in ["", "0018", "18 808610d3 16", "0018 808610d3 16 0 0 0 0 0 0 0 0 0 0 0 0 0"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
