//! What happened when, in as much detail as a page can hold.
//!
//! Events become *cells*: so many of one sort ([`Sort`]: lane, operation, task, function, CPU) from
//! one time to another, with the values they had. At first a cell is one event, or one polling loop
//! (equal reads that follow each other on a CPU). When there are too many cells, time is divided
//! into slots, and cells of one sort that begin in one slot become one; slots double until it fits.
//! Where so few slots are left that nothing could be seen, functions are no longer told apart, then
//! tasks and CPUs. So memory and page are bounded whatever the trace is, nothing is left out of the
//! counts, and a trace that fits is shown event by event.
//!
//! Rejected: a fixed number of slots, which would have to know the end at the beginning; and a
//! sample of the events, of which counts could only be guessed.

use hashbrown::HashMap;

use super::Shown;
use crate::Event;
use crate::kinds::access::Poll;
use crate::report::Texts;
use crate::report::activity::Code;

/// Cells of a page.
const CELLS: usize = 200_000;
/// Sorts of a page.
const SORTS: usize = CELLS / 4;
/// Lanes of a page, each with its row in a table; what else there is shares one for each kind.
const LANES: usize = 4_000;
/// The lane of what has none of its own.
const OTHERS: &str = "all others";
/// Slots below which who did it is given up rather than when.
const SLOTS: u64 = 512;
/// Bits of the longest slot.
const LONGEST: u32 = 63;

/// A row of the timeline: a register, a probe, a kind of fault, a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Name of the kind.
    pub(super) kind: &'static str,
    /// Number of the text of where it is, or what.
    pub(super) place: u32,
    /// Number of the text that it is called beside that.
    pub(super) name: Option<u32>,
}

/// What events of one cell have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sort {
    pub(super) lane: u32,
    pub(super) op: &'static str,
    pub(super) width: u8,
    /// Thread id and number of the name.
    pub(super) task: Option<(u32, u32)>,
    pub(super) code: Option<Code>,
    /// `None` where CPUs are not told apart.
    pub(super) cpu: Option<u16>,
}

/// Events of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Number of the sort.
    pub(super) sort: u32,
    /// Time of the first, in nanoseconds.
    pub(super) begin: u64,
    /// Time of the last.
    pub(super) end: u64,
    /// Events.
    pub(super) count: u64,
    /// The last value that is known, and the lowest and highest.
    pub(super) value: Option<(u64, u64, u64)>,
}

impl Cell {
    /// Adds a later one.
    fn merge(&mut self, later: &Self) {
        // What began before may have ended after it.
        let is_last = later.end >= self.end;
        self.begin = self.begin.min(later.begin);
        self.end = self.end.max(later.end);
        self.count = self.count.saturating_add(later.count);
        self.value = match (self.value, later.value) {
            (Some((before, low, high)), Some((value, lower, higher))) => {
                Some((if is_last { value } else { before }, low.min(lower), high.max(higher)))
            }
            (value, later) => later.or(value),
        };
    }
}

/// What cells tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Everything.
    #[default]
    All,
    /// Not the functions.
    NoFunctions,
    /// Not the tasks and CPUs either.
    NoTasks,
}

/// What happened when.
#[derive(Debug)]
pub(crate) struct Timeline {
    limit: usize,
    pub(super) lanes: Vec<Lane>,
    lane_numbers: HashMap<(&'static str, u32), u32>,
    pub(super) sorts: Vec<Sort>,
    sort_numbers: HashMap<Sort, u32>,
    pub(super) cells: Vec<Cell>,
    /// By CPU: the last event if it was a read that may be followed by equal ones, and its cell.
    polls: Vec<Option<(Poll, usize)>>,
    /// Bits of a slot; 0 while each event is told.
    pub(super) slot: u32,
    pub(super) detail: Detail,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::with_limit(CELLS)
    }
}

impl Timeline {
    /// Of at most so many cells.
    fn with_limit(limit: usize) -> Self {
        let (lanes, lane_numbers, sorts, sort_numbers, cells, polls) = Default::default();
        let (slot, detail) = (0, Detail::All);
        Self { limit, lanes, lane_numbers, sorts, sort_numbers, cells, polls, slot, detail }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, event: &Event<'_>, texts: &mut Texts) {
        let cpu = usize::from(event.cpu);
        if self.polls.len() <= cpu {
            self.polls.resize(cpu + 1, None);
        }
        let read = Poll::of(event);
        if let (Some((open, cell)), Some(read)) = (&self.polls[cpu], read)
            && *open == read
        {
            let cell = &mut self.cells[*cell];
            cell.count += 1;
            // Times of a file may go back.
            (cell.begin, cell.end) = (cell.begin.min(event.time), cell.end.max(event.time));
            return;
        }
        let Some(shown) = event.shown() else {
            self.polls[cpu] = None;
            return;
        };
        if self.cells.len() >= self.limit * 2 {
            self.make_room();
        }
        let sort = self.sort(event, &shown, texts);
        self.polls[cpu] = read.map(|read| (read, self.cells.len()));
        let (begin, end) = (event.time, event.time);
        let value = shown.value.map(|value| (value, value, value));
        // A record that tells of many is as many.
        let count = event.what.lost().max(1);
        self.cells.push(Cell { sort, begin, end, count, value });
    }

