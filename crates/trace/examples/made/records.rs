//! Records as they lie in rings, made up: of a frame buffer that is drawn, and of a network card.

use trapline_abi::{AccessPayload, Flags, Kind, MapPayload, Record, TaskPayload};
use trapline_trace::{Bar, Device, Header};

const LINEAR: u64 = 0xffff_c900_0100_0000;
/// Where the driver's code is.
pub(crate) const MODULE: u64 = 0xffff_ffff_c040_0000;
/// Bytes of a screen of 1024 by 768 pixels.
const SCREEN: u64 = 1024 * 768 * 4;

/// What there are records of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// A frame buffer, cleared and drawn by one CPU, as `bochs` does on `bochs-display`.
    Drawing,
    /// A network card's registers, polled, read and written by 4 CPUs, as `e1000e` does.
    Network,
}

impl Load {
    /// CPUs that have records.
    pub(crate) fn cpus(self) -> usize {
        match self {
            Self::Drawing => 1,
            Self::Network => 4,
        }
    }

    /// The machine.
    pub(crate) fn header(self) -> Header {
        let mut device = Device { address: "0000:00:03.0".into(), ..Device::default() };
        (device.vendor, device.device, device.class) = match self {
            Self::Drawing => (0x1234, 0x1111, 0x03_8000),
            Self::Network => (0x8086, 0x10d3, 0x02_0000),
        };
        let (start, length) = self.bar();
        device.bars[0] = Bar { start, length, flags: 0x4_0200 };
        Header { devices: vec![device], cpus: self.cpus() as u32, ..Header::default() }
    }

    /// Start and length.
    fn bar(self) -> (u64, u64) {
        match self {
            Self::Drawing => (0xfd00_0000, 16 << 20),
            Self::Network => (0xfeb8_0000, 2 << 16),
        }
    }

    /// So many records.
    pub(crate) fn rounds(self, records: u64) -> Rounds {
        let begun = vec![false; self.cpus()];
        Rounds { load: self, left: records, number: 0, time: 12_000_000_000, random: 1, begun }
    }
}

/// Records that are taken round by round.
pub(crate) struct Rounds {
    load: Load,
    left: u64,
    number: u64,
    time: u64,
    random: u64,
    /// CPUs that have told of their task.
    begun: Vec<bool>,
}

impl Rounds {
    /// Whether there are no more.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Adds up to `most` records of CPU `cpu` to `out`.
    pub(crate) fn fill(&mut self, cpu: usize, most: usize, out: &mut Vec<Record>) {
        if !std::mem::replace(&mut self.begun[cpu], true) {
            self.begin(cpu, out);
        }
        // CPUs take turns within a round: the next one begins where this one did.
        let (start, step) = (self.time, self.load.cpus() as u64);
        for _ in 0..self.left.min(most as u64) {
            out.push(self.access(cpu));
            self.time += (self.below(200) + 1_500) * step;
        }
        self.left -= self.left.min(most as u64);
        self.time = if cpu + 1 == self.load.cpus() { self.time } else { start + 1 };
    }

    fn begin(&self, cpu: usize, out: &mut Vec<Record>) {
        let task = 300 + cpu as u32;
        let first = Record { time: self.time, cpu: cpu as u16, task, ..Record::EMPTY };
        let mut name = [0; 16];
        name[..8].copy_from_slice(b"modprobe");
        let payload = TaskPayload { name, process: task }.to_words();
        out.push(Record { kind: Kind::Task as u8, payload, ..first });
        if cpu == 0 {
            let (physical, length) = self.load.bar();
            let payload = MapPayload { address: LINEAR, physical, length, caller: MODULE }.to_words();
            out.push(Record { kind: Kind::Map as u8, mapping: 1, payload, ..first });
        }
    }

    fn access(&mut self, cpu: usize) -> Record {
        self.number += 1;
        let (offset, site, value, flags) = match self.load {
            Load::Drawing => self.drawing(),
            Load::Network => self.network(),
        };
        let payload = AccessPayload { address: LINEAR + offset, ip: MODULE + site, value: [value, 0] };
        Record {
            time: self.time,
            kind: Kind::Access as u8,
            flags,
            width: 4,
            cpu: cpu as u16,
            task: 300 + cpu as u32,
            mapping: 1,
            payload: payload.to_words(),
            ..Record::EMPTY
        }
    }

    /// Cleared from the first byte to the last, then drawn: text in two colours, line by line.
    fn drawing(&mut self) -> (u64, u64, u64, u8) {
        let place = self.number * 4;
        let offset = place % (4 * SCREEN);
        let is_text = offset >= SCREEN && self.below(16) < 3;
        (
            offset,
            if offset < SCREEN { 0x120 } else { 0x240 },
            if is_text { 0x00aa_aaaa } else { 0 },
            Flags::WRITE,
        )
    }

    /// Half of it polling, the rest reads and writes of some hundred registers.
    fn network(&mut self) -> (u64, u64, u64, u8) {
        if self.number % 64 < 32 {
            return (0x20, 0x300, 0x0820_0000 | (self.number / 64 % 32) << 16, 0);
        }
        let register = self.below(120);
        let offset = 0x4000 * (register / 40) + register % 40 * 4;
        let value = if register < 60 { self.below(1 << 32) } else { self.below(4) };
        (
            offset,
            0x400 + register / 4 * 0x60,
            value,
            if register.is_multiple_of(3) { Flags::WRITE } else { 0 },
        )
    }

    /// A linear congruential generator (Knuth's MMIX).
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 20) % end
    }
}
