//! The kernel's page tables: arming and disarming pages.
//!
//! An entry is only ever changed by compare-and-exchange from what we left or found there. So a
//! mapping that is torn down, or replaced by another, while we arm or disarm it keeps what its
//! owner wrote: we need no lock of the kernel's, none of which is ours to take.
//!
//! The entry is looked up anew each time, with interrupts off: page-table pages of the vmalloc area
//! are freed only after an interrupt to all CPUs (`pmd_free_pte_page`), which waits for us.

use crate::glue::{self, LEVEL_2M, LEVEL_4K};
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_engine::{Linear, Mapped, NotArmed, Page, PageError, PageSize, PageTables, Rights};

/// `_PAGE_PRESENT`.
pub(crate) const PRESENT: u64 = 1 << 0;
/// `_PAGE_RW`.
const WRITABLE: u64 = 1 << 1;
/// `_PAGE_USER`.
const USER: u64 = 1 << 2;
/// `_PAGE_NX`.
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
/// `_PAGE_ACCESSED` and `_PAGE_DIRTY`, which the CPU sets by itself.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
/// `_PAGE_PROTNONE`: where the present bit is clear, the kernel takes this for a mapping (see
/// glue/page_table.c).
pub(crate) const PROTNONE: u64 = 1 << 8;

/// Interrupts off on this CPU while it lives.
pub(crate) struct InterruptsOff(usize);

impl InterruptsOff {
    pub(crate) fn new() -> Self {
        Self(glue::glue_local_irq_save())
    }
}

impl Drop for InterruptsOff {
    fn drop(&mut self) {
        glue::glue_local_irq_restore(self.0);
    }
}

fn level_of(size: PageSize) -> u32 {
    match size {
        PageSize::Small => LEVEL_4K,
        PageSize::Large => LEVEL_2M,
    }
}

/// The entry that maps `address`, and its level; interrupts are off while it is used.
fn lookup(address: Linear, _off: &InterruptsOff) -> Option<(&AtomicU64, u32)> {
    let mut level = 0;
    // SAFETY: `level` is a place to write to; the walk takes no lock and any address will do.
    let entry = unsafe { glue::glue_lookup_address(address, &mut level) };
    // SAFETY: null, or a page-table entry: aligned, eight bytes, not freed while interrupts are off
    // (see the module's text), and changed by atomic accesses alone, the CPU's own included.
    Some((unsafe { entry.cast::<AtomicU64>().as_ref() }?, level))
}

/// What maps an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The entry as it is; armed if its present bit is clear.
    pub entry: u64,
    /// `PG_LEVEL_*`.
    pub level: u32,
}

/// What maps `address` now, present or armed.
pub(crate) fn leaf_at(address: Linear) -> Option<Leaf> {
    let off = InterruptsOff::new();
    let (entry, level) = lookup(address, &off)?;
    let entry = entry.load(Ordering::Relaxed);
    (entry & (PRESENT | PROTNONE) != 0).then_some(Leaf { entry, level })
}

/// Whether `address` has a present translation. Any context.
pub(crate) fn is_present(address: Linear) -> bool {
    let off = InterruptsOff::new();
    lookup(address, &off).is_some_and(|(entry, _)| entry.load(Ordering::Relaxed) & PRESENT != 0)
}

/// Replaces the entry of `page` by `to` if it is `from`, whatever the CPU noted in it since;
/// returns whether it is `to` now. Any context.
fn exchange(page: Page, from: u64, to: u64) -> bool {
    let off = InterruptsOff::new();
    let Some((entry, level)) = lookup(page.address, &off) else { return false };
    if level != level_of(page.size) {
        return false;
    }
    let now = entry.load(Ordering::Relaxed);
    let is = |what: u64| (now ^ what) & !ACCESSED_DIRTY == 0;
    // Relaxed: a page-table entry orders nothing else. Fails if the CPU or the mapping's owner was
    // faster: the CPU changes nothing but the two bits, which a kernel mapping has set from the
    // start; and the owner's word is the last.
    is(to) || is(from) && entry.compare_exchange(now, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Makes `page`, whose entry is `entry`, present or armed, without telling any TLB; returns whether
/// it is so now. Any context.
pub(crate) fn set_present(page: Page, entry: u64, present: bool) -> bool {
    let armed = glue::glue_entry_not_present(entry, level_of(page.size));
    if present { exchange(page, armed, entry) } else { exchange(page, entry, armed) }
}

/// The control side of the kernel platform.
pub(crate) struct KernelTables;

impl PageTables for KernelTables {
    fn page_at(&self, address: Linear) -> Result<(Mapped, Rights), PageError> {
        let leaf = leaf_at(address).ok_or(PageError::NotMapped)?;
        let size = match leaf.level {
            LEVEL_4K => PageSize::Small,
            LEVEL_2M => PageSize::Large,
            _ => return Err(PageError::HugePage),
        };
        // The kernel's upper levels allow everything: the last one decides.
        let has = |bit| leaf.entry & bit != 0;
        let rights = Rights { write: has(WRITABLE), user: has(USER), execute: !has(NO_EXECUTE) };
        Ok((Mapped { page: Page::containing(address, size), entry: leaf.entry }, rights))
    }

    fn arm(&self, pages: &[Mapped]) -> Result<(), NotArmed> {
        let is_refused = |mapped: &Mapped| !set_present(mapped.page, mapped.entry, false);
        match pages.iter().position(is_refused) {
            Some(armed) => Err(NotArmed { armed, error: PageError::Changed }),
            None => Ok(()),
        }
    }

    fn disarm(&self, mapped: Mapped) -> Result<(), PageError> {
        if set_present(mapped.page, mapped.entry, true) { Ok(()) } else { Err(PageError::Changed) }
    }

    fn shoot_down(&self) {
        glue::glue_flush_tlb_all_cpus();
    }

    /// A trap runs with interrupts off from its entry to its end, and a single step's instruction
    /// between its two traps as well: to RCU all of that is a reader, in NMI context too
    /// (Documentation/RCU/whatisRCU.rst, "RCU-sched").
    fn synchronize(&self) {
        glue::glue_synchronize_rcu();
    }
}
