//! Reading mmiotrace's text, as the kernel prints it (kernel/trace/trace_mmiotrace.c,
//! Documentation/trace/mmiotrace.rst) and as [`Mmiotrace`](crate::Mmiotrace) writes it.
//!
//! Each line is read by its kind of event ([`EventKind::from_mmiotrace`]), and comes out as the
//! event that Trapline would have recorded, as far as the text tells: times are microseconds, CPUs
//! are not told (mmiotrace leaves one online) and so are 0, tasks have no names, and nothing says
//! how an access was performed. PCIDEV lines tell of the devices, MAP lines at which linear address
//! an access was.
//!
//! A log that people kept may begin anywhere, have other lines in between or end within one. A line
//! that makes no sense is counted and left out; a last line without an end is what a cut-off trace
//! ends with. The version is not looked at: it has been 20070824 in every kernel, and what matters
//! is whether the lines can be read.
//!
//! [`EventKind::from_mmiotrace`]: crate::kinds::EventKind::from_mmiotrace

mod device;
mod line;
mod lines;

use std::collections::VecDeque;
use std::io::BufRead;

use crate::{Cut, Device, Ending, Event, FileError, Header, Names, Registers, Strays, Totals, What};
pub(crate) use line::{Mappings, TextLine, hex};
use lines::{Lines, Next};

/// Lines before the first access in which PCIDEV lines are looked for: a machine has some hundred
/// devices. Later ones name addresses too, but are not in the header.
const HEAD: usize = 4096;

/// Lines of which one must be of the format for a file to be of it.
const FIRST: usize = 16;

/// Characters of a line that is told of.
const SHOWN: usize = 60;

/// Reads mmiotrace's text.
pub(crate) struct MmiotraceReader<R> {
    lines: Lines<R>,
    /// Lines that were read in search of devices and wait to be read again.
    head: VecDeque<String>,
    header: Header,
    names: Names,
    mappings: Mappings,
    strays: Option<Strays>,
}

/// What a line is.
enum Meaning<'l> {
    /// Something that happened.
    Event(TextLine<'l>),
    /// A device.
    Device(Device),
    /// Records that ftrace lost, as newer kernels tell of them.
    Lost(u64),
    /// Nothing that is needed: the version, what lspci said, a comment.
    Nothing,
}

/// What a line of the format means; `None` if it is of no meaning.
fn meaning(line: &str) -> Option<Meaning<'_>> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with('#') {
        return Some(Meaning::Nothing);
    }
    match line.split_once([' ', '\t']) {
        Some(("PCIDEV", rest)) => device::parse(rest).map(Meaning::Device),
        Some(("VERSION", date)) => is_number(date).then_some(Meaning::Nothing),
        Some(("LSPCI", _)) => Some(Meaning::Nothing),
        Some((cpu, _)) if cpu.starts_with("CPU:") => ftrace_lost(line).map(Meaning::Lost),
        _ => TextLine::parse(line).map(Meaning::Event),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `CPU:0 [LOST 123 EVENTS]` (kernel/trace/trace_output.c, `print_trace_line`).
fn ftrace_lost(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("[LOST ")?;
    match rest.strip_suffix(" EVENTS]")? {
        // "CPU:0 [LOST EVENTS]": it is not known how many.
        "" => Some(1),
        count => count.parse().ok(),
    }
}

/// Whether a file that starts with these bytes is of the format.
pub(crate) fn is_mmiotrace(start: &[u8]) -> bool {
    let lines = start.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.take(FIRST).any(|line| {
        let text = String::from_utf8_lossy(line);
        let is_silent = text.starts_with('#');
        !is_silent && meaning(&text).is_some()
    })
}

impl<R: BufRead> MmiotraceReader<R> {
    /// Reads a trace from `reader`; `name` is its name for error messages.
    ///
    /// # Errors
    /// If it can't be read.
    pub(crate) fn new(reader: R, name: &str) -> Result<Self, FileError> {
        let (mut lines, mut head, mut devices) = (Lines::new(reader), VecDeque::new(), Vec::<Device>::new());
        while head.len() < HEAD
            && let Next::Line(line) =
                lines.next().map_err(|source| FileError::Read { file: name.into(), source })?
        {
            head.push_back(line.to_owned());
            match meaning(line) {
                Some(Meaning::Device(device)) => {
                    add(&mut devices, device);
                }
                Some(Meaning::Event(event)) if event.mark().is_none() => break,
                _ => {}
            }
        }
        let names = Names::new(&devices, &Registers::shipped(), None);
        let header = Header { cpus: 1, command: "mmiotrace".into(), devices, ..Header::default() };
        Ok(Self { lines, head, header, names, mappings: Mappings::new(), strays: None })
    }

    /// What the trace says of itself: its devices.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The lines that made no sense, if there were any.
    pub(crate) fn strays(&self) -> Option<&Strays> {
        self.strays.as_ref()
    }

    /// As [`TraceReader::read`](crate::TraceReader::read).
    pub(crate) fn read<E>(&mut self, mut each: impl FnMut(&Event<'_>) -> Result<(), E>) -> Result<Ending, E> {
        let (mut events, mut time, mut number) = (0, None, 0);
        let why = loop {
            let first = self.head.pop_front();
            let line = match &first {
                Some(line) => line,
                None => match self.lines.next() {
                    Ok(Next::Line(line)) => line,
                    Ok(Next::End) => {
                        let malformed = self.strays.as_ref().map_or(0, |strays| strays.count);
                        return Ok(Ending::Whole(Totals { malformed, ..Totals::default() }));
                    }
                    Ok(Next::Partial) => break "the file ends within a line".into(),
                    Err(error) => break error.to_string(),
                },
            };
            number += 1;
            let what = match meaning(line) {
                Some(Meaning::Nothing) => continue,
                Some(Meaning::Device(device)) => {
                    if add(&mut self.header.devices, device) {
                        self.names = Names::new(&self.header.devices, &Registers::shipped(), None);
                    }
                    continue;
                }
                Some(Meaning::Lost(count)) => Some((What::Lost(crate::Lost { count }), 0, 0)),
                Some(Meaning::Event(line)) => {
                    let time = line.time;
                    What::from_mmiotrace(&line, &mut self.mappings).map(|(what, pid)| (what, time, pid))
                }
                None => None,
            };
            let Some((what, at, pid)) = what else {
                stray(&mut self.strays, number, line);
                continue;
            };
            // What tells of lost records has no time of its own.
            let at = if matches!(what, What::Lost(_)) { time.unwrap_or(at) } else { at };
            let event = Event { time: at, cpu: 0, pid, tgid: 0, comm: "", what };
            each(&self.names.name(event))?;
            events += 1;
            time = Some(at);
        };
        Ok(Ending::Cut(Cut { events, time, offset: self.lines.offset(), why }))
    }
}

/// Adds a device, if it is new: a log of two traces has each twice. Whether it was.
fn add(devices: &mut Vec<Device>, device: Device) -> bool {
    let is_new = devices.iter().all(|known| known.address != device.address);
    if is_new {
        devices.push(device);
    }
    is_new
}

/// Counts a line that makes no sense.
fn stray(strays: &mut Option<Strays>, number: u64, line: &str) {
    let shown = || crate::write::printable(&line.chars().take(SHOWN).collect::<String>());
    strays.get_or_insert_with(|| Strays { count: 0, first: number, text: shown() }).count += 1;
}
