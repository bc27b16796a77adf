//! One CPU's records on their way into the timeline.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use trapline_abi::{Kind, Record, TaskPayload};

use crate::Comm;

/// Records that a lane keeps room for although it holds fewer: what one look at a ring gives. With
/// more CPUs than one, each that was the busiest for a while would else keep all the room.
const ROOM: usize = 8192;

/// What is known of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) comm: Comm,
    pub(super) tgid: u32,
}

impl Task {
    pub(super) fn from_record(record: &Record) -> Self {
        let payload = TaskPayload::from_words(record.payload);
        Self { comm: Comm::new(payload.name), tgid: payload.process }
    }
}

/// The records of one CPU that are not released yet, in the order of its ring.
#[derive(Debug, Default)]
pub(super) struct Lane {
    queue: VecDeque<Record>,
    /// Greatest time pushed.
    pub(super) newest: u64,
    /// Greatest time released: what follows is never ordered before it, whatever its own time says.
    pub(super) released: u64,
    /// What its ring looked like last.
    look: Look,
}

/// What a look at a ring found.
#[derive(Clone, Copy, Debug, Default)]
enum Look {
    /// Nothing more, not even a record that is being written; so at the beginning too.
    #[default]
    Empty,
    /// Records, and perhaps more of them.
    Records,
    /// Nothing but a record that is being written, at every look since this one.
    Unfinished(Instant),
}

impl Lane {
    /// Adds what a look at the ring gave; `empty` tells that it holds nothing more, not even a
    /// record that is being written.
    pub(super) fn push(&mut self, records: &[Record], empty: bool) {
        self.newest = records.iter().fold(self.newest, |newest, record| newest.max(record.time));
        self.queue.extend(records);
        self.look = match self.look {
            _ if empty => Look::Empty,
            _ if !records.is_empty() => Look::Records,
            Look::Unfinished(since) => Look::Unfinished(since),
            _ => Look::Unfinished(Instant::now()),
        };
    }

    /// Whether what will come may be older than what other CPUs have given: not if the ring is
    /// empty, and no longer believed if it has been in the middle of one record for `wait`.
    pub(super) fn holds_back(&self, wait: Duration) -> bool {
        match self.look {
            Look::Empty => false,
            Look::Records => true,
            Look::Unfinished(since) => since.elapsed() < wait,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Gives back the room that it does not need, once what could be released was.
    pub(super) fn trim(&mut self) {
        if self.queue.capacity() > ROOM && self.queue.len() <= self.queue.capacity() / 4 {
            self.queue.shrink_to(ROOM);
        }
    }

    /// Time by which the first record is ordered, if it and all its continuations are here.
    pub(super) fn first(&self) -> Option<u64> {
        let first = self.queue.front()?;
        (self.queue.len() > usize::from(first.more)).then(|| first.time.max(self.released))
    }

    /// Time by which the first record is ordered, complete or not: for the very end, when nothing
    /// more can come.
    pub(super) fn first_of_the_rest(&self) -> Option<u64> {
        self.queue.front().map(|first| first.time.max(self.released))
    }

    /// Takes the first record; appends the payload of its continuations to `more`. The flag tells
    /// whether all of them were there.
    pub(super) fn pop(&mut self, more: &mut Vec<u8>) -> Option<(Record, bool)> {
        let first = self.queue.pop_front()?;
        self.released = self.released.max(first.time);
        for _ in 0..first.more {
            match self.queue.front() {
                Some(next) if next.kind == Kind::More as u8 => {
                    more.extend(next.payload.iter().flat_map(|word| word.to_le_bytes()));
                    self.queue.pop_front();
                }
                _ => return Some((first, false)),
            }
        }
        Some((first, true))
    }
}
