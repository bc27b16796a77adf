//! The lock-free parts under loom: every interleaving, and every value that a load may see, of small cases.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p trapline-engine --release`

use crate::primitive::RingMemory;
use crate::published::Published;
use crate::{Fault, FaultHandler, HandlerList, Owned, RingWriter, Trap, Verdict};
use core::ptr::NonNull;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use trapline_abi::{Kind, Record};
use trapline_insn::Registers;

/// A handler with something beside its node that must be visible when it is called.
#[repr(C)]
struct Node {
    node: FaultHandler,
    content: UnsafeCell<usize>,
    calls: AtomicUsize,
}

/// # Safety
/// `node` is the first member of a [`Node`] that is alive.
unsafe fn handle(node: NonNull<FaultHandler>, _: &Trap, _: &Fault, _: &mut Registers) -> Verdict {
    // SAFETY: the caller vouches for it.
    let node = unsafe { node.cast::<Node>().as_ref() };
    // SAFETY: written before it was registered, which loom checks.
    assert_eq!(node.content.with(|content| unsafe { *content }), 7);
    node.calls.fetch_add(1, Ordering::Relaxed);
    Verdict::NotOurs
}

fn node() -> Arc<Node> {
    Arc::new(Node {
        node: FaultHandler::new(handle),
        content: UnsafeCell::new(0),
        calls: AtomicUsize::new(0),
    })
}

fn pointer(node: &Arc<Node>) -> NonNull<FaultHandler> {
    NonNull::from(&**node).cast()
}

fn trap() -> Trap {
    // SAFETY: nothing here has interrupts.
    unsafe { Trap::begin(0) }
}

fn ask(list: &HandlerList) {
    let fault = Fault { error_code: crate::ErrorCode(0), address: 0 };
    assert_eq!(list.ask(&trap(), &fault, &mut Registers::default()), Verdict::NotOurs);
}

fn register(list: &HandlerList, node: &Arc<Node>) {
    // SAFETY: not registered yet, so nobody else has it.
    node.content.with_mut(|content| unsafe { *content = 7 });
    // SAFETY: one writer, and the node outlives the model's threads.
    unsafe { list.register(pointer(node), 1) };
}

#[test]
fn a_walker_sees_a_handler_whole_or_not_at_all() {
    loom::model(|| {
        let (list, node) = (Arc::new(HandlerList::new()), node());
        let walker = thread::spawn({
            let list = list.clone();
            move || ask(&list)
        });
        register(&list, &node);
        walker.join().expect("the walker ends");
        ask(&list);
        assert!((1..=2).contains(&node.calls.load(Ordering::Relaxed)));
    });
}

#[test]
fn a_walker_misses_no_handler_that_stays_while_others_leave() {
    loom::model(|| {
        let list = Arc::new(HandlerList::new());
        let nodes = [node(), node(), node()];
        nodes.iter().for_each(|node| register(&list, node));
        let walker = thread::spawn({
            let list = list.clone();
            move || ask(&list)
        });
        // The newest and the one after it leave; the oldest stays.
        for node in [&nodes[1], &nodes[2]] {
            // SAFETY: one writer, and all nodes are alive.
            assert!(unsafe { list.unregister(pointer(node)) });
        }
        walker.join().expect("the walker ends");
        assert_eq!(nodes[0].calls.load(Ordering::Relaxed), 1);
        ask(&list);
        assert_eq!(nodes[0].calls.load(Ordering::Relaxed), 2);
        assert!(nodes[1].calls.load(Ordering::Relaxed) <= 1 && nodes[2].calls.load(Ordering::Relaxed) <= 1);
    });
}

