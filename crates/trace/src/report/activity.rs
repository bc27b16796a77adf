//! Who did it: events of one kind by function, by task and by CPU.

use std::hash::Hash;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{Count, Texts, sorted};
use crate::{Event, Site};

/// Functions, and tasks, that are told apart: the first so many. All others are one row.
const MOST_APART: usize = 1 << 14;
/// What that row is called.
const OTHERS: &str = "all others";

/// Where in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    /// In a function, by the numbers of its name and its module's.
    Function { function: u32, module: Option<u32> },
    /// At an address of which no function is known.
    Address(u64),
}

impl Code {
    /// Where the instruction at `ip` is, which is at `site` if that is known; `None` if neither is.
    #[inline]
    pub(crate) fn of(site: Option<&Site<'_>>, ip: u64, texts: &mut Texts) -> Option<Self> {
        match site {
            Some(site) => Some(Self::Function {
                function: texts.number(site.function),
                module: site.module.map(|module| texts.number(module)),
            }),
            None => (ip != 0).then_some(Self::Address(ip)),
        }
    }

    /// So many events from there.
    pub(crate) fn count(self, count: u64, texts: &Texts) -> Count<'_> {
        match self {
            Self::Function { function, module } => Count {
                name: texts.text(function),
                module: module.map(|module| texts.text(module)),
                count,
                ..Count::default()
            },
            Self::Address(address) => Count { number: Some(address), count, ..Count::default() },
        }
    }
}

/// Who made the events of one kind.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    events: u64,
    functions: HashMap<Code, u64>,
    tasks: HashMap<(u32, u32), u64>,
    /// Events of all other functions, and of all other tasks.
    others: (u64, u64),
    cpus: Vec<u64>,
}

impl Activity {
    /// Counts `event`, made by the instruction at `ip`, which is at `site` if that is known. Of a
    /// trace that does not tell by which instruction or task, none are counted.
    #[inline]
    pub(crate) fn add(&mut self, event: &Event<'_>, site: Option<&Site<'_>>, ip: u64, texts: &mut Texts) {
        self.events += 1;
        let cpu = usize::from(event.cpu);
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu + 1, 0);
        }
        self.cpus[cpu] += 1;
        if let Some(code) = Code::of(site, ip, texts) {
            count_one(&mut self.functions, code, &mut self.others.0);
        }
        if event.has_task() {
            // Once there are enough, the names of others are not kept either.
            let has_room = self.tasks.len() < MOST_APART;
            match if has_room { Some(texts.number(event.comm)) } else { texts.known(event.comm) } {
                Some(comm) => count_one(&mut self.tasks, (event.pid, comm), &mut self.others.1),
                None => self.others.1 += 1,
            }
        }
    }

    /// Events.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Events of each CPU that had any.
    pub(super) fn cpus(&self) -> impl Iterator<Item = (usize, u64)> {
        self.cpus.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// By function, the most active first.
    pub(super) fn functions<'t>(&self, texts: &'t Texts) -> Vec<Count<'t>> {
        let counts = self.functions.iter().map(|(code, count)| code.count(*count, texts));
        sorted(counts.chain(others(self.others.0)))
    }

    /// By task, the most active first.
    pub(super) fn tasks<'t>(&self, texts: &'t Texts) -> Vec<Count<'t>> {
        let counts = self.tasks.iter().map(|((pid, comm), count)| Count {
            name: texts.text(*comm),
            number: Some(u64::from(*pid)),
            count: *count,
            ..Count::default()
        });
        sorted(counts.chain(others(self.others.1)))
    }
}

/// Counts one more of `key`, or of the others if there is no room for it.
#[inline]
fn count_one<K: Eq + Hash>(counts: &mut HashMap<K, u64>, key: K, others: &mut u64) {
    let has_room = counts.len() < MOST_APART;
    match counts.entry(key) {
        Entry::Occupied(mut count) => *count.get_mut() += 1,
        Entry::Vacant(count) if has_room => {
            count.insert(1);
        }
        Entry::Vacant(_) => *others += 1,
    }
}

/// The row of all others, if there are some.
fn others(count: u64) -> Option<Count<'static>> {
    (count > 0).then(|| Count { name: OTHERS, count, ..Count::default() })
}
