//! What a ring holds after pushes, and that a reader who lies harms only itself.

use crate::{RingError, RingMemory, RingReader, RingWriter, pair};
use proptest::prelude::*;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use trapline_abi::{ABI_VERSION, Kind, RECORD_SIZE, RING_CONTROL_SIZE, Record, RingGeometry, stamp};

const CAPACITY: u64 = 8;

fn record(number: u64) -> Record {
    Record { kind: Kind::Access as u8, time: number, payload: [number; 4], ..Record::EMPTY }
}

fn push(writer: &RingWriter, record: Record, more: &[Record]) -> bool {
    // SAFETY: each test pushes from one thread, and nothing interrupts it that pushes.
    unsafe { writer.push(record, more) }
}

fn push_words(writer: &RingWriter, record: Record, words: &[u64]) -> bool {
    // SAFETY: as in `push`.
    unsafe { writer.push_words(record, words) }
}

fn ring() -> (RingWriter, RingReader<'static>) {
    pair(CAPACITY, 3).expect("a power of two")
}

/// As [`ring`], and the memory, for tests that do half of a push.
fn ring_and_memory() -> (RingMemory, RingWriter, RingReader<'static>) {
    let memory = RingMemory::owned(CAPACITY).expect("a power of two");
    memory.set_up(3);
    // SAFETY: the only ends of a ring of the test's own.
    let (writer, reader) = unsafe { (RingWriter::new(memory.clone()), RingReader::new(memory.clone())) };
    (memory, writer, reader.expect("set up"))
}

fn drained(reader: &mut RingReader<'_>, max: usize) -> Vec<Record> {
    let mut out = Vec::new();
    assert_eq!(reader.drain(max, &mut out), out.len());
    out
}

/// First word of the payload of all that can be read.
fn numbers(reader: &mut RingReader<'_>) -> Vec<u64> {
    drained(reader, usize::MAX).iter().map(|record| record.payload[0]).collect()
}

#[test]
fn a_ring_whose_capacity_is_no_power_of_two_or_tiny_is_refused() {
    for capacity in [0, 1, 4, 7, 12, u64::MAX] {
        assert_eq!(pair(capacity, 0).err(), Some(RingError::Size { capacity }));
    }
}

#[test]
fn a_record_arrives_with_every_field_but_a_stamp_of_its_own() {
    let (writer, mut reader) = ring();
    let sent = Record {
        stamp: 77,
        time: 99,
        kind: 1,
        flags: 2,
        width: 3,
        way: 1,
        cpu: 0x1234,
        more: 0,
        change: 0,
        task: 0x22,
        mapping: 0x11,
        payload: [10, 11, 12, 13],
    };
    assert!(push(&writer, sent, &[]));
    assert_eq!(drained(&mut reader, 8), [Record { stamp: stamp(0), ..sent }]);
    assert_eq!(reader.cpu(), 3);
}

