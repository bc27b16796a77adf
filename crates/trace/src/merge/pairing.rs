//! What takes time waits for its end, so that each is told with how long it took: page faults, and
//! handlers of interrupts.
//!
//! Records come here in the order of their times and leave in the same order. What waits leaves
//! when its end has come, when another of its kind begins at the same place (a fault of the same
//! thread, a call of the same handler on the same CPU), or has waited for longer, or with more
//! records, than the [`Bounds`] allow; what came after it waits with it. Rejected: an event of its
//! own for the end, since everybody who reads a trace would have to pair them again; and one record
//! at the end alone, since what happened meanwhile would come before it.

use std::collections::VecDeque;
use std::time::Instant;

use hashbrown::HashMap;
use trapline_abi::{
    FaultPayload, HandledPayload, INTERRUPT_THREAD, InterruptPayload, Kind, Record, ServedPayload,
};

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
    /// How it ended, if that is known.
    pub(super) end: Option<End>,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Nanoseconds from its beginning.
    pub(crate) took: u64,
    /// What came of it: of a fault `vm_fault_t`, of a handler what it returned.
    pub(crate) result: u32,
}

/// What has an end: two that have the same are one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Span {
    /// A page fault of a thread.
    Fault { thread: u32 },
    /// A handler of an interrupt. One that is called on a line that devices share may be the same
    /// function as the one before it.
    Handler { cpu: u16, irq: u32, handler: u64 },
    /// What a handler's thread runs.
    Thread { thread: u32 },
}

impl Span {
    fn of_handler(record: &Record, irq: u32, handler: u64, flags: u8) -> Self {
        match flags & INTERRUPT_THREAD {
            0 => Self::Handler { cpu: record.cpu, irq, handler },
            _ => Self::Thread { thread: record.task },
        }
    }
}

/// What a record is to the pairing.
enum Role {
    Begins(Span),
    Ends(Span),
    Neither,
}

#[derive(Debug)]
struct Waiting {
    whole: Whole,
    since: Instant,
    /// Whether its end is still to come.
    open: bool,
}

/// What waits for its end, and what waits with it.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    /// Whether page faults wait.
    pub(super) faults: bool,
    /// Whether handlers of interrupts do.
    pub(super) handlers: bool,
    queue: VecDeque<Waiting>,
    /// Records in the queue, with their continuations.
    records: usize,
    /// Number of the first record in the queue, counted from the beginning.
    first: u64,
    /// What has begun and not ended, by number.
    open: HashMap<Span, u64>,
}

impl Pairing {
    /// Records that wait, with their continuations.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// What a record begins or ends.
    fn role(&self, record: &Record) -> Role {
        match Kind::from_code(record.kind) {
            Some(Kind::Fault) if self.faults => Role::Begins(Span::Fault { thread: record.task }),
            Some(Kind::Served) => Role::Ends(Span::Fault { thread: record.task }),
            Some(Kind::Interrupt) if self.handlers => {
                let InterruptPayload { handler, irq, flags, .. } =
                    InterruptPayload::from_words(record.payload);
                Role::Begins(Span::of_handler(record, irq, handler, flags))
            }
            Some(Kind::Handled) => {
                let HandledPayload { handler, irq, flags, .. } = HandledPayload::from_words(record.payload);
                Role::Ends(Span::of_handler(record, irq, handler, flags))
            }
            _ => Role::Neither,
        }
    }

    /// Takes the next record.
    pub(super) fn push(&mut self, whole: Whole, now: Instant) {
        let role = self.role(&whole.record);
        match role {
            Role::Ends(span) => return self.end(span, &whole.record),
            Role::Begins(span) => {
                let number = self.first + self.queue.len() as u64;
                if let Some(before) = self.open.insert(span, number) {
                    self.close(before);
                }
            }
            Role::Neither => {}
        }
        let open = matches!(role, Role::Begins(_));
        self.records += records(&whole);
        self.queue.push_back(Waiting { whole, since: now, open });
    }

