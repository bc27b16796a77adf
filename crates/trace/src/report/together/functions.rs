//! Which function touches what of a device: registers in memory, I/O ports, configuration space,
//! and buffers that the device accesses by itself. A device's own tables tell each kind for itself;
//! here is what one function does of all of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

use hashbrown::HashMap;

use super::super::{Code, Of, Page, Texts, Touch, function};
use crate::write::{grouped, printable};

/// Functions that are told apart: the first so many. All others are one row.
const MOST_APART: usize = 1 << 14;
/// What functions touch that is told apart, of all functions together.
const MOST_THINGS: usize = 1 << 14;
/// Things that the row of a function names.
const NAMED: usize = 4;

/// Who it was, as far as rows tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    Known(Code),
    Unknown,
    Others,
}

/// Something that is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Thing {
    Register { of: Of, device: u32, bar: u8, offset: u64 },
    Buffer { op: &'static str, way: &'static str },
}

/// Touches by what it was, in the order of [`Of::ALL`].
type Counts = [u64; Of::ALL.len()];

/// How often, and what the register is called.
#[derive(Clone, Copy, Debug)]
struct Times {
    count: u64,
    register: Option<u32>,
}

/// What functions touch.
#[derive(Debug, Default)]
pub(super) struct Functions {
    rows: HashMap<By, Counts>,
    things: HashMap<(By, Thing), Times>,
    /// Whether there were more than are told apart.
    has_more_things: bool,
}

impl Functions {
    /// Counts what was touched.
    pub(super) fn add(&mut self, touch: &Touch<'_>, texts: &mut Texts) {
        let mut by = Code::of(touch.site, touch.ip, texts).map_or(By::Unknown, By::Known);
        if self.rows.len() >= MOST_APART && !self.rows.contains_key(&by) {
            by = By::Others;
        }
        self.rows.entry(by).or_default()[touch.of as usize] += 1;
        let has_room = self.things.len() < MOST_THINGS;
        let thing = match (touch.buffer, touch.place) {
            (Some((op, way)), _) => Some(Thing::Buffer { op, way }),
            (None, Some(place)) => {
                let device =
                    if has_room { Some(texts.number(place.device)) } else { texts.known(place.device) };
                let (bar, offset) = (place.bar, place.offset);
                device.map(|device| Thing::Register { of: touch.of, device, bar, offset })
            }
            // Of no device: it has no name, and is counted as what it is.
            (None, None) => return,
        };
        match thing.map(|thing| (thing, self.things.get_mut(&(by, thing)))) {
            Some((_, Some(times))) => times.count += 1,
            Some((thing, None)) if has_room => {
                let register = touch.place.and_then(|place| place.register).map(|name| texts.number(name));
                self.things.insert((by, thing), Times { count: 1, register });
            }
            _ => self.has_more_things = true,
        }
    }

    /// Writes the table: a row for each function, a column for each kind of things that occurs.
    /// Nothing of a trace with one kind: its own tables tell that.
    pub(super) fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        let has = |of: &Of| self.rows.values().any(|counts| counts[*of as usize] > 0);
        let columns: Vec<Of> = Of::ALL.into_iter().filter(has).collect();
        if columns.len() < 2 {
            return Ok(());
        }
        let line = |cells: Vec<String>| cells.iter().map(|cell| format!("{cell:>12} ")).collect::<String>();
        let titles = line(columns.iter().map(|of| of.title().into()).collect());
        page.dim(&format!("\n{titles} {:36} {}", "function", "touched most"))?;
        let mut rows: Vec<(u64, String, By, &Counts)> = self
            .rows
            .iter()
            .map(|(by, counts)| (counts.iter().sum(), name(*by, page.texts), *by, counts))
            .collect();
        rows.sort_by_cached_key(|(sum, name, by, _)| (*by == By::Others, Reverse(*sum), name.clone()));
        let shown = &rows[..rows.len().min(page.rows)];
        let mut touched = self.touched(shown.iter().map(|(_, _, by, _)| *by), page.texts);
        for (_, name, by, counts) in shown {
            let cells = line(columns.iter().map(|of| grouped(counts[*of as usize])).collect());
            let most = most(touched.remove(by).unwrap_or_default());
            writeln!(page.out, "{}", format!("{cells} {name:36} {most}").trim_end())?;
        }
        page.rest(rows.len(), "functions")?;
        if self.has_more_things {
            let most = grouped(MOST_THINGS as u64);
            page.dim(&format!(
                "what was touched most is told of the first {most} things that functions touched"
            ))?;
        }
        Ok(())
    }

    /// What these functions touched, by what it is called: of several devices what is called the
    /// same is one.
    fn touched(&self, wanted: impl Iterator<Item = By>, texts: &Texts) -> HashMap<By, BTreeMap<String, u64>> {
        let mut all: HashMap<By, BTreeMap<String, u64>> = wanted.map(|by| (by, BTreeMap::new())).collect();
        for ((by, thing), times) in &self.things {
            if let Some(names) = all.get_mut(by) {
                *names.entry(thing.name(times.register, texts)).or_default() += times.count;
            }
        }
        all
    }
}

impl Thing {
    fn name(self, register: Option<u32>, texts: &Texts) -> String {
        match (self, register) {
            (Self::Buffer { op, way }, _) => format!("{op} {way}").trim_end().into(),
            // There are registers that are called the same in memory and in configuration space.
            (Self::Register { of: Of::Config, .. }, Some(register)) => {
                format!("cfg {}", printable(texts.text(register)))
            }
            (Self::Register { .. }, Some(register)) => printable(texts.text(register)),
            (Self::Register { of, bar, offset, .. }, None) => of.spot(bar, offset),
        }
    }
}

/// The most frequent of them, with how often.
fn most(things: BTreeMap<String, u64>) -> String {
    let mut things: Vec<(String, u64)> = things.into_iter().collect();
    things.sort_by_key(|(_, count)| Reverse(*count));
    let named = things.iter().take(NAMED);
    let mut words: Vec<String> = named.map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
    if things.len() > NAMED {
        words.push(format!("{} more", things.len() - NAMED));
    }
    words.join(", ")
}

/// Who that is.
fn name(by: By, texts: &Texts) -> String {
    match by {
        By::Known(code) => function(&code.count(0, texts)),
        By::Unknown => "unknown".into(),
        By::Others => "all others".into(),
    }
}
