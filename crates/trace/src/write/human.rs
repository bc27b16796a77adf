//! Text that a person reads: one aligned line an event, polling loops folded.
//!
//! ```text
//!      seconds     cpu  access  device           register           value       task              function
//!    12.345678901    2  R 4     00:03.0 0+00020  MDIC               0x18410000  modprobe-311      e1000e_read_phy_reg_mdic+0x7e [e1000e]  x4000 in 1.2 ms
//! ```
//!
//! What the columns are is written before the first line of each kind of event that has its own.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::Sink;
use super::fold::{Fold, Waiting};
use super::text::{ALARM, DIM, Line, NOTE, duration, grouped, paint};
use crate::{Event, Names, Totals};

/// Writes text for a person.
#[derive(Debug)]
pub struct Human<W> {
    out: W,
    colour: bool,
    names: Option<Names>,
    fold: Fold,
    /// What the columns are, as far as that was written.
    titles: Vec<&'static str>,
    /// Records that lines have told to be lost.
    lost: u64,
    waiting: u64,
    kept: u64,
}

impl<W: Write> Human<W> {
    /// Writes to `out`, with terminal colours if `colour`.
    pub fn new(out: W, colour: bool) -> Self {
        let (fold, titles) = (Fold::default(), Vec::new());
        Self { out, colour, names: None, fold, titles, lost: 0, waiting: 0, kept: 0 }
    }

    /// Shows the fields of registers too, as far as `names` knows them.
    pub fn with_fields(self, names: Names) -> Self {
        Self { names: Some(names), ..self }
    }

    /// Writes the lines that are closed.
    fn drain(&mut self) -> io::Result<()> {
        while let Some(line) = self.fold.pop() {
            self.write(&line)?;
            self.kept += line.count;
            self.waiting -= line.count;
        }
        Ok(())
    }

    fn write(&mut self, line: &Waiting) -> io::Result<()> {
        if line.count == 1 {
            return writeln!(self.out, "{}", line.text);
        }
        let times = format!("x{} in {}", grouped(line.count), duration(line.last - line.first));
        writeln!(self.out, "{}  {}", line.text, paint(self.colour, NOTE, &times))
    }

    /// The line of `event`, below what its columns are if that was not written yet.
    fn line(&mut self, event: &Event<'_>) -> String {
        let mut text = String::new();
        if let Some(title) = event.what.title()
            && !self.titles.contains(&title)
        {
            self.titles.push(title);
            text = paint(self.colour, DIM, title);
            text.push('\n');
        }
        let mut line = Line { text, colour: self.colour, names: self.names.as_ref() };
        let (seconds, nanoseconds) = (event.time / 1_000_000_000, event.time % 1_000_000_000);
        // Writing into a String can't fail.
        let _ = write!(line, "{seconds:>6}.{nanoseconds:09} {:>4}  ", event.cpu);
        let _ = event.human(&mut line);
        line.text.truncate(line.text.trim_end().len());
        line.text
    }
}

impl<W: Write> Sink for Human<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.waiting += 1;
        self.lost = self.lost.saturating_add(event.what.lost());
        if !self.fold.absorb(event) {
            let line = self.line(event);
            self.fold.push(event, line);
        }
        self.drain()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.fold.settle();
        self.drain()?;
        self.out.flush()
    }

    fn cut(&mut self) -> io::Result<()> {
        self.fold.close();
        self.drain()?;
        self.out.flush()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        self.fold.close();
        self.drain()?;
        // Those after which nothing was written have no record of their own.
        if let lost @ 1.. = totals.dropped.saturating_sub(self.lost) {
            let text = format!("LOST {} more records: the ring was full", grouped(lost));
            writeln!(self.out, "{:24}{}", "", paint(self.colour, ALARM, &text))?;
        }
        self.out.flush()
    }

    fn kept(&self) -> u64 {
        self.kept
    }
}
