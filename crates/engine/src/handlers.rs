//! The list of page-fault handlers (seed 0: "x86: Add a list for custom page fault handlers").
//!
//! The newest handler stands at the head and is asked first; the first that claims a fault ends the
//! search. Traps walk the list while handlers come and go; a handler that is removed may still be
//! running until [`PageTables::synchronize`](crate::PageTables::synchronize) has returned. The
//! nodes belong to those who register them: registering can't fail and allocates nothing.

use crate::{Fault, Trap, Verdict};
use core::ptr::NonNull;
use trapline_insn::Registers;
use trapline_ring::primitive::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// What a handler is: it gets its own node, and the fault; it may change the registers if it claims
/// the fault.
///
/// Runs with interrupts off, maybe in NMI context: it must not sleep, allocate or take a lock that
/// the faulting code may hold.
pub type HandleFault = unsafe fn(NonNull<FaultHandler>, &Trap, &Fault, &mut Registers) -> Verdict;

/// A node of the list; first member of whatever its owner needs beside it.
#[repr(C)]
#[derive(Debug)]
pub struct FaultHandler {
    next: AtomicPtr<FaultHandler>,
    handle: HandleFault,
    id: u64,
}

impl FaultHandler {
    /// A node that is in no list yet.
    pub fn new(handle: HandleFault) -> Self {
        Self { next: AtomicPtr::new(core::ptr::null_mut()), handle, id: 0 }
    }

    /// Its number, among those of the probes and never used twice; 0 if it was never registered.
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// The list.
///
/// # Invariants
/// Every node reachable from `head` is alive; a node that was removed stays alive, with its `next`
/// as it was, until no trap can be on it.
#[derive(Debug)]
pub struct HandlerList {
    head: AtomicPtr<FaultHandler>,
    length: AtomicUsize,
}

impl HandlerList {
    /// No handlers.
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(core::ptr::null_mut()), length: AtomicUsize::new(0) }
    }

    /// How many handlers are registered.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks the handlers, newest first, until one claims the fault.
    ///
    /// Bounded by the number of registered handlers: `next` of a node never changes but to skip a
    /// removed one, so no walk meets a node twice.
    pub(crate) fn ask(&self, trap: &Trap, fault: &Fault, registers: &mut Registers) -> Verdict {
        // Acquire pairs with the release stores below: whoever sees a node sees its `next` and
        // `handle`. A walker that is overtaken by a removal goes on from the removed node, whose
        // `next` still leads into the list.
        let mut at = self.head.load(Ordering::Acquire);
        while let Some(node) = NonNull::new(at) {
            // SAFETY: alive by the list's invariant, since this trap began before any wait that its
            // removal would be followed by.
            let (handle, next) =
                unsafe { (node.as_ref().handle, node.as_ref().next.load(Ordering::Acquire)) };
            // SAFETY: the contract of `HandlerList::register`: the handler may be called with its
            // own node.
            match unsafe { handle(node, trap, fault, registers) } {
                Verdict::NotOurs => at = next,
                claimed => return claimed,
            }
        }
        Verdict::NotOurs
    }

    /// The registered nodes, newest first, as the writer sees them.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NonNull<FaultHandler>> {
        core::iter::successors(NonNull::new(self.head.load(Ordering::Relaxed)), |node| {
            // SAFETY: a registered node is alive by the list's invariant.
            NonNull::new(unsafe { node.as_ref() }.next.load(Ordering::Relaxed))
        })
    }

    /// Puts `node` at the head, with number `id`.
    ///
    /// # Safety
    /// No other writer is active on this list. `node` is in no list, stays where it is and alive
    /// until it was unregistered and `synchronize` has returned since, and its handler may be
    /// called with it in any trap until then.
    pub(crate) unsafe fn register(&self, node: NonNull<FaultHandler>, id: u64) {
        let head = self.head.load(Ordering::Relaxed);
        // SAFETY: in no list, so nobody else looks at it; `register` asks for it to be alive.
        unsafe { (*node.as_ptr()).id = id };
        // SAFETY: alive: `register` asks for that.
        unsafe { node.as_ref() }.next.store(head, Ordering::Relaxed);
        // Release: the node's content is visible before the node is.
        self.head.store(node.as_ptr(), Ordering::Release);
        self.length.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `node` out; returns whether it was in the list. It may still be running on any CPU
    /// until `synchronize` returns.
    ///
    /// # Safety
    /// No other writer is active on this list, and every registered node is alive.
    pub(crate) unsafe fn unregister(&self, node: NonNull<FaultHandler>) -> bool {
        let mut link = &self.head;
        loop {
            let at = link.load(Ordering::Relaxed);
            let Some(current) = NonNull::new(at) else { return false };
            // SAFETY: a registered node is alive.
            let current_ref = unsafe { current.as_ref() };
            if current == node {
                // Release: as in `register`, for the node that becomes reachable here. `node.next`
                // stays, for walkers that stand on it.
                link.store(current_ref.next.load(Ordering::Relaxed), Ordering::Release);
                self.length.fetch_sub(1, Ordering::Relaxed);
                return true;
            }
            link = &current_ref.next;
        }
    }
}

// SAFETY: the list is made for concurrent walkers; writers are excluded by the contract of the
// unsafe methods.
unsafe impl Sync for HandlerList {}
// SAFETY: as above; the nodes are not tied to a thread.
unsafe impl Send for HandlerList {}
