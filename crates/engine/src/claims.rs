//! Claims that lead nowhere: a handler that says it has dealt with a fault, which then comes again,
//! and again.
//!
//! The same thread faulting at the same instruction with all its registers as before has made no
//! progress. That may be meant, for a moment: a handler can't sleep, so it may have asked a worker
//! for the page and lets the instruction try until it is there. After [`PATIENCE`] it is taken for
//! a loop and the claim is not honoured any more: the kernel gets the fault. Two kinds of claims
//! are no such thing: one by which the handler has moved the instruction pointer on, as one does
//! that performs the access itself; and one that comes again only after [`PAUSE`], when the thread
//! has done something else meanwhile.
//!
//! Rejected: counting repetitions, of which there are a million a second; looking at address and
//! instruction only, which `rep movs` and every loop repeat while they progress; looking at the
//! address at all, since an instruction with two operands may fault on one and on the other in turn
//! for ever.

use crate::{Lane, OutOfMemory, Task};
use alloc::boxed::Box;
use alloc::vec::Vec;
use trapline_insn::Registers;
use trapline_ring::primitive::atomic::{AtomicU64, Ordering};

/// How long the same fault may be claimed without progress, in nanoseconds: one second.
pub const PATIENCE: u64 = 1_000_000_000;

/// How far apart two claims of the same fault are at least if they are no loop, in nanoseconds: a
/// tenth of a second.
const PAUSE: u64 = 100_000_000;

/// Threads whose last claims are remembered. Two that loop at once and share a place restart each
/// other's time, so they may loop on; of 256 places that is unlikely.
const PLACES: usize = 256;

/// The last claim of the threads that have this place.
#[derive(Debug, Default)]
struct Last {
    fingerprint: AtomicU64,
    since: AtomicU64,
    seen: AtomicU64,
}

/// The last claims, by thread.
///
/// They are built where they stay: an array of them in the value would be made on the stack, and
/// moved with the engine, which took most of a kernel stack.
#[derive(Debug)]
pub(crate) struct Claims {
    last: Box<[Last]>,
}

impl Claims {
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let mut last = Vec::new();
        last.try_reserve_exact(PLACES)?;
        last.resize_with(PLACES, Last::default);
        Ok(Self { last: last.into_boxed_slice() })
    }

    /// Bytes of memory that they take besides the value.
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.last)
    }

    /// Whether a claim is to be honoured of a fault of `task` on `lane`, which had registers
    /// `before` and has `after` by its handler, at time `now`.
    ///
    /// A thread is on one CPU at a time (the idle tasks, all of which have number 0, are told apart
    /// by their lanes), so only threads that share a place race here: each store is whole, and
    /// since the times are stored before the fingerprint, a fingerprint stands beside times that
    /// are its own or later by another's claim, never earlier.
    pub(crate) fn honour(
        &self,
        before: &Registers,
        after: &Registers,
        task: &Task,
        lane: Lane,
        now: u64,
    ) -> bool {
        if before.rip != after.rip {
            return true;
        }
        let thread = if task.thread == 0 { u64::MAX - lane.number() as u64 } else { u64::from(task.thread) };
        let Some(last) = self.last.get(thread as usize % PLACES) else { return true };
        let fingerprint = fingerprint(before, thread);
        let seen = last.seen.load(Ordering::Relaxed);
        last.seen.store(now, Ordering::Relaxed);
        let again = last.fingerprint.load(Ordering::Acquire) == fingerprint;
        if again && now.saturating_sub(seen) < PAUSE {
            return now.saturating_sub(last.since.load(Ordering::Relaxed)) <= PATIENCE;
        }
        last.since.store(now, Ordering::Relaxed);
        last.fingerprint.store(fingerprint, Ordering::Release);
        true
    }
}

/// FNV-1a over words: what differs anywhere differs in the result, but for one case in 2^64.
fn fingerprint(registers: &Registers, thread: u64) -> u64 {
    let Registers {
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        rip,
        rsp,
        rflags,
        ..
    } = *registers;
    let words =
        [thread, r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, rip, rsp, rflags];
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn some() -> Registers {
        Registers { rcx: 10, rsp: 100, ..Registers::default() }
    }

    /// The last time at which a claim is honoured that comes each millisecond from `now` on without
    /// progress, for two seconds.
    fn patience(claims: &Claims, registers: &Registers, thread: u32, cpu: usize, now: u64) -> u64 {
        let task = Task { thread, ..Task::default() };
        let times = (0..2000).map(|step| now + step * 1_000_000);
        times
            .take_while(|now| claims.honour(registers, registers, &task, Lane::new(cpu), *now))
            .last()
            .unwrap_or(0)
    }

    #[test]
    fn a_claim_without_progress_is_honoured_for_a_second_and_then_no_more_until_after_a_pause() {
        let claims = Claims::new().unwrap();
        assert_eq!(patience(&claims, &some(), 1, 0, 5), PATIENCE + 5);
        let refused = PATIENCE + 5 + 1_000_000;
        assert!(!claims.honour(
            &some(),
            &some(),
            &Task { thread: 1, ..Task::default() },
            Lane::new(0),
            refused + 1
        ));
        assert_eq!(patience(&claims, &some(), 1, 0, refused + PAUSE + 1), refused + PAUSE + 1 + PATIENCE);
    }

    #[test]
    fn progress_in_any_register_begins_anew() {
        let progress: [fn(&mut Registers); 4] =
            [|r| r.rcx -= 1, |r| r.rip += 1, |r| r.rsp -= 8, |r| r.r15 = 7];
        for change in progress {
            let claims = Claims::new().unwrap();
            assert_eq!(patience(&claims, &some(), 1, 0, 0), PATIENCE);
            let mut registers = some();
            change(&mut registers);
            let now = PATIENCE + 2_000_000;
            assert_eq!(patience(&claims, &registers, 1, 0, now), now + PATIENCE);
        }
    }

    #[test]
    fn a_handler_that_performs_the_access_itself_may_do_so_for_ever() {
        let claims = Claims::new().unwrap();
        let moved_on = Registers { rip: some().rip + 3, ..some() };
        let mut times = (0..5000).map(|step| step * 1_000_000);
        assert!(times.all(|now| claims.honour(&some(), &moved_on, &Task::default(), Lane::new(0), now)));
    }

    #[test]
    fn threads_do_not_share_their_patience_nor_do_the_idle_tasks() {
        let claims = Claims::new().unwrap();
        for (thread, cpu) in [(1, 0), (2, 0), (0, 0), (0, 1)] {
            assert_eq!(patience(&claims, &some(), thread, cpu, 7), PATIENCE + 7, "{thread} on {cpu}");
        }
    }
}
