//! The lock-free parts under loom: every interleaving, and every value that a load may see, of
//! small cases.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p trapline-engine --release`

use crate::published::Published;
use crate::{Fault, FaultHandler, HandlerList, Lane, Owned, Trap, Verdict};
use core::ptr::NonNull;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
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
    // SAFETY: the first member of a `Node` that is alive: `handle` asks for that.
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
    unsafe { Trap::begin(Lane::new(0)) }
}

fn ask(list: &HandlerList) {
    let fault = Fault { error_code: crate::ErrorCode(0), address: crate::Linear(0) };
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
