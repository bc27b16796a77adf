//! What machines differ in without being wrong.

use crate::Access;

/// What a scenario must know of a machine beyond [`Machine`](crate::Machine)'s functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How accesses reach a device.
    pub bus: Bus,
    /// How many times as often a program must run as on the slowest machine, so that something can happen meanwhile.
    pub patience: u32,
    /// Whether the device has registers with side effects, at offsets 0x10, 0x18 and 0x20 of a page.
    pub side_effects: bool,
    /// Whether traps have a stack of their own. Else the CPU pushes the exception's frame onto the stack of what it interrupts: such a stack can't be armed, and a
    /// push has to be stepped.
    pub separate_stacks: bool,
    /// Whether [`Outcome::fault`](crate::Outcome::fault) is also right for a fault that the engine put in the place of the CPU's; else it is the CPU's.
    pub tells_replaced_faults: bool,
}

/// How accesses reach a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Each in one piece.
    Whole,
    /// As QEMU's software emulation hands them to a device of 8-byte registers (accel/tcg/cputlb.c, target/i386/tcg/translate.c): what is wider comes as
    /// accesses of 8 bytes and a rest; each of these, if it is not aligned, as the two aligned ones around it when it reads, as bytes when it
    /// writes.
    Words,
}

impl Bus {
    /// Address and width of the pieces that `access` arrives in.
    fn pieces(self, access: &Access) -> Vec<(u64, u8)> {
        if self == Self::Whole || access.width == 0 {
            return vec![(access.address, access.width)];
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < access.width {
            // The widest power of two, at most 8, that fits in what is left.
            let width = 8.min(1 << (access.width - at).ilog2());
            let address = access.address + u64::from(at);
            let below = address % u64::from(width);
            if below == 0 {
                pieces.push((address, width));
            } else if access.write {
                pieces.extend((0..width.into()).map(|byte| (address + byte, 1)));
            } else {
                pieces.extend([(address - below, width), (address - below + u64::from(width), width)]);
            }
            at += width;
        }
        pieces
    }

    /// Where one CPU's accesses, as told, are not those that the device saw: how many of each there are before that.
    pub fn difference(self, told: &[Access], seen: &[Access]) -> Option<(usize, usize)> {
        let mut arrived = 0;
        for (number, told) in told.iter().enumerate() {
            for (address, width) in self.pieces(told) {
                match seen.get(arrived) {
                    Some(seen) if agrees(told, address, width, seen) => arrived += 1,
                    _ => return Some((number, arrived)),
                }
            }
        }
        (arrived < seen.len()).then_some((told.len(), arrived))
    }
}

/// Whether the device's `seen` is the piece of `told` at `address`, as far as the trace knows.
fn agrees(told: &Access, address: u64, width: u8, seen: &Access) -> bool {
    let known = |address: u64| {
        let at = usize::try_from(address.checked_sub(told.address)?).ok()?;
        told.value?.bytes().get(at).copied()
    };
    let same_place = (told.cpu, told.write, address) == (seen.cpu, seen.write, seen.address);
    let same_bytes = seen.value.is_none_or(|value| {
        (address..).zip(value.bytes()).all(|(address, &byte)| known(address).is_none_or(|told| told == byte))
    });
    same_place && (width == 0 || width == seen.width) && same_bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn access(write: bool, address: u64, bytes: &[u8]) -> Access {
        let value = Some(Value::new(bytes));
        Access { cpu: 0, address, width: bytes.len() as u8, write, value, flags: 0, way: None, ip: 0 }
    }

    #[test]
    fn a_wide_access_arrives_in_words_with_the_bytes_that_were_told() {
        let bytes: Vec<u8> = (0..16).collect();
        let told = [access(true, 0x100, &bytes)];
        let seen = [access(true, 0x100, &bytes[..8]), access(true, 0x108, &bytes[8..])];
        assert_eq!(Bus::Words.difference(&told, &seen), None);
        assert_eq!(Bus::Words.difference(&told, &seen[..1]), Some((0, 1)));
        assert_eq!(Bus::Whole.difference(&told, &seen), Some((0, 0)), "in one piece it must arrive so");
        let other = [seen[0], access(true, 0x108, &bytes[..8])];
        assert_eq!(Bus::Words.difference(&told, &other), Some((0, 1)));
    }

    #[test]
    fn an_unaligned_read_arrives_as_the_two_words_around_it_and_a_write_as_bytes() {
        let told = [access(false, 0x103, &[3, 4, 5, 6])];
        let seen = [access(false, 0x100, &[0, 1, 2, 3]), access(false, 0x104, &[4, 5, 6, 7])];
        assert_eq!(Bus::Words.difference(&told, &seen), None);
        let told = [access(true, 0x103, &[3, 4])];
        let seen = [access(true, 0x103, &[3]), access(true, 0x104, &[4])];
        assert_eq!(Bus::Words.difference(&told, &seen), None);
        assert_eq!(Bus::Words.difference(&told[..0], &seen), Some((0, 0)), "more arrived than was told");
    }
}
