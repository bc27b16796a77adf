//! What a trace costs on its way from the rings to a file: merges, names, sums up and writes
//! records as `trapline mmio --output` does, and tells memory, bytes and time of each event.
//!
//! `cargo run --release -p trapline-trace --example pipeline -- LOAD FORMAT [RECORDS [FILE]]`, of
//! drawing or network as arrow, mmiotrace or none.
//!
//! `drawing` is a frame buffer that is cleared and drawn by one CPU, 4 bytes at a time; `network` a
//! card's registers, read and written by 4 CPUs. Each run is one load into one format, since the
//! peak of memory is the process's.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use trapline_abi::{Counters, Record};
use trapline_trace::{
    FileWriter, Header, Merge, Mmiotrace, Names, Registers, Sink, Summary, Symbols, Totals,
};

#[path = "made/records.rs"]
mod records;

use records::{Load, MODULE};

/// Records of a CPU in one round, as the command takes them from a ring.
const ROUND: usize = 8192;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: pipeline drawing|network arrow|mmiotrace|none [RECORDS [FILE]]";
    let load = match arguments.next().as_deref() {
        Some("drawing") => Load::Drawing,
        Some("network") => Load::Network,
        _ => return Err(usage.into()),
    };
    let format = arguments.next().ok_or(usage)?;
    let records: u64 = arguments.next().map_or(Ok(4_700_000), |text| text.parse())?;
    let path = arguments.next().map_or_else(|| std::env::temp_dir().join("pipeline.trace"), Into::into);

    let header = load.header();
    let out = BufWriter::new(File::create(&path)?);
    let mut sink = sink(&format, out, &header)?;
    let names = names(&header)?;
    let mut summary = Summary::new(&header);
    let mut merge = Merge::new(load.cpus());
    let mut rounds = load.rounds(records);
    let mut batch: Vec<Record> = Vec::with_capacity(ROUND);

    println!("before the first record: memory {}", peak_memory());
    let start = Instant::now();
    while !rounds.is_over() {
        for cpu in 0..load.cpus() {
            batch.clear();
            rounds.fill(cpu, ROUND, &mut batch);
            merge.push(cpu, &batch, rounds.is_over());
        }
        merge.release(|event| {
            let event = names.name(event);
            summary.add(&event);
            sink.event(&event)
        })?;
    }
    merge.finish(|event| {
        let event = names.name(event);
        summary.add(&event);
        sink.event(&event)
    })?;
    sink.end(&Totals::new(&Counters::default(), &merge))?;
    let took = start.elapsed();
    let before = peak_memory();
    summary.write(&mut std::io::sink(), false, 20)?;
    drop(sink);
    let (events, bytes) = (summary.events(), std::fs::metadata(&path)?.len());
    println!(
        "{events} events: {:.1} bytes and {:.0} ns each; peak memory {before}, {} with the report",
        bytes as f64 / events as f64,
        took.as_nanos() as f64 / events as f64,
        peak_memory()
    );
    Ok(std::fs::remove_file(&path)?)
}

/// What writes the trace; nothing of it for `none`.
fn sink(format: &str, out: impl Write + 'static, header: &Header) -> Result<Box<dyn Sink>, Box<dyn Error>> {
    Ok(match format {
        "arrow" => Box::new(FileWriter::new(out, header)?),
        "mmiotrace" => Box::new(Mmiotrace::new(out, header, false)?),
        "none" => Box::new(Nothing),
        other => return Err(format!("no format is called {other}").into()),
    })
}

/// Writes nothing.
struct Nothing;

impl Sink for Nothing {
    fn event(&mut self, _event: &trapline_trace::Event<'_>) -> std::io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _totals: &Totals) -> std::io::Result<()> {
        Ok(())
    }

    fn kept(&self) -> u64 {
        0
    }
}

/// Names by a kernel of 150,000 functions, and the register files that come with the command.
fn names(header: &Header) -> Result<Names, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("pipeline.{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    write_symbols(&folder)?;
    let symbols = Symbols::load(Path::new(&folder))?;
    std::fs::remove_dir_all(&folder)?;
    Ok(Names::new(&header.devices, &Registers::shipped(), Some(symbols)))
}

/// Writes `modules` and `kallsyms` of a kernel of 150,000 functions and a module of 200.
fn write_symbols(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::write(folder.join("modules"), format!("driver 65536 0 - Live {MODULE:#x}\n"))?;
    let mut out = BufWriter::new(File::create(folder.join("kallsyms"))?);
    for number in 0..150_000_u64 {
        writeln!(out, "{:x} t kernel_function_{number}", 0xffff_ffff_8100_0000 + number * 96)?;
    }
    for number in 0..200_u64 {
        writeln!(out, "{:x} t driver_function_{number}\t[driver]", MODULE + number * 96)?;
    }
    Ok(out.flush()?)
}

/// Peak of the resident memory so far, as the kernel tells it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".into(), |line| line.trim().to_owned())
}