    /// The next record, if it need not wait any longer.
    pub(super) fn pop(&mut self, now: Instant, bounds: &Bounds) -> Option<Whole> {
        let front = self.queue.front()?;
        let waits = front.open && now.saturating_duration_since(front.since) < bounds.ends;
        if waits && self.records <= bounds.waiting {
            return None;
        }
        self.pop_any()
    }

    /// The next record.
    pub(super) fn pop_any(&mut self) -> Option<Whole> {
        let Waiting { whole, open, .. } = self.queue.pop_front()?;
        self.records -= records(&whole);
        self.first += 1;
        if open && let Role::Begins(span) = self.role(&whole.record) {
            self.open.remove(&span);
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

    /// What `record` is the end of, if it is known, has ended so.
    fn end(&mut self, span: Span, record: &Record) {
        let Some(&number) = self.open.get(&span) else { return };
        let Some(waiting) = self.waiting(number) else { return };
        let begun = waiting.whole.record;
        let result = match span {
            Span::Fault { .. } => {
                let ServedPayload { address, result } = ServedPayload::from_words(record.payload);
                let fault = FaultPayload::from_words(begun.payload);
                if fault.address >> PAGE != address >> PAGE {
                    return;
                }
                // It goes on: how long a try took is not how long the fault takes.
                if result & ServedPayload::RETRY != 0 {
                    return;
                }
                result
            }
            Span::Handler { .. } | Span::Thread { .. } => HandledPayload::from_words(record.payload).result,
        };
        waiting.whole.end = record.time.checked_sub(begun.time).map(|took| End { took, result });
        waiting.open = false;
        self.open.remove(&span);
    }
}

/// Records that something was.
fn records(whole: &Whole) -> usize {
    1 + usize::from(whole.record.more)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trapline_abi::PciFunction;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const EVER: Bounds = Bounds { wait: HOUR, ends: HOUR, records: usize::MAX, waiting: usize::MAX };
    const NOW: Bounds = Bounds { ends: Duration::ZERO, ..EVER };

    fn whole(time: u64, task: u32, kind: Kind, payload: [u64; 4]) -> Whole {
        let record = Record { time, task, kind: kind as u8, payload, ..Record::EMPTY };
        Whole { record, more: Vec::new(), complete: true, end: None }
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

    fn left(whole: Whole) -> (u64, Option<u64>) {
        (whole.record.time, whole.end.map(|end| end.took))
    }

    fn of_faults() -> Pairing {
        Pairing { faults: true, ..Pairing::default() }
    }

    /// Time, and how long it took, of all that leaves within the bounds.
    fn leaving(pairing: &mut Pairing, bounds: Bounds) -> Vec<(u64, Option<u64>)> {
        let next = || pairing.pop(Instant::now(), &bounds);
        std::iter::from_fn(next).map(left).collect()
    }

    /// As [`leaving`], of all there is.
    fn rest(pairing: &mut Pairing) -> Vec<(u64, Option<u64>)> {
        std::iter::from_fn(|| pairing.pop_any()).map(left).collect()
    }

    #[test]
    fn a_fault_leaves_with_its_end_and_whatever_came_after_it_does_then() {
        let mut pairing = of_faults();
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
        let mut pairing = of_faults();
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
        let mut pairing = of_faults();
        push(&mut pairing, fault(10, 1, 0x1000));
        push(&mut pairing, served(13, 1, 0x1000, ServedPayload::RETRY));
        assert_eq!(leaving(&mut pairing, NOW), [(10, None)]);
    }

    #[test]
    fn a_fault_without_an_end_leaves_with_the_next_of_its_thread_after_a_while_or_at_the_end() {
        let mut pairing = of_faults();
        push(&mut pairing, fault(10, 1, 0x1000));
        push(&mut pairing, fault(20, 1, 0x1000));
        assert_eq!(leaving(&mut pairing, EVER), [(10, None)]);
        assert_eq!(rest(&mut pairing), [(20, None)]);
        let mut pairing = of_faults();
        push(&mut pairing, fault(10, 1, 0x1000));
        assert_eq!(leaving(&mut pairing, NOW), [(10, None)]);
        // Its end, when it comes after all, is nobody's.
        push(&mut pairing, served(30, 1, 0x1000, 0));
        assert_eq!(rest(&mut pairing), []);
    }

    #[test]
    fn no_more_wait_for_an_end_than_the_bounds_allow_and_none_is_left_out() {
        let bounds = Bounds { waiting: 10, ..EVER };
        let mut pairing = of_faults();
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

    fn interrupt(time: u64, cpu: u16, irq: u32, handler: u64, flags: u8) -> Whole {
        let device = PciFunction::default();
        let payload = InterruptPayload { handler, irq, index: 0, signal: 0, flags, device };
        let mut whole = whole(time, 100 + u32::from(cpu), Kind::Interrupt, payload.to_words());
        whole.record.cpu = cpu;
        whole
    }

    fn handled(time: u64, cpu: u16, irq: u32, handler: u64, flags: u8, result: u32) -> Whole {
        let payload = HandledPayload { handler, irq, flags, result };
        let mut whole = whole(time, 100 + u32::from(cpu), Kind::Handled, payload.to_words());
        whole.record.cpu = cpu;
        whole
    }

    #[test]
    fn a_handler_leaves_with_its_end_on_its_cpu_and_what_it_did_leaves_after_it() {
        let mut pairing = Pairing { handlers: true, ..Pairing::default() };
        push(&mut pairing, interrupt(10, 0, 24, 0x1000, 3));
        push(&mut pairing, whole(11, 100, Kind::Access, [0; 4]));
        push(&mut pairing, interrupt(12, 1, 24, 0x1000, 3));
        push(&mut pairing, handled(13, 1, 24, 0x1000, 3, 2));
        // Of a handler that began before the trace.
        push(&mut pairing, handled(14, 2, 24, 0x1000, 3, 1));
        assert_eq!(leaving(&mut pairing, EVER), []);
        // On a line that is shared the same function may be called for another device.
        push(&mut pairing, handled(15, 0, 24, 0x1000, 3, 0));
        push(&mut pairing, interrupt(16, 0, 24, 0x1000, 3));
        push(&mut pairing, handled(18, 0, 24, 0x1000, 3, 1));
        let results: Vec<_> = std::iter::from_fn(|| pairing.pop(Instant::now(), &EVER))
            .map(|whole| (whole.record.time, whole.end.map(|end| (end.took, end.result))))
            .collect();
        assert_eq!(results, [(10, Some((5, 0))), (11, None), (12, Some((1, 2))), (16, Some((2, 1)))]);
        assert!(pairing.open.is_empty());
    }

    #[test]
    fn what_a_handler_s_thread_runs_ends_wherever_the_thread_has_gone() {
        let mut pairing = Pairing { handlers: true, ..Pairing::default() };
        push(&mut pairing, interrupt(10, 0, 24, 0x2000, INTERRUPT_THREAD));
        let mut moved = handled(17, 3, 24, 0x2000, INTERRUPT_THREAD, 1);
        moved.record.task = 100;
        push(&mut pairing, moved);
        assert_eq!(leaving(&mut pairing, EVER), [(10, Some(7))]);
    }

    #[test]
    fn what_is_not_waited_for_passes_without_its_end() {
        let mut pairing = of_faults();
        push(&mut pairing, interrupt(10, 0, 24, 0x1000, 3));
        push(&mut pairing, handled(11, 0, 24, 0x1000, 3, 1));
        assert_eq!(leaving(&mut pairing, EVER), [(10, None)]);
    }
}
