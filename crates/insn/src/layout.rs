//! Where the parts of an encoding lie: what a decoder knows and does not tell, and a re-encoded
//! copy needs.

/// How an instruction names its opcode map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Prefixes, perhaps REX, and escape bytes.
    Legacy,
    /// C5h.
    Vex2,
    /// C4h.
    Vex3,
    /// 62h.
    Evex,
}

/// Offsets into an instruction's bytes (Intel SDM volume 2, 2.1 to 2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) encoding: Encoding,
    /// Where the REX prefix, the escape bytes or the VEX or EVEX prefix start; legacy prefixes come
    /// before.
    pub(crate) start: usize,
    pub(crate) has_rex: bool,
    /// 0 for one-byte opcodes, 1 for 0Fh, 2 for 0Fh 38h, 3 for 0Fh 3Ah, and further ones of EVEX.
    pub(crate) map: u8,
    pub(crate) opcode: u8,
    /// Offset of ModRM, if the instruction has one: right after the opcode.
    pub(crate) modrm: usize,
}

impl Layout {
    /// The layout of the instruction at the start of `bytes`; `None` if they end early, or a REX
    /// prefix is out of place.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let at = |offset: usize| bytes.get(offset).copied();
        let mut start = 0usize;
        while is_legacy_prefix(at(start)?) {
            start = start.wrapping_add(1);
        }
        let has_rex = is_rex(at(start)?);
        if has_rex {
            // The CPU ignores a REX that is not right before the opcode (Intel SDM volume 2,
            // 2.2.1). No assembler writes that, and decoders differ on it.
            let next = at(start.wrapping_add(1))?;
            if is_legacy_prefix(next) || is_rex(next) {
                return None;
            }
        }
        let first = if has_rex { start.wrapping_add(1) } else { start };
        let next = |offset: usize| at(first.wrapping_add(offset));
        let (encoding, map, opcode_at) = match next(0)? {
            0xc5 => (Encoding::Vex2, 1, 2),
            0xc4 => (Encoding::Vex3, next(1)? & 0x1f, 3),
            0x62 => (Encoding::Evex, next(1)? & 0x07, 4),
            0x0f => match next(1)? {
                0x38 => (Encoding::Legacy, 2, 2),
                0x3a => (Encoding::Legacy, 3, 2),
                _ => (Encoding::Legacy, 1, 1),
            },
            _ => (Encoding::Legacy, 0, 0),
        };
        let opcode_at = first.wrapping_add(opcode_at);
        Some(Self { encoding, start, has_rex, map, opcode: at(opcode_at)?, modrm: opcode_at.wrapping_add(1) })
    }

    /// Offset after ModRM, SIB and displacement, where immediates start; `None` if ModRM names a
    /// register or the bytes end early.
    pub(crate) fn after_address(&self, bytes: &[u8]) -> Option<usize> {
        let modrm = *bytes.get(self.modrm)?;
        let (mode, rm) = (modrm >> 6, modrm & 7);
        let after_modrm = self.modrm.wrapping_add(1);
        let sib = if rm == 4 { Some(*bytes.get(after_modrm)?) } else { None };
        let displacement = match mode {
            3 => return None,
            1 => 1,
            2 => 4,
            // No base: an absolute or RIP-relative displacement of four bytes.
            _ if sib.unwrap_or(rm) & 7 == 5 => 4,
            _ => 0,
        };
        Some(after_modrm.wrapping_add(usize::from(sib.is_some())).wrapping_add(displacement))
    }
}

const fn is_rex(byte: u8) -> bool {
    byte & 0xf0 == 0x40
}

/// Groups 1 to 4 (Intel SDM volume 2, 2.1.1).
const fn is_legacy_prefix(byte: u8) -> bool {
    is_dropped_prefix(byte) || matches!(byte, 0x66 | 0xf0 | 0xf2 | 0xf3)
}

/// The prefixes that only say where the memory operand is: segments and 32-bit addressing.
pub(crate) const fn is_dropped_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67)
}

#[cfg(test)]
mod tests;
