//! What is measured on the host itself.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Table;
use crate::{exec, workspace};

/// The crates with criterion benchmarks, and their names.
const BENCHES: [(&str, &str); 2] = [("trapline-insn", "insn"), ("trapline-engine", "trap")];

/// Decoding, executing, and a whole trap of the engine, each without an exception.
pub(super) fn traps() -> Result<Table> {
    let mut table = Table::new(["measured in", "ns", "what"]);
    for (package, bench) in BENCHES {
        let mut command = cargo();
        command.args(["bench", "--quiet", "--package", package, "--bench", bench, "--"]);
        command.args(["--warm-up-time", "0.5", "--measurement-time", "1", "--noplot"]);
        let measured = times(&exec::output(&mut command)?)?;
        ensure!(!measured.is_empty(), "the benchmarks of {package} measured nothing");
        for (name, nanoseconds) in measured {
            table.row([package.to_owned(), format!("{nanoseconds:.1}"), name]);
        }
    }
    Ok(table)
}

/// Reading a trace of ten million events into a report; one of a million as a page, for Perfetto,
/// and compared with another.
pub(super) fn report() -> Result<Table> {
    let said = large(10_000_000)?;
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("read into a report in "))
        .with_context(|| format!("the example did not tell how long the report took: {said}"))?;
    let (took, memory) = line.split_once("; peak memory ").context("the example tells its memory")?;
    let memory = memory.split(" (").next().unwrap_or(memory);
    let mut table = Table::new(["ten million events", "", "limit"]);
    table.row(["read into a report".to_owned(), took.to_owned(), "10 s".to_owned()]);
    table.row(["peak memory".to_owned(), memory.to_owned(), "1 GiB".to_owned()]);
    let said = large(1_000_000)?;
    let [took, size, memory] = page(&said)?;
    table.row(["a million written as a page".to_owned(), took, "10 s".to_owned()]);
    table.row(["size of the page".to_owned(), size, "20 MB".to_owned()]);
    table.row(["peak memory".to_owned(), memory, "1 GiB".to_owned()]);
    for (begin, what, limit) in [
        ("written for Perfetto as ", "a million written for Perfetto", "5 s"),
        ("compared with itself, ", "two of a million compared", "10 s"),
    ] {
        let [took, memory] = took_and_peak(&said, begin)?;
        table.row([what.to_owned(), took, limit.to_owned()]);
        table.row(["peak memory".to_owned(), memory, "1 GiB".to_owned()]);
    }
    Ok(table)
}

/// Records that pass through merge, names and summary into a file: its size and the most memory.
pub(super) fn written() -> Result<Table> {
    let mut table = Table::new(["4.7 million accesses", "bytes each", "limit", "peak memory", "limit"]);
    for (load, what) in [
        ("drawing", "a frame buffer, cleared and drawn by one CPU"),
        ("network", "a network card, by four CPUs"),
    ] {
        for (format, beside, limit) in [("arrow", "", "20"), ("mmiotrace", ", as mmiotrace's text", "")] {
            let mut command = cargo();
            command.args(["run", "--quiet", "--release", "--package", "trapline-trace"]);
            let said = exec::output(command.args(["--example", "pipeline", "--", load, format]))?;
            let [bytes, memory] = bytes_and_peak(&said)?;
            table.row([format!("{what}{beside}"), bytes, limit.to_owned(), memory, "64 MiB".to_owned()]);
        }
    }
    Ok(table)
}

/// Bytes of an event, and the peak memory, of what the example said.
fn bytes_and_peak(said: &str) -> Result<[String; 2]> {
    let told = || {
        let (_, rest) = said.split_once(" events: ")?;
        let (bytes, rest) = rest.split_once(" bytes and ")?;
        let (_, memory) = rest.split_once(", ")?;
        Some([bytes.to_owned(), memory.split(" with").next()?.to_owned()])
    };
    told().with_context(|| format!("the example did not tell bytes and memory: {said}"))
}

