//! A probe on an instruction that accesses a port, and what it records.
//!
//! An access is recorded after the instruction: only then is known what was read. kprobes execute a
//! copy of the instruction and a breakpoint behind it, so a string instruction that is repeated is
//! one hit, whatever it did. How often it accessed the port is told by the register that each of
//! its steps moves, and what it copied by the memory along the way; each step is recorded apart.

use super::watch::Watch;
use crate::code::{At, Registration, Registry};
use crate::errno::Errno;
use crate::glue;
use crate::names::text;
use crate::state::ENGINE;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use trapline_abi::{Flags, Kind, PortPayload, Record};
use trapline_engine::code::CodeHandlers;
use trapline_engine::{Linear, Owned, Trap};
use trapline_insn::{PortAccess, PortText, Registers};

/// What the probes are called in lists.
const NAME: &[u8] = b"I/O ports";

/// Steps of a string instruction that are recorded. More are counted as missed. A driver moves a
/// few thousand at once, with interrupts off as long as that takes; a record is quicker than an
/// access to a real device's port.
const MOST: u64 = 1 << 16;

/// EFLAGS.DF (Intel SDM volume 1, 3.4.3.2): string instructions go down.
const DOWN: u64 = 1 << 10;

/// What a probe's handlers are given.
struct Given {
    watch: NonNull<Watch>,
    address: u64,
    access: PortAccess,
}

// SAFETY: the watch is shared by the traps of all CPUs.
unsafe impl Send for Given {}

/// A probe that is registered.
///
/// # Invariants
/// `given` is dropped only after the probe was removed.
pub(super) struct Probe {
    pub id: u64,
    /// Whether it is about to be removed.
    pub is_leaving: bool,
    given: Owned<Given>,
}

impl Probe {
    /// Bytes of memory that one takes.
    pub(super) const MEMORY: usize = size_of::<Self>() + size_of::<Given>();

    /// Where the instruction is.
    pub(super) fn address(&self) -> u64 {
        self.given.address
    }

    /// Follows the instruction at an address from now on; `id` is the probe's number, `owner` the
    /// process that asked.
    ///
    /// # Safety
    /// The watch stays until the probe was removed, and the result as long.
    pub(super) unsafe fn register(
        registry: &mut Registry,
        watch: &Watch,
        (address, access): (u64, PortAccess),
        id: u64,
        owner: u32,
    ) -> Result<Self, Errno> {
        let given = Given { watch: NonNull::from(watch), address, access };
        let given = Owned::new(given).map_err(|_| Errno::NO_MEMORY)?;
        let registration = Registration {
            id,
            address,
            at: At::Instruction,
            handlers: CodeHandlers::Trusted { pre: access.text.map(|_| begins as _), post: Some(accessed) },
            data: core::ptr::from_ref(&*given).cast_mut().cast(),
            limit: 0,
            owner,
            name: text(NAME),
            flags: 0,
        };
        // SAFETY: the handlers get what they expect, which stays: on the heap, and `register` asks
        // for the watch. They do not fault: they read registers, what they are given, and with care
        // the memory of a string instruction.
        unsafe { registry.add(&registration) }.map_err(|refused| refused.errno)?;
        // INVARIANT: `register` asks for it.
        Ok(Self { id, is_leaving: false, given })
    }
}

/// A string instruction is about to be executed.
///
/// # Safety
/// `given` is a [`Given`] whose watch stays.
unsafe fn begins(given: *mut (), trap: &Trap, registers: &Registers, _carried: *mut ()) {
    // SAFETY: `begins` asks for that.
    let Given { watch, access, .. } = unsafe { &*given.cast::<Given>() };
    // SAFETY: as above.
    let watch = unsafe { watch.as_ref() };
    if let Some(before) = watch.before.of(trap) {
        // Until it was executed this CPU has interrupts off, and a probe that an NMI reaches
        // meanwhile is missed, not called: nobody else writes here.
        before.store(moved(*access, registers), Ordering::Relaxed);
    }
}

/// The register that a step of a string instruction moves.
fn moved(access: PortAccess, registers: &Registers) -> u64 {
    if access.is_write { registers.rsi } else { registers.rdi }
}

/// The instruction was executed.
///
/// # Safety
/// As for [`begins`].
unsafe fn accessed(given: *mut (), trap: &Trap, registers: &Registers, _carried: *mut ()) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: `accessed` asks for that.
    let Given { watch, address, access } = unsafe { &*given.cast::<Given>() };
    // SAFETY: as above.
    let watch = unsafe { watch.as_ref() };
    let port = access.port.map_or(registers.rdx as u16, u16::from);
    if !watch.has(port, access.width) {
        return;
    }
    let mut caller = 0;
    // SAFETY: room for one; in a trap, on the CPU whose registers these are.
    unsafe { glue::glue_unwind(registers, &mut caller, 1) };
    let record = |value: Option<u64>| {
        let payload = PortPayload {
            caller,
            value: value.unwrap_or(0) as u32,
            port,
            is_string: access.text.is_some(),
            is_known: value.is_some(),
            ip: *address,
        };
        let record = Record {
            kind: Kind::Port as u8,
            flags: if access.is_write { Flags::WRITE } else { 0 },
            width: access.width,
            payload: payload.to_words(),
            ..Record::EMPTY
        };
        // SAFETY: the watch stays, and its sink: `accessed` asks for that.
        unsafe { watch.sink.as_ref() }.push(trap, engine.platform(), record, &[]);
    };
    let Some(text) = access.text else {
        record(Some(registers.rax & u64::MAX >> (64 - 8 * u32::from(access.width.clamp(1, 4)))));
        return;
    };
    let Some(before) = watch.before.of(trap) else { return };
    let (from, step) = (before.load(Ordering::Relaxed), u64::from(access.width.max(1)));
    let goes_down = registers.rflags & DOWN != 0;
    let moved = moved(*access, registers).wrapping_sub(from);
    let moved = if goes_down { moved.wrapping_neg() } else { moved };
    // An address of 32 bits leaves the register's upper half zero, whatever that was before.
    let steps = if text.is_plain { moved } else { moved & 0xffff_ffff } / step;
    for number in 0..steps.min(MOST) {
        let offset = number.wrapping_mul(step);
        let at = if goes_down { from.wrapping_sub(offset) } else { from.wrapping_add(offset) };
        record(copied(text, at, access.width));
    }
    watch.missed.fetch_add(steps.saturating_sub(MOST), Ordering::Relaxed);
}

/// What a step copied from or to `at`; `None` if it can't be read.
fn copied(text: PortText, at: u64, width: u8) -> Option<u64> {
    let mut value = 0;
    // SAFETY: room for the value; whatever the address is, it is read with care, in a trap too.
    (text.is_plain && unsafe { glue::glue_get_inatomic(Linear(at), u32::from(width), &mut value) })
        .then_some(value)
}
