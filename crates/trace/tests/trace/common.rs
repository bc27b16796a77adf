//! A small trace with one of everything, made through the same steps as a real one: records, merge,
//! names; and what holds texts against files.

use std::convert::Infallible;

use expect_test::ExpectFile;
use trapline_abi::{AccessPayload, Flags, Kind, MapPayload, Record, TaskPayload, Way};
use trapline_trace::{Bar, Device, Event, Header, Merge, Names, Registers, Symbols, Totals};

const MEMORY: u64 = 0x4_0200;
const LINEAR: u64 = 0xffff_c900_0100_0000;
const MODULE: u64 = 0xffff_ffff_c040_0000;

/// The machine that the trace is from.
pub(crate) fn header() -> Header {
    let mut network = Device {
        address: "0000:00:03.0".into(),
        vendor: 0x8086,
        device: 0x10d3,
        class: 0x02_0000,
        irq: 22,
        driver: Some("e1000e".into()),
        ..Device::default()
    };
    network.bars[0] = Bar { start: 0xfeb8_0000, length: 0x2_0000, flags: MEMORY };
    network.bars[2] = Bar { start: 0xc040, length: 0x20, flags: 0x4_0101 };
    network.bars[6] = Bar { start: 0xfeb4_0000, length: 0x4_0000, flags: 0x4_6200 };
    let mut disk = Device {
        address: "0000:02:00.1".into(),
        vendor: 0x1b36,
        device: 0x10,
        class: 0x01_0802,
        irq: 0,
        ..Device::default()
    };
    disk.bars[0] = Bar { start: 0x8_0000_0000, length: 0x4000, flags: 0x14_0204 };
    Header {
        trapline: "0.1.0".into(),
        kernel: "6.12.0-1-amd64".into(),
        cpus: 4,
        started: 1_700_000_000_000_000_000,
        started_clock: 12_000_000_000,
        command: "trapline mmio --device 00:03.0".into(),
        devices: vec![network, disk],
        ..Header::default()
    }
}

/// What the trace ends with.
pub(crate) fn totals() -> Totals {
    let performed = [49, 2, 1];
    Totals { ended: 1_700_000_001_000_000_000, performed, dropped: 3, windows: 1, ..Totals::default() }
}

/// Names for it.
pub(crate) fn names() -> Names {
    let proc = tempfile::tempdir().unwrap();
    std::fs::write(proc.path().join("modules"), format!("e1000e 65536 0 - Live {MODULE:#x}\n")).unwrap();
    let symbols = format!(
        "ffffffff81001000 T memcpy_fromio\n{:x} t e1000_probe\t[e1000e]\n{:x} t e1000e_poll_reset\t[e1000e]\n",
        MODULE + 0x100,
        MODULE + 0x800
    );
    std::fs::write(proc.path().join("kallsyms"), symbols).unwrap();
    let symbols = Symbols::load(proc.path()).unwrap();
    Names::new(&header().devices, &Registers::shipped(), Some(symbols))
}

struct Script {
    records: [Vec<Record>; 2],
    time: u64,
}

impl Script {
    fn push(&mut self, cpu: usize, record: Record) {
        self.time += 1_234_567;
        self.records[cpu].push(Record { time: self.time, cpu: cpu as u16, ..record });
    }

    fn access(&mut self, cpu: usize, mapping: u32, offset: u64, value: [u64; 2], record: Record) {
        let address = LINEAR + u64::from(mapping - 1) * 0x10_0000 + offset;
        let ip = MODULE + 0x100 + u64::from(record.task % 16);
        let payload = AccessPayload { address, ip, value }.to_words();
        self.push(cpu, Record { kind: Kind::Access as u8, mapping, payload, ..record });
    }
}

fn task(task: u32, name: &[u8]) -> Record {
    let mut padded = [0; 16];
    padded[..name.len()].copy_from_slice(name);
    let payload = TaskPayload { name: padded, process: task - 1 }.to_words();
    Record { kind: Kind::Task as u8, task, payload, ..Record::EMPTY }
}

