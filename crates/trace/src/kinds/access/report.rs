//! Accesses in a report: by register, by function, by task; polling loops.

use std::io;

use hashbrown::HashMap;
use trapline_abi::Way;

use super::{Access, Direction, Injected, Lies, Poll, Value, Watched, lies};
use crate::kinds::EventKind;
use crate::report::{Activity, Completeness, Page, Section, Seen, Texts, counted};
use crate::write::{self, grouped, printable};
use crate::Place;

/// How a report calls accesses.
const UNIT: &str = "accesses";

/// Registers of one BAR that are told apart, and addresses outside of every device. A frame buffer
/// has millions, which nobody reads a table of: the first are told, all others are one row.
const MOST_APART: usize = 4096;

/// Where an access went: device, BAR and offset, or an address outside of every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Spot {
    Device { device: u32, bar: u8, offset: u64 },
    Physical(u64),
    Linear(u64),
    /// All others of an area.
    Others(Area),
}

/// What so many registers of are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Area {
    Bar { device: u32, bar: u8 },
    Outside,
}

impl Spot {
    fn area(self) -> Area {
        match self {
            Self::Device { device, bar, .. } => Area::Bar { device, bar },
            Self::Physical(_) | Self::Linear(_) => Area::Outside,
            Self::Others(area) => area,
        }
    }
}

#[derive(Debug)]
struct RegisterRow {
    spot: Spot,
    register: Option<u32>,
    reads: u64,
    writes: u64,
    last: Option<Value>,
    folded: u64,
    longest: u64,
    lies: Lies,
}

/// Accesses to one register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterCount<'a> {
    /// Device, BAR and offset, or an address: as `0000:00:03.0 0+00020`, `phys 0xfeb00000`; of all
    /// that are not told apart `0000:00:03.0 0 all others`.
    pub place: String,
    /// Its name, if it has one.
    pub register: Option<&'a str>,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Value read or written last, if known.
    pub last: Option<Value>,
    /// Reads that were equal to the one before: polling.
    pub folded: u64,
    /// Reads of the longest polling loop; 0 if there was none.
    pub longest: u64,
    /// What was made of them.
    pub lies: Lies,
}

/// Where an access went, as [`RegisterCount::place`] says it.
pub(super) fn place(access: &Access<'_>) -> String {
    match access.place {
        Some(Place { device, bar, offset, .. }) => in_device(device, bar, offset),
        None => write::place(None, access.physical, access.address),
    }
}

fn in_device(device: &str, bar: u8, offset: u64) -> String {
    format!("{device} {bar}+{offset:05x}")
}

/// The last read of a CPU, if the next may be equal to it.
#[derive(Debug)]
struct Polling {
    read: Poll,
    row: usize,
    /// Reads of the loop so far.
    count: u64,
    /// Which event of its CPU the last one was: whatever comes in between ends the loop.
    nth: u64,
}

/// What is counted of accesses.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    registers: Vec<RegisterRow>,
    spots: HashMap<Spot, usize>,
    /// How many of each area are told apart.
    apart: HashMap<Area, usize>,
    polls: Vec<Option<Polling>>,
    reads: u64,
    writes: u64,
    unknown: u64,
    performed: [u64; Way::COUNT],
    /// The rules that the trace was taken under, if there were any.
    injected: Option<Injected>,
    /// Who has what is watched mapped, a sentence each.
    mapped: Vec<String>,
}

impl Tally {
    #[inline]
    pub(super) fn add(&mut self, seen: &Seen<'_>, access: &Access<'_>, texts: &mut Texts) {
        // One that a page's rights forbid did not take place, and has no place here.
        if let Some(way) = access.way {
            let Some(performed) = self.performed.get_mut(way as usize) else { return };
            *performed += 1;
        }
        self.activity.add(seen.event, access.site.as_ref(), access.ip, texts);
        self.unknown += u64::from(access.value.is_none());
        match access.direction {
            Direction::Read => self.reads += 1,
            Direction::Write => self.writes += 1,
        }
        let row = self.register(access, texts);
        self.poll(seen, access, row);
    }

    /// Keeps what the trace says of itself: the rules that it was taken under, and who else
    /// accesses what is watched.
    pub(crate) fn under(&mut self, watched: &Watched) {
        self.injected.clone_from(&watched.injected);
        self.mapped.extend(watched.mapped.iter().cloned());
    }

    /// Reads and writes.
    pub(crate) fn accesses(&self) -> (u64, u64) {
        (self.reads, self.writes)
    }

    /// Counts an access to where it went; number of that row.
    fn register(&mut self, access: &Access<'_>, texts: &mut Texts) -> usize {
        let spot = match (access.place, access.physical) {
            (Some(place), _) => {
                Spot::Device { device: texts.number(place.device), bar: place.bar, offset: place.offset }
            }
            (None, Some(physical)) => Spot::Physical(physical),
            (None, None) => Spot::Linear(access.address),
        };
        let index = match self.spots.get(&spot) {
            Some(index) => *index,
            None => self.new_row(spot, access, texts),
        };
        let row = &mut self.registers[index];
        match access.direction {
            Direction::Read => row.reads += 1,
            Direction::Write => row.writes += 1,
        }
        row.last = access.value.or(row.last);
        row.lies.add(access);
        index
    }

