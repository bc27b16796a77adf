//! Accesses to I/O ports in a report: by port, with who made them.

use std::io;

use hashbrown::HashMap;

use super::{Direction, PortAccess, Ports};
use crate::Value;
use crate::kinds::EventKind;
use crate::report::{Activity, Code, Completeness, Page, Section, Seen, Texts, counted, function};
use crate::write::grouped;

/// How a report calls them.
const UNIT: &str = "ports";

/// Functions of a port that its row names.
const FUNCTIONS: usize = 3;

/// Functions of a port that are told apart: the first so many.
const MOST_APART: usize = 64;

/// What is counted of one port, accessed with one width.
#[derive(Debug, Default)]
struct Row {
    /// Device, and where in that, once known.
    place: Option<(u32, u8, u64)>,
    register: Option<u32>,
    reads: u64,
    writes: u64,
    last: Option<Value>,
    functions: HashMap<Code, u64>,
}

/// What is counted of accesses to ports.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    reads: u64,
    writes: u64,
    rows: HashMap<(u16, u8), Row>,
    /// Whose instructions were followed, if that is told.
    followed: Option<String>,
}

impl Tally {
    /// Of a trace of these ports.
    pub(crate) fn under(&mut self, ports: &Ports) {
        let kernel = ["the kernel's ioread and iowrite functions".to_owned()];
        let all: Vec<String> = kernel.into_iter().chain(ports.modules.iter().cloned()).collect();
        self.followed = Some(all.join(", "));
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>, access: &PortAccess<'_>, texts: &mut Texts) {
        let (site, ip) = access.asked();
        self.activity.add(seen.event, site, ip, texts);
        let row = self.rows.entry((access.port, access.width)).or_default();
        if let Some(place) = &access.place {
            row.place = Some((texts.number(place.device), place.bar, place.offset));
            row.register = place.register.map(|name| texts.number(name)).or(row.register);
        }
        row.last = access.value.or(row.last);
        match access.direction {
            Direction::Read => (self.reads, row.reads) = (self.reads + 1, row.reads + 1),
            Direction::Write => (self.writes, row.writes) = (self.writes + 1, row.writes + 1),
        }
        if let Some(code) = Code::of(site, ip, texts)
            && (row.functions.len() < MOST_APART || row.functions.contains_key(&code))
        {
            *row.functions.entry(code).or_default() += 1;
        }
    }

    /// Reads and writes.
    pub(crate) fn accesses(&self) -> (u64, u64) {
        (self.reads, self.writes)
    }

    /// A line for each port, the most used first.
    fn lines(&self, texts: &Texts) -> Vec<String> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(key, row)| (std::cmp::Reverse(row.reads + row.writes), **key));
        rows.into_iter().map(|((port, width), row)| row.line(*port, *width, texts)).collect()
    }
}

impl Row {
    fn line(&self, port: u16, width: u8, texts: &Texts) -> String {
        let place = self.place.map_or_else(String::new, |(device, bar, offset)| {
            format!("{} {bar}+{offset:05x}", texts.text(device))
        });
        let register = self.register.map_or("", |register| texts.text(register));
        let last = self.last.map_or_else(String::new, |value| value.to_string());
        let (reads, writes) = (grouped(self.reads), grouped(self.writes));
        let mut functions: Vec<(String, u64)> = self
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
        let line = format!(
            "{reads:>12} {writes:>12}  {port:#06x} {width:>5}  {place:22} {register:18} {last:>10}  {}",
            words.join(", ")
        );
        line.trim_end().to_owned()
    }
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        PortAccess::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        let all = counted(self.reads + self.writes, "access", "accesses");
        let (reads, writes) = (counted(self.reads, "read", "reads"), counted(self.writes, "write", "writes"));
        format!("{all} to I/O ports ({reads}, {writes})")
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        let lines = self.lines(page.texts);
        if !lines.is_empty() {
            page.dim(&format!(
                "\n{:>12} {:>12}  {:6} {:>5}  {:22} {:18} {:>10}  {}",
                "reads", "writes", "port", "width", "device bar+offset", "register", "last value", "by"
            ))?;
            for line in lines.iter().take(page.rows) {
                writeln!(page.out, "{line}")?;
            }
            page.rest(lines.len(), "ports")?;
        }
        page.activity(UNIT, &self.activity)?;
        page.cpus(UNIT, &self.activity)
    }

    fn completeness(&self, trace: &mut Completeness<'_>) {
        if let Some(followed) = &self.followed {
            trace.line(format!("accesses to I/O ports are those by the code of: {followed}"));
        }
        let refused = trace.totals.ports_refused;
        if refused > 0 {
            let instructions = counted(refused, "instruction that accesses", "instructions that access");
            trace.line(format!(
                "not followed, since they could not be probed: {instructions} I/O ports"
            ));
        }
        let missed = trace.totals.ports_missed;
        if missed > 0 {
            trace.missing(missed, "accesses to I/O ports missed");
            trace.alarm("THIS TRACE IS NOT COMPLETE: accesses to I/O ports, to whichever, inside of another probe's handler, or beyond 65,536 of one string instruction, are only counted.");
        }
    }
}

#[cfg(test)]
mod tests {
    use trapline_abi::Flags;

    use super::*;
    use crate::kinds::hit::Frame;
    use crate::{Event, Place, Site, What};

    #[test]
    fn a_port_s_row_tells_where_it_is_and_who_asked() {
        let (mut tally, mut texts): (Tally, Texts) = Default::default();
        let mut add = |direction, port, value: Option<u64>, function, place| {
            let access = PortAccess {
                direction,
                port,
                width: 1,
                value: value.and_then(|value| Value::from_u64(value, 1)),
                flags: Flags(0),
                place,
                ip: 0x10,
                site: Some(Site { function, offset: 1, module: None }),
                caller: Some(Frame { ip: 0x20, site: None }),
            };
            let event =
                Event { time: 1, cpu: 0, pid: 7, tgid: 7, comm: "dd", what: What::Port(access.clone()) };
            tally.add(&Seen { event: &event, nth: 0 }, &access, &mut texts);
        };
        let place = Place { device: "0000:00:1f.3", bar: 4, offset: 2, register: Some("HST_CNT") };
        add(Direction::Read, 0xefa2, Some(0x44), "ioread8", Some(place));
        add(Direction::Write, 0xefa2, Some(0x48), "i801_access", Some(place));
        add(Direction::Read, 0xefa2, None, "i801_access", Some(place));
        add(Direction::Read, 0xcf8, Some(1), "f", None);
        let lines = tally.lines(&texts);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&lines[0]), "2 1 0xefa2 1 0000:00:1f.3 4+00002 HST_CNT 0x48 i801_access 2, 0x20 1");
        assert_eq!(words(&lines[1]), "1 0 0x0cf8 1 0x01 f 1");
        assert_eq!(tally.accesses(), (3, 1));
    }
}
