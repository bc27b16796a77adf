//! What machines differ in without being wrong.

use std::iter;

use crate::RecordedAccess;

/// What a scenario must know of a machine beyond [`Machine`](crate::Machine)'s functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How accesses reach a device.
    pub bus: Bus,
    /// How many times as often a program must run as on the slowest machine, so that something can
    /// happen meanwhile.
    pub patience: u32,
    /// Whether the device has registers with side effects, at offsets 0x10, 0x18 and 0x20 of a
    /// page.
    pub side_effects: bool,
    /// Whether traps have a stack of their own. Else the CPU pushes the exception's frame onto the
    /// stack of what it interrupts: such a stack can't be armed, and a push has to be stepped.
    pub separate_stacks: bool,
    /// Whether [`Outcome::fault`](crate::Outcome::fault) is also right for a fault that the engine
    /// put in the place of the CPU's; else it is the CPU's.
    pub tells_replaced_faults: bool,
}

/// How accesses reach a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Each in one piece.
    Whole,
    /// As the software emulation of QEMU 8.1 and later hands them to a device of 8-byte registers
    /// (target/i386/tcg/translate.c, gen_ldo_env_A0; accel/tcg/cputlb.c): wide ones are made of
    /// operations of 16 bytes; what of these crosses a page is split there; each part, or each half
    /// of it, is made of pieces as wide as their address is aligned, and as a power of two that the
    /// number of bytes left is a multiple of (int_ld_mmio_beN, int_st_mmio_leN).
    Words,
}

impl Bus {
    /// Address and width of the pieces that `access` arrives in.
    fn pieces(self, access: &RecordedAccess) -> Vec<(u64, u8)> {
        if self == Self::Whole || access.width == 0 {
            return vec![(access.address, access.width)];
        }
        let mut pieces = Vec::new();
        let (mut address, mut left) = (access.address, u64::from(access.width));
        while left > 0 {
            // One operation of the emulation: of 16 bytes, or of the widest power of two below that
            // is not more than what is left.
            let width = if left >= 16 { 16 } else { 8.min(1 << left.ilog2()) };
            let here = width.min(PAGE - address % PAGE);
            pieces.extend(in_page(address, here, access.write));
            pieces.extend(in_page(address + here, width - here, access.write));
            address += width;
            left -= width;
        }
        pieces
    }

    /// Where one CPU's accesses, as told, are not those that the device saw: how many of each there
    /// are before that.
    pub fn difference(self, told: &[RecordedAccess], seen: &[RecordedAccess]) -> Option<(usize, usize)> {
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

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Address and width of the pieces of an operation's part within a page: 8 bytes and the rest, the
/// rest first if it reads (do_ld16_mmio_beN and do_st16_mmio_leN).
fn in_page(address: u64, length: u64, write: bool) -> impl Iterator<Item = (u64, u8)> {
    let first = match length {
        ..=8 => length,
        _ if write => 8,
        _ => length - 8,
    };
    aligned(address, first).chain(aligned(address + first, length - first))
}

/// Address and width of the pieces of up to 8 bytes within a page.
fn aligned(mut address: u64, mut left: u64) -> impl Iterator<Item = (u64, u8)> {
    iter::from_fn(move || {
        (left > 0).then(|| {
            let (at, width) = (address, 1 << (left | address).trailing_zeros());
            address += u64::from(width);
            left -= u64::from(width);
            (at, width)
        })
    })
}

/// Whether the device's `seen` is the piece of `told` at `address`, as far as the trace knows.
fn agrees(told: &RecordedAccess, address: u64, width: u8, seen: &RecordedAccess) -> bool {
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

    fn access(write: bool, address: u64, bytes: &[u8]) -> RecordedAccess {
        let value = Some(Value::new(bytes));
        RecordedAccess {
            cpu: 0,
            address,
            width: bytes.len() as u8,
            write,
            value,
            original: None,
            flags: 0,
            way: None,
            ip: 0,
        }
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
    fn an_unaligned_access_arrives_in_aligned_pieces_and_one_across_pages_is_split_there() {
        for write in [false, true] {
            let told = [access(write, 0x102, &[2, 3, 4, 5])];
            let seen = [access(write, 0x102, &[2, 3]), access(write, 0x104, &[4, 5])];
            assert_eq!(Bus::Words.difference(&told, &seen), None);
            assert_eq!(Bus::Words.difference(&told[..0], &seen), Some((0, 0)), "more arrived than was told");
            let told = [access(write, 0x103, &[3, 4])];
            let seen = [access(write, 0x103, &[3]), access(write, 0x104, &[4])];
            assert_eq!(Bus::Words.difference(&told, &seen), None);
            let told = [access(write, 0xffb, &[1, 2, 3, 4, 5, 6, 7, 8])];
            let seen = [
                access(write, 0xffb, &[1]),
                access(write, 0xffc, &[2, 3, 4, 5]),
                access(write, 0x1000, &[6]),
                access(write, 0x1001, &[7]),
                access(write, 0x1002, &[8]),
            ];
            assert_eq!(Bus::Words.difference(&told, &seen), None);
        }
    }

    #[test]
    fn of_sixteen_bytes_across_pages_each_part_is_in_two_whose_order_is_the_directions() {
        let bytes: Vec<u8> = (0..16).collect();
        let places = |write| Bus::Words.pieces(&access(write, 0xffd, &bytes));
        let before = [(0xffd, 1), (0xffe, 2)];
        let single = |from: u64| (0..5).map(move |at| (from + at, 1));
        let write: Vec<_> = before.into_iter().chain([(0x1000, 8)]).chain(single(0x1008)).collect();
        assert_eq!(places(true), write);
        let read: Vec<_> =
            before.into_iter().chain(single(0x1000)).chain((5..13).map(|at| (0x1000 + at, 1))).collect();
        assert_eq!(places(false), read);
        assert_eq!(Bus::Words.pieces(&access(true, 0x100, &bytes[..10])), [(0x100, 8), (0x108, 2)]);
    }
}
