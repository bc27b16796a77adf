//! The reader against a writer that follows the protocol of `trapline_abi`, in another thread.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

use trapline_abi::Kind;

use super::*;

/// The writing end, as the engine's, in memory that the test shares with the reader.
struct Ring {
    control: RingControl,
    slots: Box<[Cell]>,
}

/// A slot with a record's alignment.
#[repr(C, align(64))]
#[derive(Default)]
struct Cell(Slot);

impl Ring {
    fn new(capacity: u64) -> Self {
        let control = RingControl {
            version: AtomicU32::new(ABI_VERSION),
            cpu: AtomicU32::new(3),
            capacity: AtomicU64::new(capacity),
            head: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            padding: [0; 4],
            tail: AtomicU64::new(0),
        };
        Self { control, slots: (0..capacity).map(|_| Cell::default()).collect() }
    }

    fn reader(&self) -> Result<RingReader<'_>, RingError> {
        let records = NonNull::from(&self.slots[0]).cast();
        // SAFETY: the slots live as long as the borrow of `self`, there are `capacity` of them, and each test has one reader and one writer.
        unsafe { RingReader::new(&self.control, records, self.slots.len() as u64) }
    }

    /// Reserves the next position; `None` if the ring is full, which is counted.
    fn reserve(&self) -> Option<u64> {
        let head = self.control.head.load(Relaxed);
        if head - self.control.tail.load(Acquire) >= self.slots.len() as u64 {
            self.control.dropped.fetch_add(1, Relaxed);
            return None;
        }
        self.control.head.store(head + 1, Relaxed);
        Some(head)
    }

    fn complete(&self, position: u64, words: [u64; 7]) {
        let slot = &self.slots[(position % self.slots.len() as u64) as usize].0;
        for (word, value) in slot[1..].iter().zip(words) {
            word.store(value, Relaxed);
        }
        slot[0].store(stamp(position), Release);
    }

    fn write(&self, number: u64) -> bool {
        let Some(position) = self.reserve() else { return false };
        self.complete(
            position,
            [number, u64::from(Kind::Access as u8), number << 32 | 7, !number, number, number * 3, 0],
        );
        true
    }
}

fn drained(reader: &mut RingReader<'_>) -> Vec<u64> {
    let mut out = Vec::new();
    reader.drain(usize::MAX, &mut out);
    out.iter().map(|record| record.time).collect()
}

#[test]
fn a_record_arrives_with_every_field_in_its_place() {
    let ring = Ring::new(4);
    let position = ring.reserve().unwrap();
    let what = u64::from_le_bytes([1, 2, 3, 0, 0x34, 0x12, 5, 0]);
    ring.complete(position, [99, what, 0x0000_0011_0000_0022, 10, 11, 12, 13]);
    let mut out = Vec::new();
    assert_eq!(ring.reader().unwrap().drain(8, &mut out), 1);
    let expected = Record {
        stamp: 1,
        time: 99,
        kind: 1,
        flags: 2,
        width: 3,
        way: 0,
        cpu: 0x1234,
        more: 5,
        reserved: 0,
        task: 0x22,
        mapping: 0x11,
        payload: [10, 11, 12, 13],
    };
    assert_eq!(out, [expected]);
}

#[test]
fn a_record_that_is_reserved_but_not_complete_holds_back_those_after_it() {
    let ring = Ring::new(8);
    let mut reader = ring.reader().unwrap();
    let early = ring.reserve().unwrap();
    ring.write(2);
    assert_eq!(drained(&mut reader), [0; 0]);
    assert!(reader.is_behind());
    ring.complete(early, [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(drained(&mut reader), [1, 2]);
    assert!(!reader.is_behind());
}

#[test]
fn a_full_ring_takes_nothing_more_until_it_is_read() {
    let ring = Ring::new(4);
    let mut reader = ring.reader().unwrap();
    assert_eq!((0..6).filter(|number| ring.write(*number)).count(), 4);
    assert_eq!(reader.dropped(), 2);
    assert_eq!(drained(&mut reader), [0, 1, 2, 3]);
    assert!(ring.write(6));
    assert_eq!(drained(&mut reader), [6]);
}

#[test]
fn a_drain_takes_at_most_what_it_is_asked_for() {
    let ring = Ring::new(8);
    let mut reader = ring.reader().unwrap();
    (0..5).for_each(|number| assert!(ring.write(number)));
    let mut out = Vec::new();
    assert_eq!(reader.drain(3, &mut out), 3);
    assert_eq!(ring.control.tail.load(Relaxed), 3);
    assert_eq!(drained(&mut reader), [3, 4]);
}

#[test]
fn another_version_and_another_capacity_are_refused() {
    let ring = Ring::new(4);
    ring.control.version.store(ABI_VERSION + 1, Relaxed);
    assert_eq!(ring.reader().unwrap_err(), RingError::Version { found: ABI_VERSION + 1 });
    ring.control.version.store(ABI_VERSION, Relaxed);
    ring.control.capacity.store(8, Relaxed);
    assert_eq!(ring.reader().unwrap_err(), RingError::Capacity { cpu: 3, found: 8, expected: 4 });
}

#[test]
fn everything_a_busy_writer_gets_into_a_small_ring_is_read_once_whole_and_in_order() {
    const COUNT: u64 = if cfg!(miri) { 200 } else { 200_000 };
    let ring = Ring::new(16);
    let done = AtomicBool::new(false);
    let mut read: Vec<Record> = Vec::new();
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = (0..COUNT).filter(|number| ring.write(*number)).count();
            done.store(true, Release);
            written
        });
        let mut reader = ring.reader().unwrap();
        // `done` before the drain: what was written before it was set is seen by the drain after it.
        loop {
            let last = done.load(Acquire);
            if reader.drain(5, &mut read) == 0 {
                if last {
                    break;
                }
                std::thread::yield_now();
            }
        }
        writer.join().unwrap()
    });
    assert_eq!(read.len(), written);
    assert_eq!(written as u64 + ring.control.dropped.load(Relaxed), COUNT);
    assert!(read.is_sorted_by_key(|record| record.time));
    for record in read {
        let number = record.time;
        assert_eq!((record.task, u64::from(record.mapping)), (7, number));
        assert_eq!(record.payload, [!number, number, number * 3, 0]);
    }
}
