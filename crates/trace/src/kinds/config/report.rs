//! Accesses to configuration space in a report: by register, with who made them; what failed, and
//! what reads as ones.

use std::io;

use hashbrown::HashMap;

use super::{ConfigAccess, Direction, Spaces};
use crate::kinds::EventKind;
use crate::report::{Activity, Code, Completeness, Page, Section, Seen, Texts, counted, function};
use crate::write::grouped;
use crate::{PciAddress, Value};

/// How a report calls them.
const UNIT: &str = "config";

/// Functions of a register that its row names.
const FUNCTIONS: usize = 3;

/// The offset of the vendor's id: of no device that is there it reads as ones.
const VENDOR_ID: u32 = 0;

/// What is counted of one register, accessed with one width.
#[derive(Debug, Default)]
struct Row {
    register: Option<u32>,
    reads: u64,
    writes: u64,
    failed: u64,
    all_ones: u64,
    last: Option<Value>,
    functions: HashMap<Code, u64>,
}

/// What is counted of accesses to configuration space.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    reads: u64,
    writes: u64,
    failed: u64,
    rows: HashMap<(PciAddress, u32, u8), Row>,
    /// Devices that did not answer, and how often.
    silent: HashMap<PciAddress, u64>,
    /// Devices whose ids read as ones though they answer.
    no_ids: Vec<String>,
    /// Functions that are not followed.
    not_followed: Vec<String>,
}

impl Tally {
    /// Of a trace of these spaces.
    pub(crate) fn under(&mut self, spaces: &Spaces) {
        let no_ids = spaces.devices.iter().filter(|space| space.layout.no_ids);
        self.no_ids.extend(no_ids.map(|space| space.device.clone()));
        self.not_followed.clone_from(&spaces.not_followed);
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>, access: &ConfigAccess<'_>, texts: &mut Texts) {
        self.activity.add(seen.event, access.site.as_ref(), access.ip, texts);
        let row = self.rows.entry((access.device, access.offset, access.width)).or_default();
        row.register = access.register.map(|name| texts.number(name)).or(row.register);
        row.last = access.digits();
        match access.direction {
            Direction::Read => (self.reads, row.reads) = (self.reads + 1, row.reads + 1),
            Direction::Write => (self.writes, row.writes) = (self.writes + 1, row.writes + 1),
        }
        if access.error != 0 {
            (self.failed, row.failed) = (self.failed + 1, row.failed + 1);
        } else if access.is_all_ones() {
            row.all_ones += 1;
            if access.offset == VENDOR_ID && access.width >= 2 {
                *self.silent.entry(access.device).or_default() += 1;
            }
        }
        if let Some(code) = Code::of(access.site.as_ref(), access.ip, texts) {
            *row.functions.entry(code).or_default() += 1;
        }
    }

    /// Reads and writes.
    pub(crate) fn accesses(&self) -> (u64, u64) {
        (self.reads, self.writes)
    }

