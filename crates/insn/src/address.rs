//! The address form of an explicit memory operand: ModRM and SIB, RIP-relative, absolute; segment
//! base and 32-bit addressing.

use crate::{Gpr, Registers, Segment};

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    None,
    Register(Gpr),
    /// The address of the next instruction; the displacement already has this one's length in it.
    Rip,
}

/// `segment:displacement(base, index, 1 << scale)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Sign-extended; all 64 bits for `mov`'s absolute form.
    pub(crate) displacement: u64,
    pub(crate) base: Base,
    pub(crate) index: Option<Gpr>,
    /// Shift of the index: 0 to 3.
    pub(crate) scale: u8,
    pub(crate) segment: Option<Segment>,
    /// A 67h prefix: the sum is cut to 32 bits, then the segment's base is added (Intel SDM volume
    /// 1, 3.3.7).
    pub(crate) narrow: bool,
}

impl Address {
    /// The address zero, for instructions that have no explicit memory operand.
    pub(crate) const NONE: Self =
        Self { displacement: 0, base: Base::None, index: None, scale: 0, segment: None, narrow: false };

    /// The linear address.
    #[inline]
    pub(crate) fn linear(&self, registers: &Registers, segment_base: impl Fn(Segment) -> u64) -> u64 {
        self.linear_beyond(registers, 0, segment_base)
    }

    /// The linear address `beyond` bytes on, as a bit string's element is (Intel SDM volume 2,
    /// `BT`).
    #[inline]
    pub(crate) fn linear_beyond(
        &self,
        registers: &Registers,
        beyond: u64,
        segment_base: impl Fn(Segment) -> u64,
    ) -> u64 {
        let mut sum = self.displacement.wrapping_add(beyond);
        match self.base {
            Base::None => {}
            Base::Register(register) => sum = sum.wrapping_add(registers.get(register)),
            Base::Rip => sum = sum.wrapping_add(registers.rip),
        }
        if let Some(index) = self.index {
            sum = sum.wrapping_add(registers.get(index) << (self.scale & 3));
        }
        locate(sum, self.narrow, self.segment, segment_base)
    }
}

/// The linear address of `offset` in `segment`, under 32-bit addressing if `narrow`.
#[inline]
pub(crate) fn locate(
    offset: u64,
    narrow: bool,
    segment: Option<Segment>,
    segment_base: impl Fn(Segment) -> u64,
) -> u64 {
    let offset = if narrow { offset & 0xffff_ffff } else { offset };
    match segment {
        None => offset,
        Some(segment) => offset.wrapping_add(segment_base(segment)),
    }
}
