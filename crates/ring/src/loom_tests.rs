//! The ring under loom: every interleaving, and every value that a load may see, of small cases.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p trapline-ring --release --lib`

use crate::{RingReader, RingWriter, pair};
use loom::sync::Arc;
use loom::thread;
use trapline_abi::{Kind, Record};

const CAPACITY: u64 = 8;

fn record(number: u64) -> Record {
    Record { kind: Kind::Access as u8, payload: [number; 4], ..Record::EMPTY }
}

fn ring() -> (Arc<RingWriter>, RingReader<'static>) {
    let (writer, reader) = pair(CAPACITY, 0).expect("a power of two");
    (Arc::new(writer), reader)
}

/// A trap that pushes. Where two overlap the second is a trap that nests into the first: as a
/// thread, which may overlap in more ways than that can.
fn push(writer: &RingWriter, record: Record, more: &[Record]) -> bool {
    // SAFETY: under loom the updates of the writer's words are whole for other threads too, so any
    // thread may stand for the ring's CPU.
    unsafe { writer.push(record, more) }
}

fn drained(reader: &mut RingReader<'_>) -> Vec<Record> {
    let mut out = Vec::new();
    reader.drain(usize::MAX, &mut out);
    out
}

#[test]
fn the_reader_sees_complete_records_in_order() {
    loom::model(|| {
        let (writer, mut reader) = ring();
        let pushing = thread::spawn({
            let writer = writer.clone();
            move || assert!(push(&writer, record(1), &[]) && push(&writer, record(2), &[record(3)]))
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.extend(drained(&mut reader));
            thread::yield_now();
        }
        pushing.join().expect("the writer ends");
        seen.extend(drained(&mut reader));
        assert_eq!(seen.iter().map(|record| record.payload).collect::<Vec<_>>(), [[1; 4], [2; 4], [3; 4]]);
        assert!(!reader.is_behind());
    });
}

#[test]
fn a_slot_is_written_again_only_after_it_was_read() {
    loom::model(|| {
        let (writer, mut reader) = ring();
        for number in 0..CAPACITY {
            assert!(push(&writer, record(number), &[]));
        }
        let pushing = thread::spawn({
            let writer = writer.clone();
            move || push(&writer, record(100), &[])
        });
        let mut out = Vec::new();
        assert_eq!((reader.drain(1, &mut out), out[0].payload[0]), (1, 0));
        let pushed = pushing.join().expect("the writer ends");
        assert_eq!(writer.dropped(), u64::from(!pushed));
    });
}

#[test]
fn pushes_that_overlap_fill_slots_of_their_own_and_tell_of_lost_records_once() {
    loom::model(|| {
        let (writer, mut reader) = ring();
        for number in 0..CAPACITY {
            assert!(push(&writer, record(number), &[]));
        }
        assert!(!push(&writer, record(0), &[]) && !push(&writer, record(0), &[record(0)]));
        assert_eq!(drained(&mut reader).len() as u64, CAPACITY);
        let nested = thread::spawn({
            let writer = writer.clone();
            move || push(&writer, record(200), &[])
        });
        assert!(push(&writer, record(100), &[]));
        assert!(nested.join().expect("the nested push ends"));
        assert!(push(&writer, record(300), &[]));
        let (told, pushed): (Vec<_>, Vec<_>) =
            drained(&mut reader).into_iter().partition(|record| record.kind == Kind::Lost as u8);
        assert_eq!((told.iter().map(|lost| lost.payload[0]).sum::<u64>(), writer.dropped()), (3, 3));
        let mut pushed: Vec<_> = pushed.iter().map(|record| record.payload[0]).collect();
        pushed.sort_unstable();
        assert_eq!(pushed, [100, 200, 300]);
    });
}

#[test]
fn a_ring_that_was_read_looks_empty_in_whatever_order_heads_were_shown() {
    loom::model(|| {
        let (writer, mut reader) = ring();
        let nested = thread::spawn({
            let writer = writer.clone();
            move || push(&writer, record(200), &[])
        });
        assert!(push(&writer, record(100), &[]));
        assert!(nested.join().expect("the nested push ends"));
        assert_eq!(drained(&mut reader).len(), 2);
        assert!(!reader.is_behind());
    });
}
