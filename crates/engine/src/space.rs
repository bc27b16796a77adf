//! The armed pages and the probes that cover them: the snapshot that traps look things up in.
//!
//! Immutable once built, but that probes and pages can be struck out of it one by one, so lookup
//! needs no lock and sees no intermediate state. Pages are found by hash. Within a page the probes'
//! boundaries cut *segments*, each with the list of probes that cover all of it, so finding the
//! probes of an access is a binary search however many probes there are and however they nest.
//! (kmmio searched a linear list and called it "a dynamic stabbing problem"; a segment list is the
//! static answer to it, rebuilt at each change.)

use crate::{Alias, Behind, Linear, Mapped, OutOfMemory, Page, PageSize, Probe, ProbeId};
use alloc::boxed::Box;
use alloc::vec::Vec;
use trapline_ring::primitive::atomic::{AtomicBool, AtomicU32, Ordering};

/// A page that is armed, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArmedPage {
    /// The page, and its entry as it was.
    pub mapped: Mapped,
    /// What is behind it.
    pub behind: Behind,
    /// Number of the mapping it belongs to; the aliases of one mapping are contiguous.
    pub mapping: u32,
    segments: (u32, u32),
}

impl ArmedPage {
    /// A page that no probe covers yet.
    pub(crate) fn new(mapped: Mapped, behind: Behind, mapping: u32) -> Self {
        Self { mapped, behind, mapping, segments: (0, 0) }
    }

    /// The page itself.
    pub fn page(&self) -> Page {
        self.mapped.page
    }

    /// Where `address`, on this page, lies on the alias.
    pub fn alias_of(&self, address: Linear) -> Alias {
        self.behind.alias.plus(address.since(self.mapped.page.address))
    }
}

/// A registered probe as traps see it.
#[derive(Debug)]
pub(crate) struct ActiveProbe {
    pub id: ProbeId,
    pub probe: Probe,
    /// Cleared when the probe is being removed: no handler begins after that. Relaxed is enough:
    /// `synchronize` orders the end.
    live: AtomicBool,
}

