//! Text that a person reads: one aligned line an event, polling loops folded.
//!
//! ```text
//!      seconds     cpu  access  device           register           value       task              function
//!    12.345678901    2  R 4     00:03.0 0+00020  MDIC               0x18410000  modprobe-311      e1000e_read_phy_reg_mdic+0x7e [e1000e]  x4000 in 1.2 ms
//! ```

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use trapline_abi::{Flags, Way};

use super::Sink;
use super::fold::{Fold, Line};
use crate::probe::FAULT;
use crate::{
    Access, Argument, Direction, Event, Hit, Map, Moment, Names, PageFault, Place, Site, Totals, What,
};

const DIM: Style = Style::new().dimmed();
const READ: Style = AnsiColor::Green.on_default();
const WRITE: Style = AnsiColor::Yellow.on_default();
const REGISTER: Style = AnsiColor::Cyan.on_default();
const NOTE: Style = AnsiColor::Blue.on_default();
const ALARM: Style = AnsiColor::Red.on_default().bold();

/// Writes text for a person.
#[derive(Debug)]
pub struct Human<W> {
    out: W,
    colour: bool,
    names: Option<Names>,
    fold: Fold,
    titled: bool,
    /// Records that lines have told to be lost.
    lost: u64,
    waiting: u64,
    kept: u64,
}

