//! The alias, accessed as an instruction of that width accesses memory.

use super::{Performer, Span};
use crate::Platform;
use crate::value::{WIDEST, bytes_of, fill, pieces, truncate, words_of};

impl<P: Platform> Performer<'_, P> {
    #[inline(always)]
    pub(super) fn load(&self, span: &Span, words: &mut [u64]) {
        match span.width {
            // SAFETY: a span lies on the alias of its mapping, which lives as long as the page is
            // in the snapshot.
            1 | 2 | 4 | 8 => fill(words, &[unsafe { self.platform.load(span.alias(), span.width as u8) }]),
            _ => self.load_wide(span, words),
        }
    }

    #[inline(never)]
    pub(super) fn load_wide(&self, span: &Span, words: &mut [u64]) {
        let alias = span.alias();
        match span.width {
            16 | 32 | 64 => {
                let mut bytes = [0; WIDEST];
                let Some(used) = bytes.get_mut(..usize::from(span.width)) else { return };
                // SAFETY: as in `load`; operands this wide are vectors, or the 16 bytes of
                // `cmpxchg16b`, which every x86-64 CPU has SSE for.
                unsafe { self.platform.load_wide(alias, used) };
                fill(words, &words_of(&bytes));
            }
            // Ten bytes of x87 and the like: as the CPU does it, in pieces.
            width => {
                words.fill(0);
                for (offset, piece) in pieces(width) {
                    // SAFETY: as in `load`.
                    let value = unsafe { self.platform.load(alias.plus(offset), piece) };
                    if let Some(word) = words.get_mut((offset / 8) as usize) {
                        *word |= value << (8 * (offset % 8));
                    }
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn store(&self, span: &Span, words: &[u64]) {
        match span.width {
            1 | 2 | 4 | 8 => {
                let word = words.first().copied().unwrap_or(0);
                // SAFETY: as in `load`.
                unsafe { self.platform.store(span.alias(), span.width as u8, word) }
            }
            _ => self.store_wide(span, words),
        }
    }

    #[inline(never)]
    pub(super) fn store_wide(&self, span: &Span, words: &[u64]) {
        let alias = span.alias();
        match span.width {
            16 | 32 | 64 => {
                let bytes = bytes_of(words, span.width);
                // SAFETY: as in `load_wide`.
                unsafe { self.platform.store_wide(alias, bytes.as_slice()) };
            }
            width => {
                for (offset, piece) in pieces(width) {
                    let word = words.get((offset / 8) as usize).copied().unwrap_or(0);
                    let value = truncate(word >> (8 * (offset % 8)), u16::from(piece));
                    // SAFETY: as in `load`.
                    unsafe { self.platform.store(alias.plus(offset), piece, value) };
                }
            }
        }
    }
}