impl ActiveProbe {
    pub(crate) fn new(id: ProbeId, probe: Probe) -> Self {
        Self { id, probe, live: AtomicBool::new(true) }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.live.store(false, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    start: Linear,
    members: (u32, u32),
}

/// The snapshot.
#[derive(Debug)]
pub(crate) struct Space {
    /// Numbers of pages by hash, [`EMPTY`], or [`FORGOTTEN`].
    buckets: Box<[AtomicU32]>,
    shift: u32,
    pages: Box<[ArmedPage]>,
    /// For each page, whether it is being disarmed.
    leaving: Box<[AtomicBool]>,
    segments: Box<[Segment]>,
    members: Box<[u32]>,
    probes: Box<[ActiveProbe]>,
    has_large: bool,
    has_handlers: bool,
}

fn slice<T>(all: &[T], (start, count): (u32, u32)) -> &[T] {
    all.get(start as usize..(start as usize).saturating_add(count as usize)).unwrap_or(&[])
}

impl Space {
    /// Builds the snapshot of `probes` on `pages`, both sorted by address, pages disjoint.
    ///
    /// One sweep over both: time and memory are those of the result.
    pub(crate) fn build(mut pages: Vec<ArmedPage>, probes: Vec<ActiveProbe>) -> Result<Self, OutOfMemory> {
        let mut segments = Vec::new();
        let mut members = Vec::new();
        let mut sweep = Sweep { probes: &probes, next: 0, active: Vec::new(), changed: true };
        let mut shared = (0, 0);
        for page in &mut pages {
            let (mut cut, last) = (page.page().address, page.page().last());
            let from = index(segments.len())?;
            loop {
                sweep.advance_to(cut)?;
                // Neighbours under the same probes, as all pages of a long range are, share one
                // list.
                if core::mem::take(&mut sweep.changed) {
                    shared = (index(members.len())?, index(sweep.active.len())?);
                    members.try_reserve(sweep.active.len())?;
                    members.extend_from_slice(&sweep.active);
                }
                segments.try_reserve(1)?;
                segments.push(Segment { start: cut, members: shared });
                match sweep.next_cut().filter(|&next| next <= last) {
                    Some(next) => cut = next,
                    None => break,
                }
            }
            page.segments = (from, index(segments.len())? - from);
        }
        Self::index(pages, segments, members, probes)
    }

    fn index(
        pages: Vec<ArmedPage>,
        segments: Vec<Segment>,
        members: Vec<u32>,
        probes: Vec<ActiveProbe>,
    ) -> Result<Self, OutOfMemory> {
        // At most half full, so that a search ends soon, and at an empty bucket.
        let bits = (pages.len().saturating_mul(2) + 1).next_power_of_two().trailing_zeros();
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(1 << bits)?;
        buckets.resize_with(1 << bits, || AtomicU32::new(EMPTY));
        let shift = 64 - bits;
        let mask = buckets.len() - 1;
        for (number, page) in pages.iter().enumerate() {
            let mut bucket = hash(page.page().address, shift);
            while buckets[bucket].load(Ordering::Relaxed) != EMPTY {
                bucket = (bucket + 1) & mask;
            }
            buckets[bucket] = AtomicU32::new(index(number)?);
        }
        let mut leaving = Vec::new();
        leaving.try_reserve_exact(pages.len())?;
        leaving.resize_with(pages.len(), || AtomicBool::new(false));
        let has_large = pages.iter().any(|page| page.page().size == PageSize::Large);
        let has_handlers =
            probes.iter().any(|a| a.probe.handlers.pre.is_some() || a.probe.handlers.post.is_some());
        Ok(Self {
            buckets: buckets.into_boxed_slice(),
            shift,
            pages: boxed(pages)?,
            leaving: boxed(leaving)?,
            segments: boxed(segments)?,
            members: boxed(members)?,
            probes: boxed(probes)?,
            has_large,
            has_handlers,
        })
    }

    /// The armed page that holds `address`.
    #[inline(always)]
    pub(crate) fn find(&self, address: Linear) -> Option<&ArmedPage> {
        let small = self.find_page(Page::containing(address, PageSize::Small));
        if small.is_some() || !self.has_large {
            return small;
        }
        self.find_large(address)
    }

    #[cold]
    fn find_large(&self, address: Linear) -> Option<&ArmedPage> {
        self.find_page(Page::containing(address, PageSize::Large))
    }

    #[inline(always)]
    fn find_page(&self, page: Page) -> Option<&ArmedPage> {
        self.pages.get(self.bucket_of(page)?.1)
    }

    /// The bucket of `page`, and the page's number.
    #[inline(always)]
    fn bucket_of(&self, page: Page) -> Option<(&AtomicU32, usize)> {
        let mut at = hash(page.address, self.shift);
        // Bounded by the table's length; ends at an empty bucket long before, since the table is
        // half empty.
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(at)?;
            // Relaxed: the snapshot was acquired with its pointer, and a page being forgotten is
            // disarmed already.
            let number = bucket.load(Ordering::Relaxed);
            if number == EMPTY {
                return None;
            }
            match self.pages.get(number as usize) {
                Some(found) if found.page() == page => return Some((bucket, number as usize)),
                _ => at = (at + 1) & (self.buckets.len() - 1),
            }
        }
        None
    }

    /// Says that `page` is about to be disarmed: no step closes it again after that.
    pub(crate) fn leave(&self, page: Page) {
        if let Some(leaving) = self.bucket_of(page).and_then(|(_, number)| self.leaving.get(number)) {
            leaving.store(true, Ordering::Relaxed);
        }
    }

    /// Whether `page` is armed and not about to be disarmed. Relaxed is enough, since `synchronize`
    /// orders the end.
    pub(crate) fn stays(&self, page: Page) -> bool {
        let leaving = self.bucket_of(page).and_then(|(_, number)| self.leaving.get(number));
        leaving.is_some_and(|leaving| !leaving.load(Ordering::Relaxed))
    }

    /// Makes the lookup no longer find `page`, which is disarmed.
    pub(crate) fn forget(&self, page: Page) {
        if let Some((bucket, _)) = self.bucket_of(page) {
            bucket.store(FORGOTTEN, Ordering::Relaxed);
        }
    }

    /// Calls `visit` for each live probe that covers a byte of `address..address + width` on
    /// `page`, in the order of their ids within each segment, each once.
    ///
    /// `first` tells that `page` holds the access's first byte; on the page after it only the
    /// probes that begin there are new.
    #[inline(always)]
    pub(crate) fn visit<'s>(
        &'s self,
        page: &ArmedPage,
        address: Linear,
        width: u64,
        first: bool,
        mut visit: impl FnMut(&'s ActiveProbe),
    ) {
        let segments = slice(&self.segments, page.segments);
        // Most pages lie under the same probes from end to end.
        if let ([segment], true) = (segments, first) {
            let members = slice(&self.members, segment.members).iter();
            let live = members.filter_map(|&member| self.probes.get(member as usize)).filter(|a| a.is_live());
            return live.for_each(visit);
        }
        let last = address.plus(width.max(1) - 1);
        let begin = segments.partition_point(|segment| segment.start <= address).saturating_sub(1);
        for (position, segment) in segments.get(begin..).unwrap_or(&[]).iter().enumerate() {
            if segment.start > last {
                break;
            }
            for &member in slice(&self.members, segment.members) {
                let Some(active) = self.probes.get(member as usize) else { continue };
                let new = (first && position == 0) || active.probe.start >= segment.start;
                if new && active.is_live() {
                    visit(active);
                }
            }
        }
    }

    /// Whether any probe has a handler.
    pub(crate) fn has_handlers(&self) -> bool {
        self.has_handlers
    }

    /// The registered probes.
    pub(crate) fn probes(&self) -> &[ActiveProbe] {
        &self.probes
    }

    /// Bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.buckets)
            + size_of_val(&*self.pages)
            + size_of_val(&*self.leaving)
            + size_of_val(&*self.segments)
            + size_of_val(&*self.members)
            + size_of_val(&*self.probes)
            + size_of::<Self>()
    }
}

