//! Page tables in physical memory of their own, and the walk through them.

use super::{Rules, entry};
use trapline_engine::{Linear, Physical};

/// Size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// 4 KiB: mapped by the last level, a PTE.
    Small,
    /// 2 MiB: mapped by the level above it, a PDE.
    Large,
    /// 1 GiB: mapped by the second level, a PDPTE.
    Huge,
}

impl Size {
    /// All of them.
    pub const ALL: [Size; 3] = [Size::Small, Size::Large, Size::Huge];

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        1 << shift(self.level())
    }

    /// The level that maps it, the last one being 1.
    const fn level(self) -> u32 {
        match self {
            Size::Small => 1,
            Size::Large => 2,
            Size::Huge => 3,
        }
    }

    const fn of_level(level: u32) -> Option<Self> {
        match level {
            1 => Some(Size::Small),
            2 => Some(Size::Large),
            3 => Some(Size::Huge),
            _ => None,
        }
    }
}

/// The level of the root, the PML4.
const ROOT: u32 = 4;

/// How far an address is shifted to the right for the index into a table of `level`.
const fn shift(level: u32) -> u32 {
    12 + 9 * (level - 1)
}

const fn index(Linear(address): Linear, level: u32) -> usize {
    (address >> shift(level)) as usize & 511
}

/// What a walk found: what a TLB keeps (Intel SDM volume 3, 4.10.2.2). A right is there if every
/// level gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The page's size.
    pub size: Size,
    /// Where the page lies.
    pub frame: Physical,
    /// R/W in every entry.
    pub writable: bool,
    /// U/S in every entry.
    pub user: bool,
    /// XD in any entry.
    pub no_execute: bool,
    /// The protection key, from the last entry.
    pub key: u8,
}

impl Translation {
    /// The physical address of `address`, which lies on the page.
    pub fn physical(&self, address: Linear) -> Physical {
        self.frame.plus(address.offset_in(self.size.bytes()))
    }
}

/// Why a walk found no translation. It ends at the first entry that says so; what stands below is
/// not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// An entry is not present.
    NotPresent,
    /// A present entry has a reserved bit set.
    Reserved,
}

/// Page tables: the table number n lies at physical address n * 4096, the root at 0.
#[derive(Clone, Debug)]
pub struct Tables {
    tables: Vec<Box<[u64; 512]>>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { tables: vec![Box::new([0; 512])] }
    }
}

impl Tables {
    /// Maps the page of `size` at `address` by `leaf`, a whole entry but for PS, which follows from
    /// the size. Tables that the way there lacks are made, with `upper` for the flags of their
    /// entries.
    ///
    /// # Panics
    /// If a larger page, or an entry that is not present, is in the way.
    pub fn map(&mut self, address: Linear, size: Size, leaf: u64, upper: u64) {
        let mut table = 0;
        for level in (size.level() + 1..=ROOT).rev() {
            let next = self.tables.len() as u64;
            let found = self.tables[table][index(address, level)];
            if found == 0 {
                self.tables[table][index(address, level)] = next << 12 | upper;
                self.tables.push(Box::new([0; 512]));
            }
            let found = self.tables[table][index(address, level)];
            assert!(refers_to_table(found, level), "{found:#x} is in the way of {address:x?}");
            table = (found & entry::FRAME) as usize >> 12;
        }
        let page = if size == Size::Small { 0 } else { entry::LARGE };
        self.tables[table][index(address, size.level())] = leaf | page;
    }

    /// The entry that ends the way to `address`, present or not, and the size of the page that it
    /// maps or would map; `None` if nothing was mapped there.
    pub fn leaf(&self, address: Linear) -> Option<(Size, u64)> {
        let (level, table) = self.last(address);
        let found = self.read(table, address, level);
        Size::of_level(level).filter(|_| found != 0).map(|size| (size, found))
    }

    /// The same entry, to be changed.
    pub fn leaf_mut(&mut self, address: Linear) -> Option<&mut u64> {
        let (level, table) = self.last(address);
        self.tables.get_mut(table)?.get_mut(index(address, level)).filter(|found| **found != 0)
    }

    /// Level and number of the table with the entry at which the way to `address` ends.
    fn last(&self, address: Linear) -> (u32, usize) {
        let (mut level, mut table) = (ROOT, 0);
        loop {
            let found = self.read(table, address, level);
            if !refers_to_table(found, level) {
                return (level, table);
            }
            table = (found & entry::FRAME) as usize >> 12;
            level -= 1;
        }
    }

    /// The entry of `level` (4 for the root) on the way to `address`, if there is such a table.
    pub fn entry_mut(&mut self, address: Linear, level: u32) -> Option<&mut u64> {
        let (mut at, mut table) = (ROOT, 0);
        while at > level {
            let found = self.read(table, address, at);
            if !refers_to_table(found, at) {
                return None;
            }
            table = (found & entry::FRAME) as usize >> 12;
            at -= 1;
        }
        self.tables.get_mut(table)?.get_mut(index(address, level))
    }

    /// The entry for `address` in a table of `level`. Physical memory where no table was made is
    /// all zeros.
    fn read(&self, table: usize, address: Linear, level: u32) -> u64 {
        self.tables.get(table).map_or(0, |entries| entries[index(address, level)])
    }

    /// The eight bytes of the tables at a physical address; `None` where no table is.
    pub fn word(&self, Physical(physical): Physical) -> Option<u64> {
        self.tables.get((physical >> 12) as usize)?.get((physical as usize & 0xfff) >> 3).copied()
    }

    /// What the CPU finds for a canonical `address`.
    ///
    /// # Errors
    /// The first entry on the way that gives no translation.
    pub fn walk(&self, rules: &Rules, address: Linear) -> Result<Translation, Missing> {
        let (mut table, mut writable, mut user, mut no_execute) = (0, true, true, false);
        for level in (1..=ROOT).rev() {
            let found = self.read(table, address, level);
            if found & entry::PRESENT == 0 {
                return Err(Missing::NotPresent);
            }
            if found & reserved(rules, found, level) != 0 {
                return Err(Missing::Reserved);
            }
            writable &= found & entry::WRITABLE != 0;
            user &= found & entry::USER != 0;
            no_execute |= found & entry::NO_EXECUTE != 0;
            if let Some(size) = Size::of_level(level)
                && (level == 1 || found & entry::LARGE != 0)
            {
                let frame = Physical(found & entry::FRAME).aligned_down(size.bytes());
                let key = (found >> entry::KEY_SHIFT) as u8 & 15;
                return Ok(Translation { size, frame, writable, user, no_execute, key });
            }
            table = (found & entry::FRAME) as usize >> 12;
        }
        // The last level always ends the loop.
        Err(Missing::NotPresent)
    }
}

/// Whether an entry leads on to a table: the software's view, in which a large page that is not
/// present still is one.
fn refers_to_table(found: u64, level: u32) -> bool {
    level > 1 && found & entry::PRESENT != 0 && (level == ROOT || found & entry::LARGE == 0)
}

/// The bits that must be 0 in a present entry `found` of `level` (Intel SDM volume 3, 4.5.4).
fn reserved(rules: &Rules, found: u64, level: u32) -> u64 {
    let mut bits = entry::FRAME & !((1 << rules.physical_bits) - 1);
    if !rules.no_execute {
        bits |= entry::NO_EXECUTE;
    }
    if level == ROOT {
        bits |= entry::LARGE;
    } else if level > 1 && found & entry::LARGE != 0 {
        // Between PAT, bit 12, and the page's address.
        bits |= ((1 << shift(level)) - 1) & !0x1fff;
    }
    bits
}