    /// Number of the lane of an event.
    fn lane(&mut self, shown: &Shown<'_>, texts: &mut Texts) -> u32 {
        let mut lane = Lane {
            kind: shown.kind,
            place: texts.number(&shown.place),
            name: shown.name.map(|name| texts.number(name)),
        };
        if let Some(number) = self.lane_numbers.get(&(lane.kind, lane.place)) {
            return *number;
        }
        if self.lanes.len() >= LANES {
            lane = Lane { place: texts.number(OTHERS), name: None, ..lane };
        }
        *self.lane_numbers.entry((lane.kind, lane.place)).or_insert_with(|| {
            self.lanes.push(lane);
            self.lanes.len() as u32 - 1
        })
    }

    /// Number of the sort of an event.
    fn sort(&mut self, event: &Event<'_>, shown: &Shown<'_>, texts: &mut Texts) -> u32 {
        let sort = Sort {
            lane: self.lane(shown, texts),
            op: shown.op,
            width: shown.width,
            task: event.has_task().then(|| (event.pid, texts.number(event.comm))),
            code: Code::of(shown.site, shown.ip, texts),
            cpu: Some(event.cpu),
        };
        self.sort_number(sort)
    }

    fn sort_number(&mut self, sort: Sort) -> u32 {
        let sort = match self.detail {
            Detail::All => sort,
            Detail::NoFunctions => Sort { code: None, ..sort },
            Detail::NoTasks => Sort { code: None, task: None, cpu: None, ..sort },
        };
        *self.sort_numbers.entry(sort).or_insert_with(|| {
            self.sorts.push(sort);
            self.sorts.len() as u32 - 1
        })
    }

    /// All that there is, in as few cells as a page can hold, in the order of their begin.
    pub(crate) fn finish(&mut self) {
        if !self.fits() {
            self.make_room();
        }
        self.cells.sort_by_key(|cell| cell.begin);
    }

    /// Merges cells until a page can hold them.
    fn make_room(&mut self) {
        self.polls.fill(None);
        self.cells.sort_by_key(|cell| cell.begin);
        let begins = self.cells.first().map(|cell| cell.begin).zip(self.cells.last().map(|cell| cell.begin));
        let span = begins.map_or(0, |(first, last)| last - first);
        // What came since the last time may fit into the slots that there are.
        if self.slot > 0 {
            self.merge();
        }
        while !self.fits() && self.slot < LONGEST {
            let few = span >> (self.slot + 1) < SLOTS;
            match self.detail {
                Detail::All if few || self.sorts.len() > SORTS => self.detail = Detail::NoFunctions,
                Detail::NoFunctions if few || self.sorts.len() > SORTS => self.detail = Detail::NoTasks,
                _ => self.slot += 1,
            }
            self.merge();
        }
    }

    /// Whether a page can hold it.
    fn fits(&self) -> bool {
        self.cells.len() <= self.limit && self.sorts.len() <= SORTS
    }

    /// Makes one cell of those of one sort that begin in one slot, and forgets the sorts that there
    /// are no more. Cells are in the order of their begin.
    fn merge(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        let sorts = std::mem::take(&mut self.sorts);
        self.sort_numbers.clear();
        let mut merged: Vec<Cell> = Vec::with_capacity(self.limit);
        let mut numbers: Vec<Option<u32>> = vec![None; sorts.len()];
        // Cells of the slot by their sorts.
        let mut slot = HashMap::<u32, usize>::new();
        let mut current = None;
        for mut cell in cells {
            let begin = cell.begin >> self.slot;
            if current != Some(begin) {
                current = Some(begin);
                slot.clear();
            }
            let old = cell.sort as usize;
            cell.sort = *numbers[old].get_or_insert_with(|| self.sort_number(sorts[old]));
            match slot.get(&cell.sort) {
                Some(index) => merged[*index].merge(&cell),
                None => {
                    slot.insert(cell.sort, merged.len());
                    merged.push(cell);
                }
            }
        }
        self.cells = merged;
    }
}

#[cfg(test)]
mod tests;
