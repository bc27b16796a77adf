//! Code slots: where copies of instructions run.
//!
//! They are part of the module's own text (glue/runner.S), one cache line for each CPU and level of
//! nesting, and written through a data mapping of the same pages. Each belongs to one trap at a
//! time, so it needs no lock.
//!
//! A slot is rewritten only when its content differs, and then serialised: code that was changed
//! through another linear address is only fetched anew after a serialising instruction (Intel SDM
//! volume 3, 9.1.3 and 13.6).

use crate::glue;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_engine::{Alias, Lane, Linear};
use trapline_insn::{Redirect, Registers};

/// CPUs that have slots; on others no copy is run, and the engine steps instead.
const CPUS: usize = 256;
/// Levels of nesting that have slots.
const LEVELS: usize = 4;
/// One cache line, so that no CPU fetches code from a line that another one writes.
const SLOT_SIZE: usize = 64;
/// Bytes of a slot that are used: `popf`, at most 15 bytes, a jump of 5.
const USED: usize = 24;

const PAGE: usize = 4096;
const BYTES: usize = CPUS * LEVELS * SLOT_SIZE;

/// The slots, as text and as data.
///
/// # Invariants
/// `data` is a mapping of the pages that hold `text..text + BYTES`, writable, not executable.
pub(crate) struct Slots {
    text: u64,
    data: Alias,
}

impl Slots {
    /// Maps the slots' text as data; `None` if there is no memory for that.
    pub(crate) fn map() -> Option<Self> {
        let text = &raw const glue::trapline_slots as u64;
        if glue::trapline_slots_size != BYTES as u64 {
            return None;
        }
        match glue::glue_vmap_alias(Linear(text), (BYTES / PAGE) as u64) {
            Alias(0) => None,
            data => Some(Self { text, data }),
        }
    }

    /// Whether `ip` is in a slot.
    pub(crate) fn hold(&self, ip: u64) -> bool {
        ip.wrapping_sub(self.text) < BYTES as u64
    }

    /// Whether `lane` has a slot for `copy` at this level.
    pub(crate) fn have_room(&self, lane: Lane, nesting: usize, copy: &Redirect) -> bool {
        lane.number() < CPUS && nesting < LEVELS && usize::from(copy.length) <= copy.code.len()
    }

    /// Runs `copy` as [`Platform::run_copy`](trapline_engine::Platform::run_copy) says.
    ///
    /// # Safety
    /// Called in a trap on `lane`, and no other trap on it has level `nesting`;
    /// `operand` is memory the copy may access.
    pub(crate) unsafe fn run(
        &self,
        lane: Lane,
        nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        operand: u64,
    ) -> bool {
        if !self.have_room(lane, nesting, copy) {
            return false;
        }
        let offset = ((lane.number() * LEVELS + nesting) * SLOT_SIZE) as u64;
        let slot = self.text + offset;
        let Some(code) = slot_code(copy, slot) else { return false };
        self.write(offset, &code);
        let kept = registers.get(copy.scratch);
        registers.set(copy.scratch, operand);
        // SAFETY: the slot holds `popf`, a copy that touches neither the stack nor the flow of
        // control (the contract of `Redirect`) and the jump back; a fault in it comes back here by
        // way of the fault hook. The operand may be accessed: `run` asks for that.
        let ran = unsafe { glue::trapline_run_slot(registers, slot as *const u8) } != 0;
        registers.set(copy.scratch, kept);
        ran
    }

    fn write(&self, offset: u64, code: &[u64; USED / 8]) {
        let mut changed = false;
        for (number, word) in code.iter().enumerate() {
            let place = self.data.plus(offset).0 as *const AtomicU64;
            // SAFETY: inside the mapping by the invariant and since `offset + USED` is inside a
            // slot; aligned, since slots are; only this trap writes it.
            let place = unsafe { &*place.add(number) };
            if place.load(Ordering::Relaxed) != *word {
                place.store(*word, Ordering::Relaxed);
                changed = true;
            }
        }
        if changed {
            glue::glue_sync_core();
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: `data` came from `glue_vmap_alias`, and nobody runs copies any more.
        unsafe { glue::glue_vunmap(self.data) }
    }
}

/// What the slot at `slot` must hold for `copy`: `popf`, the copy, and a jump to where the runner
/// goes on.
fn slot_code(copy: &Redirect, slot: u64) -> Option<[u64; USED / 8]> {
    const POPF: u8 = 0x9d;
    const JMP: u8 = 0xe9;
    let length = usize::from(copy.length).min(15);
    let mut bytes = [0xcc; USED];
    let (first, rest) = bytes.split_first_mut()?;
    *first = POPF;
    rest.get_mut(..length)?.copy_from_slice(copy.code.get(..length)?);
    let jump = rest.get_mut(length..length + 5)?;
    let from = slot + 1 + length as u64 + 5;
    let distance = (&raw const glue::trapline_slot_done as u64).wrapping_sub(from) as u32;
    let (opcode, target) = jump.split_first_mut()?;
    *opcode = JMP;
    target.copy_from_slice(&distance.to_le_bytes());
    let (words, _) = bytes.as_chunks::<8>();
    Some(core::array::from_fn(|number| words.get(number).map_or(0, |word| u64::from_le_bytes(*word))))
}