#[test]
fn a_reader_sees_one_snapshot_whole() {
    loom::model(|| {
        let snapshot = |value: usize| {
            let (one, other) = (UnsafeCell::new(0), UnsafeCell::new(0));
            for cell in [&one, &other] {
                // SAFETY: not published yet.
                cell.with_mut(|cell| unsafe { *cell = value });
            }
            Owned::new((one, other)).unwrap_or_else(|_| panic!("memory"))
        };
        let published = Arc::new(Published::empty());
        // SAFETY: nothing was published.
        unsafe { published.replace(Some(snapshot(1))).free() };
        let reader = thread::spawn({
            let published = published.clone();
            move || {
                let trap = trap();
                let (one, other) = published.read(&trap).expect("something is always published");
                // SAFETY: immutable once published, which loom checks.
                let seen = unsafe { (one.with(|one| *one), other.with(|other| *other)) };
                assert!(seen == (1, 1) || seen == (2, 2), "{seen:?}");
            }
        });
        let old = published.replace(Some(snapshot(2)));
        // What `synchronize` is in the kernel.
        reader.join().expect("the reader ends");
        // SAFETY: the only reader has ended.
        unsafe { old.free() };
    });
}

fn record(number: u64) -> Record {
    Record { kind: Kind::Access as u8, payload: [number; 4], ..Record::EMPTY }
}

const CAPACITY: u64 = 8;

fn ring() -> (RingMemory, Arc<RingWriter>) {
    let memory = RingMemory::new(CAPACITY as usize);
    let writer = RingWriter::on(memory.clone(), CAPACITY).expect("a power of two");
    (memory, Arc::new(writer))
}

#[test]
fn the_reader_sees_complete_records_in_order() {
    loom::model(|| {
        let (memory, writer) = ring();
        let pushing = thread::spawn({
            let writer = writer.clone();
            move || assert!(writer.push(record(1), &[]) && writer.push(record(2), &[record(3)]))
        });
        let mut at = 0;
        for _ in 0..2 {
            while let Some(record) = memory.take(at) {
                assert!(record.payload == [at + 1; 4], "{record:?}");
                at += 1;
            }
            thread::yield_now();
        }
        pushing.join().expect("the writer ends");
        while memory.take(at).is_some() {
            at += 1;
        }
        assert_eq!(at, 3);
    });
}

#[test]
fn a_slot_is_written_again_only_after_it_was_read() {
    loom::model(|| {
        let (memory, writer) = ring();
        for number in 0..CAPACITY {
            assert!(writer.push(record(number), &[]));
        }
        let pushing = thread::spawn({
            let writer = writer.clone();
            move || writer.push(record(100), &[])
        });
        assert_eq!(memory.take(0).map(|record| record.payload[0]), Some(0));
        let pushed = pushing.join().expect("the writer ends");
        assert_eq!(writer.dropped(), u64::from(!pushed));
    });
}

#[test]
fn pushes_that_overlap_fill_slots_of_their_own_and_tell_of_lost_records_once() {
    loom::model(|| {
        let (memory, writer) = ring();
        for number in 0..CAPACITY {
            assert!(writer.push(record(number), &[]));
        }
        assert!(!writer.push(record(0), &[]) && !writer.push(record(0), &[record(0)]));
        for position in 0..CAPACITY {
            assert!(memory.take(position).is_some());
        }
        // A trap, and one that nests into it: as threads, which may overlap in more ways than those can.
        let nested = thread::spawn({
            let writer = writer.clone();
            move || writer.push(record(200), &[])
        });
        assert!(writer.push(record(100), &[]));
        assert!(nested.join().expect("the nested push ends"));
        assert!(writer.push(record(300), &[]));
        let (mut told, mut pushed) = (0, Vec::new());
        let mut at = CAPACITY;
        while let Some(record) = memory.take(at) {
            match record.kind == Kind::Lost as u8 {
                true => told += record.payload[0],
                false => pushed.push(record.payload[0]),
            }
            at += 1;
        }
        pushed.sort_unstable();
        assert_eq!((told, writer.dropped()), (3, 3));
        assert_eq!(pushed, [100, 200, 300]);
    });
}
