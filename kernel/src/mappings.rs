//! The mappings that we have made a second one of, and who needs them.

use crate::arming::Armable;
use crate::errno::Errno;
use crate::glue;
use crate::page_tables::{KernelTables, Leaf, leaf_at};
use crate::platform::Kernel;
use alloc::vec::Vec;
use trapline_abi::WatchError;
use trapline_engine::{
    Alias, Backing, Control, ControlError, Engine, Linear, Mapping, PageError, Physical, Probe, ProbeId,
};

pub(crate) const PAGE: u64 = 4096;

/// A second mapping, gone when the value is dropped.
enum OwnedAlias {
    /// Of a device's memory.
    Device(Alias),
    /// Of memory from `vmalloc`.
    Ram(Alias),
}

impl OwnedAlias {
    /// Maps `length` bytes at `physical` once more, as `leaf` does.
    fn of_device(physical: Physical, length: u64, leaf: Leaf) -> Option<Self> {
        match glue::glue_ioremap_prot(physical, length, leaf.entry, leaf.level) {
            Alias(0) => None,
            alias => Some(Self::Device(alias)),
        }
    }

    fn of_ram(start: Linear, length: u64) -> Option<Self> {
        match glue::glue_vmap_alias(start, length / PAGE) {
            Alias(0) => None,
            alias => Some(Self::Ram(alias)),
        }
    }

    fn address(&self) -> Alias {
        match *self {
            Self::Device(alias) | Self::Ram(alias) => alias,
        }
    }
}

impl Drop for OwnedAlias {
    fn drop(&mut self) {
        // SAFETY: the mapping came from the function that this undoes, and nobody accesses it any
        // more: `Known`'s invariant.
        unsafe {
            match *self {
                Self::Device(alias) => glue::glue_iounmap(alias),
                Self::Ram(alias) => glue::glue_vunmap(alias),
            }
        }
    }
}

/// A mapping that the engine knows, with its alias.
///
/// # Invariants
/// Is dropped only after the engine has removed the mapping.
pub(crate) struct Known {
    pub mapping: Mapping,
    /// The session's probes in it.
    pub watched: Vec<ProbeId>,
    /// Probes of other modules in it.
    pub used: usize,
    /// Gone with this value.
    _alias: OwnedAlias,
}

impl Known {
    pub(crate) fn holds(&self, address: Linear) -> bool {
        address.since(self.mapping.start) < self.mapping.length
    }
}

/// A mapping that is to be armed, if it may be: [`arming::check`](crate::arming::check) tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// First address, of a page.
    pub start: Linear,
    /// Bytes; whole pages.
    pub length: u64,
    /// Where the first byte lies; for RAM, `None`.
    pub physical: Option<Physical>,
    /// What maps the first page.
    pub leaf: Leaf,
}

/// What the engine says, in the words of a watch's caller.
pub(crate) fn watch_error(error: ControlError) -> WatchError {
    match error {
        ControlError::BadRange { .. } => WatchError::BadRange,
        ControlError::Page { error: PageError::HugePage, .. } => WatchError::HugePage,
        ControlError::OutOfMemory => WatchError::NoMemory,
        // The mapping went away or changed while it was being armed.
        ControlError::Page { error: PageError::NotMapped | PageError::Changed, .. }
        | ControlError::NoMapping { .. }
        | ControlError::Overlap { .. } => WatchError::Alias,
    }
}

/// What a failed watch is to a caller of the kernel.
pub(crate) fn errno_of(error: WatchError) -> Errno {
    match error {
        WatchError::BadRange => Errno::INVALID,
        WatchError::Ram | WatchError::SelfTest => Errno::PERM,
        WatchError::HugePage => Errno::NOT_SUPPORTED,
        WatchError::NoMemory => Errno::NO_MEMORY,
        WatchError::TooLong => Errno::TOO_BIG,
        WatchError::Alias => Errno::IO,
        WatchError::Taken => Errno::BUSY,
    }
}

/// The mappings that the engine knows.
pub(crate) struct Mappings {
    /// In no order.
    pub known: Vec<Known>,
    /// The number that the next one gets; from 1 on, as in-tree mmiotrace counts.
    next: u32,
}

impl Mappings {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { known: Vec::new(), next: 1 }
    }

    /// Bytes of memory that the list takes.
    pub(crate) fn memory(&self) -> usize {
        self.known.capacity() * size_of::<Known>()
    }

    /// The place of the one that holds `address`.
    pub(crate) fn at(&self, address: Linear) -> Option<usize> {
        self.known.iter().position(|known| known.holds(address))
    }

    /// Makes an alias of a mapping and makes it known to the engine; returns its place.
    pub(crate) fn adopt(&mut self, control: &mut Control, armable: &Armable) -> Result<usize, WatchError> {
        self.known.try_reserve(1).map_err(|_| WatchError::NoMemory)?;
        let Candidate { start, length, physical, leaf } = *armable.mapping();
        let alias = match physical {
            Some(physical) => OwnedAlias::of_device(physical, length, leaf),
            None => OwnedAlias::of_ram(start, length),
        };
        let alias = alias.ok_or(WatchError::Alias)?;
        // Two mappings of a page with different cache attributes are undefined behaviour of the
        // CPU: look at what we got.
        let made = leaf_at(alias.address().linear()).ok_or(WatchError::Alias)?;
        if !glue::glue_same_cache_attributes(made.entry, made.level, leaf.entry, leaf.level) {
            return Err(WatchError::Alias);
        }
        let backing = if physical.is_none() { Backing::Ram } else { Backing::Device };
        let mapping = Mapping { id: self.next, start, length, alias: alias.address(), backing };
        control.add_mapping(mapping).map_err(watch_error)?;
        self.next = self.next.wrapping_add(1).max(1);
        // INVARIANT: forgotten only by `forget`, which removes it from the engine first.
        self.known.push(Known { mapping, watched: Vec::new(), used: 0, _alias: alias });
        Ok(self.known.len() - 1)
    }

    /// Forgets a mapping: nothing of it is armed and no access in flight when this returns. Returns
    /// its number.
    pub(crate) fn forget(&mut self, control: &mut Control, engine: &Engine<Kernel>, at: usize) -> u32 {
        let known = self.known.swap_remove(at);
        control.remove_mapping(engine, &KernelTables, known.mapping.start);
        known.mapping.id
    }

    /// Forgets the mappings that nobody needs.
    pub(crate) fn forget_unused(&mut self, control: &mut Control, engine: &Engine<Kernel>) {
        let mut at = 0;
        while let Some(known) = self.known.get(at) {
            if known.watched.is_empty() && known.used == 0 {
                self.forget(control, engine, at);
            } else {
                at += 1;
            }
        }
    }
}

/// Registers probes in mappings that are known, and returns their ids.
///
/// # Safety
/// As for [`Control::add_probes`].
pub(crate) unsafe fn add_probes(
    control: &mut Control,
    engine: &Engine<Kernel>,
    probes: &[Probe],
) -> Result<Vec<ProbeId>, WatchError> {
    let mut ids = Vec::new();
    // SAFETY: the handlers may be called until their probes were removed: `add_probes` asks for
    // that; aliases are as the engine wants them by `adopt`, and outlive the mapping by `Known`'s
    // invariant.
    unsafe { control.add_probes(engine, &KernelTables, probes, &mut ids) }.map_err(watch_error)?;
    Ok(ids)
}
