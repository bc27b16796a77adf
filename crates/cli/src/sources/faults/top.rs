//! The live table of `trapline faults --top`: rates by kind of fault, memory, task and function,
//! drawn anew each second.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use trapline_trace::{Event, PageFault, Sink, Totals, What};

use crate::output::{Busy, Output};
use crate::style::STRONG;

/// How often the table is drawn.
const EVERY: Duration = Duration::from_secs(1);

/// Rows of each part.
const ROWS: usize = 6;

/// Cursor home and everything below it erased: the screen stays where it is.
const HOME: &str = "\x1b[H\x1b[J";

/// Draws the table.
struct Top<W> {
    out: W,
    /// Whether to draw over the table before; else each follows the one before.
    terminal: bool,
    since: Instant,
    parts: [Part; 4],
    seen: u64,
    kept: u64,
}

/// Counts since the last table, and in all.
#[derive(Debug, Default)]
struct Part {
    title: &'static str,
    counts: HashMap<String, (u64, u64)>,
}

impl Part {
    fn count(&mut self, what: String) {
        let (now, all) = self.counts.entry(what).or_default();
        *now += 1;
        *all += 1;
    }
}

/// The table, on standard output.
pub(crate) fn table() -> Output {
    let terminal = io::stdout().is_terminal();
    let sink = Top::new(io::stdout(), terminal);
    Output {
        sink: Box::new(sink),
        flush_every: Duration::from_millis(200),
        exact: false,
        busy: Busy::default(),
    }
}

impl<W: Write> Top<W> {
    fn new(out: W, terminal: bool) -> Self {
        let part = |title| Part { title, counts: HashMap::new() };
        let parts = [part("fault"), part("kind of memory"), part("task"), part("function or file")];
        Self { out, terminal, since: Instant::now(), parts, seen: 0, kept: 0 }
    }

    fn count(&mut self, event: &Event<'_>, fault: &PageFault<'_>) {
        let [kinds, memory, tasks, sites] = &mut self.parts;
        kinds.count(fault.sentence());
        memory.count(fault.memory.as_deref().unwrap_or("not known").to_owned());
        tasks.count(format!("{}-{}", event.comm.escape_default(), event.pid));
        sites.count(fault.site.map_or_else(|| format!("{:#x}", fault.ip), |site| site.function.to_owned()));
    }

    /// The table, with rates over `elapsed`.
    fn draw(&mut self, elapsed: Duration) -> io::Result<()> {
        let rate = |count: u64| (count as f64 / elapsed.as_secs_f64().max(0.001)).round();
        let mut text = String::new();
        if self.terminal {
            text.push_str(HOME);
        }
        // Writing into a String can't fail.
        let _ = writeln!(text, "page faults: {} a second, {} in all", rate(self.seen - self.kept), self.seen);
        let bold = if self.terminal { STRONG } else { anstyle::Style::new() };
        for Part { title, counts } in &mut self.parts {
            let _ = writeln!(text, "\n{bold}{:>10} {:>12}  {title}{bold:#}", "a second", "in all");
            for (what, (now, all)) in largest(counts, ROWS) {
                let _ = writeln!(text, "{:>10} {all:>12}  {what}", rate(*now));
            }
            counts.values_mut().for_each(|(now, _)| *now = 0);
        }
        self.kept = self.seen;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// The entries with the largest counts now, then in all.
fn largest<K: Hash + Ord>(counts: &HashMap<K, (u64, u64)>, rows: usize) -> Vec<(&K, &(u64, u64))> {
    let mut all: Vec<_> = counts.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    all.truncate(rows);
    all
}

impl<W: Write> Sink for Top<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if let What::Fault(fault) = &event.what {
            self.seen += 1;
            self.count(event, fault);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let elapsed = self.since.elapsed();
        if elapsed < EVERY {
            return Ok(());
        }
        self.since = Instant::now();
        self.draw(elapsed)
    }

    fn end(&mut self, _totals: &Totals) -> io::Result<()> {
        self.draw(self.since.elapsed())
    }

    fn kept(&self) -> u64 {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use trapline_abi::{ErrorCode, Flags};

    use super::*;

    fn event(code: u32, comm: &str) -> Event<'_> {
        let fault = PageFault {
            took: None,
            address: 0x5000,
            error_code: ErrorCode(code),
            ip: 0x400010,
            stack: 0,
            flags: Flags(0),
            memory: Some("first touch, heap".into()),
            site: None,
        };
        Event { time: 0, cpu: 0, pid: 7, tgid: 7, comm, what: What::Fault(fault) }
    }

    #[test]
    fn the_most_frequent_of_the_last_second_comes_first_and_all_are_summed() {
        let mut text = Vec::new();
        let mut top = Top::new(&mut text, false);
        for code in [7, 7, 6] {
            top.event(&event(code, "sh")).unwrap();
        }
        top.draw(Duration::from_secs(1)).unwrap();
        top.event(&event(6, "sh")).unwrap();
        top.end(&Totals::default()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let tables: Vec<&str> = text.split("page faults: ").collect();
        assert!(tables[1].starts_with("3 a second, 3 in all"), "{text}");
        let first = tables[1].lines().nth(3).unwrap();
        assert_eq!(first, "         2            2  write to a present read-only page, in user mode");
        let again = tables[2].lines().nth(3).unwrap();
        assert!(again.ends_with("2  write to a page that is not present, in user mode"), "{text}");
        assert!(tables[2].contains("4  first touch, heap") && tables[2].contains("4  sh-7"), "{text}");
    }
}
