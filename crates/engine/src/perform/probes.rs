//! The probes that cover an access: what they want, and their handlers.

use super::record::Changed;
use super::{Performer, Span};
use crate::space::ActiveProbe;
use crate::value::{bytes_of, cut};
use crate::{Access, Decision, Platform};

/// What the probes that cover an access want.
#[derive(Clone, Copy, Default)]
pub(super) struct Interest {
    pub(super) covered: bool,
    pub(super) record: bool,
    pub(super) handlers: bool,
}

fn wants(active: &ActiveProbe, write: bool) -> bool {
    if write { active.probe.writes } else { active.probe.reads }
}

impl<P: Platform> Performer<'_, P> {
    #[inline(always)]
    pub(super) fn visit(&self, span: &Span, mut visit: impl FnMut(&ActiveProbe)) {
        let width = u64::from(span.width);
        self.space.visit(span.page, span.address, width, true, &mut visit);
        if let Some(next) = span.next {
            let begin = next.page().address;
            let rest = span.address.plus(width).since(begin);
            self.space.visit(next, begin, rest, false, &mut visit);
        }
    }

    #[inline(always)]
    pub(super) fn interest(&self, span: &Span, write: bool) -> Interest {
        let mut interest = Interest::default();
        self.visit(span, |active| {
            interest.covered = true;
            if wants(active, write) {
                interest.record |= active.probe.record;
                interest.handlers |= !active.probe.handlers.are_none();
            }
        });
        interest
    }

    pub(super) fn access<'v>(&'v self, span: &Span, write: bool, value: &'v [u8]) -> Option<Access<'v>> {
        let registers = self.before?;
        let (address, width, ip) = (span.address, span.width, self.ip);
        Some(Access { address, width, write, value, by_itself: false, ip, registers })
    }

    /// Asks the pre handlers. All are asked; the first that does not let the access pass decides.
    pub(super) fn ask(&self, span: &Span, write: bool, value: &[u8]) -> Decision {
        match self.access(span, write, value) {
            Some(access) => self.ask_about(span, &access),
            None => Decision::Pass,
        }
    }

    pub(super) fn ask_about(&self, span: &Span, access: &Access<'_>) -> Decision {
        let mut decision = Decision::Pass;
        self.visit(span, |active| {
            if wants(active, access.write)
                && let Some(pre) = active.probe.handlers.pre
            {
                // SAFETY: the contract of `Control::add_probes`: the handler may be called with its
                // data in any trap while the probe is registered.
                let answer = unsafe { pre(active.probe.handlers.data, access) };
                if decision == Decision::Pass {
                    decision = answer;
                }
            }
        });
        decision
    }

    /// Lets the change handlers at `words`, which were read or will be written: each gets what the
    /// one before it made of them.
    pub(super) fn change(&self, span: &Span, write: bool, words: &mut [u64]) -> Changed {
        let before = bytes_of(words, span.width);
        let Some(access) = self.access(span, write, before.as_slice()) else { return Changed::NOT };
        let was = words.first().copied().unwrap_or(0);
        let mut has_changed = false;
        self.visit(span, |active| {
            if wants(active, write)
                && let Some(change) = active.probe.handlers.change
            {
                // SAFETY: as for the pre handlers.
                has_changed |= unsafe { change(active.probe.handlers.data, &access, words) };
            }
        });
        if !has_changed {
            return Changed::NOT;
        }
        cut(words, span.width);
        Changed::from(was, span.width)
    }

    pub(super) fn tell(&self, span: &Span, write: bool, value: &[u8]) {
        if let Some(access) = self.access(span, write, value) {
            self.tell_of(span, &access);
        }
    }

    pub(super) fn tell_of(&self, span: &Span, access: &Access<'_>) {
        self.visit(span, |active| {
            if wants(active, access.write)
                && let Some(post) = active.probe.handlers.post
            {
                // SAFETY: as for the pre handlers.
                unsafe { post(active.probe.handlers.data, access) };
            }
        });
    }
}
