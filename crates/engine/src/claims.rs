//! Claims that lead nowhere: a handler that says it has dealt with a fault, which then comes again, and again.
//!
//! The same thread faulting on the same address with all its registers as before has made no progress. That may be meant, for a moment: a handler can't sleep, so it may have
//! asked a worker for the page and lets the instruction try until it is there. After [`PATIENCE`] it is taken for a loop and the claim is not honoured any more: the
//! kernel gets the fault. Rejected: counting repetitions, of which there are a million a second; looking at address and instruction only, which `rep movs` and every
//! loop repeat while they progress.

use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::{Fault, Task};
use trapline_insn::Registers;

/// How long the same fault may be claimed without progress, in nanoseconds: one second.
pub const PATIENCE: u64 = 1_000_000_000;

/// Threads whose last claims are remembered. Two that loop at once and share a place restart each other's time, so they may loop on; of 256 places that is unlikely.
const PLACES: usize = 256;

/// The last claim of the threads that have this place.
#[derive(Debug, Default)]
struct Last {
    fingerprint: AtomicU64,
    since: AtomicU64,
}

/// The last claims, by thread.
#[derive(Debug)]
pub(crate) struct Claims {
    last: [Last; PLACES],
}

impl Claims {
    pub(crate) fn new() -> Self {
        Self { last: core::array::from_fn(|_| Last::default()) }
    }

    /// Whether a claim of `fault` is to be honoured, which has `registers` before the handler changes any, at time `now`.
    ///
    /// A thread is on one CPU at a time, so only threads that share a place race here: each store is whole, and since the time is stored before the fingerprint, a fingerprint
    /// stands beside a time that is its own or later by another's claim, never earlier.
    pub(crate) fn honour(&self, fault: &Fault, registers: &Registers, task: &Task, now: u64) -> bool {
        let Some(last) = self.last.get(task.thread as usize % PLACES) else { return true };
        let fingerprint = fingerprint(fault, registers, task);
        if last.fingerprint.load(Ordering::Acquire) == fingerprint {
            return now.saturating_sub(last.since.load(Ordering::Relaxed)) <= PATIENCE;
        }
        last.since.store(now, Ordering::Relaxed);
        last.fingerprint.store(fingerprint, Ordering::Release);
        true
    }
}

/// FNV-1a over words: what differs anywhere differs in the result, but for one case in 2^64.
fn fingerprint(fault: &Fault, registers: &Registers, task: &Task) -> u64 {
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
    let words = [
        u64::from(task.thread),
        fault.address,
        fault.error_code.0.into(),
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
    ];
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ErrorCode;

    fn task(thread: u32) -> Task {
        Task { thread, ..Task::default() }
    }

    const FAULT: Fault = Fault { error_code: ErrorCode(4), address: 0x1000 };

    #[test]
    fn a_claim_without_progress_is_honoured_for_a_second_and_then_no_more() {
        let claims = Claims::new();
        let registers = Registers::default();
        for now in [5, 6, PATIENCE, PATIENCE + 5] {
            assert!(claims.honour(&FAULT, &registers, &task(1), now), "{now}");
        }
        assert!(!claims.honour(&FAULT, &registers, &task(1), PATIENCE + 6));
        assert!(!claims.honour(&FAULT, &registers, &task(1), 100 * PATIENCE));
    }

    #[test]
    fn progress_in_any_register_or_another_address_begins_anew() {
        let progress: [fn(&mut Registers); 4] =
            [|r| r.rcx -= 1, |r| r.rip += 1, |r| r.rsp -= 8, |r| r.r15 = 7];
        for change in progress {
            let claims = Claims::new();
            let mut registers = Registers { rcx: 10, rsp: 100, ..Registers::default() };
            assert!(claims.honour(&FAULT, &registers, &task(1), 0));
            change(&mut registers);
            assert!(claims.honour(&FAULT, &registers, &task(1), 2 * PATIENCE));
            assert!(claims.honour(&FAULT, &registers, &task(1), 3 * PATIENCE));
            let elsewhere = Fault { address: 0x2000, ..FAULT };
            assert!(claims.honour(&elsewhere, &registers, &task(1), 9 * PATIENCE));
        }
    }

    #[test]
    fn threads_do_not_share_their_patience() {
        let claims = Claims::new();
        let registers = Registers::default();
        assert!(claims.honour(&FAULT, &registers, &task(1), 0));
        assert!(claims.honour(&FAULT, &registers, &task(2), 2 * PATIENCE));
        assert!(!claims.honour(&FAULT, &registers, &task(1), 2 * PATIENCE));
    }
}
