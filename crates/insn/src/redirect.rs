//! A copy of an instruction whose memory operand lies elsewhere: for SSE, AVX, x87 and all that is
//! not worth emulating.
//!
//! The copy does the access itself, with its own width and atomicity, and leaves vector registers
//! and masks where the original would. Rejected: emulating vector instructions (hundreds, for
//! accesses that are rare), and stepping the original (un-arms the page for all CPUs).
//!
//! x87 alone can tell the difference: its last-data-pointer register then holds the copy's address.

use crate::layout::{Encoding, Layout, is_dropped_prefix};
use crate::plan::Plan;
use crate::{Direction, Gpr, Method};

/// A copy of an instruction that finds its one memory operand at `(scratch)`.
///
/// To run it: load all general registers but `rsp` and the scratch register from the interrupted
/// context, the operand's new address into the scratch register, and `rflags`; run the bytes; store
/// all of them back but `rsp` and the scratch register. The copy uses neither in any other way,
/// never transfers control, and does not touch the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The copy's bytes; those after `length` are zero.
    pub code: [u8; 16],
    /// How many bytes of `code` are the copy: at most 15.
    pub length: u8,
    /// The register that holds the operand's address.
    pub scratch: Gpr,
    /// What is done to the operand.
    pub direction: Direction,
    /// The operand's width in bytes.
    pub width: u16,
    /// A mask chooses which of those bytes are accessed.
    pub partial: bool,
}

/// The scratch register: one that needs neither SIB, displacement nor REX bit as a base, and that
/// the instruction does not use otherwise.
///
/// `used` has a bit for each general register, by encoding number.
pub(crate) fn choose_scratch(used: u16) -> Option<Gpr> {
    const LOW: [Gpr; 6] = [Gpr::Rax, Gpr::Rcx, Gpr::Rdx, Gpr::Rbx, Gpr::Rsi, Gpr::Rdi];
    // The runner keeps its own stack pointer.
    if used & 1 << Gpr::Rsp as u16 != 0 {
        return None;
    }
    LOW.into_iter().find(|register| used & 1 << *register as u16 == 0)
}

/// Whether the encoding is one whose effect is its registers, its flags and its one memory operand:
/// a list of what is known, not of what is excluded. Opcodes as in Intel SDM volume 2, appendix A.
pub(crate) fn is_redirectable(layout: &Layout, bytes: &[u8]) -> bool {
    let group = bytes.get(layout.modrm).map_or(0, |modrm| modrm >> 3 & 7);
    match (layout.encoding, layout.map, layout.opcode) {
        (Encoding::Evex, ..) => true,
        // 38h map, 49h and 4Bh are AMX tiles, whose SIB does not mean what it says.
        (Encoding::Vex2 | Encoding::Vex3, 2, 0x49 | 0x4b) => false,
        (Encoding::Vex2 | Encoding::Vex3, 1..=3, _) => true,
        // `mov %sreg, m16`, and x87.
        (Encoding::Legacy, 0, 0x8c | 0xd8..=0xdf) => true,
        // `fxsave`, `fxrstor`, `ldmxcsr`, `stmxcsr`.
        (Encoding::Legacy, 1, 0xae) => group < 4,
        // SSE, MMX and bit scans; without 78h and 79h, `vmread` and `vmwrite`.
        (Encoding::Legacy, 1, 0x10..=0x17 | 0x28..=0x2f | 0x51..=0x77 | 0x7c..=0x7f) => true,
        // `shld`, `shrd`.
        (Encoding::Legacy, 1, 0xa4 | 0xa5 | 0xac | 0xad) => true,
        (Encoding::Legacy, 1, 0xb8 | 0xbc | 0xbd | 0xc2 | 0xc4..=0xc6 | 0xd0..=0xfe) => true,
        // SSSE3, SSE4, SHA, AES, `crc32`, `adcx`, `adox`, `movdiri`.
        (Encoding::Legacy, 2, 0x00..=0x7f | 0xc8..=0xcf | 0xdb..=0xdf | 0xf0 | 0xf1 | 0xf6 | 0xf9) => true,
        (Encoding::Legacy, 3, _) => true,
        _ => false,
    }
}

impl Plan {
    /// The copy, made of the `bytes` that the plan was decoded from; `None` if the plan's method is
    /// not [`Method::Redirect`].
    pub fn redirect(&self, bytes: &[u8]) -> Option<Redirect> {
        if self.method != Method::Redirect {
            return None;
        }
        let bytes = bytes.get(..usize::from(self.length))?;
        let layout = Layout::of(bytes)?;
        let immediates = bytes.get(layout.after_address(bytes)?..)?;
        let mut copy = Code { bytes: [0; 16], length: 0 };
        let prefixes = bytes.get(..layout.start)?;
        for &prefix in prefixes.iter().filter(|&&byte| !is_dropped_prefix(byte)) {
            copy.push(prefix)?;
        }
        for (offset, &byte) in bytes.iter().enumerate().take(layout.modrm).skip(layout.start) {
            copy.push(match (layout.encoding, offset.wrapping_sub(layout.start)) {
                // REX.X and REX.B extend index and base.
                (Encoding::Legacy, 0) if layout.has_rex => byte & !0x03,
                // So do these, inverted.
                (Encoding::Vex3 | Encoding::Evex, 1) => byte | 0x60,
                _ => byte,
            })?;
        }
        copy.push((bytes.get(layout.modrm)? & 0x38) | (self.scratch as u8 & 7))?;
        for &byte in immediates {
            copy.push(byte)?;
        }
        Some(Redirect {
            code: copy.bytes,
            length: copy.length,
            scratch: self.scratch,
            direction: self.direction()?,
            width: self.width,
            partial: self.partial,
        })
    }
}

struct Code {
    bytes: [u8; 16],
    length: u8,
}

impl Code {
    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(usize::from(self.length))? = byte;
        self.length = self.length.wrapping_add(1);
        Some(())
    }
}

#[cfg(test)]
mod tests;
