//! Mappings that come and go, as the redirected `mmiotrace_ioremap` and `mmiotrace_iounmap` tell
//! (glue/tracking.c).

use crate::arming::{self, Refusal};
use crate::glue;
use crate::locks::Unlocked;
use crate::mappings::{Candidate, Known, Mappings, PAGE, add_probes};
use crate::note::{note_map, note_not_watched, note_unmap};
use crate::page_tables::leaf_at;
use crate::platform::Kernel;
use crate::state::{Controlled, ENGINE};
use crate::watched::Watched;
use alloc::vec::Vec;
use trapline_abi::{MapPayload, NotWatchedPayload, WatchError};
use trapline_engine::{Engine, Linear, Physical};

/// `ioremap`, for the code at `caller` (0: not known), mapped `length` bytes from `physical` on to
/// `address`; its caller does not have that yet. Process context, maybe in a CPU hotplug callback.
#[unsafe(no_mangle)]
extern "C" fn trapline_mapped(physical: u64, length: u64, address: u64, caller: u64) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: process context. `wanted()` in glue/tracking.c has seen that the control lock is not
    // held; and with one of the others held nobody maps a device: text is patched there, and memory
    // allocated.
    let mut unlocked = unsafe { Unlocked::new() };
    unlocked.control().mapped(engine, MapPayload { address, physical, length, caller });
}

/// `iounmap` is about to unmap what lies at `address`. When this returns, its page tables are as
/// they were. Process context, maybe in a CPU hotplug callback.
#[unsafe(no_mangle)]
extern "C" fn trapline_unmapping(address: Linear) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: as in `trapline_mapped`.
    let mut unlocked = unsafe { Unlocked::new() };
    unlocked.control().unmapping(engine, address);
}

/// Follows mappings that come and go while anybody needs that, and only then.
pub(crate) fn set(mappings: &Mappings, watched: &Watched) {
    glue::glue_set_tracking(!watched.ranges.is_empty() || !mappings.known.is_empty());
}

impl Controlled {
    /// A mapping came to be; whoever asked for it does not have it yet.
    fn mapped(&mut self, engine: &Engine<Kernel>, map: MapPayload) {
        let (address, physical, length) = (Linear(map.address), Physical(map.physical), map.length);
        let (start, offset) = (address.aligned_down(PAGE), address.offset_in(PAGE));
        let Some(length_in_pages) = (offset + length).checked_next_multiple_of(PAGE) else { return };
        // Whatever we thought to be mapped there is gone: it was being unmapped while a session
        // began.
        let is_in_it =
            |known: &Known| known.holds(start) || known.mapping.start.since(start) < length_in_pages;
        while let Some(at) = self.mappings.known.iter().position(is_in_it) {
            self.unmapped(engine, at);
        }
        let mut probes = Vec::new();
        for range in &self.watched.ranges {
            if let Some(probe) = range.probe(address, physical, length) {
                if probes.try_reserve(1).is_err() {
                    return missed(engine, &map, WatchError::NoMemory);
                }
                probes.push(probe);
            }
        }
        if probes.is_empty() {
            return;
        }
        let Some(leaf) = leaf_at(start) else {
            return missed(engine, &map, WatchError::BadRange);
        };
        let candidate =
            Candidate { start, length: length_in_pages, physical: Some(physical.aligned_down(PAGE)), leaf };
        let adopted = arming::check(candidate)
            .map_err(Refusal::watch_error)
            .and_then(|armable| self.mappings.adopt(&mut self.control, &armable));
        let at = match adopted {
            Ok(at) => at,
            Err(reason) => return missed(engine, &map, reason),
        };
        if let Some(known) = self.mappings.known.get(at) {
            note_map(engine, known.mapping.id, map);
        }
        // SAFETY: no handlers but those of injection, which may be called in any trap and with what
        // they were given as data.
        match unsafe { add_probes(&mut self.control, engine, &probes) } {
            Ok(ids) => {
                if let Some(known) = self.mappings.known.get_mut(at) {
                    known.watched = ids;
                }
            }
            Err(reason) => {
                self.mappings.forget(&mut self.control, engine, at);
                missed(engine, &map, reason);
            }
        }
    }

    /// The mapping that holds `address` is about to go.
    fn unmapping(&mut self, engine: &Engine<Kernel>, address: Linear) {
        if let Some(at) = self.mappings.at(address) {
            self.unmapped(engine, at);
        }
        set(&self.mappings, &self.watched);
    }

    fn unmapped(&mut self, engine: &Engine<Kernel>, at: usize) {
        let watched = self.mappings.known.get(at).is_some_and(|known| !known.watched.is_empty());
        let mapping = self.mappings.forget(&mut self.control, engine, at);
        if watched {
            note_unmap(engine, mapping);
        }
    }
}

/// A mapping that should be watched can't be: the trace must not look complete.
fn missed(engine: &Engine<Kernel>, map: &MapPayload, reason: WatchError) {
    let &MapPayload { address, physical, length, .. } = map;
    note_not_watched(engine, NotWatchedPayload { address, physical, length, reason: reason as u32 });
    // The same for the kernel log.
    let mut text = *b"trapline: NOT WATCHED, accesses are missing: new mapping of 0x0000000000000000";
    let digits = text.len() - 16;
    for (number, digit) in text.iter_mut().skip(digits).enumerate() {
        let nibble = (physical >> (60 - 4 * number)) as u8 & 15;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    }
    // SAFETY: `text` is valid for its length.
    unsafe { glue::glue_warn(text.as_ptr(), text.len()) };
}
