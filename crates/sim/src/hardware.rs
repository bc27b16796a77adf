//! Physical memory, page tables and TLBs: what a core's accesses go through.

use crate::device::Memory;
use crate::{Access, Backing, Region, Value, Vectors};
use std::collections::{BTreeMap, HashMap};
use trapline_engine::{ErrorCode, Fault, Mapped, Page, PageError, PageSize};

/// Bits of a page-table entry (Intel SDM volume 3, 4.5, tables 4-18 and 4-20).
pub(crate) mod entry {
    pub(crate) const PRESENT: u64 = 1 << 0;
    pub(crate) const WRITABLE: u64 = 1 << 1;
    /// PWT: with PCD, the cache attributes.
    pub(crate) const WRITE_THROUGH: u64 = 1 << 3;
    pub(crate) const CACHE_DISABLE: u64 = 1 << 4;
    pub(crate) const ACCESSED: u64 = 1 << 5;
    pub(crate) const DIRTY: u64 = 1 << 6;
    /// PS: maps a large page.
    pub(crate) const LARGE: u64 = 1 << 7;
    pub(crate) const GLOBAL: u64 = 1 << 8;
    pub(crate) const NO_EXECUTE: u64 = 1 << 63;
    pub(crate) const FRAME: u64 = 0x000f_ffff_ffff_f000;
}

/// Where region number `n` lies.
const LINEAR: u64 = 0xffff_c900_0000_0000;
const ALIAS: u64 = 0xffff_e900_0000_0000;
const PHYSICAL: u64 = 0x1_0000_0000;
const STRIDE: u64 = 1 << 28;

/// Whether `address` lies where the machine keeps its aliases.
pub(crate) fn is_alias(address: u64) -> bool {
    (ALIAS..ALIAS + (1 << 40)).contains(&address)
}

/// How an access came to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// By the instruction itself.
    Native,
    /// By the instruction itself, being stepped.
    Step,
    /// Through an alias.
    Alias,
}

/// Whose access it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) cpu: usize,
    pub(crate) ip: u64,
    pub(crate) via: Via,
}

/// An access as the device saw it, and what only a simulation can know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) access: Access,
    pub(crate) via: Via,
    /// Bytes of it were under a recording probe, for certain.
    pub(crate) must: bool,
}

#[derive(Default)]
pub(crate) struct Hardware {
    memories: Vec<Memory>,
    tables: BTreeMap<u64, (PageSize, u64)>,
    pub(crate) tlbs: Vec<HashMap<Page, u64>>,
    pub(crate) vectors: Vec<Vectors>,
    pub(crate) seen: Vec<Seen>,
    /// Ranges (start, length, writes) that a probe records for certain: it was registered, and nobody began to remove it.
    pub(crate) guards: Vec<(u64, u64, bool)>,
    /// Pages opened for a step, whose translations may be about until a shoot-down, with the number of the opening.
    open: HashMap<Page, u64>,
    openings: u64,
    /// Accesses that passed a guard unseen.
    pub(crate) missed: Vec<Access>,
}

impl Hardware {
    pub(crate) fn new(cpus: usize) -> Self {
        Self { tlbs: vec![HashMap::new(); cpus], vectors: vec![[[0; 32]; 16]; cpus], ..Self::default() }
    }

