//! Records become events: what task they belong to, and what earlier records and the trace's header
//! say that they need. What a record means is its kind's to say.

use hashbrown::HashMap;
use trapline_abi::{Kind, Record};

use super::lane::Task;
use super::pairing::End;
use crate::kinds::hit::Probe;
use crate::{Event, What};

/// A record with its continuations.
pub(crate) struct Gathered<'a> {
    /// The record.
    pub(crate) record: &'a Record,
    /// The payload of the record and of all its continuations, lowest address first.
    pub(crate) bytes: &'a [u8],
    /// Whether all continuations are there.
    pub(crate) is_whole: bool,
    /// How it ended, if it takes time and that is known.
    pub(crate) end: Option<End>,
    /// What was known before it.
    pub(crate) known: &'a Known,
}

/// What is known beside the record itself.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Linear and physical start of every mapping seen, by number.
    pub(crate) mappings: HashMap<u32, (u64, u64)>,
    /// The code probes, by number.
    pub(crate) probes: HashMap<u32, Probe>,
}

/// Tasks that are known at once, and as many that were known before those.
const MOST_TASKS: usize = 1 << 14;

/// The tasks that records are of, by [`task_key`]: those of which nothing came for long are
/// forgotten. A CPU tells of a task whenever another one has run there meanwhile.
#[derive(Debug, Default)]
struct Tasks {
    recent: HashMap<u64, Task>,
    before: HashMap<u64, Task>,
}

impl Tasks {
    fn insert(&mut self, key: u64, task: Task) {
        if self.recent.len() >= MOST_TASKS {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, task);
    }

    fn get(&mut self, key: u64) -> Option<&Task> {
        if !self.recent.contains_key(&key) {
            let task = self.before.remove(&key)?;
            self.insert(key, task);
        }
        self.recent.get(&key)
    }
}

/// A record made no sense.
#[derive(Clone, Copy, Debug)]
pub(super) struct Malformed;

/// Makes events of records.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    tasks: Tasks,
    known: Known,
    bytes: Vec<u8>,
}

/// What tells tasks apart: the thread id, and for the idle tasks, which are all thread 0, the CPU.
fn task_key(record: &Record) -> u64 {
    if record.task == 0 { 1 << 32 | u64::from(record.cpu) } else { u64::from(record.task) }
}

impl Decoder {
    /// Understands the hits of these probes too.
    pub(super) fn with_probes(mut self, probes: &[Probe]) -> Self {
        self.known.probes = probes.iter().map(|probe| (probe.id, probe.clone())).collect();
        self
    }

    /// The event that `record` and the payload of its continuations, `more`, tell of; `None` for
    /// those that only tell of the records after them, and for an end for which nobody waits.
    pub(super) fn event<'e>(
        &'e mut self,
        record: &'e Record,
        more: &[u8],
        is_whole: bool,
        end: Option<End>,
    ) -> Result<Option<Event<'e>>, Malformed> {
        let kind = match Kind::from_code(record.kind) {
            Some(Kind::Task) => {
                self.tasks.insert(task_key(record), Task::from_record(record));
                return Ok(None);
            }
            Some(Kind::Served | Kind::Handled) => return Ok(None),
            Some(kind) => kind,
            None => return Err(Malformed),
        };
        self.bytes.clear();
        record.payload.iter().for_each(|word| self.bytes.extend_from_slice(&word.to_le_bytes()));
        self.bytes.extend_from_slice(more);
        What::learn(kind, record, &mut self.known);
        let from = Gathered { record, bytes: &self.bytes, is_whole, end, known: &self.known };
        let what = What::decode(kind, from).ok_or(Malformed)?;
        let task = self.tasks.get(task_key(record));
        Ok(Some(Event {
            time: record.time,
            cpu: record.cpu,
            pid: record.task,
            tgid: task.map_or(0, |task| task.tgid),
            comm: task.map_or("", |task| task.comm.as_str()),
            what,
        }))
    }
}
