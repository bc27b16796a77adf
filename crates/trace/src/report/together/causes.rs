//! What the handlers of interrupts read first: mostly the register that tells a driver why its
//! device has interrupted.
//!
//! A handler is not moved to another CPU, and nothing but another handler interrupts it. So what is
//! read on its CPU until it ends is read by it, or by the innermost if one begins before another
//! has ended. What the thread of a handler reads is told by the thread. Whether the register is of
//! the device whose interrupt it is, is not asked: of a line that devices share, the trace tells
//! one device and the handlers of all. A handler whose end was not seen is left out, and so is one
//! during which records were lost, since the first read may be among those.

use std::io;

use hashbrown::HashMap;

use super::super::{Code, Of, Page, Texts, Touch, counted, function};
use crate::write::{grouped, printable};
use crate::{Event, Interrupt, Names, Outcome, Place, Value, What};

/// Handlers that may be under way on one CPU.
const DEEP: usize = 4;
/// Threads of handlers that may be under way at once.
const THREADS: usize = 256;
/// Rows that are told apart: the first so many. All others are one row.
const MOST_APART: usize = 1 << 12;

/// A handler, as a row tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Who {
    code: Code,
    in_thread: bool,
    /// Whether it said that the interrupt is not its own.
    is_not_its_own: bool,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Read {
    of: Of,
    device: u32,
    bar: u8,
    offset: u64,
    value: Option<Value>,
}

/// A call of a handler.
#[derive(Clone, Copy, Debug)]
struct Call {
    begin: u64,
    end: u64,
    who: Who,
    has_read: bool,
}

/// How often, and what the register is called.
#[derive(Clone, Copy, Debug)]
struct Row {
    count: u64,
    register: Option<u32>,
}

#[derive(Debug, Default)]
struct Rows {
    reads: HashMap<(Who, Read), Row>,
    /// Calls in which nothing was read.
    silent: HashMap<Who, u64>,
    others: u64,
}

impl Rows {
    /// Counts that `who` read `place` first.
    fn read(&mut self, who: Who, touch: &Touch<'_>, place: &Place<'_>, texts: &mut Texts) {
        let has_room = self.reads.len() < MOST_APART;
        let device = if has_room { Some(texts.number(place.device)) } else { texts.known(place.device) };
        let read = device.map(|device| {
            let (bar, offset) = (place.bar, place.offset);
            (who, Read { of: touch.of, device, bar, offset, value: touch.value })
        });
        match read.map(|read| (read, self.reads.get_mut(&read))) {
            Some((_, Some(row))) => row.count += 1,
            Some((read, None)) if has_room => {
                let register = place.register.map(|name| texts.number(name));
                self.reads.insert(read, Row { count: 1, register });
            }
            _ => self.others += 1,
        }
    }

    /// Counts a call that has ended, if nothing was read in it.
    fn ended(&mut self, call: &Call) {
        if call.has_read {
            return;
        }
        if self.silent.len() < MOST_APART || self.silent.contains_key(&call.who) {
            *self.silent.entry(call.who).or_default() += 1;
        } else {
            self.others += 1;
        }
    }
}

/// What handlers read first.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// Calls that are under way, by CPU, the innermost last.
    cpus: HashMap<u16, Vec<Call>>,
    /// What threads run, by thread.
    threads: HashMap<u32, Call>,
    rows: Rows,
    /// Whether the trace has reads of registers at all.
    has_reads: bool,
    /// Calls that were not looked at, as too many were under way.
    too_many: u64,
}

impl Causes {
    /// Counts `event`, which touched a device or not.
    pub(super) fn add(&mut self, event: &Event<'_>, touch: Option<&Touch<'_>>, texts: &mut Texts) {
        self.end(event);
        match (&event.what, touch) {
            (What::Interrupt(interrupt), _) => self.begin(event, interrupt, texts),
            (What::Lost(_), _) => {
                self.cpus.remove(&event.cpu);
                // They may have gone to any CPU.
                self.threads.clear();
            }
            (_, Some(touch)) => {
                if let Some(place) = touch.place.filter(|_| touch.is_read) {
                    self.has_reads = true;
                    self.read(event, touch, &place, texts);
                }
            }
            _ => {}
        }
    }

    /// Takes away what has ended before `event` on its CPU, or in its thread.
    fn end(&mut self, event: &Event<'_>) {
        let Self { cpus, threads, rows, .. } = self;
        if let Some(calls) = cpus.get_mut(&event.cpu) {
            calls.retain(|call| {
                let is_open = call.end >= event.time;
                if !is_open {
                    rows.ended(call);
                }
                is_open
            });
        }
        if threads.get(&event.pid).is_some_and(|call| call.end < event.time)
            && let Some(call) = threads.remove(&event.pid)
        {
            rows.ended(&call);
        }
    }

