//! Finding the mappings that exist: a walk over the page tables of the vmalloc area, where every
//! `ioremap` lies.
//!
//! Rejected: `/proc/vmallocinfo`, a text for people, and `lookup_address` page by page, since what
//! it tells about a hole's size depends on the kernel's version.

use crate::glue::{self, LEVEL_2M, LEVEL_4K};
use crate::page_tables::{InterruptsOff, Leaf, PRESENT, PROTNONE};
use trapline_engine::{Linear, Physical};

/// Entries of a table, at every level.
const ENTRIES: usize = 512;
/// `_PAGE_PSE`: a leaf above the lowest level.
const LEAF: u64 = 1 << 7;
/// Physical address bits of a 1 GiB leaf (Intel SDM volume 3, table 4-16).
const GIGABYTE_FRAME: u64 = 0x000f_ffff_c000_0000;

/// Contiguous linear addresses that map contiguous physical ones, with the same cache attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// First address.
    pub start: Linear,
    /// Bytes; whole pages.
    pub length: u64,
    /// Where the first byte lies.
    pub physical: Physical,
    /// What maps the first page.
    pub leaf: Leaf,
    /// The largest page in it is of this level.
    pub largest: u32,
}

impl Run {
    fn of(start: Linear, leaf: Leaf) -> Self {
        Self { start, length: size(leaf.level), physical: physical(leaf), leaf, largest: leaf.level }
    }

    /// Appends `next` if it goes on where this ends.
    fn append(&mut self, next: &Run) -> bool {
        let follows = self.start.plus(self.length) == next.start
            && self.physical.plus(self.length) == next.physical
            && glue::glue_same_cache_attributes(
                self.leaf.entry,
                self.leaf.level,
                next.leaf.entry,
                next.leaf.level,
            );
        if follows {
            self.length += next.length;
            self.largest = self.largest.max(next.largest);
        }
        follows
    }
}

/// Bytes that an entry of `level` spans.
pub(crate) fn size(level: u32) -> u64 {
    1 << (12 + 9 * (level - 1))
}

/// Where the page of a leaf lies, armed or not.
pub(crate) fn physical(leaf: Leaf) -> Physical {
    match leaf.level {
        LEVEL_4K | LEVEL_2M => glue::glue_entry_physical(leaf.entry, leaf.level),
        _ => Physical(leaf.entry & GIGABYTE_FRAME),
    }
}

/// What lies at an address.
enum Block {
    /// Nothing, for all that an entry of this level spans.
    Hole(u32),
    /// One leaf above the lowest level.
    Leaf(Leaf),
    /// A table of 4 KiB pages, copied.
    Table,
}

fn entry_at(table: *const u64, address: Linear, level: u32) -> u64 {
    let index = (address.0 / size(level)) as usize % ENTRIES;
    // SAFETY: a page table has 512 entries; it is alive (see `block_at`), and read once, as the CPU
    // does.
    unsafe { table.add(index).read_volatile() }
}

/// What lies at `address`; of a table of 4 KiB pages, all its entries go to `pages`.
fn block_at(address: Linear, pages: &mut [u64; ENTRIES]) -> Block {
    // The two lowest levels of the vmalloc area's tables are freed only after an interrupt to all
    // CPUs, the others never.
    let _off = InterruptsOff::new();
    let mut levels = 0;
    // SAFETY: a place to write to.
    let mut table = unsafe { glue::glue_page_table_root(&mut levels) };
    for level in (LEVEL_2M..=levels).rev() {
        let entry = entry_at(table, address, level);
        if entry & (PRESENT | PROTNONE) == 0 {
            return Block::Hole(level);
        }
        if entry & LEAF != 0 || entry & PRESENT == 0 {
            return Block::Leaf(Leaf { entry, level });
        }
        table = glue::glue_page_table_below(entry);
    }
    for (number, page) in pages.iter_mut().enumerate() {
        *page = entry_at(table, Linear(number as u64 * size(LEVEL_4K)), LEVEL_4K);
    }
    Block::Table
}

/// Calls `visit` for each run of the vmalloc area, in order. Process context.
///
/// `pages` is room to work in. Mappings that come and go meanwhile may be seen or not.
pub(crate) fn runs(pages: &mut [u64; ENTRIES], mut visit: impl FnMut(&Run)) {
    let mut current: Option<Run> = None;
    let mut see = |next: Run| {
        if current.as_mut().is_some_and(|run| run.append(&next)) {
            return;
        }
        if let Some(run) = current.replace(next) {
            visit(&run);
        }
    };
    let (mut address, end) = (glue::glue_vmalloc_start(), glue::glue_vmalloc_end());
    while address < end {
        let step = match block_at(address, pages) {
            Block::Hole(level) => size(level),
            Block::Leaf(leaf) => {
                see(Run::of(address.aligned_down(size(leaf.level)), leaf));
                size(leaf.level)
            }
            Block::Table => {
                let base = address.aligned_down(size(LEVEL_2M));
                for (number, &entry) in pages.iter().enumerate() {
                    if entry & (PRESENT | PROTNONE) != 0 {
                        let leaf = Leaf { entry, level: LEVEL_4K };
                        see(Run::of(base.plus(number as u64 * size(LEVEL_4K)), leaf));
                    }
                }
                size(LEVEL_2M)
            }
        };
        match address.aligned_down(step).checked_plus(step) {
            Some(next) => address = next,
            None => break,
        }
    }
    if let Some(run) = current {
        visit(&run);
    }
}
