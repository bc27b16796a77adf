//! What differs, for a person.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::steps::{Code, Key, Spot, Step};
use super::{Diff, Difference, Side};
use crate::report::counted;
use crate::write::{ALARM, DIM, duration, grouped, paint, printable};

const TITLE: Style = Style::new().bold();
const ONLY_A: Style = AnsiColor::Red.on_default();
const ONLY_B: Style = AnsiColor::Green.on_default();
const VALUE: Style = AnsiColor::Yellow.on_default();

/// What is being written.
pub(super) struct Page<'w, 'p> {
    pub(super) diff: &'w Diff<'p>,
    pub(super) out: &'w mut dyn Write,
    pub(super) names: [&'w str; 2],
    pub(super) colour: bool,
    pub(super) rows: usize,
}

impl Page<'_, '_> {
    pub(super) fn write(mut self) -> io::Result<()> {
        for side in [Side::A, Side::B] {
            let steps = &self.diff.pair.sides[side as usize];
            let accesses = counted(steps.accesses, "access", "accesses");
            let folded = counted(steps.steps.len() as u64, "step", "steps");
            let mark = if side == Side::A { "-" } else { "+" };
            let name = printable(self.names[side as usize]);
            writeln!(self.out, "{mark} {name}: {accesses}, {folded} with polling folded")?;
        }
        for (side, other) in [(Side::A, "second"), (Side::B, "first")] {
            let lost = self.diff.pair.lost(side);
            if lost > 0 {
                let (which, lost) = (if side == Side::A { "first" } else { "second" }, grouped(lost));
                let text = format!(
                    "the {which} dropped {lost} records: what only the {other} has may be what the {which} lost"
                );
                self.line(ALARM, &text)?;
            }
        }
        let [a, b, values] = self.diff.counts().map(|count| count as u64);
        let (a, b, values) = (counted(a, "step", "steps"), grouped(b), grouped(values));
        let Some(first) = self.diff.differences.first() else {
            return self.line(TITLE, "\nno difference");
        };
        let since = match *first {
            Difference::Only(side, step) => self.diff.pair.step(side, step).since,
            Difference::Value(step, _) => self.diff.pair.step(Side::A, step).since,
        };
        self.line(
            TITLE,
            &format!(
                "\n{a} only in the first, {b} only in the second, {values} with other values; \
                 they part first {} after the first access",
                duration(since)
            ),
        )?;
        self.registers()?;
        self.line(
            DIM,
            "\n       seconds  access  device bar+offset    register                        value  function",
        )?;
        for difference in self.diff.differences.iter().take(self.rows) {
            match *difference {
                Difference::Only(side, step) => {
                    let step = self.diff.pair.step(side, step);
                    let (style, mark) = if side == Side::A { (ONLY_A, '-') } else { (ONLY_B, '+') };
                    let text = self.text(step, &step.value.text(self.key(step).width), step.is_lie);
                    self.line(style, &format!("{mark} {text}"))?;
                }
                Difference::Value(a, b) => {
                    let (a, b) = (self.diff.pair.step(Side::A, a), self.diff.pair.step(Side::B, b));
                    let width = self.key(a).width;
                    let values = format!("{} -> {}", a.value.text(width), b.value.text(width));
                    let text = self.text(a, &values, a.is_lie || b.is_lie);
                    self.line(VALUE, &format!("~ {text}"))?;
                }
            }
        }
        self.rest(self.diff.differences.len(), "differences")
    }

    /// How many differences each register has, the most first.
    fn registers(&mut self) -> io::Result<()> {
        let mut counts = BTreeMap::<String, [u64; 3]>::new();
        for difference in &self.diff.differences {
            let (step, column) = match *difference {
                Difference::Only(side, step) => (self.diff.pair.step(side, step), side as usize),
                Difference::Value(step, _) => (self.diff.pair.step(Side::A, step), 2),
            };
            let (place, register) = self.place(step);
            let row = format!("{place:20} {register}");
            counts.entry(row).or_default()[column] += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
        self.line(DIM, "\n  only first  only second  other value  device bar+offset    register")?;
        for (register, [a, b, values]) in counts.iter().take(self.rows) {
            let [a, b, values] = [a, b, values].map(|count| grouped(*count));
            writeln!(self.out, "{a:>12} {b:>12} {values:>12}  {}", register.trim_end())?;
        }
        self.rest(counts.len(), "registers")
    }

    fn rest(&mut self, all: usize, what: &str) -> io::Result<()> {
        if all <= self.rows {
            return Ok(());
        }
        let more = grouped((all - self.rows) as u64);
        self.line(DIM, &format!("{:>12}  and {more} more {what} (--rows)", ""))
    }

    fn line(&mut self, style: Style, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", paint(self.colour, style, text))
    }

    fn key(&self, step: &Step) -> &Key {
        self.diff.pair.key(step)
    }

    fn place(&self, step: &Step) -> (String, &str) {
        let texts = &self.diff.pair.texts;
        let place = match self.key(step).spot {
            Spot::Device { device, bar, offset } => {
                let device = texts.text(device);
                format!("{} {bar}+{offset:05x}", device.strip_prefix("0000:").unwrap_or(device))
            }
            Spot::Physical(address) => format!("phys {address:#x}"),
            Spot::Linear(address) => format!("linear {address:#x}"),
        };
        (place, self.diff.pair.register(step).unwrap_or_default())
    }

    fn text(&self, step: &Step, value: &str, is_lie: bool) -> String {
        let key = self.key(step);
        let (place, register) = self.place(step);
        let (seconds, nanoseconds) = (step.time / 1_000_000_000, step.time % 1_000_000_000);
        let function = function(self.diff, step.code);
        let reads = if step.count > 1 { format!("  x{}", grouped(step.count)) } else { String::new() };
        let lie = if is_lie { "  injected" } else { "" };
        let (letter, width) = (key.direction.letter(), key.width);
        let text = format!(
            "{seconds:>4}.{nanoseconds:09} {letter} {width:<4} {place:20} {register:18} {value:>18}  {function}{reads}{lie}"
        );
        text.trim_end().into()
    }
}

/// `e1000_probe [e1000e]`, or the address of the instruction; nothing if neither is known.
pub(super) fn function(diff: &Diff<'_>, code: Code) -> String {
    let texts = &diff.pair.texts;
    match code {
        Code::Function { name, module: Some(module) } => {
            format!("{} [{}]", texts.text(name), texts.text(module))
        }
        Code::Function { name, module: None } => texts.text(name).into(),
        Code::Address(0) => String::new(),
        Code::Address(ip) => format!("{ip:#x}"),
    }
}