    /// Maps a new region and its alias; returns it and the alias.
    pub(crate) fn map(&mut self, backing: Backing, pages: &[PageSize]) -> (Region, u64) {
        let number = self.memories.len() as u64;
        let base = number * STRIDE;
        // The first large page is aligned, whatever stands before it.
        let before: u64 = pages.iter().take_while(|size| **size == PageSize::Small).map(|s| s.bytes()).sum();
        let large = pages.contains(&PageSize::Large);
        let skip = if large { before.next_multiple_of(PageSize::Large.bytes()) - before } else { 0 };
        let length = pages.iter().map(|size| size.bytes()).sum();
        let region = Region { start: LINEAR + base + skip, length };
        // Each region has cache attributes of its own, and a bit or two that nobody else has set.
        let attributes = match (backing, number % 3) {
            (Backing::Ram, _) => 0,
            (Backing::Device, 0) => entry::CACHE_DISABLE | entry::WRITE_THROUGH,
            (Backing::Device, 1) => entry::CACHE_DISABLE,
            (Backing::Device, _) => entry::WRITE_THROUGH,
        };
        let common = entry::PRESENT
            | entry::WRITABLE
            | entry::ACCESSED
            | entry::DIRTY
            | entry::GLOBAL
            | entry::NO_EXECUTE
            | attributes;
        let mut offset = skip;
        for &size in pages {
            let large = if size == PageSize::Large { entry::LARGE } else { 0 };
            for linear in [LINEAR, ALIAS] {
                self.tables
                    .insert(linear + base + offset, (size, (PHYSICAL + base + offset) | common | large));
            }
            offset += size.bytes();
        }
        let memory = Memory::new((skip + length) as usize, backing == Backing::Device);
        self.memories.push(memory);
        (region, ALIAS + base + skip)
    }

    /// Unmaps the page at `address`.
    pub(crate) fn unmap(&mut self, address: u64) {
        self.tables.remove(&address);
        self.tlbs.iter_mut().for_each(HashMap::clear);
    }

    /// Changes the bits of the page at `address`.
    pub(crate) fn protect(&mut self, address: u64, clear: u64) {
        if let Some((_, bits)) = self.tables.get_mut(&address) {
            *bits &= !clear;
        }
        self.tlbs.iter_mut().for_each(HashMap::clear);
    }

    pub(crate) fn entries(&self, region: &Region) -> Vec<u64> {
        self.tables.range(region.start..region.start + region.length).map(|(_, (_, bits))| *bits).collect()
    }

    fn walk(&self, address: u64) -> Option<(Page, u64)> {
        let (&start, &(size, bits)) = self.tables.range(..=address).next_back()?;
        let page = Page { address: start, size };
        (address - start < size.bytes()).then_some((page, bits))
    }

    pub(crate) fn is_present(&self, address: u64) -> bool {
        self.walk(address).is_some_and(|(_, bits)| bits & entry::PRESENT != 0)
    }

    pub(crate) fn page_at(&self, address: u64) -> Result<Mapped, PageError> {
        match self.walk(address) {
            Some((page, entry)) if entry & entry::PRESENT != 0 => Ok(Mapped { page, entry }),
            _ => Err(PageError::NotMapped),
        }
    }

    pub(crate) fn set_entry(&mut self, page: Page, bits: u64) {
        if let Some((_, entry)) = self.tables.get_mut(&page.address) {
            *entry = bits;
        }
    }

    /// Clears the present bit of what is there.
    pub(crate) fn clear_present(&mut self, page: Page) {
        if let Some((_, bits)) = self.tables.get_mut(&page.address) {
            *bits &= !entry::PRESENT;
        }
    }

    pub(crate) fn opened(&mut self, page: Page) {
        self.openings += 1;
        self.open.insert(page, self.openings);
    }

    /// The pages whose window ends with a shoot-down that begins now.
    pub(crate) fn closing(&self) -> Vec<(Page, u64)> {
        let open = self.open.iter().map(|(page, opening)| (*page, *opening));
        open.filter(|(page, _)| !self.is_present(page.address)).collect()
    }

    /// That shoot-down is over.
    pub(crate) fn closed(&mut self, pages: &[(Page, u64)]) {
        self.open.retain(|page, opening| !pages.contains(&(*page, *opening)));
    }

    /// The physical address of `address`, as CPU `cpu` translates it.
    fn translate(&mut self, cpu: usize, address: u64, write: bool) -> Result<u64, Fault> {
        let direction = if write { ErrorCode::WRITE } else { 0 };
        let fault = |bits| Fault { error_code: ErrorCode(bits | direction), address };
        let sizes = [PageSize::Small, PageSize::Large];
        let held = sizes.iter().find_map(|&size| {
            let page = Page::containing(address, size);
            Some((page, *self.tlbs[cpu].get(&page)?))
        });
        let (page, bits) = match held {
            Some(held) => held,
            None => {
                let found = self.walk(address).filter(|(_, bits)| bits & entry::PRESENT != 0);
                let (page, bits) = found.ok_or(fault(0))?;
                self.tlbs[cpu].insert(page, bits);
                (page, bits)
            }
        };
        if write && bits & entry::WRITABLE == 0 {
            return Err(fault(ErrorCode::PRESENT));
        }
        Ok((bits & entry::FRAME) + (address - page.address))
    }

