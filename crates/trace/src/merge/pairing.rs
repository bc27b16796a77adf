//! Page faults wait for their ends, so that each is told with how long it took.
//!
//! Records come here in the order of their times and leave in the same order. A fault leaves when
//! its thread has ended it, has raised another one, or has waited for longer, or with more records,
//! than the [`Bounds`] allow; what came after it waits with it. Rejected: an event of its own for
//! the end, since everybody who reads a trace would have to pair them again.

use std::collections::VecDeque;
use std::time::Instant;

use hashbrown::HashMap;
use trapline_abi::{FaultPayload, Kind, Record, ServedPayload};

use super::Bounds;

/// Bits of an address within its page: the kernel may say where the page begins.
const PAGE: u32 = 12;

/// A record on its way, with the payload of its continuations.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) record: Record,
    pub(super) more: Vec<u8>,
    /// Whether all continuations were there.
    pub(super) complete: bool,
    /// Nanoseconds from a fault to its end.
    pub(super) took: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    whole: Whole,
    since: Instant,
    /// Whether its end is still to come.
    open: bool,
}

/// The faults that wait, and what waits with them.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    queue: VecDeque<Waiting>,
    /// Number of the first record in the queue, counted from the beginning.
    first: u64,
    /// The last fault of each thread whose end is still to come, by number.
    open: HashMap<u32, u64>,
}

impl Pairing {
    /// Records that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes the next record.
    pub(super) fn push(&mut self, whole: Whole, now: Instant) {
        let record = whole.record;
        if record.kind == Kind::Served as u8 {
            return self.served(&record);
        }
        let open = record.kind == Kind::Fault as u8;
        if open {
            let number = self.first + self.queue.len() as u64;
            if let Some(before) = self.open.insert(record.task, number) {
                self.close(before);
            }
        }
        self.queue.push_back(Waiting { whole, since: now, open });
    }

    /// The next record, if it need not wait any longer.
    pub(super) fn pop(&mut self, now: Instant, bounds: &Bounds) -> Option<Whole> {
        let front = self.queue.front()?;
        let waits = front.open && now.saturating_duration_since(front.since) < bounds.ends;
        if waits && self.queue.len() <= bounds.records {
            return None;
        }
        self.pop_any()
    }

    /// The next record.
    pub(super) fn pop_any(&mut self) -> Option<Whole> {
        let Waiting { whole, open, .. } = self.queue.pop_front()?;
        self.first += 1;
        if open {
            self.open.remove(&whole.record.task);
        }
        Some(whole)
    }

