//! DMA in a report: what was done, by whom, with how much; what was done wrong, and what devices
//! still have.

use std::cmp::Reverse;
use std::io;

use hashbrown::HashMap;
use trapline_abi::{DmaDirection, DmaOp, MAX_DMA_PIECES};

use super::book::{Book, Held, Left};
use super::sizes::Sizes;
use super::words::{direction_words, op_words};
use super::{DmaCall, Mapped};
use crate::kinds::EventKind;
use crate::report::{Activity, Code, Completeness, Page, Section, Seen, Texts, counted, function};
use crate::write::{grouped, printable};

/// How a report calls them.
const UNIT: &str = "dma";

/// Functions that are named of those that have given what is left.
const FUNCTIONS: usize = 3;

/// Rows that are told apart: the first so many. All others of an operation are one row.
const MOST_APART: usize = 1 << 14;

/// Who did it, as far as rows tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    Known(Code),
    Unknown,
    Others,
}

/// What is counted of one operation by one function.
#[derive(Debug)]
struct Row {
    buffers: u64,
    bytes: u64,
    smallest: u32,
    largest: u32,
    failed: u64,
}

/// What is counted of DMA.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    /// By operation, in the order of its codes.
    ops: [u64; DmaOp::ALL.len()],
    rows: HashMap<(DmaOp, DmaDirection, By), Row>,
    book: Book,
    sizes: Sizes,
    failed: u64,
    /// Taken back by the address that a failed call returns.
    of_failed: u64,
    not_followed: Vec<String>,
}

impl Tally {
    /// Of a trace of these devices.
    pub(crate) fn under(&mut self, mapped: &Mapped) {
        self.not_followed.clone_from(&mapped.not_followed);
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>, call: &DmaCall<'_>, texts: &mut Texts) {
        self.activity.add(seen.event, call.site.as_ref(), call.ip, texts);
        self.ops[call.op as usize] += 1;
        self.failed += u64::from(call.is_failed());
        self.of_failed += u64::from(call.is_of_failed());
        self.book.add(call, texts);
        self.sizes.add(call);
        let by = Code::of(call.site.as_ref(), call.ip, texts).map_or(By::Unknown, By::Known);
        let mut key = (call.op, call.direction, by);
        if self.rows.len() >= MOST_APART && !self.rows.contains_key(&key) {
            key.2 = By::Others;
        }
        let none = || Row { buffers: 0, bytes: 0, smallest: u32::MAX, largest: 0, failed: 0 };
        let row = self.rows.entry(key).or_insert_with(none);
        row.buffers += 1;
        row.bytes = row.bytes.saturating_add(call.size.into());
        row.smallest = row.smallest.min(call.size);
        row.largest = row.largest.max(call.size);
        row.failed += u64::from(call.is_failed());
    }

    /// Buffers, and pieces of scatter lists, that were given or taken back.
    pub(crate) fn buffers(&self) -> u64 {
        self.ops.iter().sum()
    }

    /// A line for each operation and function, the most frequent first.
    fn lines(&self, texts: &Texts) -> Vec<String> {
        let mut rows: Vec<_> = self.rows.iter().map(|(key, row)| (key, by(key.2, texts), row)).collect();
        rows.sort_by(|((op, way, _), name, row), ((other_op, other_way, _), other_name, other)| {
            let key = (Reverse(row.buffers), *op, *way, name);
            key.cmp(&(Reverse(other.buffers), *other_op, *other_way, other_name))
        });
        let line = |((op, way, _), name, row): (&(DmaOp, DmaDirection, By), String, &Row)| {
            let what = format!("{} {}", op_words(*op), direction_words(*way));
            let [buffers, bytes] = [row.buffers, row.bytes].map(grouped);
            let [smallest, largest] = [row.smallest, row.largest].map(|size| grouped(size.into()));
            let failed = match row.failed {
                0 => String::new(),
                failed => format!(", FAILED {}", grouped(failed)),
            };
            let what = what.trim_end();
            format!("{buffers:>12} {bytes:>16} {smallest:>13} {largest:>13}  {what:27}  {name}{failed}")
        };
        rows.into_iter().map(line).collect()
    }

    /// What devices still have that came to be so, and the functions that gave most of it.
    fn left(&self, held: Held, texts: &Texts) -> Option<(Left, String)> {
        let all = self.book.left();
        let mut functions: Vec<(Left, String)> = all
            .into_iter()
            .filter(|((other, _), _)| *other == held)
            .map(|((_, code), left)| (left, by(code.map_or(By::Unknown, By::Known), texts)))
            .collect();
        functions.sort_by(|(one, name), (other, other_name)| {
            other.buffers.cmp(&one.buffers).then_with(|| name.cmp(other_name))
        });
        let sum = functions.iter().fold(Left::default(), |sum, (left, _)| Left {
            buffers: sum.buffers + left.buffers,
            bytes: sum.bytes.saturating_add(left.bytes),
        });
        let named = functions.iter().take(FUNCTIONS);
        let mut words: Vec<String> =
            named.map(|(left, name)| format!("{name} {}", grouped(left.buffers))).collect();
        if functions.len() > FUNCTIONS {
            words.push(format!("{} more", functions.len() - FUNCTIONS));
        }
        (sum.buffers > 0).then(|| (sum, words.join(", ")))
    }

