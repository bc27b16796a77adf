//! A probed instruction, and the probes that share it.

use super::CodeProbe;
use crate::published::Published;
use crate::{OutOfMemory, Owned, Retired, Trap};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use trapline_ring::primitive::atomic::{AtomicPtr, Ordering};

/// An instruction that is probed. Its address stays the same while it is armed: the platform keeps
/// a pointer to it.
///
/// # Invariants
/// Every probe that a published list names is alive until it was struck out or its list replaced,
/// and every trap since then has ended.
pub struct Point {
    address: u64,
    probes: Published<List>,
}

/// The probes of an instruction as they were published.
struct List {
    /// In the order of their registration; null where one was struck out.
    probes: Box<[AtomicPtr<CodeProbe>]>,
    /// Whether any of them has a post handler; those that were struck out count.
    posts: bool,
}

impl Point {
    /// An instruction with no probes.
    pub(crate) fn new(address: u64) -> Self {
        Self { address, probes: Published::empty() }
    }

    /// Address of the instruction.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The probes that are registered now, in order.
    #[inline(always)]
    pub(crate) fn probes<'t>(&self, trap: &'t Trap) -> impl Iterator<Item = &'t CodeProbe> {
        let list = self.probes.read(trap).map_or(&[][..], |list| &list.probes);
        // Acquire pairs with the publication of the list, or is of a null.
        // SAFETY: not struck out when it was loaded in this trap, so alive until the trap ends.
        list.iter().filter_map(|probe| unsafe { probe.load(Ordering::Acquire).as_ref() })
    }

    /// Whether any of them may have a post handler.
    #[inline(always)]
    pub(crate) fn posts(&self, trap: &Trap) -> bool {
        self.probes.read(trap).is_some_and(|list| list.posts)
    }

    /// Publishes a list with `probe` at its end. The one before may still be in use by traps.
    ///
    /// # Safety
    /// Called by the one writer. `probe` is alive until it was struck out and every trap since then
    /// has ended.
    pub(crate) unsafe fn append(&self, probe: NonNull<CodeProbe>) -> Result<RetiredList, OutOfMemory> {
        // SAFETY: the caller is the one writer, and frees nothing meanwhile.
        let before = unsafe { self.probes.current() }.map_or(&[][..], |list| &list.probes);
        let kept = || before.iter().map(|one| one.load(Ordering::Relaxed)).filter(|one| !one.is_null());
        let mut all = Vec::new();
        all.try_reserve_exact(kept().count() + 1)?;
        all.extend(kept().chain([probe.as_ptr()]).map(AtomicPtr::new));
        // Capacity equals length, so this does not reallocate.
        // SAFETY: `append` asks for `probe` to be alive, and those that were published and not
        // struck out by the invariant.
        let has_post =
            |one: &AtomicPtr<CodeProbe>| unsafe { (*one.load(Ordering::Relaxed)).handlers().has_post() };
        let posts = all.iter().any(has_post);
        let list = Owned::new(List { probes: all.into_boxed_slice(), posts })?;
        Ok(RetiredList(self.probes.replace(Some(list))))
    }

    /// Strikes `probe` out, in place: removing needs no memory. It may be in use by traps until
    /// they have ended.
    ///
    /// # Safety
    /// Called by the one writer.
    pub(crate) unsafe fn strike(&self, probe: NonNull<CodeProbe>) {
        // SAFETY: the caller is the one writer, and frees nothing meanwhile.
        let Some(list) = (unsafe { self.probes.current() }) else { return };
        for one in list.probes.iter().filter(|one| one.load(Ordering::Relaxed) == probe.as_ptr()) {
            one.store(core::ptr::null_mut(), Ordering::Release);
        }
    }
}

/// A list that is no longer published.
#[must_use]
pub(crate) struct RetiredList(Retired<List>);

impl RetiredList {
    /// Frees it.
    ///
    /// # Safety
    /// Every trap that began before it was replaced has ended.
    pub(crate) unsafe fn free(self) {
        // SAFETY: every trap that began before it was replaced has ended: `free` asks for that.
        unsafe { self.0.free() }
    }
}
