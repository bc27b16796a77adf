//! Performs an instruction by running a copy of it: SSE, AVX, and whatever is not worth emulating.
//!
//! The device is not accessed by the copy but by us, once, with the operand's width, between the
//! alias and a buffer that the copy works on. So the value is known, handlers can change it, and
//! the copy can be of any instruction. The buffer has the operand's alignment within a cache line,
//! so the copy raises no alignment fault that the original would not have raised.

use crate::perform::{Performer, Span};
use crate::value::{WIDEST, words_of};
use crate::{Linear, Platform, perform::Stop};
use trapline_insn::{Direction, Redirect, Registers};

/// Room for the widest operand at any offset within a cache line.
#[repr(C, align(64))]
struct Bounce([u8; 2 * WIDEST]);

impl Bounce {
    /// The bytes from `offset` on that an operand may have.
    fn operand(&mut self, offset: usize) -> Option<&mut [u8; WIDEST]> {
        self.0.get_mut(offset..)?.first_chunk_mut()
    }
}

impl<P: Platform> Performer<'_, P> {
    /// Runs `copy`, whose operand is at `address`. Returns false if that can't be done, so that the
    /// original has to be stepped.
    ///
    /// Nothing has happened then, unless the copy faulted (a floating-point exception): the
    /// original will do the same, after an access of its own, so a read that the copy worked on was
    /// one more, and was told of.
    pub(crate) fn redirect(
        &mut self,
        nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        address: Linear,
    ) -> Result<bool, Stop> {
        let Some(span) = self.span(address, copy.width.max(1)) else { return Ok(false) };
        if copy.direction != Direction::Read {
            self.may_write(&span)?;
        }
        if !self.platform.can_run_copy(nesting, copy) {
            return Ok(false);
        }
        let known = !copy.partial && copy.width > 0 && usize::from(copy.width) <= WIDEST;
        match copy.direction {
            Direction::Read if known => self.redirect_read(nesting, copy, registers, &span),
            Direction::Write if known => self.redirect_write(nesting, copy, registers, &span),
            direction => {
                // Masked, longer than a vector, or read-modify-write: the copy itself accesses the
                // alias, once, as the original would.
                // SAFETY: asked above; the span lies on the alias.
                let ran = unsafe { self.platform.run_copy(nesting, copy, registers, span.alias().0) };
                if ran {
                    if direction != Direction::Write {
                        self.show_unknown(&span, false);
                    }
                    if direction != Direction::Read {
                        self.show_unknown(&span, true);
                    }
                }
                Ok(ran)
            }
        }
    }

    fn redirect_read(
        &mut self,
        nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        span: &Span,
    ) -> Result<bool, Stop> {
        let mut words = [0; WIDEST / 8];
        self.read_span(span, 0, &mut words);
        let mut bounce = Bounce([0; 2 * WIDEST]);
        let offset = span.alias().offset_in(WIDEST as u64) as usize;
        if let Some(operand) = bounce.operand(offset) {
            let (places, _) = operand.as_chunks_mut::<8>();
            match (places.first_mut(), words) {
                // The common case apart: what was just stored as one word is best read as one.
                (Some(place), [word, ..]) if copy.width <= 8 => *place = word.to_le_bytes(),
                // All of the widest operand, which the buffer has room for at any offset: of known
                // length the copy is some moves, neither a loop nor a call.
                _ => places.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes()),
            }
        }
        let operand = (&raw mut bounce).cast::<u8>() as u64 + offset as u64;
        // SAFETY: our caller has asked; the buffer is ours, and the operand lies inside it.
        Ok(unsafe { self.platform.run_copy(nesting, copy, registers, operand) })
    }

    fn redirect_write(
        &mut self,
        nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        span: &Span,
    ) -> Result<bool, Stop> {
        let mut bounce = Bounce([0; 2 * WIDEST]);
        let offset = span.alias().offset_in(WIDEST as u64) as usize;
        let operand = (&raw mut bounce).cast::<u8>() as u64 + offset as u64;
        // SAFETY: as in `redirect_read`.
        if !unsafe { self.platform.run_copy(nesting, copy, registers, operand) } {
            return Ok(false);
        }
        // The whole buffer was zeros before, so what lies behind the operand is zero as well.
        let mut words = bounce.operand(offset).map_or([0; WIDEST / 8], |bytes| words_of(bytes));
        self.write_span(span, 0, &mut words);
        Ok(true)
    }
}
