//! What a ring holds after pushes, and that a reader who lies harms only itself.

use super::RingWriter;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use proptest::prelude::*;
use trapline_abi::{Kind, Record, RingControl, stamp};

const CAPACITY: u64 = 8;

/// A ring with a guard record on each side.
struct Ring {
    control: RingControl,
    records: Box<[UnsafeCell<Record>; CAPACITY as usize + 2]>,
}

const GUARD: Record = Record { stamp: 0x5555, time: 0x5555, ..Record::EMPTY };

impl Ring {
    fn new() -> Self {
        let control = RingControl {
            version: 0.into(),
            cpu: 0.into(),
            capacity: CAPACITY.into(),
            head: 0.into(),
            dropped: 0.into(),
            padding: [0; 4],
            tail: 0.into(),
        };
        let guard = |number| number == 0 || number == CAPACITY as usize + 1;
        let record = |number| UnsafeCell::new(if guard(number) { GUARD } else { Record::EMPTY });
        Self { control, records: Box::new(core::array::from_fn(record)) }
    }

    fn writer(&self) -> RingWriter {
        let records = NonNull::from(&self.records[1..]).cast();
        // SAFETY: the tests look at records only between pushes, on one thread.
        unsafe { RingWriter::new(NonNull::from(&self.control), records, CAPACITY) }.expect("a power of two")
    }

    fn record(&self, slot: usize) -> Record {
        // SAFETY: no push is under way.
        unsafe { *self.records[slot].get() }
    }

    fn at(&self, position: u64) -> Record {
        self.record((position % CAPACITY) as usize + 1)
    }
}

fn record(number: u64) -> Record {
    Record { kind: Kind::Access as u8, payload: [number; 4], ..Record::EMPTY }
}

#[test]
fn a_ring_whose_capacity_is_no_power_of_two_or_tiny_is_refused() {
    let ring = Ring::new();
    for capacity in [0, 1, 4, 7, 12] {
        let records = NonNull::from(&ring.records[1..]).cast();
        // SAFETY: refused, or else not used.
        assert!(unsafe { RingWriter::new(NonNull::from(&ring.control), records, capacity) }.is_none());
    }
}

#[test]
fn the_parts_of_a_record_follow_it() {
    let ring = Ring::new();
    assert!(ring.writer().push(record(1), &[record(2), record(3)]));
    let kinds = [0, 1, 2].map(|position| (ring.at(position).kind, ring.at(position).stamp));
    let more = Kind::More as u8;
    assert_eq!(kinds, [(Kind::Access as u8, stamp(0)), (more, stamp(1)), (more, stamp(2))]);
    assert_eq!(ring.at(0).more, 2);
}

#[test]
fn what_found_no_room_is_told_of_before_the_next_record() {
    let (ring, record_of) = (Ring::new(), |number| record(number));
    let writer = ring.writer();
    for number in 0..CAPACITY {
        assert!(writer.push(record_of(number), &[]));
    }
    assert!(!writer.push(record_of(100), &[record_of(101)]));
    ring.control.tail.store(1, Ordering::Release);
    assert!(!writer.push(record_of(102), &[]), "there is room for it, but not for what was lost before it");
    ring.control.tail.store(2, Ordering::Release);
    assert!(writer.push(record_of(103), &[]));
    assert_eq!((ring.at(CAPACITY).kind, ring.at(CAPACITY).payload[0]), (Kind::Lost as u8, 3));
    assert_eq!(ring.at(CAPACITY + 1).payload[0], 103);
    assert_eq!(writer.dropped(), 3);
}

proptest! {
    #[test]
    fn whatever_the_reader_claims_the_writer_stays_inside_the_ring_and_counts(
        steps in prop::collection::vec((prop_oneof![0..40u64, any::<u64>()], 0..4usize), 1..40),
    ) {
        let ring = Ring::new();
        let writer = ring.writer();
        let mut dropped = 0;
        for (tail, parts) in steps {
            ring.control.tail.store(tail, Ordering::Release);
            let more = [record(7); 4];
            if !writer.push(record(1), &more[..parts]) {
                dropped += 1 + parts as u64;
            }
            prop_assert_eq!(writer.dropped(), dropped);
        }
        prop_assert_eq!(ring.record(0), GUARD);
        prop_assert_eq!(ring.record(CAPACITY as usize + 1), GUARD);
    }
}

/// The words of the hit at `position`, and how many records it takes.
fn words(ring: &Ring, position: u64) -> (Vec<u64>, u64) {
    let head = ring.at(position);
    let parts = (1..=u64::from(head.more)).flat_map(|offset| {
        let part = ring.at(position + offset);
        assert_eq!((part.stamp, part.kind), (stamp(position + offset), Kind::More as u8));
        part.payload
    });
    assert_eq!((head.stamp, head.kind, head.payload[0]), (stamp(position), Kind::Hit as u8, 7));
    (head.payload[2..].iter().copied().chain(parts).collect(), 1 + u64::from(head.more))
}

#[test]
fn the_words_of_a_hit_fill_its_record_and_then_those_that_follow() {
    for (count, records) in [(0, 1), (1, 1), (2, 1), (3, 2), (6, 2), (7, 3), (30, 8)] {
        let ring = Ring::new();
        let hit = Record { kind: Kind::Hit as u8, payload: [7, 0, 0, 0], ..Record::EMPTY };
        let told: Vec<u64> = (1..=count).collect();
        assert!(ring.writer().push_words(hit, &told));
        let (found, used) = words(&ring, 0);
        assert_eq!(used, records, "{count} words");
        assert_eq!(found[..told.len()], told);
        assert!(found[told.len()..].iter().all(|&word| word == 0));
    }
}

#[test]
fn a_hit_that_is_larger_than_the_ring_is_counted_and_leaves_it_as_it_was() {
    let ring = Ring::new();
    let writer = ring.writer();
    assert!(!writer.push_words(record(1), &[0; 31]));
    assert_eq!((writer.dropped(), ring.at(0)), (9, Record::EMPTY));
    assert!(!writer.push_words(record(1), &[0; 4096]));
    assert_eq!(writer.dropped(), 9 + 256);
    assert!(writer.push(record(2), &[]));
}
