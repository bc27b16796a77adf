//! Physical memory, page tables and TLBs: what a core's accesses go through.

use crate::device::PhysicalMemory;
use crate::paging::{AccessKind, Attempt, Mode, Rules, Size, Tables, Translation, entry, is_canonical};
use crate::{Arming, Backing, PageSpec, RecordedAccess, Region, Value, Vectors};
use std::collections::HashMap;
use trapline_engine::{Alias, Fault, Linear, Mapped, Page, PageError, PageSize, Physical, Rights};

/// Where region number `n` lies.
const LINEAR: Linear = Linear(0xffff_c900_0000_0000);
const ALIAS: Alias = Alias(0xffff_e900_0000_0000);
const PHYSICAL: Physical = Physical(0x1_0000_0000);
const STRIDE: u64 = 1 << 28;

/// Where the code of programs in user mode lies: the first region's pages, seen from there.
pub(crate) const USER_CODE: Linear = Linear(0x40_0000);

/// Where pages that scenarios make one by one lie, each at the beginning of a gibibyte of its own,
/// in user mode's half and in the kernel's.
const SINGLE_USER: Linear = Linear(0x10_0000_0000);
const SINGLE_KERNEL: Linear = Linear(0xffff_8880_0000_0000);
/// Their physical memory. Each is backed by 4 KiB, which repeat: nobody needs a whole gibibyte.
const SINGLE_PHYSICAL: Physical = Physical(0x100_0000_0000);
const SINGLE_STRIDE: u64 = 1 << 30;

/// Flags of entries that refer to tables: as Linux, the last level decides.
const UPPER: u64 = entry::PRESENT | entry::WRITABLE | entry::USER | entry::ACCESSED;

fn size_of(size: PageSize) -> Size {
    match size {
        PageSize::Small => Size::Small,
        PageSize::Large => Size::Large,
    }
}

/// Whether `address` lies where the machine keeps its aliases.
pub(crate) fn is_alias(address: Linear) -> bool {
    address.since(ALIAS.linear()) < 1 << 40
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
    pub(crate) mode: Mode,
}

/// An access as the device saw it, and what only a simulation can know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) access: RecordedAccess,
    pub(crate) via: Via,
    /// Bytes of it were under a recording probe, for certain.
    pub(crate) must: bool,
}

#[derive(Default)]
pub(crate) struct Hardware {
    memories: Vec<PhysicalMemory>,
    singles: Vec<PhysicalMemory>,
    tables: Tables,
    arming: Arming,
    pub(crate) rules: Rules,
    /// By page number and size.
    pub(crate) tlbs: Vec<HashMap<(Linear, Size), Translation>>,
    pub(crate) vectors: Vec<Vectors>,
    pub(crate) seen: Vec<Seen>,
    /// Ranges (start, length, writes) that a probe records for certain: it was registered, and
    /// nobody began to remove it.
    pub(crate) guards: Vec<(u64, u64, bool)>,
    /// Pages opened for a step, whose translations may be about until a shoot-down, with the number
    /// of the opening.
    open: HashMap<Page, u64>,
    openings: u64,
    /// Address of a page that somebody else makes not present again as soon as it is opened.
    pub(crate) held_closed: Option<Linear>,
    /// Address of a page that its owner changes at the moment when it is to be armed.
    pub(crate) changed_when_armed: Option<Linear>,
    /// Accesses that passed a guard unseen.
    pub(crate) missed: Vec<RecordedAccess>,
}

impl Hardware {
    pub(crate) fn new(cpus: usize, arming: Arming) -> Self {
        Self {
            arming,
            tlbs: vec![HashMap::new(); cpus],
            vectors: vec![[[0; 32]; 16]; cpus],
            ..Self::default()
        }
    }