/// What the example says of a trace of so many events.
fn large(events: u64) -> Result<String> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "trapline-trace", "--example", "ten_million"]);
    exec::output(command.args(["--", &events.to_string()]))
}

/// What the example said of the page: time, size, peak memory.
fn page(said: &str) -> Result<[String; 3]> {
    let told = || {
        let line = said.lines().find_map(|line| line.strip_prefix("written as a page of "))?;
        let (size, rest) = line.split_once(" bytes in ")?;
        let (took, memory) = rest.split_once("; peak memory ")?;
        let megabytes = format!("{:.1} MB", size.parse::<f64>().ok()? / 1e6);
        Some([took.to_owned(), megabytes, memory.split(" (").next()?.to_owned()])
    };
    told().with_context(|| format!("the example did not tell of the page: {said}"))
}

/// How long it took, and its peak memory, of the line of what the example said that begins so.
fn took_and_peak(said: &str, begin: &str) -> Result<[String; 2]> {
    let told = || {
        let line = said.lines().find_map(|line| line.strip_prefix(begin))?;
        let (_, rest) = line.split_once(" in ")?;
        let (took, memory) = rest.split_once("; peak memory ")?;
        Some([took.to_owned(), memory.to_owned()])
    };
    told().with_context(|| format!("the example did not tell what it has {begin}: {said}"))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(workspace::root());
    command
}

/// Names and nanoseconds of what criterion says: `NAME time: [LOW MEDIAN HIGH]`, with a long name
/// on a line of its own.
fn times(said: &str) -> Result<Vec<(String, f64)>> {
    let mut measured = Vec::new();
    let mut above = "";
    for line in said.lines() {
        if let Some((name, times)) = line.split_once("time:") {
            let name = if name.trim().is_empty() { above } else { name };
            let words: Vec<&str> = times.trim().trim_matches(['[', ']']).split_whitespace().collect();
            let [_, _, median, unit, _, _] = words[..] else { continue };
            let factor = match unit {
                "ps" => 1e-3,
                "ns" => 1.0,
                "µs" => 1e3,
                _ => 1e6,
            };
            let median: f64 = median.parse().with_context(|| format!("criterion said `{line}`"))?;
            measured.push((name.trim().to_owned(), median * factor));
        }
        above = line;
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_example_says_of_the_page_is_read() {
        let said = "read into a report in 1.94s; peak memory 17444 kB (writing 16000 kB)
written as a page of 12345678 bytes in 3.21s; peak memory 70000 kB (before 17444 kB)
";
        let expected = ["3.21s", "12.3 MB", "70000 kB"].map(str::to_owned);
        assert_eq!(page(said).unwrap(), expected);
        let said = "compared with itself, 0 differences, in 2.40s; peak memory 222728 kB\n";
        assert_eq!(took_and_peak(said, "compared with itself, ").unwrap(), ["2.40s", "222728 kB"]);
        assert!(took_and_peak(said, "written for Perfetto as ").is_err());
        assert!(page("read into a report in 1.94s\n").is_err());
    }

    #[test]
    fn what_the_example_says_of_a_trace_that_is_written_is_read() {
        let said = "before the first record: memory 16292 kB
4700001 events: 5.1 bytes and 658 ns each; peak memory 19596 kB, 19648 kB with the report
";
        assert_eq!(bytes_and_peak(said).unwrap(), ["5.1", "19648 kB"].map(str::to_owned));
        assert!(bytes_and_peak("before the first record: memory 16292 kB\n").is_err());
    }

    #[test]
    fn criterions_medians_are_read_with_their_units_and_names() {
        let said = "decode lock or          time:   [57.001 ns 58.250 ns 60.0 ns]
a trap with a name that is long
                        time:   [1.1000 µs 1.2000 µs 1.3000 µs]
                        change: [-1.0% +0.1% +1.0%] (p = 0.9 > 0.05)
";
        let expected = [("decode lock or", 58.25), ("a trap with a name that is long", 1200.0)];
        assert_eq!(times(said).unwrap(), expected.map(|(name, ns)| (name.to_owned(), ns)));
    }
}
