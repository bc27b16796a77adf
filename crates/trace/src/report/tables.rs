//! The tables of a report.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hashbrown::HashMap;
use trapline_abi::ErrorCode;

use crate::fault::{Cause, sentence};
use crate::{Access, Direction, Hit, Moment, PageFault, Site, Value};

/// Texts by number.
#[derive(Debug, Default)]
struct Texts {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }
}

/// Where an access went: device, BAR and offset, or an address outside of every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Spot {
    Device { device: u32, bar: u8, offset: u64 },
    Physical(u64),
    Linear(u64),
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
}

/// Where in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Code {
    Function { function: u32, module: Option<u32> },
    Address(u64),
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    texts: Texts,
    registers: Vec<RegisterRow>,
    spots: HashMap<Spot, usize>,
    functions: HashMap<Code, u64>,
    tasks: HashMap<(u32, u32), u64>,
    probes: HashMap<(u32, Moment), u64>,
    causes: HashMap<(ErrorCode, Cause), u64>,
    memory: HashMap<u32, u64>,
}

/// Accesses to one register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterCount<'a> {
    /// Device, BAR and offset, or an address: as `0000:00:03.0 0+00020`, `phys 0xfeb00000`.
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
}

/// How often something was the cause of an access or a hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count<'a> {
    /// Function, task or probe.
    pub name: &'a str,
    /// Module of a function.
    pub module: Option<&'a str>,
    /// Thread id of a task, address of a function without a name.
    pub number: Option<u64>,
    /// When a probe recorded.
    pub moment: Option<Moment>,
    /// Accesses or hits.
    pub count: u64,
}

impl Tables {
    /// Counts an access to where it went; number of that row.
    pub(super) fn register(&mut self, access: &Access<'_>) -> usize {
        let spot = match (access.place, access.physical) {
            (Some(place), _) => {
                Spot::Device { device: self.texts.number(place.device), bar: place.bar, offset: place.offset }
            }
            (None, Some(physical)) => Spot::Physical(physical),
            (None, None) => Spot::Linear(access.address),
        };
        let index = *self.spots.entry(spot).or_insert_with(|| {
            let register = access.place.and_then(|place| place.register).map(|name| self.texts.number(name));
            let row = RegisterRow { spot, register, reads: 0, writes: 0, last: None, folded: 0, longest: 0 };
            self.registers.push(row);
            self.registers.len() - 1
        });
        let row = &mut self.registers[index];
        match access.direction {
            Direction::Read => row.reads += 1,
            Direction::Write => row.writes += 1,
        }
        row.last = access.value.or(row.last);
        index
    }

    /// Counts one more equal read, the `count`th of its loop.
    pub(super) fn polled(&mut self, row: usize, count: u64) {
        let row = &mut self.registers[row];
        row.folded += 1;
        row.longest = row.longest.max(count);
    }

    pub(super) fn site(&mut self, site: Option<&Site<'_>>, ip: u64) {
        let code = match site {
            Some(site) => Code::Function {
                function: self.texts.number(site.function),
                module: site.module.map(|module| self.texts.number(module)),
            },
            None => Code::Address(ip),
        };
        *self.functions.entry(code).or_default() += 1;
    }

    pub(super) fn task(&mut self, pid: u32, comm: &str) {
        let comm = self.texts.number(comm);
        *self.tasks.entry((pid, comm)).or_default() += 1;
    }

    pub(super) fn probe(&mut self, hit: &Hit<'_>) {
        let name = self.texts.number(hit.probe);
        *self.probes.entry((name, hit.moment)).or_default() += 1;
    }

    pub(super) fn fault(&mut self, fault: &PageFault<'_>) {
        *self.causes.entry((fault.error_code, fault.cause())).or_default() += 1;
        if let Some(memory) = &fault.memory {
            let memory = self.texts.number(memory);
            *self.memory.entry(memory).or_default() += 1;
        }
    }

    /// By what they were, in words, the most frequent first.
    pub(super) fn causes(&self) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<String, u64>::new();
        for ((error_code, cause), count) in &self.causes {
            *counts.entry(sentence(*error_code, *cause)).or_default() += count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }

    pub(super) fn memory(&self) -> Vec<Count<'_>> {
        sorted(self.memory.iter().map(|(name, count)| Count {
            name: self.texts.text(*name),
            count: *count,
            ..Count::default()
        }))
    }

    pub(super) fn probes(&self) -> Vec<Count<'_>> {
        sorted(self.probes.iter().map(|((name, moment), count)| Count {
            name: self.texts.text(*name),
            moment: Some(*moment),
            count: *count,
            ..Count::default()
        }))
    }

    pub(super) fn registers(&self) -> Vec<RegisterCount<'_>> {
        let count = |row: &RegisterRow| RegisterCount {
            place: self.place(row.spot),
            register: row.register.map(|register| self.texts.text(register)),
            reads: row.reads,
            writes: row.writes,
            last: row.last,
            folded: row.folded,
            longest: row.longest,
        };
        let mut rows: Vec<_> = self.registers.iter().map(count).collect();
        rows.sort_by(|a, b| {
            (b.reads + b.writes).cmp(&(a.reads + a.writes)).then_with(|| a.place.cmp(&b.place))
        });
        rows
    }

    pub(super) fn functions(&self) -> Vec<Count<'_>> {
        sorted(self.functions.iter().map(|(code, count)| match *code {
            Code::Function { function, module } => Count {
                name: self.texts.text(function),
                module: module.map(|module| self.texts.text(module)),
                count: *count,
                ..Count::default()
            },
            Code::Address(address) => Count { number: Some(address), count: *count, ..Count::default() },
        }))
    }

    pub(super) fn tasks(&self) -> Vec<Count<'_>> {
        sorted(self.tasks.iter().map(|((pid, comm), count)| Count {
            name: self.texts.text(*comm),
            number: Some(u64::from(*pid)),
            count: *count,
            ..Count::default()
        }))
    }

    fn place(&self, spot: Spot) -> String {
        match spot {
            Spot::Device { device, bar, offset } => format!("{} {bar}+{offset:05x}", self.texts.text(device)),
            Spot::Physical(address) => format!("phys {address:#x}"),
            Spot::Linear(address) => format!("linear {address:#x}"),
        }
    }
}

fn sorted<'a>(counts: impl Iterator<Item = Count<'a>>) -> Vec<Count<'a>> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (a.name, a.number).cmp(&(b.name, b.number))));
    counts
}
