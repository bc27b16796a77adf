//! Many CPUs' records become one timeline.
//!
//! Each CPU's records arrive in their order; across CPUs they are put in order of time. It works in rounds with bounded memory: a round looks at each
//! ring once, then everything up to the *watermark* is released. A CPU whose ring was found empty can't hold back the others for long:
//! what it writes from now on is newer than anything that was seen before the round began. A CPU whose ring still has records, or one that is
//! just being written, holds back everything newer than what it gave so far.
//!
//! A writer that was stopped between taking the time and reserving its slot can still come late. Such an event is released at once, in order within its CPU,
//! and counted ([`Merge::late`]); nothing is ever left out. Waiting a fixed time instead was rejected: it delays everything and bounds nothing.

mod collector;
mod lane;
mod pairing;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hashbrown::HashMap;
use trapline_abi::{
    AccessPayload, ErrorCode, FaultPayload, Flags, HitPayload, Kind, MapPayload, Record, Way,
};

use crate::{Access, Direction, Event, Hit, Map, PageFault, Probe, Value, What};
pub use collector::Collector;
use lane::{Lane, Task};
use pairing::{Pairing, Whole};

/// Bytes of an access' value in its own record; the rest is in its continuations.
const INLINE_VALUE: usize = 16;

/// What tells tasks apart: the thread id, and for the idle tasks, which are all thread 0, the CPU.
fn task_key(record: &Record) -> u64 {
    if record.task == 0 { 1 << 32 | u64::from(record.cpu) } else { u64::from(record.task) }
}

/// Merges the records of all CPUs.
#[derive(Debug)]
pub struct Merge {
    lanes: Vec<Lane>,
    /// Whether the lane's ring had nothing more to give this round.
    idle: Vec<bool>,
    /// Greatest time seen before this round.
    seen: u64,
    /// Greatest time released.
    released: u64,
    /// Every task seen, by [`task_key`].
    tasks: HashMap<u64, Task>,
    /// Linear and physical start of every mapping seen, by number.
    mappings: HashMap<u32, (u64, u64)>,
    /// The code probes, by number.
    probes: HashMap<u32, Probe>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// Where faults wait for their ends, if those are told of.
    pairing: Option<Pairing>,
    more: Vec<u8>,
    late: u64,
    malformed: u64,
}