    /// Maps a new region and its alias; returns it and the alias.
    pub(crate) fn map(&mut self, backing: Backing, pages: &[PageSize]) -> (Region, Alias) {
        let number = self.memories.len() as u64;
        let base = number * STRIDE;
        // The first large page is aligned, whatever stands before it.
        let before: u64 = pages.iter().take_while(|size| **size == PageSize::Small).map(|s| s.bytes()).sum();
        let large = pages.contains(&PageSize::Large);
        let skip = if large { before.next_multiple_of(PageSize::Large.bytes()) - before } else { 0 };
        let length = pages.iter().map(|size| size.bytes()).sum();
        let region = Region { start: LINEAR.plus(base + skip).0, length };
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
            for linear in [LINEAR, ALIAS.linear()] {
                let leaf = PHYSICAL.plus(base + offset).0 | common;
                self.tables.map(linear.plus(base + offset), size_of(size), leaf, UPPER);
            }
            offset += size.bytes();
        }
        let memory = PhysicalMemory::new((skip + length) as usize, backing == Backing::Device);
        self.memories.push(memory);
        (region, ALIAS.plus(base + skip))
    }

    /// Lets the first region be executed, in the kernel's half and, at [`USER_CODE`], in user mode.
    pub(crate) fn make_executable(&mut self, region: &Region) {
        for offset in (0..region.length).step_by(0x1000) {
            let linear = Linear(region.start + offset);
            self.protect(linear, entry::NO_EXECUTE);
            let frame = PHYSICAL.plus(linear.since(LINEAR));
            let leaf = frame.0 | entry::PRESENT | entry::USER | entry::ACCESSED;
            self.tables.map(USER_CODE.plus(offset), Size::Small, leaf, UPPER);
        }
    }

    /// Maps a page of its own; returns its address.
    pub(crate) fn map_single(&mut self, spec: &PageSpec) -> Linear {
        let number = self.singles.len() as u64;
        self.singles.push(PhysicalMemory::new(0x1000, false));
        let half = if spec.user { SINGLE_USER } else { SINGLE_KERNEL };
        let address = half.plus(number * SINGLE_STRIDE);
        let frame = SINGLE_PHYSICAL.plus(number * SINGLE_STRIDE);
        self.tables.map(address, spec.size, frame.0 | spec.bits(), UPPER);
        address
    }

    /// Unmaps the page at `address`.
    pub(crate) fn unmap(&mut self, address: Linear) {
        if let Some(leaf) = self.tables.leaf_mut(address) {
            *leaf = 0;
        }
        self.tlbs.iter_mut().for_each(HashMap::clear);
    }

    /// Changes the bits of the page at `address`.
    pub(crate) fn protect(&mut self, address: Linear, clear: u64) {
        if let Some(leaf) = self.tables.leaf_mut(address) {
            *leaf &= !clear;
        }
        self.tlbs.iter_mut().for_each(HashMap::clear);
    }

    pub(crate) fn entries(&self, region: &Region) -> Vec<u64> {
        let (mut at, mut entries) = (Linear(region.start), Vec::new());
        while at.0 < region.start + region.length {
            let leaf = self.tables.leaf(at);
            entries.extend(leaf.map(|(_, bits)| bits));
            at = at.plus(leaf.map_or(Size::Small, |(size, _)| size).bytes());
        }
        entries
    }

    pub(crate) fn is_present(&self, address: Linear) -> bool {
        is_canonical(address) && self.tables.walk(&self.rules, address).is_ok()
    }

    pub(crate) fn page_at(&self, address: Linear) -> Result<(Mapped, Rights), PageError> {
        let (_, entry) = self.tables.leaf(address).ok_or(PageError::NotMapped)?;
        let found = self.tables.walk(&self.rules, address).map_err(|_| PageError::NotMapped)?;
        let size = match found.size {
            Size::Huge => return Err(PageError::HugePage),
            Size::Large => PageSize::Large,
            Size::Small => PageSize::Small,
        };
        let rights = Rights { write: found.writable, user: found.user, execute: !found.no_execute };
        Ok((Mapped { page: Page::containing(address, size), entry }, rights))
    }

    pub(crate) fn set_entry(&mut self, page: Page, bits: u64) {
        if let Some(leaf) = self.tables.leaf_mut(page.address) {
            *leaf = bits;
        }
    }

    /// Makes accesses to a page fault, if its entry is as it was found.
    pub(crate) fn arm(&mut self, mapped: &Mapped) -> Result<(), PageError> {
        let Mapped { page, entry } = *mapped;
        if self.changed_when_armed == Some(page.address) {
            self.set_entry(page, entry ^ entry::GLOBAL);
        }
        let armed = self.arming.armed(entry);
        match self.tables.leaf_mut(page.address) {
            Some(leaf) if *leaf == entry || *leaf == armed => *leaf = armed,
            _ => return Err(PageError::Changed),
        }
        Ok(())
    }

    /// Makes it as it was, if its entry is as we left it.
    pub(crate) fn disarm(&mut self, mapped: &Mapped) -> Result<(), PageError> {
        let Mapped { page, entry } = *mapped;
        let armed = self.arming.armed(entry);
        match self.tables.leaf_mut(page.address) {
            Some(leaf) if *leaf == entry || *leaf == armed => *leaf = entry,
            _ => return Err(PageError::Changed),
        }
        Ok(())
    }

    /// Arms what is there, whatever it is.
    pub(crate) fn close(&mut self, page: Page) {
        let arming = self.arming;
        if let Some(leaf) = self.tables.leaf_mut(page.address) {
            *leaf = arming.armed(*leaf);
        }
    }

    /// Drops one CPU's translation of a page.
    pub(crate) fn forget(&mut self, cpu: usize, page: Page) {
        self.tlbs[cpu].remove(&(page.address, size_of(page.size)));
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

    /// What a CPU translates `address` to.
    fn translate(&mut self, who: Who, address: Linear, kind: AccessKind) -> Result<Physical, Fault> {
        assert!(is_canonical(address), "the model raises no #GP: {address:x?}");
        let attempt = Attempt { address, kind, mode: who.mode };
        let fault = |error_code| Fault { error_code, address };
        let key = |size: Size| (address.aligned_down(size.bytes()), size);
        let tlb = &mut self.tlbs[who.cpu];
        let held = Size::ALL.into_iter().find_map(|size| tlb.get(&key(size)).copied());
        let translation = match held {
            Some(held) => held,
            None => {
                let found = self.tables.walk(&self.rules, address);
                let found = found.map_err(|missing| fault(missing.code(&self.rules, attempt)))?;
                tlb.insert(key(found.size), found);
                found
            }
        };
        if let Err(code) = translation.check(&self.rules, attempt) {
            // A page fault drops what the TLB held for its address (Intel SDM volume 3, 4.10.4.1).
            tlb.remove(&key(translation.size));
            return Err(fault(code));
        }
        Ok(translation.physical(address))
    }

    /// Where `width` bytes lie: in one piece, or in two.
    fn pieces(
        &mut self,
        who: Who,
        address: Linear,
        width: usize,
        kind: AccessKind,
    ) -> Result<[(Physical, usize); 2], Fault> {
        let physical = self.translate(who, address, kind)?;
        let whole = [(physical, width), (physical, 0)];
        let border = address.aligned_down(0x1000).plus(0x1000);
        let before = border.since(address).min(width as u64) as usize;
        if before == width {
            return Ok(whole);
        }
        let next = self.translate(who, border, kind)?;
        if next == physical.plus(before as u64) {
            return Ok(whole);
        }
        Ok([(physical, before), (next, width - before)])
    }

    /// Whether `width` bytes could be accessed.
    pub(crate) fn check(
        &mut self,
        who: Who,
        address: Linear,
        width: usize,
        kind: AccessKind,
    ) -> Result<(), Fault> {
        self.pieces(who, address, width, kind).map(drop)
    }

    /// What the CPU fetches for the instruction at `address`: up to 16 bytes, and the fault that
    /// ends them if one does.
    pub(crate) fn fetch(&mut self, who: Who, address: Linear) -> ([u8; 16], usize, Option<Fault>) {
        let mut bytes = [0; 16];
        // One byte at a time, since an instruction may end right before a page that can't be
        // executed.
        for (length, byte) in bytes.iter_mut().enumerate() {
            match self.translate(who, address.plus(length as u64), AccessKind::Fetch) {
                Ok(physical) => {
                    let (memory, offset) = self.memory(physical);
                    *byte = memory.bytes(offset, 1)[0];
                }
                Err(fault) => return (bytes, length, Some(fault)),
            }
        }
        (bytes, 16, None)
    }

    pub(crate) fn read(&mut self, who: Who, address: Linear, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        for (physical, length) in self.pieces(who, address, rest.len(), AccessKind::Read)? {
            let (now, later) = rest.split_at_mut(length);
            if length > 0 {
                let (memory, offset) = self.memory(physical);
                memory.read(offset, now);
                let is_device = memory.is_device;
                self.log(who, is_device, physical, false, now);
            }
            rest = later;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, who: Who, address: Linear, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        for (physical, length) in self.pieces(who, address, rest.len(), AccessKind::Write)? {
            let (now, later) = rest.split_at(length);
            if length > 0 {
                let (memory, offset) = self.memory(physical);
                memory.write(offset, now);
                let is_device = memory.is_device;
                self.log(who, is_device, physical, true, now);
            }
            rest = later;
        }
        Ok(())
    }

    /// What is at a physical address, and how far into it.
    fn memory(&mut self, physical: Physical) -> (&mut PhysicalMemory, u64) {
        if physical >= SINGLE_PHYSICAL {
            let offset = physical.since(SINGLE_PHYSICAL);
            return (&mut self.singles[(offset / SINGLE_STRIDE) as usize], offset & 0xfff);
        }
        let offset = physical.since(PHYSICAL);
        (&mut self.memories[(offset / STRIDE) as usize], offset % STRIDE)
    }

    /// Keeps the device's record, and watches over the guards.
    fn log(&mut self, who: Who, is_device: bool, physical: Physical, write: bool, bytes: &[u8]) {
        if physical >= SINGLE_PHYSICAL {
            return;
        }
        let first = LINEAR.plus(physical.since(PHYSICAL));
        let (width, value) = (bytes.len() as u8, Some(Value::new(bytes)));
        let (cpu, address, ip) = (who.cpu, first.0, who.ip);
        let access =
            RecordedAccess { cpu, address, width, write, value, original: None, flags: 0, way: None, ip };
        let last = first.plus(u64::from(width) - 1);
        let must = self.guards.iter().any(|&(start, length, writes)| {
            writes == write && start <= last.0 && address <= start + (length - 1)
        });
        let opened = self.open.keys().any(|page| page.address <= last && first <= page.last());
        if must && who.via == Via::Native && !opened {
            self.missed.push(access);
        }
        if is_device {
            self.seen.push(Seen { access, via: who.via, must });
        }
    }

    /// Memory without side effects, record or translation by a core.
    pub(crate) fn raw(&mut self, address: Linear, length: usize) -> &mut [u8] {
        let offset = address.since(LINEAR);
        self.memories[(offset / STRIDE) as usize].bytes(offset % STRIDE, length)
    }

    /// Replaces such memory.
    pub(crate) fn replace(&mut self, address: Linear, bytes: &[u8]) {
        let offset = address.since(LINEAR);
        self.memories[(offset / STRIDE) as usize].replace(offset % STRIDE, bytes);
    }

    /// Bytes of code at `address`, up to 16.
    pub(crate) fn code(&mut self, address: Linear) -> ([u8; 16], u8) {
        let mut bytes = [0; 16];
        for (length, byte) in (0u8..).zip(bytes.iter_mut()) {
            let at = address.plus(length.into());
            let mapped = at >= LINEAR && self.is_present(at) && !is_alias(at);
            if !mapped {
                return (bytes, length);
            }
            *byte = self.raw(at, 1)[0];
        }
        (bytes, 16)
    }
}
