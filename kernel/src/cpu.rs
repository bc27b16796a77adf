//! Which CPU this is.

use crate::glue;
use core::arch::asm;
use trapline_engine::Lane;

/// The lane of a trap: its CPU, on which interrupts are off.
#[inline(always)]
pub(crate) fn lane() -> Lane {
    Lane::new(number())
}

/// The number of this CPU. Wherever the task can't be moved: in traps, interrupts are off.
#[inline(always)]
pub(crate) fn number() -> usize {
    let number: u32;
    // SAFETY: gs holds the base of this CPU's own area in every trap of kernel mode, and the
    // variable's address is its place there (DEFINE_PER_CPU, glue/context.c).
    unsafe {
        asm!("mov {number:e}, gs:[{place}]", number = out(reg) number, place = in(reg) &raw const glue::glue_cpu as u64, options(nostack, preserves_flags, readonly));
    }
    number as usize
}