    fn waiting(&mut self, number: u64) -> Option<&mut Waiting> {
        self.queue.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn close(&mut self, number: u64) {
        if let Some(waiting) = self.waiting(number) {
            waiting.open = false;
        }
    }

    /// The fault that `record` is the end of, if it is known, has taken so long.
    fn served(&mut self, record: &Record) {
        let ServedPayload { address, result } = ServedPayload::from_words(record.payload);
        let Some(&number) = self.open.get(&record.task) else { return };
        let Some(waiting) = self.waiting(number) else { return };
        let fault = FaultPayload::from_words(waiting.whole.record.payload);
        if fault.address >> PAGE != address >> PAGE {
            return;
        }
        // It goes on: how long a try took is not how long the fault takes.
        if result & ServedPayload::RETRY != 0 {
            return;
        }
        waiting.whole.took = record.time.checked_sub(waiting.whole.record.time);
        waiting.open = false;
        self.open.remove(&record.task);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const EVER: Bounds = Bounds { wait: HOUR, ends: HOUR, records: usize::MAX };
    const NOW: Bounds = Bounds { ends: Duration::ZERO, ..EVER };

    fn whole(time: u64, task: u32, kind: Kind, payload: [u64; 4]) -> Whole {
        let record = Record { time, task, kind: kind as u8, payload, ..Record::EMPTY };
        Whole { record, more: Vec::new(), complete: true, took: None }
    }

    fn fault(time: u64, task: u32, address: u64) -> Whole {
        let payload = FaultPayload { address, ip: 0, error_code: 6, process: task, stack: 0 };
        whole(time, task, Kind::Fault, payload.to_words())
    }

    fn served(time: u64, task: u32, address: u64, result: u32) -> Whole {
        whole(time, task, Kind::Served, ServedPayload { address, result }.to_words())
    }

    fn push(pairing: &mut Pairing, whole: Whole) {
        pairing.push(whole, Instant::now());
    }

    /// Time, and how long it took, of all that leaves within the bounds.
    fn leaving(pairing: &mut Pairing, bounds: Bounds) -> Vec<(u64, Option<u64>)> {
        let next = || pairing.pop(Instant::now(), &bounds);
        std::iter::from_fn(next).map(|whole| (whole.record.time, whole.took)).collect()
    }

    /// As [`leaving`], of all there is.
    fn rest(pairing: &mut Pairing) -> Vec<(u64, Option<u64>)> {
        std::iter::from_fn(|| pairing.pop_any()).map(|whole| (whole.record.time, whole.took)).collect()
    }

    #[test]
    fn a_fault_leaves_with_its_end_and_whatever_came_after_it_does_then() {
        let mut pairing = Pairing::default();
        push(&mut pairing, fault(10, 1, 0x1234));
        push(&mut pairing, fault(11, 2, 0x5000));
        push(&mut pairing, whole(12, 2, Kind::Mark, [0; 4]));
        push(&mut pairing, served(15, 2, 0x5000, 0));
        assert_eq!(leaving(&mut pairing, EVER), []);
        push(&mut pairing, served(20, 1, 0x1000, 0));
        assert_eq!(leaving(&mut pairing, EVER), [(10, Some(10)), (11, Some(4)), (12, None)]);
        assert!(pairing.open.is_empty());
    }

    #[test]
    fn an_end_of_something_else_is_no_end_and_one_that_is_tried_again_is_the_last() {
        let mut pairing = Pairing::default();
        push(&mut pairing, served(5, 1, 0x1000, 0));
        push(&mut pairing, fault(10, 1, 0x1000));
        push(&mut pairing, served(11, 1, 0x9000, 0));
        push(&mut pairing, served(12, 3, 0x1000, 0));
        push(&mut pairing, served(13, 1, 0x1000, ServedPayload::RETRY));
        assert_eq!(leaving(&mut pairing, EVER), []);
        push(&mut pairing, served(19, 1, 0x1000, 0));
        push(&mut pairing, served(23, 1, 0x1000, 0));
        assert_eq!(leaving(&mut pairing, EVER), [(10, Some(9))]);
    }

    #[test]
    fn a_fault_that_leaves_while_it_is_tried_again_has_no_time() {
        let mut pairing = Pairing::default();
        push(&mut pairing, fault(10, 1, 0x1000));
        push(&mut pairing, served(13, 1, 0x1000, ServedPayload::RETRY));
        assert_eq!(leaving(&mut pairing, NOW), [(10, None)]);
    }

    #[test]
    fn a_fault_without_an_end_leaves_with_the_next_of_its_thread_after_a_while_or_at_the_end() {
        let mut pairing = Pairing::default();
        push(&mut pairing, fault(10, 1, 0x1000));
        push(&mut pairing, fault(20, 1, 0x1000));
        assert_eq!(leaving(&mut pairing, EVER), [(10, None)]);
        assert_eq!(rest(&mut pairing), [(20, None)]);
        let mut pairing = Pairing::default();
        push(&mut pairing, fault(10, 1, 0x1000));
        assert_eq!(leaving(&mut pairing, NOW), [(10, None)]);
        // Its end, when it comes after all, is nobody's.
        push(&mut pairing, served(30, 1, 0x1000, 0));
        assert_eq!(rest(&mut pairing), []);
    }

    #[test]
    fn no_more_wait_for_an_end_than_the_bounds_allow_and_none_is_left_out() {
        let bounds = Bounds { records: 10, ..EVER };
        let mut pairing = Pairing::default();
        let mut left = Vec::new();
        push(&mut pairing, fault(1, 7, 0x1000));
        for time in 2..100 {
            push(&mut pairing, whole(time, 2, Kind::Mark, [0; 4]));
            left.extend(leaving(&mut pairing, bounds));
            assert!(pairing.len() <= 10, "{} wait", pairing.len());
        }
        push(&mut pairing, served(100, 7, 0x1000, 0));
        left.extend(rest(&mut pairing));
        assert_eq!(left, (1..100).map(|time| (time, None)).collect::<Vec<_>>());
        assert!(pairing.open.is_empty());
    }
}
