//! What one trapped access costs in the engine, natively, on a platform that costs next to nothing:
//! `cargo bench -p trapline-engine`.
//!
//! The time of the exception itself, of the kernel's path to the hook, and of the device are not in
//! it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use trapline_engine::{
    Alias, Backing, Cache, Code, Control, CpuSink, Engine, ErrorCode, Fault, Handlers, Lane, Linear, Look,
    Mapped, Mapping, NotArmed, Owned, Page, PageError, PageSize, PageTables, Platform, Probe, Rights, Sink,
    Task, Verdict,
};
use trapline_insn::{Redirect, Registers, Segment};

const START: Linear = Linear(0xffff_c900_0000_0000);
const PAGE: u64 = 4096;

/// One CPU, one register, no time.
struct Nothing {
    code: Code,
}

impl Platform for Nothing {
    fn lane(&self) -> Lane {
        Lane::new(0)
    }
    fn look(&self, _: &Fault) -> Look {
        Look::Armed
    }
    fn now(&self) -> u64 {
        0
    }
    fn wait(&self, _: u32) {}
    fn task(&self) -> Task {
        Task::default()
    }
    fn fetch(&self, _: u64) -> Code {
        self.code
    }
    fn segment_base(&self, _: Segment) -> u64 {
        0
    }
    fn write_protects(&self) -> bool {
        true
    }
    fn is_present(&self, _: Linear) -> bool {
        false
    }
    unsafe fn load(&self, alias: Alias, _: u8) -> u64 {
        black_box(alias.0)
    }
    unsafe fn store(&self, _: Alias, _: u8, value: u64) {
        black_box(value);
    }
    unsafe fn load_wide(&self, _: Alias, bytes: &mut [u8]) {
        bytes.fill(1);
    }
    unsafe fn store_wide(&self, _: Alias, bytes: &[u8]) {
        black_box(bytes);
    }
    unsafe fn compare_exchange(&self, _: Alias, _: u8, _: bool, current: u128, _: u128) -> u128 {
        current
    }
    fn read_other(&self, _: Linear, _: u8) -> Result<u64, Fault> {
        Ok(0)
    }
    fn write_other(&self, _: Linear, _: u8, _: u64) -> Result<(), Fault> {
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
    fn page_at(&self, address: Linear) -> Result<(Mapped, Rights), PageError> {
        let rights = Rights { write: true, user: false, execute: false };
        Ok((Mapped { page: Page::containing(address, PageSize::Small), entry: 1 }, rights))
    }
    fn arm(&self, _: &[Mapped]) -> Result<(), NotArmed> {
        Ok(())
    }
    fn disarm(&self, _: Mapped) -> Result<(), PageError> {
        Ok(())
    }
    fn shoot_down(&self) {}
    fn synchronize(&self) {}
}

/// Records in the ring.
const RING: u64 = 1024;

fn trap(c: &mut Criterion, name: &str, code: &[u8], probes: u64, record: bool) {
    let mut bytes = [0x90; 16];
    bytes[..code.len()].copy_from_slice(code);
    let code = Code { bytes: u128::from_le_bytes(bytes), length: 16 };
    let engine = Engine::new(Nothing { code }, 1).expect("memory");
    let mut control = Control::new();
    let (writer, mut reader) = trapline_ring::pair(RING, 0).expect("a power of two");
    let rings: Box<[CpuSink]> = vec![CpuSink::new(writer)].into_boxed_slice();
    let sink = Sink::new(rings.into());
    // SAFETY: no trap is running.
    unsafe { engine.set_sink(Some(Owned::new(sink).expect("memory"))).free() };
    let pages = probes.div_ceil(PAGE / 4).max(1);
    let (length, backing) = (pages * PAGE, Backing::Device);
    control
        .add_mapping(Mapping { id: 1, start: START, length, alias: Alias(1 << 40), backing })
        .expect("free");
    let probe = |number| Probe {
        start: START.plus(4 * number),
        length: 4,
        reads: true,
        writes: true,
        record,
        handlers: Handlers::NONE,
    };
    let all: Vec<Probe> = (0..probes).map(probe).collect();
    // SAFETY: no handlers; the alias is never accessed by this platform.
    unsafe { control.add_probes(&engine, &Tables, &all, &mut Vec::new()) }.expect("mapped");
    let address = START.plus(4 * (probes / 2));
    let mut registers = Registers { rdi: address.0, rip: 0xffff_ffff_8100_0000, ..Registers::default() };
    let rip = registers.rip;
    c.bench_function(name, |b| {
        let mut read = Vec::new();
        // Between the batches, out of the time: nothing finds the ring full.
        let empty = || {
            read.clear();
            reader.drain(usize::MAX, &mut read)
        };
        let access = |_| {
            registers.rip = rip;
            let fault = Fault { error_code: ErrorCode(0), address };
            // SAFETY: one thread; nothing interrupts it that traps.
            assert_eq!(unsafe { engine.page_fault(fault, black_box(&mut registers)) }, Verdict::Resume);
        };
        b.iter_batched(empty, access, BatchSize::NumIterations(RING / 4));
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
