//! Moves records out of the rings as fast as they can be copied, so that a writer that is slow for
//! a moment does not fill the rings.
//!
//! One thread only copies, and what it copied waits, up to a limit, for the thread that merges and
//! writes. Past the limit the rings fill, and past their end the module counts what it drops. The
//! limit is small, whatever memory there is: it evens out the moments in which a page of a file is
//! written, and the rings, whose size is the user's to choose, are what holds a burst.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use trapline_abi::{RECORD_SIZE, Record};
use trapline_ring::RingReader;

/// Records taken from one ring at a time, so that no ring waits long for the others; fewer where
/// there are so many rings that one look at all of them would be past the limit.
const BATCH: usize = 8192;

/// Looks at the rings that may wait to be merged: those that found nothing take memory too.
pub(crate) const ROUNDS: usize = 256;

/// Pauses when the rings are empty: short after activity, then longer, and always far shorter than
/// a ring takes to fill.
const PAUSES: [Duration; 5] = [
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(10),
];

/// Pause while the writer has to catch up.
const CROWDED: Duration = Duration::from_millis(4);

/// Empty rounds that are passed on after the last record: they tell the merge that nothing older
/// will come, for which two would do. While a record is being written all are: the merge does not
/// wait for it for ever.
const FAREWELLS: usize = 3;

/// The most memory that records may take which wait to be merged, once more for those of the last
/// look, and as much for those that the merge holds back: what the usual ring of one CPU holds.
const MOST_MEMORY: u64 = 8 << 20;

/// Where records come from: a ring, or what stands for one in tests.
pub(crate) trait Records {
    /// Moves up to `max` complete records to the end of `out`; how many.
    fn drain(&mut self, max: usize, out: &mut Vec<Record>) -> usize;
    /// Whether a record is there or being written.
    fn is_behind(&self) -> bool;
}

impl Records for RingReader<'_> {
    fn drain(&mut self, max: usize, out: &mut Vec<Record>) -> usize {
        RingReader::drain(self, max, out)
    }

    fn is_behind(&self) -> bool {
        RingReader::is_behind(self)
    }
}

/// What one look at all rings gave: for each, in order, its records and whether it was empty
/// afterwards. Without any ring if none was looked at.
pub(crate) type Round = Vec<(Vec<Record>, bool)>;

/// What the pumping thread and the writing thread share.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// Records taken and not written yet.
    records: AtomicUsize,
    limit: usize,
    stopped: AtomicBool,
}

impl Backlog {
    /// With room for what an eighth of `available` bytes of memory holds.
    pub(crate) fn new(available: Option<u64>) -> Self {
        let memory = available.map_or(MOST_MEMORY, |available| (available / 8).min(MOST_MEMORY));
        let limit = memory as usize / RECORD_SIZE;
        Self { records: AtomicUsize::new(0), limit, stopped: AtomicBool::new(false) }
    }

    /// Records that it has room for.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Tells that so many records were written.
    pub(crate) fn written(&self, records: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
    }

    /// Tells that the session was stopped: nothing more will come into the rings.
    pub(crate) fn stop(&self) {
        // Release: pairs with the acquire in `pump`, so that what was in the rings when the module
        // said that it had stopped is seen there.
        self.stopped.store(true, Ordering::Release);
    }
}

