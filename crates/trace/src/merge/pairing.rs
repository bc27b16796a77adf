//! Page faults wait for their ends, so that each is told with how long it took.
//!
//! Records come here in the order of their times and leave in the same order. A fault leaves when its thread has ended it, has raised another one, or has taken longer than anybody
//! wants to wait for; what came after it waits with it. Rejected: an event of its own for the end, since everybody who reads a trace would have to pair them again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use trapline_abi::{FaultPayload, Kind, Record, ServedPayload};

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
#[derive(Debug)]
pub(super) struct Pairing {
    queue: VecDeque<Waiting>,
    /// Number of the first record in the queue, counted from the beginning.
    first: u64,
    /// The last fault of each thread whose end is still to come, by number.
    open: HashMap<u32, u64>,
    patience: Duration,
}

impl Pairing {
    /// Waits so long for an end.
    pub(super) fn new(patience: Duration) -> Self {
        Self { queue: VecDeque::new(), first: 0, open: HashMap::new(), patience }
    }

    /// Takes the next record.
    pub(super) fn push(&mut self, whole: Whole) {
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
        self.queue.push_back(Waiting { whole, since: Instant::now(), open });
    }

    /// The next record that need not wait any longer; with `all`, the next.
    pub(super) fn pop(&mut self, all: bool) -> Option<Whole> {
        let front = self.queue.front()?;
        if front.open {
            if !all && front.since.elapsed() < self.patience {
                return None;
            }
            self.open.remove(&front.whole.record.task);
        }
        self.first += 1;
        self.queue.pop_front().map(|waiting| waiting.whole)
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
        waiting.whole.took = record.time.checked_sub(waiting.whole.record.time);
        // Else it goes on: what was said is the least that it takes.
        if result & ServedPayload::RETRY == 0 {
            waiting.open = false;
            self.open.remove(&record.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVER: Duration = Duration::from_secs(3600);

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

    /// Time, and how long it took, of all that leaves.
    fn leaving(pairing: &mut Pairing, all: bool) -> Vec<(u64, Option<u64>)> {
        std::iter::from_fn(|| pairing.pop(all)).map(|whole| (whole.record.time, whole.took)).collect()
    }

    #[test]
    fn a_fault_leaves_with_its_end_and_whatever_came_after_it_does_then() {
        let mut pairing = Pairing::new(EVER);
        pairing.push(fault(10, 1, 0x1234));
        pairing.push(fault(11, 2, 0x5000));
        pairing.push(whole(12, 2, Kind::Mark, [0; 4]));
        pairing.push(served(15, 2, 0x5000, 0));
        assert_eq!(leaving(&mut pairing, false), []);
        pairing.push(served(20, 1, 0x1000, 0));
        assert_eq!(leaving(&mut pairing, false), [(10, Some(10)), (11, Some(4)), (12, None)]);
        assert!(pairing.open.is_empty());
    }

    #[test]
    fn an_end_of_something_else_is_no_end_and_one_that_is_tried_again_is_the_last() {
        let mut pairing = Pairing::new(EVER);
        pairing.push(served(5, 1, 0x1000, 0));
        pairing.push(fault(10, 1, 0x1000));
        pairing.push(served(11, 1, 0x9000, 0));
        pairing.push(served(12, 3, 0x1000, 0));
        pairing.push(served(13, 1, 0x1000, ServedPayload::RETRY));
        assert_eq!(leaving(&mut pairing, false), []);
        pairing.push(served(19, 1, 0x1000, 0));
        pairing.push(served(23, 1, 0x1000, 0));
        assert_eq!(leaving(&mut pairing, false), [(10, Some(9))]);
    }

    #[test]
    fn a_fault_without_an_end_leaves_with_the_next_of_its_thread_after_a_while_or_at_the_end() {
        let mut pairing = Pairing::new(EVER);
        pairing.push(fault(10, 1, 0x1000));
        pairing.push(fault(20, 1, 0x1000));
        assert_eq!(leaving(&mut pairing, false), [(10, None)]);
        assert_eq!(leaving(&mut pairing, true), [(20, None)]);
        let mut pairing = Pairing::new(Duration::ZERO);
        pairing.push(fault(10, 1, 0x1000));
        assert_eq!(leaving(&mut pairing, false), [(10, None)]);
        // Its end, when it comes after all, is nobody's.
        pairing.push(served(30, 1, 0x1000, 0));
        assert_eq!(leaving(&mut pairing, true), []);
    }
}