#[test]
fn the_parts_of_a_record_follow_it() {
    let (writer, mut reader) = ring();
    assert!(push(&writer, record(1), &[record(2), record(3)]));
    let all = drained(&mut reader, 8);
    let (access, more) = (Kind::Access as u8, Kind::More as u8);
    assert_eq!(all.iter().map(|record| record.kind).collect::<Vec<_>>(), [access, more, more]);
    assert_eq!(all.iter().map(|record| record.payload[0]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all[0].more, 2);
}

#[test]
fn what_found_no_room_is_told_of_before_the_next_record() {
    let (writer, mut reader) = ring();
    for number in 0..CAPACITY {
        assert!(push(&writer, record(number), &[]));
    }
    assert!(!push(&writer, record(100), &[record(101)]));
    assert_eq!(drained(&mut reader, 1).len(), 1);
    assert!(!push(&writer, record(102), &[]), "there is room for it, but not for what was lost before it");
    assert_eq!(drained(&mut reader, 1).len(), 1);
    let sent = Record { cpu: 5, task: 6, ..record(103) };
    assert!(push(&writer, sent, &[]));
    let rest = drained(&mut reader, usize::MAX);
    let [.., lost, last] = rest[..] else { panic!("{rest:?}") };
    assert_eq!((lost.kind, lost.payload, last.payload[0]), (Kind::Lost as u8, [3, 0, 0, 0], 103));
    // It is told of at the time, on the CPU and in the task of the record that it stands before.
    assert_eq!((lost.time, lost.cpu, lost.task), (103, 5, 6));
    assert_eq!((writer.dropped(), reader.dropped()), (3, 3));
}

#[test]
fn a_drain_takes_at_most_what_it_is_asked_for_and_hands_back_no_more() {
    let (writer, mut reader) = ring();
    (0..CAPACITY).for_each(|number| assert!(push(&writer, record(number), &[])));
    assert_eq!(drained(&mut reader, 3).len(), 3);
    assert!(reader.is_behind(), "five are left");
    (0..3).for_each(|number| assert!(push(&writer, record(8 + number), &[])));
    assert!(!push(&writer, record(11), &[]));
    assert_eq!(numbers(&mut reader), [3, 4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_record_that_is_reserved_but_not_complete_holds_back_those_after_it() {
    let (memory, writer, mut reader) = ring_and_memory();
    let early = writer.reserve_positions(1).expect("room");
    assert!(push(&writer, record(2), &[]));
    assert_eq!(numbers(&mut reader), [0; 0]);
    assert!(reader.is_behind());
    // SAFETY: reserved just now, in an empty ring.
    unsafe { memory.fill(early, record(1)) };
    assert_eq!(numbers(&mut reader), [1, 2]);
    assert!(!reader.is_behind());
}

#[test]
fn a_ring_that_was_read_looks_empty_though_a_nested_trap_came_before_the_head_was_shown() {
    let (memory, writer, mut reader) = ring_and_memory();
    // The outer trap reserves position 0; before it shows that, a nested one pushes at 1.
    let outer = writer.reserve_positions(1).expect("room");
    assert!(push(&writer, record(2), &[]));
    memory.show_head(outer + 1);
    assert!(reader.is_behind(), "the outer trap's record is still being written");
    // SAFETY: reserved by the outer trap, in an empty ring.
    unsafe { memory.fill(outer, record(1)) };
    assert_eq!(numbers(&mut reader), [1, 2]);
    assert!(!reader.is_behind(), "nothing is being written, and there is nothing to read");
}

#[test]
fn another_version_and_another_capacity_are_refused() {
    let area = Area::new(1);
    // SAFETY: a refused reader reads nothing.
    let reader = |capacity| unsafe { RingReader::new(area.ring(0, capacity)).err() };
    assert_eq!(reader(CAPACITY), Some(RingError::Version { found: 0 }));
    area.ring(0, CAPACITY).set_up(3);
    assert_eq!(reader(CAPACITY), None);
    assert_eq!(reader(16), Some(RingError::Capacity { cpu: 3, found: 8, expected: 16 }));
    area.words()[0].store(u64::from(ABI_VERSION + 1), Ordering::Relaxed);
    assert_eq!(reader(CAPACITY), Some(RingError::Version { found: ABI_VERSION + 1 }));
}

#[test]
fn an_error_says_what_was_found_and_what_was_expected() {
    for (error, words) in [
        (RingError::Size { capacity: 7 }, vec!["7 records", "power of two from 8"]),
        (RingError::Version { found: 3 }, vec!["version 3", "load the module"]),
        (RingError::Capacity { cpu: 2, found: 8, expected: 16 }, vec!["CPU 2", "holds 8", "expected 16"]),
    ] {
        let said = error.to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

/// A page.
#[repr(align(4096))]
struct Page([AtomicU64; RING_CONTROL_SIZE / 8]);

/// Memory as the kernel gives it: rings of [`CAPACITY`] records, one after the other, each from a
/// page on, with a page after the last. What is not theirs is filled with [`GUARD`].
struct Area(Box<[Page]>);

const GUARD: u64 = 0x5555_5555;
/// Words of the control page that are used.
const CONTROL: usize = 9;
/// Words of the records.
const RECORDS: usize = CAPACITY as usize * RECORD_SIZE / 8;

impl Area {
    fn new(rings: usize) -> Self {
        let page = |number: usize| {
            let used = match number {
                _ if number >= 2 * rings => 0,
                _ if number.is_multiple_of(2) => CONTROL,
                _ => RECORDS,
            };
            Page(std::array::from_fn(|word| AtomicU64::new(if word < used { 0 } else { GUARD })))
        };
        Self((0..2 * rings + 1).map(page).collect())
    }

    /// The ring from page `2 * number` on.
    fn ring(&self, number: usize, capacity: u64) -> RingMemory {
        let base = NonNull::from(&self.0[2 * number..]).cast();
        // SAFETY: pages of zeros, as many as are used; the tests use the value while the area
        // lives, and look at the words as atomics.
        unsafe { RingMemory::at(base, capacity) }.expect("a power of two")
    }

    fn words(&self) -> &[AtomicU64] {
        &self.0[0].0
    }

    fn assert_guards(&self) {
        let beside = |number: usize| match number.is_multiple_of(2) {
            _ if number + 1 == self.0.len() => 0..,
            true => CONTROL..,
            false => RECORDS..,
        };
        for (number, page) in self.0.iter().enumerate() {
            let guards = &page.0[beside(number)];
            assert!(guards.iter().all(|word| word.load(Ordering::Relaxed) == GUARD), "page {number}");
        }
    }
}

#[test]
fn a_ring_in_given_memory_lies_where_its_readers_expect_it() {
    let area = Area::new(1);
    let memory = area.ring(0, CAPACITY);
    memory.set_up(3);
    // SAFETY: the only writer.
    let writer = unsafe { RingWriter::new(memory.clone()) };
    for number in 0..=CAPACITY {
        push(&writer, record(number), &[]);
    }
    memory.hand_back(5);
    let words = |range: std::ops::Range<usize>| -> Vec<_> {
        area.words()[range].iter().map(|word| word.load(Ordering::Relaxed)).collect()
    };
    // Version and CPU, capacity, head, dropped; the tail on a line of its own.
    assert_eq!(words(0..4), [u64::from(ABI_VERSION) | 3 << 32, CAPACITY, 8, 1]);
    assert_eq!(words(4..9), [0, 0, 0, 0, 5]);
    let second: Vec<_> = area.0[1].0[8..16].iter().map(|word| word.load(Ordering::Relaxed)).collect();
    assert_eq!(second, Record { stamp: stamp(1), ..record(1) }.to_words());
    let geometry = RingGeometry { rings: 4, reserved: 0, capacity: CAPACITY };
    assert_eq!((geometry.stride(), geometry.offset(3)), (4096 + 8 * 64, 3 * (4096 + 8 * 64)));
    area.assert_guards();
}

proptest! {
    #[test]
    fn whatever_the_reader_claims_the_writer_stays_inside_the_ring_and_counts(
        steps in prop::collection::vec((prop_oneof![0..40u64, any::<u64>()], 0..4usize), 1..40),
    ) {
        let area = Area::new(1);
        let memory = area.ring(0, CAPACITY);
        // SAFETY: the only writer.
        let writer = unsafe { RingWriter::new(memory.clone()) };
        let mut dropped = 0;
        for (tail, parts) in steps {
            memory.hand_back(tail);
            let more = [record(7); 4];
            if !push(&writer, record(1), &more[..parts]) {
                dropped += 1 + parts as u64;
            }
            prop_assert_eq!(writer.dropped(), dropped);
        }
        area.assert_guards();
    }
}

#[test]
fn the_words_of_a_hit_fill_its_record_and_then_those_that_follow() {
    for (count, records) in [(0, 1), (1, 1), (2, 1), (3, 2), (6, 2), (7, 3), (30, 8)] {
        let (writer, mut reader) = ring();
        let hit = Record { kind: Kind::Hit as u8, payload: [7, 0, 0, 0], ..Record::EMPTY };
        let told: Vec<u64> = (1..=count).collect();
        assert!(push_words(&writer, hit, &told));
        let all = drained(&mut reader, usize::MAX);
        let (first, parts) = all.split_first().expect("a record");
        assert_eq!((first.kind, first.payload[0]), (Kind::Hit as u8, 7));
        assert_eq!((usize::from(first.more), all.len()), (parts.len(), records), "{count} words");
        assert!(parts.iter().all(|part| part.kind == Kind::More as u8));
        let words = first.payload[2..].iter().chain(parts.iter().flat_map(|part| &part.payload));
        let found: Vec<u64> = words.copied().collect();
        assert_eq!(found[..told.len()], told);
        assert!(found[told.len()..].iter().all(|&word| word == 0));
    }
}

#[test]
fn a_hit_that_is_larger_than_the_ring_is_counted_and_leaves_it_as_it_was() {
    let (writer, mut reader) = ring();
    assert!(!push_words(&writer, record(1), &[0; 31]));
    assert_eq!((writer.dropped(), drained(&mut reader, 8).len()), (9, 0));
    assert!(!push_words(&writer, record(1), &[0; 4096]));
    assert_eq!(writer.dropped(), 9 + 256);
    assert!(push(&writer, record(2), &[]));
}

#[test]
fn everything_a_busy_writer_gets_into_a_small_ring_is_read_once_whole_and_in_order() {
    const COUNT: u64 = if cfg!(miri) { 200 } else { 200_000 };
    let (writer, mut reader) = pair(16, 0).expect("a power of two");
    let done = AtomicBool::new(false);
    let mut read: Vec<Record> = Vec::new();
    let written = std::thread::scope(|scope| {
        let (writer, done) = (&writer, &done);
        let writing = scope.spawn(move || {
            let written = (0..COUNT).filter(|number| push(writer, record(*number), &[])).count();
            done.store(true, Ordering::Release);
            written
        });
        // `done` before the drain: what was written before it was set is seen by the drain after
        // it.
        loop {
            let last = done.load(Ordering::Acquire);
            if reader.drain(5, &mut read) == 0 {
                if last {
                    break;
                }
                std::thread::yield_now();
            }
        }
        writing.join().expect("the writer ends")
    });
    let (told, read): (Vec<Record>, Vec<Record>) =
        read.into_iter().partition(|record| record.kind == Kind::Lost as u8);
    assert_eq!((read.len(), writer.dropped()), (written, COUNT - written as u64));
    // Those lost after the last record are not told of yet.
    assert!(told.iter().map(|lost| lost.payload[0]).sum::<u64>() <= writer.dropped());
    assert!(read.is_sorted_by_key(|record| record.time));
    assert!(read.iter().all(|record| record.payload == [record.time; 4]));
}
