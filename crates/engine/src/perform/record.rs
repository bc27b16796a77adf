//! What the trace and the counters are told of an access.

use super::probes::Interest;
use super::{Performer, Span};
use crate::counters::count;
use crate::sink::Sink;
use crate::value::WIDEST;
use crate::{Access, Platform};
use trapline_abi::{AccessPayload, Change, Flags, Kind, Record, Way};

/// What was made of the value of an access, for its record.
#[derive(Clone, Copy)]
pub(super) struct Changed {
    change: Change,
    /// What it was before.
    was: u64,
}

impl Changed {
    /// Nothing.
    pub(super) const NOT: Self = Self { change: Change::None, was: 0 };
    /// A write that the driver did not make.
    pub(super) const REPEATED: Self = Self { change: Change::Repeated, was: 0 };

    /// It was changed: its first word was `was`, and it has `width` bytes.
    pub(super) fn from(was: u64, width: u16) -> Self {
        // A record has room for two words.
        let change = if width <= 8 { Change::Known } else { Change::Unknown };
        Self { change, was }
    }
}

impl<P: Platform> Performer<'_, P> {
    #[inline(always)]
    pub(super) fn record(&self, span: &Span, flags: u8, words: &[u64], changed: Changed) {
        let Some(sink) = self.sink else { return };
        let word = |number: usize| words.get(number).copied().unwrap_or(0);
        let second = if matches!(changed.change, Change::Known) { changed.was } else { word(1) };
        let payload = AccessPayload { address: span.address.0, ip: self.ip, value: [word(0), second] };
        let record = Record {
            kind: Kind::Access as u8,
            flags: self.flags | flags,
            width: if usize::from(span.width) <= WIDEST { span.width as u8 } else { 0 },
            way: self.way as u8,
            mapping: span.page.mapping,
            change: changed.change as u8,
            payload: payload.to_words(),
            ..Record::EMPTY
        };
        if words.len() > 2 && span.width > 16 {
            self.record_wide(sink, &record, words);
        } else {
            sink.push(self.trap, self.platform, record, &[]);
        }
    }

    /// An event with a value wider than the 16 bytes that fit into its own record.
    #[inline(never)]
    pub(super) fn record_wide(&self, sink: &Sink, record: &Record, words: &[u64]) {
        let word = |number: usize| words.get(number).copied().unwrap_or(0);
        let part =
            |from: usize| Record { payload: core::array::from_fn(|i| word(from + i)), ..Record::EMPTY };
        let parts = [part(2), part(6)];
        let needed = usize::from(record.width).saturating_sub(16).div_ceil(32);
        sink.push(self.trap, self.platform, *record, parts.get(..needed).unwrap_or(&parts));
    }

    #[inline(always)]
    pub(super) fn performed(&self, interest: Interest) {
        if let Some(counter) = self.counters.accesses.get(self.way as usize) {
            count(counter);
        }
        if !interest.covered {
            count(&self.counters.beside);
        }
    }

    /// Shows an access of unknown value to recorders and handlers: one that the CPU makes, or made,
    /// by itself.
    pub(crate) fn show_unknown(&mut self, span: &Span, write: bool) {
        let interest = self.interest(span, write);
        if interest.handlers {
            // What a pre handler decides can't be carried out here: the access has been made. See
            // `Decision`.
            if let Some(access) = self.access(span, write, &[]) {
                let access = Access { by_itself: true, ..access };
                self.ask_about(span, &access);
                self.tell_of(span, &access);
            }
        }
        if interest.record {
            let direction = if write { Flags::WRITE } else { 0 };
            self.record(span, Flags::UNKNOWN | direction, &[], Changed::NOT);
        }
        self.performed(interest);
    }

    /// Shows recorders an access that the page's rights forbid. Handlers are not asked about what
    /// does not take place.
    pub(crate) fn show_forbidden(&mut self, span: &Span, write: bool) {
        if self.interest(span, write).record {
            self.way = Way::Forbidden;
            let direction = if write { Flags::WRITE } else { 0 };
            self.record(span, Flags::UNKNOWN | direction, &[], Changed::NOT);
        }
    }
}
