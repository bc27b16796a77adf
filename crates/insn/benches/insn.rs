//! What one trapped access costs in this crate: `cargo bench -p trapline-insn`.

use std::convert::Infallible;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use trapline_insn::{Gpr, Memory, Registers, Segment, decode};

/// One word of memory at every address.
struct Word(u64);

impl Memory for Word {
    type Fault = Infallible;

    #[inline]
    fn read(&mut self, _: u64, _: u8) -> Result<u64, Infallible> {
        Ok(self.0)
    }

    #[inline]
    fn write(&mut self, _: u64, _: u8, value: u64) -> Result<(), Infallible> {
        self.0 = value;
        Ok(())
    }

    #[inline]
    fn update(
        &mut self,
        _: u64,
        _: u8,
        _: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Infallible> {
        let old = u128::from(self.0);
        self.0 = compute(old) as u64;
        Ok(old)
    }

    fn segment_base(&self, _: Segment) -> u64 {
        0
    }
}

// readl, writel, `mov %eax, 8(%rdi, %rcx, 4)`, `lock or $1, (%rdi)`, `rep movsl`, `vmovdqu
// 0x20(%rsi), %ymm0`.
const LOAD: &[u8] = &[0x8b, 0x07];
const STORE: &[u8] = &[0x89, 0x37];
const STORE_SIB: &[u8] = &[0x89, 0x44, 0x8f, 0x08];
const LOCK_OR: &[u8] = &[0xf0, 0x83, 0x0f, 0x01];
const REP_MOVS: &[u8] = &[0xf3, 0xa5];
const VMOVDQU: &[u8] = &[0xc5, 0xfe, 0x6f, 0x46, 0x20];

fn benches(criterion: &mut Criterion) {
    let registers = Registers { rdi: 0x1000, rsi: 0x2000, rcx: 64, ..Registers::default() };
    for (name, bytes) in [
        ("mov load", LOAD),
        ("mov store", STORE),
        ("mov store, SIB", STORE_SIB),
        ("lock or", LOCK_OR),
        ("vmovdqu", VMOVDQU),
    ] {
        criterion.bench_function(&format!("decode {name}"), |b| b.iter(|| decode(black_box(bytes))));
        let plan = decode(bytes).expect("a known instruction");
        criterion.bench_function(&format!("operands of {name}"), |b| {
            b.iter(|| black_box(&plan).operands(black_box(&registers), |_| 0));
        });
    }
    for (name, bytes) in
        [("mov load", LOAD), ("mov store", STORE), ("mov store, SIB", STORE_SIB), ("lock or", LOCK_OR)]
    {
        let plan = decode(bytes).expect("a known instruction");
        let mut registers = registers;
        let mut memory = Word(1);
        criterion.bench_function(&format!("execute {name}"), |b| {
            b.iter(|| black_box(&plan).execute(black_box(&mut registers), &mut memory, 1));
        });
    }
    let plan = decode(REP_MOVS).expect("a known instruction");
    let mut memory = Word(1);
    criterion.bench_function("execute rep movs, 64 elements", |b| {
        b.iter(|| {
            let mut registers = registers;
            registers.set(Gpr::Rcx, 64);
            black_box(&plan).execute(black_box(&mut registers), &mut memory, 64)
        });
    });
    let plan = decode(VMOVDQU).expect("a known instruction");
    criterion
        .bench_function("redirect vmovdqu", |b| b.iter(|| black_box(&plan).redirect(black_box(VMOVDQU))));
}

criterion_group!(all, benches);
criterion_main!(all);
