//! How long a large trace takes: writes one of so many events (ten million by default), reads it
//! into a report and into a page, and tells times, sizes and memory. One of a million or fewer is
//! converted for Perfetto and compared with itself too, which is of a size that people do that
//! with.
//!
//! `cargo run --release -p trapline-trace --example ten_million -- [EVENTS] [FILE [PAGE]]`
//!
//! Both files are removed at the end, unless a PAGE is named: then that is kept.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use trapline_trace::{
    Diff, Ending, FileWriter, Header, Pair, Perfetto, Side, Sink, Summary, Totals, TraceReader,
};

#[path = "made/large.rs"]
mod large;

/// Events of the largest trace that is converted for Perfetto and compared.
const MOST_COMPARED: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let path = arguments.next().map_or_else(|| std::env::temp_dir().join("ten_million.trace"), Into::into);
    let kept_page = arguments.next().map(PathBuf::from);

    let start = Instant::now();
    let mut writer = FileWriter::new(File::create(&path)?, &Header::default())?;
    large::large(events, |event| writer.event(event))?;
    writer.end(&Totals::default())?;
    let written = start.elapsed();
    println!("wrote {events} events, {} bytes, in {written:.2?}", std::fs::metadata(&path)?.len());

    let before = peak_memory();
    let start = Instant::now();
    let mut summary = Summary::default();
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

    // Each next one takes more memory than those before, so the peak is its own.
    let is_compared = events <= MOST_COMPARED;
    if is_compared {
        perfetto(&path)?;
    }
    let page = kept_page.clone().unwrap_or_else(|| path.with_extension("html"));
    let before = peak_memory();
    let start = Instant::now();
    let mut summary = Summary::default().with_timeline();
    let Ok(_) = TraceReader::open(&path)?.read(|event| {
        summary.add(event);
        Ok::<_, Infallible>(())
    });
    let mut out = BufWriter::new(File::create(&page)?);
    summary.write_html(&mut out, "ten million", &Header::default(), None)?;
    out.flush()?;
    println!(
        "written as a page of {} bytes in {:.2?}; peak memory {} (before {before})",
        std::fs::metadata(&page)?.len(),
        start.elapsed(),
        peak_memory()
    );
    if is_compared {
        diff(&path)?;
    }
    std::fs::remove_file(&path)?;
    if kept_page.is_none() {
        std::fs::remove_file(&page)?;
    }
    Ok(())
}

/// Converts the trace for Perfetto.
fn perfetto(path: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let out = path.with_extension("pftrace");
    let mut sink = Perfetto::new(File::create(&out)?);
    let ending = TraceReader::open(path)?.read(|event| sink.event(event))?;
    if let Ending::Whole(totals) = ending {
        sink.end(&totals)?;
    }
    let (took, size) = (start.elapsed(), std::fs::metadata(&out)?.len());
    println!("written for Perfetto as {size} bytes in {took:.2?}; peak memory {}", peak_memory());
    Ok(std::fs::remove_file(&out)?)
}

/// Compares the trace with itself, which is read twice for that.
fn diff(path: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let (mut first, mut second) = (TraceReader::open(path)?, TraceReader::open(path)?);
    let mut pair = Pair::new(first.header(), second.header());
    for (side, reader) in [(Side::A, &mut first), (Side::B, &mut second)] {
        let Ok(_) = reader.read(|event| {
            pair.add(side, event);
            Ok::<_, Infallible>(())
        });
    }
    let differences = Diff::new(&pair).differences().len();
    let took = start.elapsed();
    println!("compared with itself, {differences} differences, in {took:.2?}; peak memory {}", peak_memory());
    Ok(())
}

/// Peak of the resident memory so far, as the kernel tells it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".into(), |line| line.trim().to_owned())
}