impl<W: Write> Human<W> {
    /// Writes to `out`, with terminal colours if `colour`.
    pub fn new(out: W, colour: bool) -> Self {
        Self { out, colour, names: None, fold: Fold::default(), titled: false, lost: 0, waiting: 0, kept: 0 }
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

    fn write(&mut self, line: &Line) -> io::Result<()> {
        if line.count == 1 {
            return writeln!(self.out, "{}", line.text);
        }
        let times = format!("x{} in {}", grouped(line.count), duration(line.last - line.first));
        writeln!(self.out, "{}  {}", line.text, paint(self.colour, NOTE, &times))
    }

    /// What the columns are: those of the first event, since a trace has accesses or hits.
    fn title(&mut self, event: &Event<'_>) -> io::Result<()> {
        if std::mem::replace(&mut self.titled, true) {
            return Ok(());
        }
        let title = match event.what {
            What::Hit(_) => {
                format!("{:>16} {:>4}  {:22} {:32} {}", "seconds", "cpu", "task", "probe", "arguments")
            }
            What::Fault(_) => {
                format!(
                    "{:>16} {:>4}  {:22} {:>18}  {:28} {}",
                    "seconds", "cpu", "task", "address", "by", "fault"
                )
            }
            _ => format!(
                "{:>16} {:>4}  {:5} {:20} {:18} {:>18}  {:22} {}",
                "seconds", "cpu", "", "device bar+offset", "register", "value", "task", "function"
            ),
        };
        writeln!(self.out, "{}", paint(self.colour, DIM, title.trim_end()))
    }

    fn line(&self, event: &Event<'_>) -> String {
        let mut line =
            format!("{:>6}.{:09} {:>4}  ", event.time / 1_000_000_000, event.time % 1_000_000_000, event.cpu);
        // Writing into a String can't fail.
        let _ = match &event.what {
            What::Access(access) => self.access(&mut line, event, access),
            What::Map(map) => self.map(&mut line, event, map),
            What::Unmap { mapping } => write!(line, "{}", self.note(&format!("unmapped, mapping {mapping}"))),
            What::Mark { text } => write!(line, "{}", self.note(&format!("mark: {}", printable(text)))),
            What::Lost { count } => {
                let text = format!("LOST {} records here: the ring was full", grouped(*count));
                write!(line, "{}", paint(self.colour, ALARM, &text))
            }
            What::Window { address, nanoseconds } => {
                let open = duration(*nanoseconds);
                let text = format!("POSSIBLY MISSED: page {address:#x} was open to other CPUs for {open}");
                write!(line, "{}", paint(self.colour, ALARM, &text))
            }
            What::Hit(hit) => self.hit(&mut line, event, hit),
            What::Fault(fault) => self.fault(&mut line, event, fault),
        };
        line.truncate(line.trim_end().len());
        line
    }

    fn access(&self, line: &mut String, event: &Event<'_>, access: &Access<'_>) -> std::fmt::Result {
        let style = if access.direction == Direction::Read { READ } else { WRITE };
        let direction = format!("{} {:<3}", access.direction.letter(), access.width);
        write!(line, "{} ", paint(self.colour, style, &direction))?;
        write!(line, "{:20} ", place(access.place.as_ref(), access.physical, access.address))?;
        let register = access.place.and_then(|place| place.register).unwrap_or_default();
        write!(line, "{} ", paint(self.colour, REGISTER, &format!("{register:18}")))?;
        let value = access.value.map_or_else(|| "unknown".into(), |value| value.to_string());
        write!(line, "{}  ", paint(self.colour, style, &format!("{value:>18}")))?;
        write!(line, "{:22} ", task(event))?;
        write!(line, "{}", site(access.site.as_ref(), access.ip))?;
        let remarks = remarks(access);
        if !remarks.is_empty() {
            write!(line, "  {}", paint(self.colour, NOTE, &remarks))?;
        }
        let fields = self.names.as_ref().map(|names| names.fields(access)).unwrap_or_default();
        if !fields.is_empty() {
            write!(line, "  {}", paint(self.colour, DIM, &fields))?;
        }
        Ok(())
    }

    fn hit(&self, line: &mut String, event: &Event<'_>, hit: &Hit<'_>) -> std::fmt::Result {
        write!(line, "{:22} ", task(event))?;
        let at = match hit.moment {
            Moment::Before => hit.probe.to_owned(),
            Moment::After => format!("{} (after)", hit.probe),
            Moment::Return => format!("{} <- {}", site(hit.site.as_ref(), hit.ip), hit.probe),
        };
        write!(line, "{}", paint(self.colour, REGISTER, &format!("{at:32}")))?;
        for argument in &hit.arguments {
            let value = argument_text(argument);
            let style = if argument.value.is_some() { READ } else { ALARM };
            write!(line, " {}={}", printable(argument.name), paint(self.colour, style, &value))?;
        }
        if hit.flags.has(Flags::INTERRUPT) {
            write!(line, "  {}", self.note("in an interrupt"))?;
        }
        for frame in hit.stack.iter().flatten() {
            let text = format!("\n{:24}{}", "", site(frame.site.as_ref(), frame.ip));
            write!(line, "{}", paint(self.colour, DIM, &text))?;
        }
        Ok(())
    }

    fn fault(&self, line: &mut String, event: &Event<'_>, fault: &PageFault<'_>) -> std::fmt::Result {
        let style = if fault.mode() == "user" { READ } else { WRITE };
        write!(line, "{:22} ", task(event))?;
        write!(line, "{}  ", paint(self.colour, REGISTER, &format!("{:#18x}", fault.address)))?;
        write!(line, "{:28} ", site(fault.site.as_ref(), fault.ip))?;
        write!(line, "{}", paint(self.colour, style, &fault.sentence()))?;
        if let Some(memory) = &fault.memory {
            write!(line, ": {}", printable(memory))?;
        }
        if let Some(took) = fault.took {
            write!(line, ", {}", paint(self.colour, NOTE, &duration(took)))?;
        }
        if fault.flags.has(Flags::INTERRUPT) {
            write!(line, "  {}", self.note("in an interrupt"))?;
        }
        Ok(())
    }

    fn map(&self, line: &mut String, event: &Event<'_>, map: &Map<'_>) -> std::fmt::Result {
        let Map { mapping, address, physical, length, caller, .. } = map;
        let at = place(map.place.as_ref(), Some(*physical), *address);
        let how = if *caller == 0 {
            "mapped already".into()
        } else {
            format!("mapped by {} in {}", task(event), site(map.site.as_ref(), *caller))
        };
        let text = format!("{how}: {at}, {length:#x} bytes at {address:#x}, mapping {mapping}");
        write!(line, "{}", self.note(&text))
    }

    fn note(&self, text: &str) -> String {
        paint(self.colour, NOTE, text)
    }
}

impl<W: Write> Sink for Human<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.title(event)?;
        self.waiting += 1;
        if let What::Lost { count } = event.what {
            self.lost += count;
        }
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

/// `00:03.0 0+00020`, or the physical address outside of every device.
fn place(place: Option<&Place<'_>>, physical: Option<u64>, linear: u64) -> String {
    match (place, physical) {
        (Some(Place { device, bar, offset, .. }), _) => {
            format!("{} {bar}+{offset:05x}", device.strip_prefix("0000:").unwrap_or(device))
        }
        (None, Some(physical)) => format!("phys {physical:#x}"),
        (None, None) => format!("linear {linear:#x}"),
    }
}

fn task(event: &Event<'_>) -> String {
    format!("{}-{}", printable(event.comm), event.pid)
}

fn site(site: Option<&Site<'_>>, ip: u64) -> String {
    match site {
        Some(Site { function, offset, module: Some(module) }) => format!("{function}+{offset:#x} [{module}]"),
        Some(Site { function, offset, module: None }) => format!("{function}+{offset:#x}"),
        None => format!("{ip:#x}"),
    }
}

/// A value as the kernel's probe events print it: a string in quotes.
fn argument_text(argument: &Argument<'_>) -> String {
    match &argument.value {
        None => FAULT.into(),
        Some(value) if matches!(argument.form, "string" | "ustring" | "symstr") => {
            format!("\"{}\"", printable(value))
        }
        Some(value) => printable(value),
    }
}

/// What is out of the ordinary about an access.
fn remarks(access: &Access<'_>) -> String {
    let flags = [
        (Flags::LOCKED, "locked"),
        (Flags::SUPPLIED, "supplied by a handler"),
        (Flags::DROPPED, "dropped by a handler"),
    ];
    let mut remarks: Vec<&str> =
        flags.into_iter().filter(|(bit, _)| access.flags.has(*bit)).map(|(_, text)| text).collect();
    if access.way == Way::Step {
        remarks.push("stepped");
    }
    remarks.join(", ")
}

/// A task or a marker may hold anything, also what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

pub(crate) fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.into() }
}

/// `4,000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 ms`.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.3} s", value / 1e9),
    }
}
