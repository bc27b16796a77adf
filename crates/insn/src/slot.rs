//! A part of a general register that an instruction names: `%al`, `%ah`, `%ax`, `%eax`, `%rax`.

use crate::{Gpr, Registers};

/// Where in the sixteen registers an operand lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    register: Gpr,
    /// Bytes: 1, 2, 4 or 8.
    width: u8,
    /// 8 for `%ah`, `%ch`, `%dh` and `%bh`, else 0.
    shift: u8,
}

/// All ones in the low `width` bytes.
#[inline]
pub(crate) const fn mask(width: u8) -> u64 {
    if width >= 8 { u64::MAX } else { (1 << (width * 8)) - 1 }
}

/// The low `width` bytes of `value`, sign-extended.
#[inline]
pub(crate) const fn sign_extend(value: u64, width: u8) -> u64 {
    match width {
        1 => value as i8 as u64,
        2 => value as i16 as u64,
        4 => value as i32 as u64,
        _ => value,
    }
}

impl Slot {
    /// The low `width` bytes of `register`.
    pub(crate) const fn low(register: Gpr, width: u8) -> Self {
        Self { register, width, shift: 0 }
    }

    /// The second byte of `register`.
    pub(crate) const fn high(register: Gpr) -> Self {
        Self { register, width: 1, shift: 8 }
    }

    pub(crate) const fn register(self) -> Gpr {
        self.register
    }

    pub(crate) const fn width(self) -> u8 {
        self.width
    }

    /// The slot's value, zero-extended.
    #[inline]
    pub(crate) const fn read(self, registers: &Registers) -> u64 {
        (registers.get(self.register) >> self.shift) & mask(self.width)
    }

    /// Replaces the slot: four bytes clear the upper half, one and two leave the rest (Intel SDM
    /// volume 1, 3.4.1.1).
    #[inline]
    pub(crate) const fn write(self, registers: &mut Registers, value: u64) {
        let value = match self.width {
            8 => value,
            4 => value & 0xffff_ffff,
            width => {
                let kept = registers.get(self.register) & !(mask(width) << self.shift);
                kept | (value & mask(width)) << self.shift
            }
        };
        registers.set(self.register, value);
    }
}
