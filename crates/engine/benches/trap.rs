//! What one trapped access costs in the engine, natively, on a platform that costs next to nothing: `cargo bench -p trapline-engine`.
//!
//! The time of the exception itself, of the kernel's path to the hook, and of the device are not in it.

use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use criterion::{Criterion, criterion_group, criterion_main};
use trapline_abi::{Record, RingControl};
use trapline_engine::{
    Cache, Code, Control, CpuSink, Engine, ErrorCode, Fault, Handlers, Mapped, Mapping, Owned, Page,
    PageError, PageSize, PageTables, Platform, Probe, RingWriter, Sink, Task, Verdict,
};
use trapline_insn::{Redirect, Registers, Segment};

const START: u64 = 0xffff_c900_0000_0000;
const PAGE: u64 = 4096;

/// One CPU, one register, no time.
struct Nothing {
    code: Code,
}

impl Platform for Nothing {
    fn cpu(&self) -> usize {
        0
    }
    fn now(&self) -> u64 {
        0
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn fetch(&self, _: u64) -> Code {
        self.code
    }
    fn segment_base(&self, _: Segment) -> u64 {
        0
    }
    fn is_present(&self, _: u64) -> bool {
        false
    }
    unsafe fn load(&self, alias: u64, _: u8) -> u64 {
        black_box(alias)
    }
    unsafe fn store(&self, _: u64, _: u8, value: u64) {
        black_box(value);
    }
    unsafe fn load_wide(&self, _: u64, bytes: &mut [u8]) {
        bytes.fill(1);
    }
    unsafe fn store_wide(&self, _: u64, bytes: &[u8]) {
        black_box(bytes);
    }
    unsafe fn compare_exchange(&self, _: u64, _: u8, current: u128, _: u128) -> u128 {
        current
    }
    fn read_other(&self, _: u64, _: u8) -> Result<u64, Fault> {
        Ok(0)
    }
    fn write_other(&self, _: u64, _: u8, _: u64) -> Result<(), Fault> {
        Ok(())
    }
    fn can_push(&self) -> bool {
        true
    }
    fn can_run_copy(&self, _: usize, _: &Redirect) -> bool {
        true
    }
    unsafe fn run_copy(&self, _: usize, _: &Redirect, _: &mut Registers, operand: u64) -> bool {
        black_box(operand);
        true
    }
    fn set_present(&self, _: Page, _: u64, _: bool) {}
    fn request_repair(&self) {}
}

struct Tables;

impl PageTables for Tables {
    fn page_at(&self, address: u64) -> Result<Mapped, PageError> {
        Ok(Mapped { page: Page::containing(address, PageSize::Small), entry: 1 })
    }
    fn arm(&self, _: Mapped) {}
    fn disarm(&self, _: Mapped) {}
    fn shoot_down(&self) {}
    fn synchronize(&self) {}
}

/// A ring's memory, whose reader has read everything at any time.
struct Ring {
    control: Box<RingControl>,
    records: Vec<Record>,
}

impl Ring {
    fn new() -> Self {
        // SAFETY: a ring's control page is all zeros at first, and zeros are valid for its fields.
        let control = Box::new(unsafe { std::mem::zeroed() });
        Self { control, records: vec![Record::EMPTY; 1024] }
    }
    fn writer(&mut self) -> RingWriter {
        let control = NonNull::from(&mut *self.control);
        let records = NonNull::from(&mut self.records[..]).cast();
        // SAFETY: both live as long as the benchmark, which reads nothing of them but the head.
        unsafe { RingWriter::new(control, records, 1024) }.expect("a power of two")
    }
    fn read_all(&self) {
        self.control.tail.store(self.control.head.load(Ordering::Relaxed), Ordering::Release);
    }
}

fn trap(c: &mut Criterion, name: &str, code: &[u8], probes: u64, record: bool) {
    let mut bytes = [0x90; 16];
    bytes[..code.len()].copy_from_slice(code);
    let code = Code { bytes: u128::from_le_bytes(bytes), length: 16 };
    let engine = Engine::new(Nothing { code }, 1).expect("memory");
    let mut control = Control::new();
    let mut ring = Ring::new();
    let sink = Sink::new(vec![CpuSink::new(ring.writer())].into_boxed_slice());
    // SAFETY: no trap is running.
    unsafe { engine.set_sink(Some(Owned::new(sink).expect("memory"))).free() };
    let pages = probes.div_ceil(PAGE / 4).max(1);
    let (length, ram) = (pages * PAGE, false);
    control.add_mapping(Mapping { id: 1, start: START, length, alias: 1 << 40, ram }).expect("free");
    let probe = |number| Probe {
        start: START + 4 * number,
        length: 4,
        reads: true,
        writes: true,
        record,
        handlers: Handlers::NONE,
    };
    let all: Vec<Probe> = (0..probes).map(probe).collect();
    // SAFETY: no handlers; the alias is never accessed by this platform.
    unsafe { control.add_probes(&engine, &Tables, &all, &mut Vec::new()) }.expect("mapped");
    let address = START + 4 * (probes / 2);
    let mut registers = Registers { rdi: address, rip: 0xffff_ffff_8100_0000, ..Registers::default() };
    let rip = registers.rip;
    c.bench_function(name, |b| {
        b.iter(|| {
            registers.rip = rip;
            let fault = Fault { error_code: ErrorCode(0), address };
            // SAFETY: one thread; nothing interrupts it that traps.
            assert_eq!(unsafe { engine.page_fault(fault, black_box(&mut registers)) }, Verdict::Resume);
            ring.read_all();
        });
    });
}

/// What of it is finding the instruction's plan.
fn cache(c: &mut Criterion) {
    let mut cache = Cache::new().expect("memory");
    let code = Code {
        bytes: u128::from_le_bytes([0x8b, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        length: 16,
    };
    let ip = 0xffff_ffff_8100_0000_u64;
    c.bench_function("cache hit", |b| {
        b.iter(|| cache.site(black_box(ip), black_box(code)).expect("a known instruction").plan.length());
    });
    let mut turn = 0;
    c.bench_function("cache miss", |b| {
        b.iter(|| {
            turn = (turn + 1) % 4096;
            cache.site(black_box(ip + 16 * turn), black_box(code)).expect("a known instruction").plan.length()
        });
    });
}

fn traps(c: &mut Criterion) {
    let read = [0x8b, 0x07]; // mov (%rdi),%eax
    trap(c, "trap/read, recorded", &read, 1, true);
    trap(c, "trap/read, not recorded", &read, 1, false);
    trap(c, "trap/read, recorded, 10,000 probes", &read, 10_000, true);
    trap(c, "trap/write, recorded", &[0x89, 0x07], 1, true); // mov %eax,(%rdi)
    trap(c, "trap/lock or, recorded", &[0xf0, 0x09, 0x07], 1, true); // lock or %eax,(%rdi)
    trap(c, "trap/movd, redirected, recorded", &[0x66, 0x0f, 0x6e, 0x07], 1, true); // movd (%rdi),%xmm0
}

criterion_group!(benches, cache, traps);
criterion_main!(benches);
