//! How long a large trace takes: writes one of so many events (ten million by default), reads it into a report, and tells times and memory.
//!
//! `cargo run --release -p trapline-trace --example ten_million -- [EVENTS] [FILE]`

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::time::Instant;

use trapline_abi::{Flags, Way};
use trapline_trace::{
    Access, Direction, Event, FileWriter, Header, Place, Sink, Site, Summary, Totals, TraceReader, Value,
    What,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let path = arguments.next().map_or_else(|| std::env::temp_dir().join("ten_million.trace"), Into::into);

    let start = Instant::now();
    let mut writer = FileWriter::new(File::create(&path)?, &Header::default())?;
    let registers: Vec<String> = (0..200).map(|number| format!("REGISTER{number}")).collect();
    let functions: Vec<String> = (0..300).map(|number| format!("driver_function_{number}")).collect();
    let mut random = 1_u64;
    for number in 0..events {
        // A linear congruential generator (Knuth's MMIX): enough to keep branches and dictionaries from being predictable.
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        writer.event(&event(number, random >> 16, &registers, &functions))?;
    }
    writer.end(&Totals::default())?;
    let written = start.elapsed();
    println!("wrote {events} events, {} bytes, in {written:.2?}", std::fs::metadata(&path)?.len());

    let before = peak_memory();
    let start = Instant::now();
    let mut summary = Summary::new();
    let mut reader = TraceReader::open(&path)?;
    let Ok(_) = reader.read(|event| {
        summary.add(event);
        Ok::<_, Infallible>(())
    });
    let mut report = Vec::new();
    summary.write(&mut report, false, 20)?;
    println!(
        "read into a report in {:.2?}; peak memory {} (writing {before})",
        start.elapsed(),
        peak_memory()
    );
    std::fs::remove_file(&path)?;
    Ok(())
}

fn event<'a>(number: u64, random: u64, registers: &'a [String], functions: &'a [String]) -> Event<'a> {
    let register = (random % registers.len() as u64) as usize;
    let function = (random >> 8) as usize % functions.len();
    Event {
        time: number * 731,
        cpu: (random % 4) as u16,
        pid: 300 + (random % 40) as u32,
        tgid: 300,
        comm: if random.is_multiple_of(3) { "kworker/1:2" } else { "modprobe" },
        what: What::Access(Access {
            direction: if random.is_multiple_of(5) { Direction::Write } else { Direction::Read },
            width: 4,
            value: Value::from_u64(random, 4),
            mapping: 1,
            address: 0xffff_c900_0000_0000 + register as u64 * 4,
            physical: Some(0xfeb0_0000 + register as u64 * 4),
            flags: Flags(0),
            way: Way::Emulate,
            ip: 0xffff_ffff_c000_0000 + function as u64 * 64,
            place: Some(Place {
                device: "0000:00:03.0",
                bar: 0,
                offset: register as u64 * 4,
                register: Some(&registers[register]),
            }),
            site: Some(Site { function: &functions[function], offset: random % 64, module: Some("driver") }),
        }),
    }
}

/// Peak of the resident memory so far, as the kernel tells it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".into(), |line| line.trim().to_owned())
}
