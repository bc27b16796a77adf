//! One access, with all that belongs to it: rights, handlers, the alias, the record.

use super::probes::Interest;
use super::record::Changed;
use super::{Performer, Span, Stop};
use crate::value::{bytes_of, cut};
use crate::{Decision, ErrorCode, Fault, Linear, Platform};
use trapline_abi::Flags;

impl<P: Platform> Performer<'_, P> {
    /// Whether the page's rights let the bytes be written: else the fault that the CPU would have
    /// raised. Nothing has been done then, and nobody but the trace is told.
    #[inline(always)]
    pub(crate) fn may_write(&mut self, span: &Span) -> Result<(), Stop> {
        match span.read_only_at() {
            None => Ok(()),
            Some(address) => self.forbid_write(span, address),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn forbid_write(&mut self, span: &Span, address: Linear) -> Result<(), Stop> {
        if !self.platform.write_protects() {
            return Ok(());
        }
        self.show_forbidden(span, true);
        Err(Stop::Fault(Fault { error_code: ErrorCode(ErrorCode::PRESENT | ErrorCode::WRITE), address }))
    }

    /// Reads a word: the common case, which nothing but the device decides about, on the shortest
    /// way.
    #[inline(always)]
    pub(super) fn read_word(&mut self, span: &Span) -> u64 {
        let interest = self.interest(span, false);
        if interest.handlers {
            let mut word = [0];
            self.read_span(span, 0, &mut word);
            return word[0];
        }
        // SAFETY: as in `load`; the instruction's width is that of a register.
        let value = unsafe { self.platform.load(span.alias(), span.width as u8) };
        if interest.record {
            self.record(span, 0, &[value], Changed::NOT);
        }
        self.performed(interest);
        value
    }

    /// Writes a word, likewise.
    #[inline(always)]
    pub(super) fn write_word(&mut self, span: &Span, value: u64) {
        let interest = self.interest(span, true);
        if interest.handlers {
            return self.write_span(span, 0, &mut [value]);
        }
        // SAFETY: as in `read_word`.
        unsafe { self.platform.store(span.alias(), span.width as u8, value) };
        if interest.record {
            self.record(span, Flags::WRITE, &[value], Changed::NOT);
        }
        self.performed(interest);
    }

    /// Reads the span into `words` (little endian, the unused rest zero), once.
    pub(crate) fn read_span(&mut self, span: &Span, flags: u8, words: &mut [u64]) {
        let interest = self.interest(span, false);
        let decision = if interest.handlers { self.ask(span, false, &[]) } else { Decision::Pass };
        let (mut extra, mut changed) = (0, Changed::NOT);
        match decision {
            Decision::Pass | Decision::Twice => {
                self.load(span, words);
                if interest.handlers {
                    changed = self.change(span, false, words);
                }
            }
            Decision::Supply(_) | Decision::Drop | Decision::Absent => {
                supply(decision, span.width, words);
                extra = Flags::SUPPLIED;
            }
        }
        if interest.handlers {
            self.tell(span, false, bytes_of(words, span.width).as_slice());
        }
        if interest.record {
            self.record(span, flags | extra, words, changed);
        }
        self.performed(interest);
    }

    /// Writes `words` to the span, once.
    pub(crate) fn write_span(&mut self, span: &Span, flags: u8, words: &mut [u64]) {
        let interest = self.interest(span, true);
        let decision = if interest.handlers {
            self.ask(span, true, bytes_of(words, span.width).as_slice())
        } else {
            Decision::Pass
        };
        let (mut extra, mut changed) = (0, Changed::NOT);
        match decision {
            Decision::Pass | Decision::Twice => {
                if interest.handlers {
                    changed = self.change(span, true, words);
                }
                self.store(span, words);
            }
            Decision::Supply(_) => {
                let was = words.first().copied().unwrap_or(0);
                supply(decision, span.width, words);
                self.store(span, words);
                (extra, changed) = (Flags::SUPPLIED, Changed::from(was, span.width));
            }
            Decision::Drop | Decision::Absent => extra = Flags::DROPPED,
        }
        self.wrote(span, interest, flags | extra, words, changed);
        if decision == Decision::Twice {
            self.store(span, words);
            self.wrote(span, interest, flags, words, Changed::REPEATED);
        }
    }

    fn wrote(&self, span: &Span, interest: Interest, flags: u8, words: &[u64], changed: Changed) {
        if interest.handlers {
            self.tell(span, true, bytes_of(words, span.width).as_slice());
        }
        if interest.record {
            self.record(span, Flags::WRITE | flags, words, changed);
        }
        self.performed(interest);
    }
}

/// Makes `words` what was decided instead of an access of `width` bytes.
fn supply(decision: Decision, width: u16, words: &mut [u64]) {
    words.fill(if decision == Decision::Absent { u64::MAX } else { 0 });
    if let (Decision::Supply(value), Some(word)) = (decision, words.first_mut()) {
        *word = value;
    }
    cut(words, width);
}
