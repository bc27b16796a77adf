//! Ranges that other modules probe: what they lie in is found, checked and made known.

use crate::errno::Errno;
use crate::glue;
use crate::mappings::{PAGE, Wanted, errno_of};
use crate::page_tables::{Leaf, leaf_at};
use crate::platform::Kernel;
use crate::state::State;
use crate::walk::{physical, size};
use trapline_engine::{Engine, Probe};

/// `_PAGE_NX`.
const NO_EXECUTE: u64 = 1 << 63;
/// Longest mapping that is made a second time: 1 GiB.
const LONGEST: u64 = 1 << 30;

/// Makes the mapping that `probe`, whose range does not wrap, lies in known, if it is not.
pub(crate) fn cover(engine: &Engine<Kernel>, state: &mut State, probe: &Probe) -> Result<(), Errno> {
    let (start, last) = (probe.start, probe.last());
    if let Some(at) = state.known_at(start) {
        let whole = state.known.get(at).is_some_and(|known| known.holds(last));
        return if whole { Ok(()) } else { Err(Errno::FAULT) };
    }
    if start < glue::glue_vmalloc_start() || last > glue::glue_vmalloc_end() {
        return Err(Errno::FAULT);
    }
    // What the trap path itself uses, and the stacks that the CPU pushes an exception's frame onto.
    let is_ours =
        state.is_alias(start) || state.rings_hold(start) || engine.platform().slots.hold_data(start);
    if is_ours || glue::glue_is_task_stack(start, last) {
        return Err(Errno::PERM);
    }
    let wanted = mapping_around(start)?;
    if last - wanted.start >= wanted.length {
        return Err(Errno::FAULT);
    }
    state.adopt(&wanted).map(|_| ()).map_err(errno_of)
}

/// The whole mapping that holds `address`: as far as it goes without a hole and, for a device, as physical addresses go on. Areas of the vmalloc range
/// are separated by unmapped guard pages.
fn mapping_around(address: u64) -> Result<Wanted, Errno> {
    let leaf = leaf_at(address).ok_or(Errno::FAULT)?;
    let ram = glue::glue_is_ram(physical(leaf) & !(PAGE - 1), PAGE);
    let checked = |leaf| checked(leaf, ram);
    checked(leaf)?;
    let mut start = address & !(size(leaf.level) - 1);
    let mut end = start + size(leaf.level);
    let (mut first, mut before, mut after) = (leaf, physical(leaf), physical(leaf) + size(leaf.level));
    while let Some(leaf) = leaf_at(start - 1) {
        if !ram && physical(leaf) + size(leaf.level) != before {
            break;
        }
        first = checked(leaf)?;
        before = physical(leaf);
        start -= size(leaf.level);
        limit(end - start)?;
    }
    while let Some(leaf) = leaf_at(end) {
        if !ram && physical(leaf) != after {
            break;
        }
        checked(leaf)?;
        after = physical(leaf) + size(leaf.level);
        end += size(leaf.level);
        limit(end - start)?;
    }
    Ok(Wanted { start, length: end - start, physical: (!ram).then_some(before), leaf: first })
}

/// Memory that code runs from can't be probed: a fetch from an armed page is not an access that can be performed elsewhere. Nor can RAM that no allocator
/// gave out: the stacks that interrupts run on are such.
fn checked(leaf: Leaf, ram: bool) -> Result<Leaf, Errno> {
    if leaf.level > glue::LEVEL_2M {
        Err(Errno::NOT_SUPPORTED)
    } else if leaf.entry & NO_EXECUTE == 0 || ram && glue::glue_is_boot_memory(physical(leaf)) {
        Err(Errno::PERM)
    } else {
        Ok(leaf)
    }
}

fn limit(length: u64) -> Result<(), Errno> {
    if length > LONGEST { Err(Errno::TOO_BIG) } else { Ok(()) }
}