    /// Writes what devices still have: a driver keeps its rings as long as it is there, so that
    /// alone is nothing to be alarmed about.
    fn write_left(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.book.is_full() {
            let most = grouped(self.book.most() as u64);
            return writeln!(
                page.out,
                "more than {most} buffers were given at once: what devices still have is not told, nor what was done wrong from then on"
            );
        }
        for (held, words) in [(Held::Mapped, "STILL MAPPED"), (Held::Allocated, "STILL ALLOCATED")] {
            if let Some((Left { buffers, bytes }, functions)) = self.left(held, page.texts) {
                let (buffers, bytes) =
                    (counted(buffers, "buffer", "buffers"), counted(bytes, "byte", "bytes"));
                writeln!(page.out, "{words} at the end of the trace: {buffers}, {bytes}, by {functions}")?;
                if held == Held::Mapped {
                    page.dim(NEED_NOT)?;
                }
            }
        }
        Ok(())
    }

    /// Whether it says something that calls which are missing could explain.
    fn says_what_is_left(&self) -> bool {
        let book = &self.book;
        book.twice() + book.resized() + book.unknown() > 0 || !book.left().is_empty()
    }
}

/// Who reads that something is still mapped has to know (`dma_need_unmap()`,
/// include/linux/dma-mapping.h).
const NEED_NOT: &str =
    "from Linux 6.16 on a driver need not unmap what would need nothing to be done, and NVMe's does not";

/// Who that is.
fn by(who: By, texts: &Texts) -> String {
    match who {
        By::Known(code) => function(&code.count(0, texts)),
        By::Unknown => "unknown".into(),
        By::Others => "all others".into(),
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        DmaCall::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        let [map, unmap, for_cpu, for_device, alloc, free] = self.ops;
        let parts = [
            counted(map, "map", "maps"),
            counted(unmap, "unmap", "unmaps"),
            counted(for_cpu + for_device, "sync", "syncs"),
            counted(alloc, "alloc", "allocs"),
            counted(free, "free", "frees"),
        ];
        format!("{} for DMA ({})", counted(self.buffers(), "buffer", "buffers"), parts.join(", "))
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        let lines = self.lines(page.texts);
        if !lines.is_empty() {
            page.dim(&format!(
                "\n{:>12} {:>16} {:>13} {:>13}  {:27}  {}",
                "buffers", "bytes", "smallest", "largest", "what", "by"
            ))?;
            for line in lines.iter().take(page.rows) {
                writeln!(page.out, "{line}")?;
            }
            page.rest(lines.len(), "rows")?;
        }
        self.sizes.write(page)?;
        page.activity(UNIT, &self.activity)?;
        page.cpus(UNIT, &self.activity)?;
        self.write_left(page)?;
        let alarms = [
            (self.failed, "could not be mapped or allocated: FAILED"),
            (self.of_failed, "unmapped, freed or synchronised by the address that a FAILED call returns"),
            (self.book.twice(), "unmapped or freed TWICE"),
            (self.book.resized(), "unmapped or freed with ANOTHER SIZE than mapped or allocated with"),
        ];
        for (count, words) in alarms {
            if count > 0 {
                page.alarm(&format!("{} {words}", counted(count, "buffer", "buffers")))?;
            }
        }
        let unknown = self.book.unknown();
        if unknown > 0 {
            let buffers = counted(unknown, "buffer", "buffers");
            page.dim(&format!(
                "{buffers} unmapped or freed that had been mapped or allocated before the trace began"
            ))?;
        }
        Ok(())
    }

    fn completeness(&self, trace: &mut Completeness<'_>) {
        let totals = trace.totals;
        if totals.dma_missed > 0 {
            trace.missing(totals.dma_missed, "calls of the DMA interface missed");
            trace.alarm("THIS TRACE IS NOT COMPLETE: calls of the DMA interface, for whichever device, inside of another probe's handler, or with too many under way, are only counted.");
        }
        if totals.dma_pieces_missed > 0 {
            trace.missing(totals.dma_pieces_missed, "pieces of scatter lists missed");
            trace.alarm(&format!("THIS TRACE IS NOT COMPLETE: pieces of a scatter list behind the first {MAX_DMA_PIECES}, and such that could not be read, are only counted."));
        }
        if !self.not_followed.is_empty() {
            let what = printable(&self.not_followed.join("; "));
            trace.line(format!("not recorded, since no function for it could be followed: {what}"));
        }
        let is_missing = totals.dma_missed + totals.dma_pieces_missed + totals.dropped > 0;
        if (is_missing || !self.not_followed.is_empty()) && self.says_what_is_left() {
            trace.line("buffers that are told to be still there, or to have been taken back wrongly, may be those of calls that are missing".into());
        }
    }
}
