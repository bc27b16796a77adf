//! Many CPUs' records become one timeline.
//!
//! Each CPU's records arrive in their order; across CPUs they are put in order of time. It works in
//! rounds: a round looks at each ring once, then everything up to the *watermark* is released. A
//! CPU whose ring was found empty can't hold back the others for long: what it writes from now on
//! is newer than anything that was seen before the round began. A CPU whose ring still has records,
//! or one that is just being written, holds back everything newer than what it gave so far.
//!
//! That ends at the merge's [`Bounds`]. A CPU that does not end the record it is in the middle of
//! is waited for no longer than that, and when too much is held the oldest is released whatever the
//! watermark says. So neither a CPU that stands still nor a reader that is too slow for one ring
//! can stop the others' events, or fill the memory.
//!
//! What comes after all, and what a writer wrote that was stopped between taking the time and
//! reserving its slot, is *late*: released at once, in order within its CPU, and counted
//! ([`Merge::late`]); nothing is ever left out. Holding back everything for a fixed time instead
//! was rejected: it delays all events, and those that come later than that are late just the same.

mod bounds;
mod decode;
mod lane;
mod pairing;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use trapline_abi::Record;

use crate::{Event, Probe};
pub use bounds::Bounds;
use decode::{Decoder, Malformed};
pub(crate) use decode::{Gathered, Known};
use lane::Lane;
use pairing::{Pairing, Whole};

/// Merges the records of all CPUs.
#[derive(Debug)]
pub struct Merge {
    lanes: Vec<Lane>,
    bounds: Bounds,
    /// Greatest time seen before this round.
    seen: u64,
    /// Greatest time released.
    released: u64,
    decoder: Decoder,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// Where what takes time waits for its end, if those are told of.
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
            bounds: Bounds::default(),
            seen: 0,
            released: 0,
            decoder: Decoder::default(),
            heap: BinaryHeap::new(),
            pairing: None,
            more: Vec::new(),
            late: 0,
            malformed: 0,
        }
    }

    /// Understands the hits of these probes too.
    pub fn with_probes(self, probes: &[Probe]) -> Self {
        Self { decoder: self.decoder.with_probes(probes), ..self }
    }

    /// Tells with each page fault how long it took, if its end comes within [`Bounds::ends`]: until
    /// then it is held back, and what came after it too.
    pub fn with_latency(mut self) -> Self {
        self.pairing.get_or_insert_default().faults = true;
        self
    }

    /// Tells with each call of an interrupt's handler how it ended, likewise.
    pub fn with_handlers(mut self) -> Self {
        self.pairing.get_or_insert_default().handlers = true;
        self
    }

    /// Holds back no longer and no more than these bounds say.
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Records held.
    pub fn held(&self) -> usize {
        let waiting = self.pairing.as_ref().map_or(0, Pairing::len);
        self.lanes.iter().map(Lane::len).sum::<usize>() + waiting
    }

    /// Adds the next records of CPU `cpu`. `empty` tells whether its ring is known to hold nothing
    /// more, not even a record that is being written.
    pub fn push(&mut self, cpu: usize, records: &[Record], empty: bool) {
        self.lanes[cpu].push(records, empty);
    }

    /// Ends a round, in which each CPU was pushed once: releases what is in order by now.
    pub fn release<E>(&mut self, sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let bound = |lane: &Lane| match lane.holds_back(self.bounds.wait) {
            true => lane.newest,
            false => lane.newest.max(self.seen),
        };
        let watermark = self.lanes.iter().map(bound).min().unwrap_or(0);
        self.seen = self.lanes.iter().fold(self.seen, |seen, lane| seen.max(lane.newest));
        self.release_until(watermark, Lane::first, sink)
    }

    /// Releases everything: the rings are known to be empty for good.
    pub fn finish<E>(&mut self, sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut sink = sink;
        self.release_until(u64::MAX, Lane::first_of_the_rest, &mut sink)?;
        while let Some(whole) = self.pairing.as_mut().and_then(Pairing::pop_any) {
            self.hand_out(whole, &mut sink)?;
        }
        Ok(())
    }

    /// Releases what has waited too long for an end, between rounds: nothing may come for a while.
    pub fn release_overdue<E>(&mut self, sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        self.leave(Instant::now(), sink)
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
        let now = Instant::now();
        let mut held: usize = self.lanes.iter().map(Lane::len).sum();
        self.heap.clear();
        self.heap.extend(
            self.lanes.iter().enumerate().filter_map(|(cpu, lane)| Some(Reverse((first(lane)?, cpu)))),
        );
        while let Some(Reverse((time, cpu))) = self.heap.pop() {
            if time > watermark && held <= self.bounds.records {
                break;
            }
            self.more.clear();
            let lane = &mut self.lanes[cpu];
            let before = lane.len();
            let Some((record, whole)) = lane.pop(&mut self.more) else { continue };
            held -= before - lane.len();
            if let Some(time) = first(lane) {
                self.heap.push(Reverse((time, cpu)));
            }
            if time < self.released {
                self.late += 1;
            }
            self.released = self.released.max(time);
            if let Some(pairing) = &mut self.pairing {
                let more = std::mem::take(&mut self.more);
                pairing.push(Whole { record, more, complete: whole, end: None }, now);
                // Only what is too much: the end that something waits for may come in this round.
                while let Some(pairing) = &mut self.pairing
                    && pairing.len() > self.bounds.waiting
                    && let Some(whole) = pairing.pop_any()
                {
                    self.hand_out(whole, &mut sink)?;
                }
            } else {
                let more = std::mem::take(&mut self.more);
                let whole = Whole { record, more, complete: whole, end: None };
                self.more = self.hand_out(whole, &mut sink)?;
            }
        }
        self.lanes.iter_mut().for_each(Lane::trim);
        self.leave(now, &mut sink)
    }

    /// Hands out what has waited for ends and need not any longer.
    fn leave<E>(&mut self, now: Instant, mut sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let bounds = self.bounds;
        while let Some(whole) = self.pairing.as_mut().and_then(|pairing| pairing.pop(now, &bounds)) {
            self.hand_out(whole, &mut sink)?;
        }
        Ok(())
    }

    /// Hands out the event of a record, if it is one; gives its memory back.
    fn hand_out<E>(
        &mut self,
        whole: Whole,
        sink: impl FnOnce(Event<'_>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        match self.decoder.event(&whole.record, &whole.more, whole.complete, whole.end) {
            Ok(Some(event)) => sink(event)?,
            Ok(None) => {}
            Err(Malformed) => self.malformed += 1,
        }
        Ok(whole.more)
    }
}
