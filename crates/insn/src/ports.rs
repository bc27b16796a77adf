//! Instructions that access I/O ports (`in`, `out`, `ins`, `outs`), and how long any instruction
//! is: what is needed to find them in code.
//!
//! A plan has nothing of these: they fault at no page, but for the memory of the string forms.

use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::long_mode::{DecodeError as Refusal, InstDecoder};

use crate::layout::{Encoding, Layout};
use crate::{DecodeError, MAX_LENGTH};

/// An instruction that accesses a port (Intel SDM volume 2, IN, OUT, INS and OUTS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAccess {
    /// Whether it writes to the port; else it reads.
    pub is_write: bool,
    /// Bytes of an access: 1, 2 or 4.
    pub width: u8,
    /// The port, if the instruction names it; else it is in DX.
    pub port: Option<u8>,
    /// What the value is copied from or to, if that is not AL, AX or EAX.
    pub text: Option<PortText>,
}

/// The memory of a string form: at RDI where it reads from the port, at RSI where it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortText {
    /// Whether it is repeated, RCX times, which may be none.
    pub is_repeated: bool,
    /// Whether all 64 bits of RDI or RSI are the address, and no segment is added to it.
    pub is_plain: bool,
}

/// How many bytes the instruction at the start of `bytes` has, and how it accesses a port, if it
/// does.
///
/// `bytes` are up to 15; fewer will do if the instruction is shorter.
///
/// # Errors
///
/// As for [`decode()`](crate::decode()), but what no plan is made of has a length too.
pub fn port_access(bytes: &[u8]) -> Result<(u8, Option<PortAccess>), DecodeError> {
    let bytes = whole(bytes)?;
    Ok((bytes.len() as u8, Layout::of(bytes).and_then(|layout| access(bytes, layout))))
}

/// The bytes of the instruction at the start of `bytes`.
pub(crate) fn whole(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let bytes = bytes.get(..MAX_LENGTH).unwrap_or(bytes);
    let instruction = InstDecoder::default().decode_slice(bytes).map_err(|refusal| match refusal {
        Refusal::ExhaustedInput if bytes.len() < MAX_LENGTH => DecodeError::Truncated,
        _ => DecodeError::Unknown,
    })?;
    let length = usize::from(instruction.len().to_const() as u8);
    bytes.get(..length).ok_or(DecodeError::Truncated)
}

fn access(bytes: &[u8], layout: Layout) -> Option<PortAccess> {
    if layout.encoding != Encoding::Legacy || layout.map != 0 {
        return None;
    }
    let prefixes = bytes.get(..layout.start)?;
    let has = |wanted: &[u8]| prefixes.iter().any(|prefix| wanted.contains(prefix));
    let is_text = match layout.opcode {
        0x6c..=0x6f => true,
        0xe4..=0xe7 | 0xec..=0xef => false,
        _ => return None,
    };
    // No form has eight bytes, but REX.W takes the operand-size prefix away (Intel SDM volume 2,
    // 2.2.1.2).
    let has_rex_w = layout.has_rex && bytes.get(layout.start)? & 8 != 0;
    let width = match (layout.opcode & 1, has(&[0x66]) && !has_rex_w) {
        (0, _) => 1,
        (_, true) => 2,
        (_, false) => 4,
    };
    let is_immediate = matches!(layout.opcode, 0xe4..=0xe7);
    Some(PortAccess {
        is_write: layout.opcode & 2 != 0,
        width,
        port: if is_immediate { Some(*bytes.get(layout.modrm)?) } else { None },
        text: is_text
            .then(|| PortText { is_repeated: has(&[0xf2, 0xf3]), is_plain: !has(&[0x64, 0x65, 0x67]) }),
    })
}