    /// Where `width` bytes lie: in one piece, or in two.
    fn pieces(
        &mut self,
        cpu: usize,
        address: u64,
        width: usize,
        write: bool,
    ) -> Result<[(u64, usize); 2], Fault> {
        let physical = self.translate(cpu, address, write)?;
        let border = (address | 0xfff) + 1;
        let before = (border - address).min(width as u64) as usize;
        if before == width {
            return Ok([(physical, width), (0, 0)]);
        }
        let next = self.translate(cpu, border, write)?;
        if next == physical + before as u64 {
            return Ok([(physical, width), (0, 0)]);
        }
        Ok([(physical, before), (next, width - before)])
    }

    /// Whether `width` bytes could be accessed.
    pub(crate) fn check(&mut self, cpu: usize, address: u64, width: usize, write: bool) -> Result<(), Fault> {
        self.pieces(cpu, address, width, write).map(drop)
    }

    pub(crate) fn read(&mut self, who: Who, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        for (physical, length) in self.pieces(who.cpu, address, rest.len(), false)? {
            let (now, later) = rest.split_at_mut(length);
            if length > 0 {
                let memory = self.memory(physical);
                memory.read((physical - PHYSICAL) % STRIDE, now);
                let is_device = memory.is_device;
                self.log(who, is_device, physical, false, now);
            }
            rest = later;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, who: Who, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        for (physical, length) in self.pieces(who.cpu, address, rest.len(), true)? {
            let (now, later) = rest.split_at(length);
            if length > 0 {
                let memory = self.memory(physical);
                memory.write((physical - PHYSICAL) % STRIDE, now);
                let is_device = memory.is_device;
                self.log(who, is_device, physical, true, now);
            }
            rest = later;
        }
        Ok(())
    }

    fn memory(&mut self, physical: u64) -> &mut Memory {
        &mut self.memories[((physical - PHYSICAL) / STRIDE) as usize]
    }

    /// Keeps the device's record, and watches over the guards.
    fn log(&mut self, who: Who, is_device: bool, physical: u64, write: bool, bytes: &[u8]) {
        let address = LINEAR + (physical - PHYSICAL);
        let (width, value) = (bytes.len() as u8, Some(Value::new(bytes)));
        let access = Access { cpu: who.cpu, address, width, write, value, flags: 0, way: None, ip: who.ip };
        let last = address + u64::from(width) - 1;
        let must = self.guards.iter().any(|&(start, length, writes)| {
            writes == write && start <= last && address <= start + (length - 1)
        });
        let opened = self
            .open
            .keys()
            .any(|page| page.address <= last && address <= page.address + (page.size.bytes() - 1));
        if must && who.via == Via::Native && !opened {
            self.missed.push(access);
        }
        if is_device {
            self.seen.push(Seen { access, via: who.via, must });
        }
    }

    /// Memory without side effects, record or translation by a core.
    pub(crate) fn raw(&mut self, address: u64, length: usize) -> &mut [u8] {
        let offset = address - LINEAR;
        self.memories[(offset / STRIDE) as usize].bytes(offset % STRIDE, length)
    }

    /// Replaces such memory.
    pub(crate) fn replace(&mut self, address: u64, bytes: &[u8]) {
        let offset = address - LINEAR;
        self.memories[(offset / STRIDE) as usize].replace(offset % STRIDE, bytes);
    }

    /// Bytes of code at `address`, up to 16.
    pub(crate) fn code(&mut self, address: u64) -> ([u8; 16], u8) {
        let mut bytes = [0; 16];
        for (length, byte) in (0u8..).zip(bytes.iter_mut()) {
            let at = address.wrapping_add(length.into());
            let mapped = at >= LINEAR && self.is_present(at) && !is_alias(at);
            if !mapped {
                return (bytes, length);
            }
            *byte = self.raw(at, 1)[0];
        }
        (bytes, 16)
    }
}
