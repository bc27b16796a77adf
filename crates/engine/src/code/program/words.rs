//! The words of a record: numbers, one each, and texts, a length and the bytes.

use super::Reader;
use super::machine::Reach;

/// Bytes of a word.
pub(super) const WORD: u64 = 8;
/// Bytes of a task's name.
pub(super) const NAME: u64 = 16;

/// The words that are appended.
pub(super) struct Output<'a> {
    words: &'a mut [u64],
    at: usize,
}

impl<'a> Output<'a> {
    /// To `words`, behind the first `behind` of them.
    #[inline(always)]
    pub(super) fn new(words: &'a mut [u64], behind: usize) -> Self {
        let at = behind.min(words.len());
        Self { words, at }
    }

    /// Words that there are.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// These words.
    #[inline(always)]
    pub(super) fn appended(&self) -> &[u64] {
        self.words.get(..self.at).unwrap_or(&[])
    }

    /// Takes all away.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.at = 0;
    }

    #[inline(always)]
    pub(super) fn push(&mut self, word: u64) {
        if let Some(slot) = self.words.get_mut(self.at) {
            *slot = word;
            self.at += 1;
        }
    }

    /// Appends a task's name.
    pub(super) fn name(&mut self, [low, high]: [u64; 2]) {
        let length = match (zero_byte(low), zero_byte(high)) {
            (Some(length), _) => length,
            (None, Some(length)) => WORD + length,
            (None, None) => NAME,
        };
        self.push(length);
        if length > 0 {
            self.push(low_bytes(low, length));
        }
        if length > WORD {
            self.push(low_bytes(high, length - WORD));
        }
    }

    /// Appends the string at `address`; returns whether it could be read. If not, nothing was
    /// appended.
    ///
    /// It is read in whole aligned words, of which none lies on two pages: a word that holds a byte
    /// of the string is there if that byte is. Bounded by `limit`.
    pub(super) fn string(&mut self, reader: &impl Reader, space: Reach, address: u64, limit: u64) -> bool {
        let start = self.at;
        self.push(0);
        let (mut length, mut ended) = (0, false);
        // What is read and not yet appended: so many bytes.
        let (mut pending, mut pending_bytes) = (0, 0);
        while !ended && length < limit {
            let from = address.wrapping_add(length);
            let skipped = from % WORD;
            let Some(word) = space.read(reader, from - skipped, WORD as u8) else {
                self.at = start;
                return false;
            };
            let found = word >> (8 * skipped);
            let there = WORD - skipped;
            let zero = zero_byte(found).filter(|&bytes| bytes < there);
            ended = zero.is_some();
            let bytes = zero.unwrap_or(there).min(limit - length);
            let found = low_bytes(found, bytes);
            length += bytes;
            pending |= found << (8 * pending_bytes);
            pending_bytes += bytes;
            if pending_bytes >= WORD {
                self.push(pending);
                pending_bytes -= WORD;
                // What did not fit: the last `pending_bytes` of the bytes just found.
                pending = if pending_bytes == 0 { 0 } else { found >> (8 * (bytes - pending_bytes)) };
            }
        }
        if pending_bytes > 0 {
            self.push(pending);
        }
        if let Some(slot) = self.words.get_mut(start) {
            *slot = length;
        }
        true
    }
}

/// Which byte of `word`, from the lowest on, is the first that is zero.
#[inline(always)]
fn zero_byte(word: u64) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest byte whose top bit is set here is zero: a borrow comes only out of a zero byte,
    // and so only disturbs bytes above the first.
    let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
    (zeros != 0).then(|| u64::from(zeros.trailing_zeros() / 8))
}

/// The lowest `bytes` bytes of `word`.
#[inline(always)]
fn low_bytes(word: u64, bytes: u64) -> u64 {
    if bytes >= WORD { word } else { word & ((1 << (8 * bytes)) - 1) }
}

/// A text as it lies in words.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u64],
    length: u64,
}

impl<'a> Text<'a> {
    /// The text that `words` are.
    pub(super) fn new(words: &'a [u64]) -> Self {
        let (length, bytes) = words.split_first().map_or((0, words), |(length, bytes)| (*length, bytes));
        Self { bytes, length: length.min(WORD * bytes.len() as u64) }
    }

    /// Its byte `at`; `None` behind its end.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> Option<u8> {
        if at as u64 >= self.length {
            return None;
        }
        let word = self.bytes.get(at / WORD as usize)?;
        Some((word >> (8 * (at as u64 % WORD))) as u8)
    }
}