    /// Number of the row of a spot that has none of its own: a new one, unless its area has too
    /// many.
    #[cold]
    fn new_row(&mut self, spot: Spot, access: &Access<'_>, texts: &mut Texts) -> usize {
        let apart = self.apart.entry(spot.area()).or_default();
        let is_apart = *apart < MOST_APART;
        *apart += usize::from(is_apart);
        let spot = if is_apart { spot } else { Spot::Others(spot.area()) };
        *self.spots.entry(spot).or_insert_with(|| {
            let name = access.place.and_then(|place| place.register).filter(|_| is_apart);
            let register = name.map(|name| texts.number(name));
            let (reads, writes, folded, longest, last, lies) = Default::default();
            self.registers.push(RegisterRow { spot, register, reads, writes, last, folded, longest, lies });
            self.registers.len() - 1
        })
    }

    /// Notices polling: a read that is equal to the event before it on its CPU.
    fn poll(&mut self, seen: &Seen<'_>, access: &Access<'_>, row: usize) {
        let cpu = usize::from(seen.event.cpu);
        if self.polls.len() <= cpu {
            self.polls.resize_with(cpu + 1, || None);
        }
        let (slot, nth) = (&mut self.polls[cpu], seen.nth);
        match (slot.as_mut(), Poll::of_access(seen.event.pid, access)) {
            (Some(polling), Some(read)) if polling.read == read && polling.nth + 1 == nth => {
                polling.count += 1;
                polling.nth = nth;
                let row = &mut self.registers[polling.row];
                row.folded += 1;
                row.longest = row.longest.max(polling.count);
            }
            (_, read) => *slot = read.map(|read| Polling { read, row, count: 1, nth }),
        }
    }

    /// Accesses by register, or by offset where none is known, the most used first.
    pub(crate) fn registers<'t>(&self, texts: &'t Texts) -> Vec<RegisterCount<'t>> {
        let place = |spot| match spot {
            Spot::Device { device, bar, offset } => in_device(texts.text(device), bar, offset),
            Spot::Physical(address) => write::place(None, Some(address), 0),
            Spot::Linear(address) => write::place(None, None, address),
            Spot::Others(Area::Bar { device, bar }) => format!("{} {bar} all others", texts.text(device)),
            Spot::Others(Area::Outside) => "all others".into(),
        };
        let count = |row: &RegisterRow| RegisterCount {
            place: place(row.spot),
            register: row.register.map(|register| texts.text(register)),
            reads: row.reads,
            writes: row.writes,
            last: row.last,
            folded: row.folded,
            longest: row.longest,
            lies: row.lies,
        };
        let mut rows: Vec<_> = self.registers.iter().map(count).collect();
        rows.sort_by(|a, b| {
            (b.reads + b.writes).cmp(&(a.reads + a.writes)).then_with(|| a.place.cmp(&b.place))
        });
        rows
    }

    fn registers_table(&self, page: &mut Page<'_>) -> io::Result<()> {
        let counts = self.registers(page.texts);
        if counts.is_empty() {
            return Ok(());
        }
        page.dim(&format!(
            "\n{:>12} {:>12}  {:24} {:20} {:>18}  {}",
            "reads", "writes", "device bar+offset", "register", "last value", "polling"
        ))?;
        for row in counts.iter().take(page.rows) {
            let last = row.last.map_or_else(|| "unknown".into(), |value| value.to_string());
            let polling = if row.folded == 0 {
                String::new()
            } else {
                format!("  {} equal reads folded, longest loop {}", grouped(row.folded), grouped(row.longest))
            };
            let (reads, writes) = (grouped(row.reads), grouped(row.writes));
            let register = row.register.unwrap_or_default();
            let line =
                format!("{reads:>12} {writes:>12}  {:24} {register:20} {last:>18}{polling}", row.place);
            writeln!(page.out, "{}", line.trim_end())?;
        }
        page.rest(counts.len(), "registers")
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        Access::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        let accesses = counted(self.reads + self.writes, "access", "accesses");
        let (reads, writes) = (counted(self.reads, "read", "reads"), counted(self.writes, "write", "writes"));
        format!("{accesses} ({reads}, {writes})")
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        self.registers_table(page)?;
        if let Some(injected) = &self.injected {
            lies::rules(injected, page)?;
        }
        let rows = self.registers(page.texts).into_iter();
        let rows = rows.map(|row| (row.lies, row.place, row.register.unwrap_or_default()));
        lies::table(rows.collect(), page)?;
        page.activity(UNIT, &self.activity)?;
        page.cpus(UNIT, &self.activity)
    }

    fn completeness(&self, trace: &mut Completeness<'_>) {
        let told: u64 = self.performed.iter().sum();
        // mmiotrace's text does not tell how; of none there is nothing to tell.
        if trace.is_of(Access::NAME) && told > 0 {
            let [emulated, redirected, stepped] = self.performed.map(grouped);
            trace.line(format!(
                "performed: {emulated} emulated, {redirected} redirected, {stepped} stepped"
            ));
        }
        for sentence in &self.mapped {
            trace.line(printable(sentence));
        }
        trace.remark(self.unknown, "accesses have no known value");
    }
}