fn map(mapping: u32, physical: u64, length: u64, caller: u64) -> Record {
    let address = LINEAR + u64::from(mapping - 1) * 0x10_0000;
    let payload = MapPayload { address, physical, length, caller }.to_words();
    Record { kind: Kind::Map as u8, task: 311, mapping, payload, ..Record::EMPTY }
}

/// All records, by CPU.
fn records() -> [Vec<Record>; 2] {
    let mut script = Script { records: [Vec::new(), Vec::new()], time: 12_345_678_901 };
    let first = Record { task: 311, width: 4, ..Record::EMPTY };
    let second = Record { task: 77, width: 4, ..Record::EMPTY };
    let written = Record { flags: Flags::WRITE, ..first };
    script.push(0, task(311, b"modprobe"));
    script.push(0, map(1, 0xfeb8_0000, 0x2_0000, MODULE + 0x120));
    script.push(0, map(2, 0x8_0000_0000, 0x4000, 0));
    script.push(0, map(3, 0xd000_0010, 0x100, MODULE + 0x130));
    script.access(0, 1, 0x8, [0x80080, 0], first);
    script.access(0, 1, 0x0, [0x0400_0240, 0], written);
    script.push(1, task(77, b"kworker/\x1b[31m"));
    script.access(1, 2, 0x14, [0x0046_0001, 0], Record { flags: Flags::WRITE, ..second });
    for _ in 0..40 {
        script.time -= 1_234_567 - 300;
        script.access(1, 2, 0x1c, [0, 0], second);
    }
    script.access(1, 2, 0x1c, [1, 0], second);
    script.access(0, 1, 0x5400, [0x5634_1200_5452, 0], Record { width: 8, ..written });
    script.access(0, 1, 0x5401, [0x54, 0], Record { width: 1, ..first });
    script.access(
        1,
        3,
        0x4,
        [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
        Record { width: 16, way: Way::Redirect as u8, ..second },
    );
    let wide = Record { width: 32, more: 1, way: Way::Redirect as u8, flags: Flags::WRITE, ..second };
    script.access(1, 2, 0x1000, [1, 2], wide);
    script.push(1, Record { kind: Kind::More as u8, payload: [3, 4, 0, 0], ..second });
    let modify = Record { flags: Flags::MODIFY | Flags::LOCKED, ..first };
    script.access(0, 1, 0xd8, [7, 0], modify);
    script.access(0, 1, 0xd8, [8, 0], Record { flags: modify.flags | Flags::WRITE, ..modify });
    script.access(0, 1, 0x100, [0, 0], Record { flags: Flags::UNKNOWN, way: Way::Step as u8, ..first });
    script.push(
        0,
        Record { kind: Kind::Window as u8, task: 311, payload: [LINEAR, 5_400, 0, 0], ..Record::EMPTY },
    );
    let text = u64::from_le_bytes(*b"link up\0");
    script.push(
        0,
        Record { kind: Kind::Mark as u8, task: 311, width: 7, payload: [text, 0, 0, 0], ..Record::EMPTY },
    );
    script.push(1, Record { kind: Kind::Lost as u8, task: 77, payload: [3, 0, 0, 0], ..Record::EMPTY });
    let lost = AccessPayload { address: 0x5000, ip: 0x1234, value: [9, 0] }.to_words();
    script.push(1, Record { kind: Kind::Access as u8, mapping: 9, payload: lost, ..second });
    script.push(0, Record { kind: Kind::Unmap as u8, task: 311, mapping: 1, ..Record::EMPTY });
    script.records
}

/// Hands all events of the trace to `each`, named.
pub(crate) fn play(mut each: impl FnMut(&Event<'_>)) {
    let names = names();
    let mut merge = Merge::new(2);
    for (cpu, records) in records().iter().enumerate() {
        merge.push(cpu, records, true);
    }
    let Ok(()) = merge.finish(|event| {
        each(&names.name(event));
        Ok::<_, Infallible>(())
    });
    assert_eq!((merge.malformed(), merge.late()), (0, 0));
}

/// What is written is what a file of `tests/data` holds.
pub(crate) fn check(expected: ExpectFile, write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    expected.assert_eq(&String::from_utf8(out).unwrap());
}
