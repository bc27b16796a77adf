//! Read-modify-write of words that only one CPU's traps change.
//!
//! One instruction without a lock prefix: what nests into a trap (an NMI's) comes before or after
//! it, and no other CPU writes. The kernel's `this_cpu_add()` rests on the same
//! (Documentation/core-api/this_cpu_ops.rst). A locked instruction costs some twenty cycles, and
//! each access would need five. Other CPUs may read the words at any time: they are aligned, so
//! they are read whole.

use crate::primitive::atomic::AtomicU64;
#[cfg(any(loom, miri, not(target_arch = "x86_64")))]
use crate::primitive::atomic::Ordering;

/// Adds `number` (wrapping); returns what was there.
#[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
#[inline(always)]
pub fn add(word: &AtomicU64, number: u64) -> u64 {
    let mut old = number;
    // SAFETY: `word` is valid and aligned, and changed by no other CPU; that other code of this CPU
    // may change it before and after is what an atomic allows.
    unsafe {
        core::arch::asm!("xadd qword ptr [{word}], {old}", word = in(reg) word.as_ptr(), old = inout(reg) old, options(nostack))
    };
    old
}

/// Replaces `current` by `new`; returns whether `current` was there.
#[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
#[inline(always)]
pub fn replace(word: &AtomicU64, current: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: as in `add`.
    unsafe {
        core::arch::asm!("cmpxchg qword ptr [{word}], {new}", word = in(reg) word.as_ptr(), new = in(reg) new,
            inout("rax") current => found, options(nostack))
    };
    found == current
}

/// Adds `number` (wrapping); returns what was there.
#[cfg(any(loom, miri, not(target_arch = "x86_64")))]
pub fn add(word: &AtomicU64, number: u64) -> u64 {
    word.fetch_add(number, Ordering::Relaxed)
}

/// Replaces `current` by `new`; returns whether `current` was there.
#[cfg(any(loom, miri, not(target_arch = "x86_64")))]
pub fn replace(word: &AtomicU64, current: u64, new: u64) -> bool {
    word.compare_exchange(current, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;

    #[test]
    fn a_word_is_added_to_and_replaced() {
        let word = AtomicU64::new(u64::MAX);
        assert_eq!(add(&word, 3), u64::MAX);
        assert!(!replace(&word, 3, 7));
        assert_eq!(word.load(Ordering::Relaxed), 2);
        assert!(replace(&word, 2, 7));
        assert_eq!(word.load(Ordering::Relaxed), 7);
    }
}
