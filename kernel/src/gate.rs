//! The page-fault gate of our own: a copy of the kernel's interrupt descriptor table whose
//! page-fault gate leads to glue/gate_entry.S, switched in on every CPU.
//!
//! It sees a fault before the kernel's entry has begun. So RCU may not be watching yet, and a
//! reader there is waited for by switching back, not by a grace period: see
//! [`InstalledGate::remove`].

use crate::errno::Errno;
use crate::glue;
use crate::locks::PatchingLock;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::GateError;
use trapline_engine::idt::{self, JUMP, Table};
use trapline_engine::{Alias, Linear};

const PAGE: u64 = 4096;

/// Why there is no gate.
pub(crate) struct GateRefused {
    pub why: Option<GateError>,
    pub errno: Errno,
}

impl From<GateError> for GateRefused {
    fn from(why: GateError) -> Self {
        let errno = if why == GateError::ForeignTable { Errno::BUSY } else { Errno::NOT_SUPPORTED };
        Self { why: Some(why), errno }
    }
}

impl From<Errno> for GateRefused {
    fn from(errno: Errno) -> Self {
        Self { why: None, errno }
    }
}

/// The gate, switched in on every CPU until [`InstalledGate::remove`]. One at a time: who has it is
/// the one who watches page faults.
///
/// # Invariants
/// `table` is from `glue_vmalloc`, and every CPU that is online has it unless somebody else has put
/// in another.
pub(crate) struct InstalledGate {
    table: *mut Table,
}

// SAFETY: a table that only CPUs read, and that whoever owns this may free.
unsafe impl Send for InstalledGate {}

impl InstalledGate {
    /// Switches it in. Waits for CPU hotplug.
    ///
    /// # Safety
    /// There is no other.
    pub(crate) unsafe fn install(_patching: &mut PatchingLock<'_>) -> Result<Self, GateRefused> {
        if glue::glue_has_page_table_isolation() {
            return Err(GateError::PageTableIsolation.into());
        }
        if glue::glue_has_fred() {
            return Err(GateError::Fred.into());
        }
        if !glue::glue_has_plain_entry() {
            return Err(GateError::Entry.into());
        }
        let memory = glue::glue_vmalloc(size_of::<Table>()).cast::<Table>();
        // SAFETY: null, or from there, page-aligned, large enough, zeroed or not: any words are
        // descriptors; nobody else's.
        let table = unsafe { memory.as_mut() }.ok_or(Errno::NO_MEMORY)?;
        // SAFETY: the table's memory is not used after this, unless it was kept.
        let free = || unsafe { glue::glue_vfree(memory.cast()) };
        // SAFETY: the kernel's table is mapped here for reading, on every CPU, and does not change
        // after boot.
        *table = unsafe { *(glue::glue_kernel_idt() as *const Table) };
        let entry = &raw const glue::trapline_gate as u64;
        let led_out = idt::divert_page_faults(table, entry).ok_or(GateError::Entry.into()).and_then(lead_out);
        if let Err(refused) = led_out {
            free();
            return Err(refused);
        }
        // SAFETY: the table is complete, its gates lead to entries of the kernel and to ours, which
        // leads on; it is freed only after all CPUs were switched back.
        match unsafe { glue::glue_gate_switch(memory as u64, idt::LIMIT) } {
            // INVARIANT: all CPUs were switched, and later ones will be.
            0 => Ok(Self { table: memory }),
            status => {
                free();
                let errno = Errno::from_status(status);
                Err(if errno == Errno::BUSY { GateError::ForeignTable.into() } else { errno.into() })
            }
        }
    }

    /// Switches it out. When this returns no CPU is in the gate, nor can one come there: whatever
    /// the recorder read may be freed. Returns on how many CPUs somebody else had put in another
    /// table meanwhile, so that faults there were not seen.
    pub(crate) fn remove(self, _patching: &mut PatchingLock<'_>) -> u32 {
        // SAFETY: `install` switched to it, and nobody else switches: the patching lock is held.
        let lost = unsafe { glue::glue_gate_switch_back() };
        // SAFETY: from `glue_vmalloc`, and no CPU has it any more.
        unsafe { glue::glue_vfree(self.table.cast()) };
        lost
    }
}

/// Fills in the jump at the end of gate_entry.S, to `old`.
///
/// It is part of the module's text, so it is written through a data mapping of the same page. No
/// CPU is in it: this is before any has our table, and each gets it by LIDT, which serialises
/// (Intel SDM volume 3, 9.3), so none runs what it had fetched before.
fn lead_out(old: u64) -> Result<(), GateRefused> {
    // Not folded into the sum below: objtool takes an address behind the label for one that is
    // jumped to.
    let from = core::hint::black_box(&raw const glue::trapline_gate_out) as u64;
    let jump = idt::jump(from, old).ok_or(GateError::Entry)?;
    let data = glue::glue_vmap_alias(Linear(from).aligned_down(PAGE), 1);
    if data == Alias(0) {
        return Err(Errno::NO_MEMORY.into());
    }
    let place = data.plus(Linear(from).offset_in(PAGE)).0 as *const AtomicU64;
    // SAFETY: in the mapping just made, since gate_entry.S aligns it to eight bytes, whose last
    // three are of the same function.
    let place = unsafe { &*place };
    let mut bytes = place.load(Ordering::Relaxed).to_le_bytes();
    if let Some(part) = bytes.first_chunk_mut::<JUMP>() {
        *part = jump;
    }
    place.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
    // SAFETY: mapped above, and used no more.
    unsafe { glue::glue_vunmap(data) };
    Ok(())
}