    /// A line for each register, the most used first.
    fn lines(&self, texts: &Texts) -> Vec<String> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|((device, offset, width), row)| {
            (std::cmp::Reverse(row.reads + row.writes), *device, *offset, *width)
        });
        let line = |(key, row): (&(PciAddress, u32, u8), &Row)| {
            let (device, offset, _) = key;
            let place = format!("{} cfg+{offset:03x}", device.as_str());
            let register = row.register.map_or("", |register| texts.text(register));
            let last = row.last.map_or_else(String::new, |value| value.to_string());
            let (reads, writes) = (grouped(row.reads), grouped(row.writes));
            let mut line = format!("{reads:>12} {writes:>12}  {place:24} {register:20} {last:>18}  ");
            let mut functions: Vec<(String, u64)> = row
                .functions
                .iter()
                .map(|(code, count)| (function(&code.count(*count, texts)), *count))
                .collect();
            functions.sort_by(|(one, fewer), (other, more)| more.cmp(fewer).then_with(|| one.cmp(other)));
            let mut words: Vec<String> = functions
                .iter()
                .take(FUNCTIONS)
                .map(|(name, count)| format!("{name} {}", grouped(*count)))
                .collect();
            if functions.len() > FUNCTIONS {
                words.push(format!("{} more", functions.len() - FUNCTIONS));
            }
            if row.failed > 0 {
                words.push(format!("FAILED {}", grouped(row.failed)));
            }
            if row.all_ones > 0 {
                words.push(format!("all ones {}", grouped(row.all_ones)));
            }
            line += &words.join(", ");
            line.trim_end().to_owned()
        };
        rows.into_iter().map(line).collect()
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        ConfigAccess::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        let all = counted(self.reads + self.writes, "access", "accesses");
        let (reads, writes) = (counted(self.reads, "read", "reads"), counted(self.writes, "write", "writes"));
        format!("{all} to configuration space ({reads}, {writes})")
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        let lines = self.lines(page.texts);
        if !lines.is_empty() {
            page.dim(&format!(
                "\n{:>12} {:>12}  {:24} {:20} {:>18}  {}",
                "reads", "writes", "device cfg+offset", "register", "last value", "by"
            ))?;
            for line in lines.iter().take(page.rows) {
                writeln!(page.out, "{line}")?;
            }
            page.rest(lines.len(), "registers")?;
        }
        page.activity(UNIT, &self.activity)?;
        page.cpus(UNIT, &self.activity)?;
        if self.failed > 0 {
            let accesses = counted(self.failed, "access", "accesses");
            page.alarm(&format!("{accesses} to configuration space FAILED: the device was not accessed"))?;
        }
        let mut silent: Vec<_> = self.silent.iter().collect();
        silent.retain(|(device, _)| !self.no_ids.iter().any(|known| known == device.as_str()));
        silent.sort();
        silent.iter().try_for_each(|(device, count)| {
            let times = counted(**count, "time", "times");
            page.alarm(&format!("NO ANSWER of {}: its vendor id read as ones {times}", device.short()))
        })
    }

    fn completeness(&self, trace: &mut Completeness<'_>) {
        let missed = trace.totals.config_missed;
        if missed > 0 {
            trace.missing(missed, "accesses to configuration space missed");
            trace.alarm("THIS TRACE IS NOT COMPLETE: accesses to configuration space, of whichever device, inside of another probe's handler, or with too many under way, are only counted.");
        }
        if !self.not_followed.is_empty() {
            let functions: Vec<String> = self.not_followed.iter().map(|name| format!("{name}()")).collect();
            trace.line(format!(
                "not followed, since the kernel has no such function to be probed: {}",
                functions.join(", ")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use trapline_abi::{ConfigWay, Flags, PciFunction};

    use super::*;
    use crate::{Event, What};

    #[test]
    fn a_register_s_row_tells_who_what_failed_and_what_did_not_answer() {
        let (mut tally, mut texts): (Tally, Texts) = Default::default();
        let mut add = |direction, offset, value, error, ip| {
            let access = ConfigAccess {
                device: PciFunction::new(0, 0, 5, 0).into(),
                direction,
                offset,
                width: 2,
                value,
                error,
                way: ConfigWay::Ports,
                flags: Flags(0),
                took: 1,
                register: (offset == 4).then_some("COMMAND"),
                ip,
                site: None,
                stack: Vec::new(),
            };
            let what = What::Config(access.clone());
            let event = Event { time: 1, cpu: 0, pid: 7, tgid: 7, comm: "dd", what };
            tally.add(&Seen { event: &event, nth: 0 }, &access, &mut texts);
        };
        for (direction, offset, value, error, ip) in [
            (Direction::Read, 4, 0x106, 0, 0x10),
            (Direction::Read, 4, 0xffff, 22, 0x10),
            (Direction::Write, 4, 0x107, 0, 0x20),
            (Direction::Read, 0, 0xffff, 0, 0x10),
            (Direction::Read, 0, 0x8086, 0, 0x10),
        ] {
            add(direction, offset, value, error, ip);
        }
        let lines = tally.lines(&texts);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&lines[0]), "2 1 0000:00:05.0 cfg+004 COMMAND 0x0107 0x10 2, 0x20 1, FAILED 1");
        assert_eq!(words(&lines[1]), "2 0 0000:00:05.0 cfg+000 0x8086 0x10 2, all ones 1");
        assert_eq!((tally.accesses(), tally.failed, tally.silent.len()), ((4, 1), 1, 1));
    }
}