    fn begin(&mut self, event: &Event<'_>, interrupt: &Interrupt<'_>, texts: &mut Texts) {
        let Some(took) = interrupt.took else { return };
        let Some(code) = Code::of(interrupt.site.as_ref(), interrupt.handler, texts) else { return };
        let (begin, end) = (event.time, event.time.saturating_add(took));
        let in_thread = interrupt.is_in_thread();
        let is_not_its_own = interrupt.outcome == Some(Outcome::None);
        let call = Call { begin, end, who: Who { code, in_thread, is_not_its_own }, has_read: false };
        if !in_thread {
            let calls = self.cpus.entry(event.cpu).or_default();
            if calls.len() < DEEP {
                calls.push(call);
            } else {
                self.too_many += 1;
            }
        } else if self.threads.len() < THREADS || self.threads.contains_key(&event.pid) {
            if let Some(before) = self.threads.insert(event.pid, call) {
                self.rows.ended(&before);
            }
        } else {
            self.too_many += 1;
        }
    }

    fn read(&mut self, event: &Event<'_>, touch: &Touch<'_>, place: &Place<'_>, texts: &mut Texts) {
        let has_begun = |call: &&mut Call| call.begin <= event.time;
        let on_cpu = self.cpus.get_mut(&event.cpu);
        let call = match on_cpu.and_then(|calls| calls.iter_mut().rev().find(has_begun)) {
            Some(call) => call,
            // What interrupts a thread has its number too.
            None if touch.in_interrupt => return,
            None => match self.threads.get_mut(&event.pid).filter(has_begun) {
                Some(call) => call,
                None => return,
            },
        };
        if !call.has_read {
            call.has_read = true;
            self.rows.read(call.who, touch, place, texts);
        }
    }

    /// Writes the table: nothing of a trace without handlers, or without reads of registers.
    pub(super) fn write(&self, page: &mut Page<'_>, names: &Names) -> io::Result<()> {
        let lines = self.lines(page.texts, names);
        if lines.is_empty() || !self.has_reads {
            return Ok(());
        }
        page.dim(&format!(
            "\n{:>12}  {:36} {:20} {:18} {:>18}  {}",
            "calls", "handler", "read first", "register", "value", "fields that are not 0"
        ))?;
        for (count, line) in lines.iter().take(page.rows) {
            writeln!(page.out, "{:>12}  {}", grouped(*count), line.trim_end())?;
        }
        page.rest(lines.len(), "rows")?;
        if self.too_many > 0 {
            let calls = counted(self.too_many, "call was", "calls were");
            page.dim(&format!("{calls} not looked at: too many others had not ended"))?;
        }
        Ok(())
    }

    /// A line for each row with how often, the most frequent first.
    fn lines(&self, texts: &Texts, names: &Names) -> Vec<(u64, String)> {
        let who = |who: &Who| {
            let thread = if who.in_thread { " (thread)" } else { "" };
            let outcome = if who.is_not_its_own { ": not its own" } else { "" };
            format!("{}{thread}{outcome}", function(&who.code.count(0, texts)))
        };
        let mut lines: Vec<(u64, String)> = Vec::new();
        for ((handler, read), row) in &self.rows.reads {
            let Read { of, device, bar, offset, value } = *read;
            let device = texts.text(device);
            let place = Place { device, bar, offset, register: None };
            let fields = value.map(|value| match of {
                Of::Config => names.config_fields_set(&place, &value),
                _ => names.fields_set(&place, &value),
            });
            let device = printable(device.strip_prefix("0000:").unwrap_or(device));
            let spot = format!("{device} {}", of.spot(bar, offset));
            let register = row.register.map_or_else(String::new, |name| printable(texts.text(name)));
            let value = value.map_or_else(|| "unknown".into(), |value| value.to_string());
            let (handler, fields) = (who(handler), fields.unwrap_or_default());
            lines.push((row.count, format!("{handler:36} {spot:20} {register:18} {value:>18}  {fields}")));
        }
        let mut silent = self.rows.silent.clone();
        // What the trace ends with has nothing behind it that would take it away.
        for call in self.cpus.values().flatten().chain(self.threads.values()).filter(|call| !call.has_read) {
            *silent.entry(call.who).or_default() += 1;
        }
        lines.extend(silent.iter().map(|(handler, count)| {
            (*count, format!("{:36} no read of a register in the trace", who(handler)))
        }));
        lines.sort_by(|(fewer, one), (more, other)| more.cmp(fewer).then_with(|| one.cmp(other)));
        if self.rows.others > 0 {
            lines.push((self.rows.others, "all others".into()));
        }
        lines
    }
}
