//! The mappings that we have made a second one of, and who needs them.

use crate::errno::Errno;
use crate::glue;
use crate::page_tables::{KernelTables, Leaf, leaf_at};
use crate::platform::Kernel;
use crate::state::State;
use alloc::vec::Vec;
use trapline_abi::WatchError;
use trapline_engine::{ControlError, Engine, Mapping, PageError, Probe, ProbeId};

pub(crate) const PAGE: u64 = 4096;

/// A second mapping, gone when the value is dropped.
enum Alias {
    /// Of a device's memory.
    Device(u64),
    /// Of memory from `vmalloc`.
    Ram(u64),
}

impl Alias {
    /// Maps `length` bytes at `physical` once more, as `leaf` does.
    fn of_device(physical: u64, length: u64, leaf: Leaf) -> Option<Self> {
        match glue::glue_ioremap_prot(physical, length, leaf.entry, leaf.level) {
            0 => None,
            address => Some(Self::Device(address)),
        }
    }

    fn of_ram(start: u64, length: u64) -> Option<Self> {
        match glue::glue_vmap_alias(start, length / PAGE) {
            0 => None,
            address => Some(Self::Ram(address)),
        }
    }

    fn address(&self) -> u64 {
        match *self {
            Self::Device(address) | Self::Ram(address) => address,
        }
    }
}

impl Drop for Alias {
    fn drop(&mut self) {
        // SAFETY: the mapping came from the function that this undoes, and nobody accesses it any more: `Known`'s invariant.
        unsafe {
            match *self {
                Self::Device(address) => glue::glue_iounmap(address),
                Self::Ram(address) => glue::glue_vunmap(address),
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
    alias: Alias,
}

impl Known {
    pub(crate) fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.mapping.start) < self.mapping.length
    }
}

/// A mapping to make an alias of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// First address, of a page.
    pub start: u64,
    /// Bytes; whole pages.
    pub length: u64,
    /// Physical address of the first byte; for RAM, `None`.
    pub physical: Option<u64>,
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
        ControlError::Page { error: PageError::NotMapped, .. }
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
    }
}

impl State {
    /// The known mapping that holds `address`.
    pub(crate) fn known_at(&self, address: u64) -> Option<usize> {
        self.known.iter().position(|known| known.holds(address))
    }

    /// Whether `start` is one of our own aliases.
    pub(crate) fn is_alias(&self, start: u64) -> bool {
        self.known.iter().any(|known| start.wrapping_sub(known.alias.address()) < known.mapping.length)
    }

    /// Makes an alias of a mapping and makes it known to the engine; returns its place in `known`.
    pub(crate) fn adopt(&mut self, wanted: &Wanted) -> Result<usize, WatchError> {
        self.known.try_reserve(1).map_err(|_| WatchError::NoMemory)?;
        let Wanted { start, length, physical, leaf } = *wanted;
        let alias = match physical {
            Some(physical) => Alias::of_device(physical, length, leaf),
            None => Alias::of_ram(start, length),
        };
        let alias = alias.ok_or(WatchError::Alias)?;
        // Two mappings of a page with different cache attributes are undefined behaviour of the CPU: look at what we got.
        let made = leaf_at(alias.address()).ok_or(WatchError::Alias)?;
        if !glue::glue_same_cache_attributes(made.entry, made.level, leaf.entry, leaf.level) {
            return Err(WatchError::Alias);
        }
        let id = self.next_mapping;
        let mapping = Mapping { id, start, length, alias: alias.address(), ram: physical.is_none() };
        self.control.add_mapping(mapping).map_err(watch_error)?;
        self.next_mapping = self.next_mapping.wrapping_add(1).max(1);
        // INVARIANT: forgotten only by `forget`, which removes it from the engine first.
        self.known.push(Known { mapping, watched: Vec::new(), used: 0, alias });
        Ok(self.known.len() - 1)
    }

    /// Registers probes, and returns their ids.
    ///
    /// # Safety
    /// As for [`Control::add_probes`](trapline_engine::Control::add_probes).
    pub(crate) unsafe fn add_probes(
        &mut self,
        engine: &Engine<Kernel>,
        probes: &[Probe],
    ) -> Result<Vec<ProbeId>, WatchError> {
        let mut ids = Vec::new();
        // SAFETY: as the caller vouches; aliases are as the engine wants them by `adopt`, and outlive the mapping by `Known`'s invariant.
        unsafe { self.control.add_probes(engine, &KernelTables, probes, &mut ids) }.map_err(watch_error)?;
        Ok(ids)
    }

    /// Forgets a mapping: nothing of it is armed and no access in flight when this returns. Returns its number.
    pub(crate) fn forget(&mut self, engine: &Engine<Kernel>, at: usize) -> u32 {
        let known = self.known.swap_remove(at);
        self.control.remove_mapping(engine, &KernelTables, known.mapping.start);
        known.mapping.id
    }

    /// Forgets the mappings that nobody needs.
    pub(crate) fn forget_unused(&mut self, engine: &Engine<Kernel>) {
        let mut at = 0;
        while let Some(known) = self.known.get(at) {
            if known.watched.is_empty() && known.used == 0 {
                self.forget(engine, at);
            } else {
                at += 1;
            }
        }
    }

    /// Follows mappings that come and go while anybody needs that, and only then.
    pub(crate) fn set_tracking(&self) {
        glue::glue_set_tracking(self.is_watching() || !self.known.is_empty());
    }
}