impl Merge {
    /// For `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        Self {
            lanes: (0..cpus).map(|_| Lane::default()).collect(),
            idle: vec![true; cpus],
            seen: 0,
            released: 0,
            tasks: HashMap::new(),
            mappings: HashMap::new(),
            probes: HashMap::new(),
            heap: BinaryHeap::new(),
            pairing: None,
            more: Vec::new(),
            late: 0,
            malformed: 0,
        }
    }

    /// Understands the hits of these probes too.
    pub fn with_probes(mut self, probes: &[Probe]) -> Self {
        self.probes = probes.iter().map(|probe| (probe.id, probe.clone())).collect();
        self
    }

    /// Tells with each page fault how long it took, if its end comes within `patience`: until then it is held back, and what came after it too.
    pub fn with_latency(mut self, patience: Duration) -> Self {
        self.pairing = Some(Pairing::new(patience));
        self
    }

    /// Records held of CPU `cpu`: when they grow, leave the rest in the ring for a while.
    pub fn held(&self, cpu: usize) -> usize {
        self.lanes[cpu].len()
    }

    /// Adds the next records of CPU `cpu`. `idle` tells whether its ring is known to hold nothing more, not even a record that is being written.
    pub fn push(&mut self, cpu: usize, records: &[Record], idle: bool) {
        self.lanes[cpu].push(records);
        self.idle[cpu] = idle;
    }

    /// Ends a round, in which each CPU was pushed once: releases what is in order by now.
    pub fn release<E>(&mut self, sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let bound =
            |(lane, idle): (&Lane, &bool)| if *idle { lane.newest.max(self.seen) } else { lane.newest };
        let watermark = self.lanes.iter().zip(&self.idle).map(bound).min().unwrap_or(0);
        self.seen = self.lanes.iter().fold(self.seen, |seen, lane| seen.max(lane.newest));
        self.release_until(watermark, Lane::first, sink)
    }

    /// Releases everything: the rings are known to be empty for good.
    pub fn finish<E>(&mut self, sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut sink = sink;
        self.release_until(u64::MAX, Lane::first_of_the_rest, &mut sink)?;
        self.leave(true, &mut sink)
    }

    /// Releases what has waited too long for the end of a page fault, between rounds: nothing may come for a while.
    pub fn release_overdue<E>(&mut self, sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        self.leave(false, sink)
    }

    /// Events released so far that came too late to be put in order with those of other CPUs.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Records so far that made no sense; not released.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn release_until<E>(
        &mut self,
        watermark: u64,
        first: impl Fn(&Lane) -> Option<u64>,
        mut sink: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.heap.clear();
        self.heap.extend(
            self.lanes.iter().enumerate().filter_map(|(cpu, lane)| Some(Reverse((first(lane)?, cpu)))),
        );
        while let Some(Reverse((time, cpu))) = self.heap.pop() {
            if time > watermark {
                break;
            }
            self.more.clear();
            let Some((record, whole)) = self.lanes[cpu].pop(&mut self.more) else { continue };
            if let Some(time) = first(&self.lanes[cpu]) {
                self.heap.push(Reverse((time, cpu)));
            }
            if time < self.released {
                self.late += 1;
            }
            self.released = self.released.max(time);
            if let Some(pairing) = &mut self.pairing {
                let more = std::mem::take(&mut self.more);
                pairing.push(Whole { record, more, complete: whole, took: None });
            } else if let Some(event) = self.event(&record, whole, None) {
                sink(event)?;
            }
        }
        self.leave(false, &mut sink)
    }

    /// Hands out what has waited for the ends of faults and need not any longer; with `all`, everything.
    fn leave<E>(&mut self, all: bool, mut sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        while let Some(whole) = self.pairing.as_mut().and_then(|pairing| pairing.pop(all)) {
            self.more = whole.more;
            if let Some(event) = self.event(&whole.record, whole.complete, whole.took) {
                sink(event)?;
            }
        }
        Ok(())
    }

    /// The event that `record` tells of; `None` for those that only tell of the records after them.
    fn event(&mut self, record: &Record, whole: bool, took: Option<u64>) -> Option<Event<'_>> {
        let what = match Kind::from_code(record.kind) {
            Some(Kind::Access) => match self.access(record, whole) {
                Some(access) => What::Access(access),
                None => return self.refuse(),
            },
            Some(Kind::Task) => {
                self.tasks.insert(task_key(record), Task::from_record(record));
                return None;
            }
            Some(Kind::Map) => {
                let MapPayload { address, physical, length, caller } = MapPayload::from_words(record.payload);
                self.mappings.insert(record.mapping, (address, physical));
                What::Map(Map {
                    mapping: record.mapping,
                    address,
                    physical,
                    length,
                    caller,
                    place: None,
                    site: None,
                })
            }
            // The mapping is kept: a late access may still name it, and numbers are not used again.
            Some(Kind::Unmap) => What::Unmap { mapping: record.mapping },
            Some(Kind::Mark) => {
                let inline: Vec<u8> = record.payload.iter().flat_map(|word| word.to_le_bytes()).collect();
                self.more.splice(0..0, inline);
                self.more.truncate(usize::from(record.width));
                if std::str::from_utf8(&self.more).is_err() {
                    self.more = String::from_utf8_lossy(&self.more).into_owned().into_bytes();
                }
                What::Mark { text: "" }
            }
            Some(Kind::Lost) => What::Lost { count: record.payload[0] },
            Some(Kind::Window) => What::Window { address: record.payload[0], nanoseconds: record.payload[1] },
            Some(Kind::Hit) => {
                let inline = HitPayload::from_words(record.payload).words;
                self.more.splice(0..0, inline.into_iter().flat_map(u64::to_le_bytes));
                let Some(hit) = hit(&self.probes, record, &self.more).filter(|_| whole) else {
                    self.malformed += 1;
                    return None;
                };
                What::Hit(hit)
            }
            Some(Kind::Fault) => {
                let FaultPayload { address, ip, error_code, stack, .. } =
                    FaultPayload::from_words(record.payload);
                let (error_code, flags) = (ErrorCode(error_code), Flags(record.flags));
                What::Fault(PageFault {
                    address,
                    error_code,
                    ip,
                    stack,
                    flags,
                    took,
                    memory: None,
                    site: None,
                })
            }
            // Without anybody who waits for it.
            Some(Kind::Served) => return None,
            Some(Kind::More) | None => return self.refuse(),
        };
        let what = match what {
            What::Mark { .. } => What::Mark { text: std::str::from_utf8(&self.more).unwrap_or_default() },
            other => other,
        };
        let task = self.tasks.get(&task_key(record));
        Some(Event {
            time: record.time,
            cpu: record.cpu,
            pid: record.task,
            tgid: task.map_or(0, |task| task.tgid),
            comm: task.map_or("", |task| task.comm.as_str()),
            what,
        })
    }

    fn access(&self, record: &Record, whole: bool) -> Option<Access<'static>> {
        let way = Way::from_code(record.way)?;
        let payload = AccessPayload::from_words(record.payload);
        let flags = Flags(record.flags);
        let width = usize::from(record.width);
        let mut bytes = [0; Value::MAX];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(payload.value) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let rest = self.more.len().min(Value::MAX - INLINE_VALUE);
        bytes[INLINE_VALUE..INLINE_VALUE + rest].copy_from_slice(&self.more[..rest]);
        let known = whole && !flags.has(Flags::UNKNOWN) && width <= INLINE_VALUE + rest;
        let (linear, physical) = self.mappings.get(&record.mapping).copied().unzip();
        Some(Access {
            direction: if flags.has(Flags::WRITE) { Direction::Write } else { Direction::Read },
            width: record.width,
            value: if known { Value::new(&bytes[..width]) } else { None },
            mapping: record.mapping,
            address: payload.address,
            physical: linear
                .zip(physical)
                .map(|(linear, physical)| physical.wrapping_add(payload.address.wrapping_sub(linear))),
            flags,
            way,
            ip: payload.ip,
            place: None,
            site: None,
        })
    }

    fn refuse(&mut self) -> Option<Event<'static>> {
        self.malformed += 1;
        None
    }
}

/// The hit that `record` and its continuations, all words of which are in `words`, tell of.
fn hit<'a>(probes: &'a HashMap<u32, Probe>, record: &Record, words: &'a [u8]) -> Option<Hit<'a>> {
    let payload = HitPayload::from_words(record.payload);
    let probe = probes.get(&payload.probe)?;
    let (arguments, stack) = probe.decode(payload.faults, words)?;
    let (ip, flags) = (payload.ip, Flags(record.flags));
    Some(Hit { probe: &probe.name, moment: probe.moment, ip, site: None, flags, arguments, stack })
}
