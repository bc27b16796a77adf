//! What the page's script is given, as JSON: in columns, with numbers for what occurs often.
//!
//! Times are nanoseconds since the first event; values are hexadecimal digits, since a script's
//! numbers end at 53 bits.

use hashbrown::HashMap;
use serde::Serialize;

use super::timeline::{Detail, Timeline};
use crate::RegisterCount;
use crate::report::page::{function, task};
use crate::report::{Count, Texts};
use crate::write::printable;

/// Rows of a table.
const ROWS: usize = 4_000;
/// Characters of a name: the kernel's end at 512, a register file's nowhere.
const NAME: usize = 120;

/// What the page's script is given.
#[derive(Debug, Default, Serialize)]
pub(super) struct Data {
    /// Time of the first event in nanoseconds, by the kernel log's clock: decimal digits.
    start: String,
    /// Nanoseconds from the first event to the last.
    span: u64,
    /// Nanoseconds of a slot; 0 if each event is told.
    slot: u64,
    /// Whether tasks and CPUs, and functions, are told apart.
    tasks_apart: bool,
    functions_apart: bool,
    lanes: Vec<Lane>,
    tasks: Vec<String>,
    functions: Vec<String>,
    /// Lane, operation, width, task, function, CPU; -1 for a task, function or CPU that is not
    /// known.
    sorts: Vec<(u32, &'static str, u8, i64, i64, i64)>,
    cells: Cells,
    /// Functions and tasks with their counts, where cells don't tell them apart.
    whole: Whole,
}

/// A row of the timeline.
#[derive(Debug, Serialize)]
struct Lane {
    kind: &'static str,
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Of a register: what it read or wrote last, in words, since it may be wider than 8 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    /// Of a register that was polled: equal reads, and those of the longest loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    polled: Option<(u64, u64)>,
}

/// Cells, in columns.
#[derive(Debug, Default, Serialize)]
struct Cells {
    /// Nanoseconds since the begin of the cell before.
    after: Vec<u64>,
    /// Nanoseconds from the first event to the last.
    took: Vec<u64>,
    count: Vec<u64>,
    sort: Vec<u32>,
    /// The last value.
    value: Vec<Digits>,
    /// Number of the cell, lowest and highest value, of those that have several.
    between: Vec<(usize, Digits, Digits)>,
}

/// A value in hexadecimal digits; 0 if it is not known.
#[derive(Clone, Copy, Debug)]
struct Digits(Option<u64>);

impl Serialize for Digits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(value) => serializer.collect_str(&format_args!("{value:x}")),
            None => serializer.serialize_u8(0),
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Whole {
    functions: Vec<(String, u64)>,
    tasks: Vec<(String, u64)>,
}

/// Functions and tasks of the whole trace.
#[derive(Debug, Default)]
pub(super) struct Causes {
    pub(super) functions: Vec<(String, u64)>,
    pub(super) tasks: Vec<(String, u64)>,
}

/// Texts in the order in which they are first asked for.
#[derive(Default)]
struct Listed {
    texts: Vec<String>,
    numbers: HashMap<String, i64>,
}

impl Listed {
    fn number(&mut self, text: String) -> i64 {
        *self.numbers.entry_ref(&text).or_insert_with(|| {
            self.texts.push(text.clone());
            self.texts.len() as i64 - 1
        })
    }
}

impl Data {
    /// Of a timeline that was finished, the registers of the trace, and its functions and tasks.
    pub(super) fn new(
        timeline: &Timeline,
        registers: &[RegisterCount<'_>],
        causes: Causes,
        texts: &Texts,
    ) -> Self {
        let start = timeline.cells.iter().map(|cell| cell.begin).min().unwrap_or(0);
        let last = timeline.cells.iter().map(|cell| cell.end).max().unwrap_or(0);
        let (mut tasks, mut functions) = (Listed::default(), Listed::default());
        let sorts = timeline.sorts.iter().map(|sort| {
            let task = sort.task.map(|(pid, comm)| Count {
                name: texts.text(comm),
                number: Some(pid.into()),
                ..Count::default()
            });
            let code = sort.code.map(|code| code.count(0, texts));
            (
                sort.lane,
                sort.op,
                sort.width,
                task.map_or(-1, |count| tasks.number(cut(&self::task(&count)))),
                code.map_or(-1, |count| functions.number(cut(&function(&count)))),
                sort.cpu.map_or(-1, i64::from),
            )
        });
        let sorts = sorts.collect();
        let whole = Whole {
            functions: rows(timeline.detail >= Detail::NoFunctions, causes.functions),
            tasks: rows(timeline.detail >= Detail::NoTasks, causes.tasks),
        };
        Self {
            start: start.to_string(),
            span: last - start,
            slot: if timeline.slot == 0 { 0 } else { 1 << timeline.slot },
            tasks_apart: timeline.detail < Detail::NoTasks,
            functions_apart: timeline.detail < Detail::NoFunctions,
            lanes: lanes(timeline, registers, texts),
            tasks: tasks.texts,
            functions: functions.texts,
            sorts,
            cells: Cells::new(timeline, start),
            whole,
        }
    }
}

/// A name as a page can hold it, with `…` for what is cut.
fn cut(name: &str) -> String {
    let mut text = printable(name);
    if let Some((end, _)) = text.char_indices().nth(NAME) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The first of them, where they are wanted.
fn rows(wanted: bool, counts: Vec<(String, u64)>) -> Vec<(String, u64)> {
    let most = if wanted { ROWS } else { 0 };
    counts.into_iter().take(most).map(|(name, count)| (cut(&name), count)).collect()
}

fn lanes(timeline: &Timeline, registers: &[RegisterCount<'_>], texts: &Texts) -> Vec<Lane> {
    let known: HashMap<&str, &RegisterCount<'_>> =
        registers.iter().map(|register| (register.place.as_str(), register)).collect();
    let lane = |lane: &super::timeline::Lane| {
        let place = texts.text(lane.place);
        let register = known.get(place).filter(|_| lane.kind == "access");
        Lane {
            kind: lane.kind,
            place: cut(place),
            name: lane.name.map(|name| cut(texts.text(name))),
            last: register.and_then(|register| register.last).map(|value| value.to_string()),
            polled: register
                .filter(|register| register.folded > 0)
                .map(|register| (register.folded, register.longest)),
        }
    };
    timeline.lanes.iter().map(lane).collect()
}

impl Cells {
    fn new(timeline: &Timeline, start: u64) -> Self {
        let mut columns = Self::default();
        let mut before = start;
        for (number, cell) in timeline.cells.iter().enumerate() {
            columns.after.push(cell.begin - before);
            columns.took.push(cell.end - cell.begin);
            columns.count.push(cell.count);
            columns.sort.push(cell.sort);
            columns.value.push(Digits(cell.value.map(|(last, ..)| last)));
            if let Some((_, low, high)) = cell.value.filter(|(_, low, high)| low != high) {
                columns.between.push((number, Digits(Some(low)), Digits(Some(high))));
            }
            before = cell.begin;
        }
        columns
    }
}
