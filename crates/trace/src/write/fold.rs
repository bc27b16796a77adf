//! Polling loops become one line.
//!
//! A driver that waits for a bit reads one register thousands of times. Such reads are folded: same
//! CPU, task, instruction, address, width and value, performed in the same way, with nothing else
//! by that CPU in between. Their line stands where the first of them was and tells how many there
//! were and for how long. Since other CPUs' lines may follow before the loop ends, lines wait in a
//! queue behind an open fold; a bounded one, so that a loop without end is told of from time to
//! time.

use std::collections::VecDeque;

use crate::Event;
use crate::kinds::access::Poll;

/// Lines that may wait behind an open fold.
const MOST: usize = 4096;

/// A line, and how many equal reads it stands for.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) text: String,
    /// Reads in all; 1 for every other event.
    pub(super) count: u64,
    /// Time of the first.
    pub(super) first: u64,
    /// Time of the last.
    pub(super) last: u64,
    /// Set while equal reads may still be added.
    open: Option<Poll>,
    /// Whether one was added since the last flush.
    fresh: bool,
}

/// The lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Fold {
    lines: VecDeque<Waiting>,
    /// Number of the first line in `lines`, counted from the start.
    base: u64,
    /// Number of each CPU's open line.
    open: Vec<Option<u64>>,
}

impl Fold {
    /// Adds `event` to its CPU's open line if it is equal to what that stands for; whether it was.
    /// Else closes that line.
    pub(super) fn absorb(&mut self, event: &Event<'_>) -> bool {
        let Some(line) = self.open_line(event.cpu) else { return false };
        if line.open.is_some() && line.open == Poll::of(event) {
            line.count += 1;
            line.last = event.time;
            line.fresh = true;
            return true;
        }
        line.open = None;
        false
    }

    /// Adds a line of its own for `event`, which was not absorbed.
    pub(super) fn push(&mut self, event: &Event<'_>, text: String) {
        let open = Poll::of(event);
        let cpu = usize::from(event.cpu);
        if self.open.len() <= cpu {
            self.open.resize(cpu + 1, None);
        }
        self.open[cpu] = open.map(|_| self.base + self.lines.len() as u64);
        self.lines.push_back(Waiting {
            text,
            count: 1,
            first: event.time,
            last: event.time,
            open,
            fresh: true,
        });
        if self.lines.len() > MOST
            && let Some(first) = self.lines.front_mut()
        {
            first.open = None;
        }
    }

    /// Closes the lines to which nothing was added since the last call.
    pub(super) fn settle(&mut self) {
        for line in &mut self.lines {
            if !std::mem::take(&mut line.fresh) {
                line.open = None;
            }
        }
    }

    /// Closes all lines.
    pub(super) fn close(&mut self) {
        self.lines.iter_mut().for_each(|line| line.open = None);
    }

    /// Takes the first line, if it is closed.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        if self.lines.front()?.open.is_some() {
            return None;
        }
        self.base += 1;
        self.lines.pop_front()
    }

    fn open_line(&mut self, cpu: u16) -> Option<&mut Waiting> {
        let number = (*self.open.get(usize::from(cpu))?)?;
        self.lines.get_mut(number.checked_sub(self.base)? as usize)
    }
}
