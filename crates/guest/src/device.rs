//! The device that regions lie in: the memory buffer of QEMU's NVMe controller, which takes every
//! width and keeps what is written.
//!
//! This program looks at it through a mapping of its own, in user space, where nothing is armed.
//! QEMU's record shows that as well, so it is enclosed in marks.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::mapping::Mapping;
use crate::record::{Line, Record};

/// NVMe controllers.
const CLASS: u32 = 0x01_0802;
/// The BAR of the controller memory buffer in QEMU.
const BAR: usize = 2;
const WORD: usize = size_of::<u64>();

/// What a mark says; in the low bits of the number that is written.
mod mark {
    /// What follows is this program's own.
    pub(super) const ASIDE: u64 = 0;
    /// It ends.
    pub(super) const BACK: u64 = 1;
    /// Everything before this has happened.
    pub(super) const NOW: u64 = 2;
    pub(super) const BITS: u64 = 2;
}

/// The device. It stays open from scenario to scenario: what is in a port when it is closed is
/// lost.
#[derive(Debug)]
pub(crate) struct Device {
    registers: Mapping,
    record: Record,
    physical: u64,
    length: u64,
    marks: Cell<u64>,
}

impl Device {
    pub(crate) fn open() -> Result<Self> {
        let sysfs = Path::new("/sys");
        let all = trapline_trace::devices(sysfs)?;
        let found = all.iter().find(|device| device.class == CLASS && device.bars[BAR].is_memory());
        let found = found.context("this machine has no NVMe controller with a memory buffer")?;
        let folder = sysfs.join("bus/pci/devices").join(&found.address);
        fs::write(folder.join("enable"), "1").context("cannot enable the NVMe controller")?;
        let path = folder.join(format!("resource{BAR}"));
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let (physical, length) = (found.bars[BAR].start, found.bars[BAR].length);
        let registers = Mapping::new(&file, 0, length as usize).context("cannot map the device")?;
        Ok(Self { registers, record: Record::open()?, physical, length, marks: Cell::new(1) })
    }

    /// First physical address.
    pub(crate) fn physical(&self) -> u64 {
        self.physical
    }

    /// Bytes that regions may lie in: all but the page of the marks.
    pub(crate) fn room(&self) -> u64 {
        self.length - 4096
    }

    fn mark_register(&self) -> usize {
        self.length as usize - WORD
    }

    /// Writes a mark and returns it.
    fn mark(&self, kind: u64) -> u64 {
        let mark = self.marks.get() << mark::BITS | kind;
        self.marks.set(self.marks.get() + 1);
        self.registers.write(self.mark_register(), mark);
        mark
    }

    /// The words that hold `length` bytes from `offset` on.
    fn words(offset: usize, length: usize) -> impl Iterator<Item = usize> {
        (offset / WORD * WORD..offset + length).step_by(WORD)
    }

    /// Reads from `offset` on.
    pub(crate) fn peek(&self, offset: u64, bytes: &mut [u8]) {
        let offset = offset as usize;
        self.mark(mark::ASIDE);
        let words: Vec<u8> =
            Self::words(offset, bytes.len()).flat_map(|at| self.registers.read(at).to_le_bytes()).collect();
        self.mark(mark::BACK);
        let skipped = offset % WORD;
        bytes.copy_from_slice(&words[skipped..skipped + bytes.len()]);
    }

    /// Writes from `offset` on.
    pub(crate) fn poke(&self, offset: u64, bytes: &[u8]) {
        let offset = offset as usize;
        self.mark(mark::ASIDE);
        for at in Self::words(offset, bytes.len()) {
            // A word of which a part is kept is read first.
            let whole = at >= offset && at + WORD <= offset + bytes.len();
            let mut word = if whole { [0; WORD] } else { self.registers.read(at).to_le_bytes() };
            for (place, byte) in word.iter_mut().enumerate() {
                if let Some(new) = (at + place).checked_sub(offset).and_then(|index| bytes.get(index)) {
                    *byte = *new;
                }
            }
            self.registers.write(at, u64::from_le_bytes(word));
        }
        self.mark(mark::BACK);
    }

    /// What the device saw since the last call, but for this program's own accesses, in order.
    pub(crate) fn take(&mut self) -> Result<Vec<Line>> {
        let now = self.mark(mark::NOW);
        let register = self.physical + self.mark_register() as u64;
        let (mut seen, mut is_aside) = (Vec::new(), false);
        loop {
            let line = self.record.next()?;
            if line.physical != register {
                if !is_aside {
                    seen.push(line);
                }
                continue;
            }
            ensure!(line.write && usize::from(line.width) == WORD, "this is no mark: {line:x?}");
            match line.value & ((1 << mark::BITS) - 1) {
                mark::ASIDE => is_aside = true,
                mark::BACK => is_aside = false,
                _ if line.value == now => return Ok(seen),
                _ => bail!("a mark that was not expected: {line:x?}"),
            }
        }
    }
}
