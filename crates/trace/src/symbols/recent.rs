//! What was looked up last, kept at hand.

use std::cell::Cell;

/// Addresses whose functions are kept at hand: a driver accesses its device at some hundred places.
const RECENT: usize = 256;

/// What was found for an address: the number of its function, and where in that it is.
pub(super) type Found = Option<(u32, u64)>;

/// What was found last, by the address: a search of the whole table takes more time than all else
/// that is done with an event.
#[derive(Debug)]
pub(super) struct Recent(Box<[Cell<(u64, Found)>]>);

impl Default for Recent {
    /// Nothing is at address 0.
    fn default() -> Self {
        Self((0..RECENT).map(|_| Cell::new((0, None))).collect())
    }
}

impl Recent {
    #[inline]
    pub(super) fn get(&self, ip: u64, find: impl FnOnce(u64) -> Found) -> Found {
        // Instructions of one function differ in the low bits, functions in the next.
        let slot = &self.0[(ip ^ ip >> 8) as usize % RECENT];
        let (known, found) = slot.get();
        if known == ip {
            return found;
        }
        let found = find(ip);
        slot.set((ip, found));
        found
    }
}