/// Pumps until the backlog is stopped and the rings are empty, or nobody receives any more.
pub(crate) fn pump<S: Records>(rings: &mut [S], backlog: &Backlog, rounds: &SyncSender<Round>) {
    let most = (backlog.limit / rings.len().max(1)).clamp(1, BATCH);
    let mut idle: usize = 0;
    loop {
        // Before the rings are looked at: a session that had stopped by now puts nothing into them
        // behind our back.
        let stopped = backlog.stopped.load(Ordering::Acquire);
        if backlog.records.load(Ordering::Relaxed) >= backlog.limit {
            // An empty round, since sending is how we learn that nobody receives any more.
            if rounds.send(Round::new()).is_err() {
                return;
            }
            thread::sleep(CROWDED);
            continue;
        }
        let mut taken = 0;
        let mut take = |ring: &mut S| {
            let mut records = Vec::new();
            taken += ring.drain(most, &mut records);
            (records, !ring.is_behind())
        };
        let round: Round = rings.iter_mut().map(&mut take).collect();
        backlog.records.fetch_add(taken, Ordering::Relaxed);
        idle = if taken > 0 { 0 } else { idle + 1 };
        let unfinished = round.iter().any(|(_, empty)| !empty);
        if ((idle <= FAREWELLS || unfinished) && rounds.send(round).is_err()) || (stopped && taken == 0) {
            return;
        }
        if let Some(pauses) = idle.checked_sub(1) {
            thread::sleep(PAUSES[pauses.min(PAUSES.len() - 1)]);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc::sync_channel;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A ring in our own memory; its clones are the same ring.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Queue(Arc<Mutex<VecDeque<Record>>>);

    impl Queue {
        pub(crate) fn push(&self, record: Record) {
            self.0.lock().unwrap().push_back(record);
        }

        pub(crate) fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    impl Records for Queue {
        fn drain(&mut self, max: usize, out: &mut Vec<Record>) -> usize {
            let mut queue = self.0.lock().unwrap();
            let count = max.min(queue.len());
            out.extend(queue.drain(..count));
            count
        }

        fn is_behind(&self) -> bool {
            self.len() > 0
        }
    }

    fn record(time: u64) -> Record {
        Record { time, ..Record::EMPTY }
    }

    #[test]
    fn everything_in_the_rings_when_the_session_stops_is_taken() {
        let queues = [Queue::default(), Queue::default()];
        let count = 3 * BATCH + 1;
        (0..count).for_each(|time| queues[time % 2].push(record(time as u64)));
        let backlog = Backlog::new(None);
        backlog.stop();
        let (sender, receiver) = sync_channel(ROUNDS);
        pump(&mut queues.clone(), &backlog, &sender);
        drop(sender);
        let taken: usize = receiver.iter().flatten().map(|(records, _)| records.len()).sum();
        assert_eq!(taken, count);
    }

    #[test]
    fn a_writer_that_falls_behind_leaves_records_in_the_rings() {
        let queue = Queue::default();
        (0..4 * BATCH).for_each(|time| queue.push(record(time as u64)));
        let backlog = Backlog { limit: BATCH, ..Backlog::new(None) };
        let (sender, receiver) = sync_channel(ROUNDS);
        thread::scope(|scope| {
            let (backlog, mut rings) = (&backlog, [queue.clone()]);
            scope.spawn(move || pump(&mut rings, backlog, &sender));
            let first = receiver.recv().unwrap();
            assert_eq!(first[0].0.len(), BATCH);
            thread::sleep(Duration::from_millis(20));
            assert_eq!(queue.len(), 3 * BATCH, "nothing more is taken while the first batch is not written");
            backlog.written(BATCH);
            let next = receiver.iter().find(|round| !round.is_empty()).unwrap();
            assert_eq!(next[0].0.len(), BATCH);
            drop(receiver);
        });
    }
    /// A ring whose next record is never ended.
    struct Unfinished;

    impl Records for Unfinished {
        fn drain(&mut self, _: usize, _: &mut Vec<Record>) -> usize {
            0
        }

        fn is_behind(&self) -> bool {
            true
        }
    }

    #[test]
    fn while_a_record_is_being_written_the_merge_hears_of_every_look() {
        let backlog = Backlog::new(None);
        let (sender, receiver) = sync_channel(ROUNDS);
        thread::scope(|scope| {
            let backlog = &backlog;
            scope.spawn(move || pump(&mut [Unfinished], backlog, &sender));
            let wait = Duration::from_secs(60);
            for _ in 0..4 * FAREWELLS {
                assert_eq!(receiver.recv_timeout(wait).map(|round| round.len()), Ok(1));
            }
            drop(receiver);
        });
    }
}
