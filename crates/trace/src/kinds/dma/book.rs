//! A book of what devices were given: what was taken back, and what was not.
//!
//! It goes by the order of the trace. A call that takes memory back is recorded before it is
//! carried out and one that gives memory afterwards, so whoever gets an address next comes behind.
//!
//! Where an IOMMU or a copy stands between, each buffer has an address of its own. Without, the
//! address is that of the memory, and a page may be given twice at once (two requests that read one
//! page). So what is kept of an address is how often it is given.

use hashbrown::{HashMap, HashSet};
use trapline_abi::DmaOp;

use super::DmaCall;
use crate::report::{Code, Texts};

/// Buffers that are followed at once, at up to some 130 bytes each, with the room between them.
const MOST: usize = 1_000_000;

/// Addresses that are remembered to have been given and taken back, and as many again.
const MOST_GONE: usize = 1 << 19;

/// How memory came to be a device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Held {
    /// It was mapped: it is somebody else's.
    Mapped,
    /// It was allocated for that.
    Allocated,
}

/// Device, address, and how it came to be.
type Key = (u32, u64, Held);

/// What a device has at an address.
#[derive(Clone, Copy, Debug)]
struct Given {
    /// How often it is given at once.
    times: u32,
    /// Its bytes; `None` if an unmap need not tell the same: of a piece of a scatter list, and of
    /// what was given more than once.
    size: Option<u32>,
    /// Bytes in all.
    bytes: u64,
    /// Who gave it, last.
    code: Option<Code>,
}

/// What a device still has, by who gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Buffers.
    pub(super) buffers: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// What devices were given, and what of it was taken back.
#[derive(Debug)]
pub(super) struct Book {
    given: HashMap<Key, Given>,
    /// What was taken back; of what is given again, `given` tells.
    gone: HashSet<Key>,
    /// What was taken back before those.
    gone_before: HashSet<Key>,
    most: usize,
    most_gone: usize,
    is_full: bool,
    /// Taken back though it was, and was not given again.
    twice: u64,
    /// Taken back with another size than it was given with.
    resized: u64,
    /// Taken back, and the trace does not tell that it was given.
    unknown: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self::new(MOST, MOST_GONE)
    }
}

impl Book {
    /// That follows so many buffers at once, and remembers up to twice as many as `most_gone` that
    /// were taken back.
    fn new(most: usize, most_gone: usize) -> Self {
        Self {
            given: HashMap::new(),
            gone: HashSet::new(),
            gone_before: HashSet::new(),
            most,
            most_gone,
            is_full: false,
            twice: 0,
            resized: 0,
            unknown: 0,
        }
    }

    /// Enters a call. One that failed changes nothing.
    pub(super) fn add(&mut self, call: &DmaCall<'_>, texts: &mut Texts) {
        let Some(dma) = call.dma.filter(|_| !self.is_full) else { return };
        let device = texts.number(call.device.as_str());
        match call.op {
            DmaOp::Map => self.give((device, dma, Held::Mapped), call, texts),
            DmaOp::Alloc => self.give((device, dma, Held::Allocated), call, texts),
            DmaOp::Unmap => self.take((device, dma, Held::Mapped), call),
            DmaOp::Free => self.take((device, dma, Held::Allocated), call),
            DmaOp::SyncForCpu | DmaOp::SyncForDevice => {}
        }
    }

    fn give(&mut self, key: Key, call: &DmaCall<'_>, texts: &mut Texts) {
        let bytes = u64::from(call.size);
        let code = Code::of(call.site.as_ref(), call.ip, texts);
        if let Some(given) = self.given.get_mut(&key) {
            given.times = given.times.saturating_add(1);
            (given.size, given.code) = (None, code);
            given.bytes = given.bytes.saturating_add(bytes);
            return;
        }
        if self.given.len() >= self.most {
            // What is taken back from now on could be one of those that are not entered: nothing
            // can be said any more but what was found so far.
            (self.given, self.gone, self.gone_before) = Default::default();
            self.is_full = true;
            return;
        }
        let size = (call.pieces == 0).then_some(call.size);
        self.given.insert(key, Given { times: 1, size, bytes, code });
    }

    fn take(&mut self, key: Key, call: &DmaCall<'_>) {
        let Some(given) = self.given.get_mut(&key) else {
            if self.gone.contains(&key) || self.gone_before.contains(&key) {
                self.twice += 1;
            } else {
                self.unknown += 1;
                self.forget(key);
            }
            return;
        };
        if call.pieces == 0 && given.size.is_some_and(|size| size != call.size) {
            self.resized += 1;
        }
        given.times -= 1;
        given.bytes = given.bytes.saturating_sub(call.size.into());
        if given.times == 0 {
            self.given.remove(&key);
            self.forget(key);
        }
    }

    /// Remembers that it was taken back.
    fn forget(&mut self, key: Key) {
        if self.gone.len() >= self.most_gone {
            self.gone_before = std::mem::take(&mut self.gone);
        }
        self.gone.insert(key);
    }

    /// Whether more was given at once than can be followed: what is left then is not known.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Buffers that can be followed at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Buffers that were taken back though they had been and were not given again.
    pub(super) fn twice(&self) -> u64 {
        self.twice
    }

    /// Buffers that were taken back with another size than they were given with.
    pub(super) fn resized(&self) -> u64 {
        self.resized
    }

    /// Buffers that were taken back and of which the trace does not tell that they were given.
    pub(super) fn unknown(&self) -> u64 {
        self.unknown
    }