/// The probes that cover the address that a sweep over all addresses has come to.
struct Sweep<'a> {
    probes: &'a [ActiveProbe],
    next: usize,
    active: Vec<u32>,
    changed: bool,
}

impl Sweep<'_> {
    fn last_of(&self, number: u32) -> Linear {
        self.probes[number as usize].probe.last()
    }

    fn advance_to(&mut self, address: Linear) -> Result<(), OutOfMemory> {
        let before = self.active.len();
        let probes = self.probes;
        self.active.retain(|&number| probes[number as usize].probe.last() >= address);
        self.changed |= self.active.len() != before;
        while let Some(active) = self.probes.get(self.next).filter(|a| a.probe.start <= address) {
            if active.probe.last() >= address {
                self.active.try_reserve(1)?;
                // In the order of registration, which is the order of their ids.
                let after = self.active.partition_point(|&number| probes[number as usize].id < active.id);
                self.active.insert(after, index(self.next)?);
                self.changed = true;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Where the set changes next.
    fn next_cut(&self) -> Option<Linear> {
        let begins = self.probes.get(self.next).map(|a| a.probe.start);
        let ends = self.active.iter().filter_map(|&number| self.last_of(number).checked_plus(1));
        ends.chain(begins).min()
    }
}

const EMPTY: u32 = u32::MAX;
/// A bucket whose page is no longer armed; a search goes on behind it.
const FORGOTTEN: u32 = u32::MAX - 1;

/// Fibonacci hashing of the page number (Knuth, The Art of Computer Programming 3, 6.4): the high
/// bits of one multiplication.
fn hash(address: Linear, shift: u32) -> usize {
    ((address.0 >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (shift & 63)) as usize
}

fn index(number: usize) -> Result<u32, OutOfMemory> {
    // More than 4 G of anything here means that memory ran out long ago.
    u32::try_from(number).ok().filter(|&n| n < FORGOTTEN).ok_or(OutOfMemory)
}

/// `into_boxed_slice` reallocates, infallibly, unless the capacity fits; so make it fit first,
/// fallibly.
fn boxed<T>(mut items: Vec<T>) -> Result<Box<[T]>, OutOfMemory> {
    if items.capacity() != items.len() {
        let mut exact = Vec::new();
        exact.try_reserve_exact(items.len())?;
        exact.append(&mut items);
        items = exact;
    }
    Ok(items.into_boxed_slice())
}

#[cfg(all(test, not(loom)))]
mod tests;
