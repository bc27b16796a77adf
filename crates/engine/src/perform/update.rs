//! A read-modify-write: of a device a read and a write, of RAM one instruction.

use super::record::Changed;
use super::{Performer, Span, Stop};
use crate::value::{bytes_of, cut, narrow, wide};
use crate::{Decision, Platform};
use trapline_abi::Flags;

/// How often an update of RAM is tried before the interrupted code is let go and comes back by
/// itself.
const UPDATE_ATTEMPTS: usize = 1000;

/// Bytes of a cache line, which the CPU locks as a whole.
const CACHE_LINE: u64 = 64;

impl<P: Platform> Performer<'_, P> {
    pub(super) fn update_span(
        &mut self,
        span: &Span,
        locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Stop> {
        let flags = Flags::MODIFY | if locked { Flags::LOCKED } else { 0 };
        if span.is_ram() {
            return self.update_ram(span, locked, flags, compute);
        }
        // A device: a read and a write, which is what it gets from a locked instruction too, since
        // neither PCI Express nor a bridge to it carries the lock.
        let mut words = [0; 2];
        self.read_span(span, flags, &mut words);
        let old = wide(words);
        words = narrow(compute(old), span.width);
        self.write_span(span, flags, &mut words);
        Ok(old)
    }

    /// RAM: one instruction, as natively, unless a pre handler wants it otherwise. An NMI, or an
    /// interrupt's handler that a handler of ours stands for, changes it before or after and never
    /// within. The kernel's per-CPU operations rest on that, and carry no lock prefix.
    ///
    /// The instruction is locked even if the original is not, so that no other CPU's locked change
    /// is lost in the time between our load and it, which is far longer than the original's. Not so
    /// where an original without a lock crosses the border of cache lines: a lock there is what
    /// kernels with split lock detection take for an error.
    pub(super) fn update_ram(
        &mut self,
        span: &Span,
        locked: bool,
        flags: u8,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Stop> {
        let in_one_line = span.alias().offset_in(CACHE_LINE) + u64::from(span.width) <= CACHE_LINE;
        let lock = locked || in_one_line;
        let (reads, writes) = (self.interest(span, false), self.interest(span, true));
        let mut now = [0; 2];
        self.load(span, &mut now);
        let mut old = wide(now);
        let (mut read_flags, mut write_flags) = (flags, flags | Flags::WRITE);
        let mut decision = Decision::Pass;
        if reads.handlers || writes.handlers {
            match self.ask(span, false, &[]) {
                Decision::Pass | Decision::Twice => {}
                Decision::Supply(value) => (old, read_flags) = (value.into(), flags | Flags::SUPPLIED),
                Decision::Drop => (old, read_flags) = (0, flags | Flags::SUPPLIED),
                Decision::Absent => {
                    let mut ones = [u64::MAX; 2];
                    cut(&mut ones, span.width);
                    (old, read_flags) = (wide(ones), flags | Flags::SUPPLIED);
                }
            }
            let proposed = bytes_of(&narrow(compute(old), span.width), span.width);
            decision = self.ask(span, true, proposed.as_slice());
        }
        // What the instruction would have written.
        let mut meant = 0;
        let mut new_for = |old: u128, compute: &mut dyn FnMut(u128) -> u128| {
            // Computed in any case: the flags come of it.
            let computed = compute(old);
            match decision {
                Decision::Supply(value) => {
                    meant = computed;
                    value.into()
                }
                Decision::Pass | Decision::Twice | Decision::Drop | Decision::Absent => computed,
            }
        };
        let mut new = new_for(old, compute);
        match decision {
            Decision::Drop | Decision::Absent => write_flags |= Flags::DROPPED,
            Decision::Pass | Decision::Twice | Decision::Supply(_) => {
                let supplied = read_flags & Flags::SUPPLIED != 0;
                let mut attempts = 0;
                loop {
                    let expected = wide(now);
                    // SAFETY: as in `load`; and RAM is behind the alias.
                    let found = unsafe {
                        self.platform.compare_exchange(span.alias(), span.width as u8, lock, expected, new)
                    };
                    if found == expected {
                        break;
                    }
                    attempts += 1;
                    if attempts == UPDATE_ATTEMPTS {
                        return Err(Stop::Retry);
                    }
                    now = [found as u64, (found >> 64) as u64];
                    if !supplied {
                        old = found;
                        new = new_for(old, compute);
                    }
                }
                if let Decision::Supply(_) = decision {
                    write_flags |= Flags::SUPPLIED;
                }
            }
        }
        let changed = match decision {
            Decision::Supply(_) => Changed::from(meant as u64, span.width),
            _ => Changed::NOT,
        };
        for (interest, write, flags, value, changed) in
            [(reads, false, read_flags, old, Changed::NOT), (writes, true, write_flags, new, changed)]
        {
            let words = narrow(value, span.width);
            if interest.handlers {
                self.tell(span, write, bytes_of(&words, span.width).as_slice());
            }
            if interest.record {
                self.record(span, flags, &words, changed);
            }
            self.performed(interest);
        }
        Ok(old)
    }
}