    /// What devices still have, by how it came to be and who gave it.
    pub(super) fn left(&self) -> HashMap<(Held, Option<Code>), Left> {
        let mut all: HashMap<_, Left> = HashMap::new();
        for ((_, _, held), given) in &self.given {
            let left = all.entry((*held, given.code)).or_default();
            left.buffers += u64::from(given.times);
            left.bytes = left.bytes.saturating_add(given.bytes);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use trapline_abi::{DmaDirection, Flags, PciFunction};

    use super::*;

    /// Enters calls: the operation, the address, the size, and whether it is a piece of a list.
    fn book(most: usize, calls: &[(DmaOp, u64, u32, bool)]) -> Book {
        let (mut book, mut texts) = (Book::new(most, 2), Texts::default());
        for (op, dma, size, is_piece) in calls {
            let call = DmaCall {
                device: PciFunction::new(0, 0, 2, 0).into(),
                op: *op,
                direction: DmaDirection::Both,
                dma: Some(*dma),
                physical: None,
                address: None,
                size: *size,
                piece: 0,
                pieces: u16::from(*is_piece),
                data: [][..].into(),
                flags: Flags(0),
                ip: 0x10,
                site: None,
                stack: Vec::new(),
            };
            book.add(&call, &mut texts);
        }
        book
    }

    /// Buffers and bytes that are left, mapped and allocated.
    fn left(book: &Book) -> [(u64, u64); 2] {
        let all = book.left();
        [Held::Mapped, Held::Allocated].map(|held| {
            let left = all.get(&(held, Some(Code::Address(0x10)))).copied().unwrap_or_default();
            (left.buffers, left.bytes)
        })
    }

    fn found(book: &Book) -> [u64; 3] {
        [book.twice(), book.resized(), book.unknown()]
    }

    use DmaOp::{Alloc, Free, Map, SyncForCpu, Unmap};

    #[test]
    fn what_was_not_taken_back_is_left_and_the_two_ways_are_told_apart() {
        let book = book(9, &[
            (Map, 0x1000, 100, false),
            (Map, 0x2000, 200, false),
            (Alloc, 0x1000, 4096, false),
            (SyncForCpu, 0x1000, 100, false),
            (Unmap, 0x2000, 200, false),
        ]);
        assert_eq!((left(&book), found(&book)), ([(1, 100), (1, 4096)], [0; 3]));
    }

    #[test]
    fn an_address_that_was_taken_back_last_is_taken_back_twice_and_one_never_seen_is_older() {
        let calls = [
            (Unmap, 0x1000, 1, false),
            (Unmap, 0x1000, 1, false),
            (Map, 0x1000, 1, false),
            (Unmap, 0x1000, 1, false),
            (Free, 0x1000, 1, false),
            (Free, 0x1000, 1, false),
        ];
        assert_eq!(found(&book(9, &calls[..1])), [0, 0, 1]);
        assert_eq!(found(&book(9, &calls[..2])), [1, 0, 1]);
        assert_eq!(found(&book(9, &calls[..4])), [1, 0, 1]);
        assert_eq!(found(&book(9, &calls)), [2, 0, 2]);
    }

    #[test]
    fn memory_that_is_given_twice_at_once_is_taken_back_twice() {
        let calls = [
            (Map, 0x1000, 100, false),
            (Map, 0x1000, 300, false),
            (Unmap, 0x1000, 100, false),
            (Unmap, 0x1000, 300, false),
            (Unmap, 0x1000, 300, false),
        ];
        assert_eq!(left(&book(9, &calls[..2]))[0], (2, 400));
        assert_eq!(left(&book(9, &calls[..3]))[0], (1, 300));
        assert_eq!(found(&book(9, &calls[..4])), [0; 3]);
        assert_eq!(found(&book(9, &calls)), [1, 0, 0]);
    }

    #[test]
    fn another_size_is_noticed_of_buffers_and_not_of_pieces() {
        assert_eq!(found(&book(9, &[(Map, 1, 100, false), (Unmap, 1, 64, false)])), [0, 1, 0]);
        assert_eq!(found(&book(9, &[(Map, 1, 100, true), (Unmap, 1, 64, true)])), [0; 3]);
        assert_eq!(found(&book(9, &[(Map, 1, 100, true), (Unmap, 1, 64, false)])), [0; 3]);
        assert_eq!(found(&book(9, &[(Map, 1, 100, false), (Unmap, 1, 64, true)])), [0; 3]);
    }

    #[test]
    fn a_book_that_is_full_says_so_and_nothing_of_what_it_did_not_see() {
        let calls = [
            (Unmap, 9, 1, false),
            (Map, 1, 1, false),
            (Map, 2, 1, false),
            (Map, 3, 1, false),
            (Unmap, 3, 1, false),
            (Unmap, 3, 1, false),
        ];
        let full = book(2, &calls);
        assert!(full.is_full());
        assert_eq!((left(&full), found(&full)), ([(0, 0); 2], [0, 0, 1]));
        let book = book(3, &calls);
        assert_eq!((book.is_full(), left(&book)[0], found(&book)), (false, (2, 2), [1, 0, 1]));
    }

    #[test]
    fn the_last_addresses_that_were_taken_back_are_remembered_and_older_ones_are_forgotten() {
        let unmaps = |addresses: &[u64]| {
            let calls: Vec<_> = addresses.iter().map(|address| (Unmap, *address, 1, false)).collect();
            found(&book(9, &calls))
        };
        assert_eq!(unmaps(&[1, 2, 3, 1]), [1, 0, 3]);
        assert_eq!(unmaps(&[1, 2, 3, 4, 5, 1]), [0, 0, 6], "no more than four are known");
    }
}
