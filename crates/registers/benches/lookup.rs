//! What naming an offset costs, of a few registers and of very many: `cargo bench -p
//! trapline-registers`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use trapline_registers::{DeviceRegisters, Field, Register, RegisterFile};

/// Offsets that are looked up in turn, enough that the branches are not learned by heart.
const OFFSETS: usize = 4096;

fn registers(count: u64) -> DeviceRegisters {
    let register = |number| {
        let mut register = Register::new(format!("REGISTER_{number}"), number * 8, 4);
        register.fields.push(Field::new("ENABLE", 0, 0));
        register
    };
    let file = RegisterFile { registers: (0..count).map(register).collect(), ..RegisterFile::default() };
    DeviceRegisters::new(&file)
}

fn benches(criterion: &mut Criterion) {
    for count in [100, 100_000] {
        let registers = registers(count);
        let mut random = 1_u64;
        let offsets: Vec<u64> = (0..OFFSETS)
            .map(|_| {
                // A linear congruential generator (Knuth's MMIX).
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (random >> 33) % count * 8
            })
            .collect();
        let mut offsets = offsets.into_iter().cycle();
        criterion.bench_function(&format!("a name among {count} registers"), |bencher| {
            bencher.iter(|| registers.name(0, black_box(offsets.next().unwrap_or_default())).map(str::len));
        });
    }
}

criterion_group!(all, benches);
criterion_main!(all);
