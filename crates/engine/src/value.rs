//! The bytes of an access as words, low address first, and what is done to them.

/// Widest operand whose value is captured: one vector register.
pub(crate) const WIDEST: usize = 64;

/// The low `width` bytes.
pub(crate) fn truncate(value: u64, width: u16) -> u64 {
    if width >= 8 { value } else { value & ((1 << (8 * width)) - 1) }
}

/// Clears what of `words` lies behind the first `width` bytes.
pub(crate) fn cut(words: &mut [u64], width: u16) {
    for (number, word) in (0..).zip(words) {
        *word = truncate(*word, width.saturating_sub(8 * number));
    }
}

pub(crate) fn wide(words: [u64; 2]) -> u128 {
    u128::from(words[0]) | u128::from(words[1]) << 64
}

pub(crate) fn narrow(value: u128, width: u16) -> [u64; 2] {
    [truncate(value as u64, width), (value >> 64) as u64]
}

/// Offsets and widths of the pieces that `width` bytes are accessed in where no instruction has
/// that width.
pub(crate) fn pieces(width: u16) -> impl Iterator<Item = (u64, u8)> {
    let mut offset = 0;
    core::iter::from_fn(move || {
        let rest = width.checked_sub(offset).filter(|&rest| rest > 0)?;
        let piece = 1 << rest.min(8).ilog2();
        let at = offset;
        offset += piece;
        Some((u64::from(at), piece as u8))
    })
}

pub(crate) fn fill(to: &mut [u64], from: &[u64]) {
    for (number, word) in to.iter_mut().enumerate() {
        *word = from.get(number).copied().unwrap_or(0);
    }
}

pub(crate) fn words_of(bytes: &[u8; WIDEST]) -> [u64; WIDEST / 8] {
    let (words, _) = bytes.as_chunks::<8>();
    core::array::from_fn(|number| words.get(number).map_or(0, |word| u64::from_le_bytes(*word)))
}

/// The bytes of a value.
pub(crate) struct Bytes {
    bytes: [u8; WIDEST],
    width: usize,
}

impl Bytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.width).unwrap_or(&self.bytes)
    }
}

pub(crate) fn bytes_of(words: &[u64], width: u16) -> Bytes {
    let mut bytes = [0; WIDEST];
    for (to, from) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *to = from.to_le_bytes();
    }
    Bytes { bytes, width: usize::from(width) }
}
