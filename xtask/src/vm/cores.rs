//! The host's cores, shared out among the machines that run at once: a machine waits until there is one for each thread of QEMU's that it keeps busy.
//!
//! So scenarios need not say which of them may run beside which, and none is slowed down by another to where a time limit takes it for dead.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Some cores, given back when dropped.
pub(super) struct Share {
    cores: &'static Cores,
    taken: usize,
}

/// # Invariants
/// `free` is what is not in a [`Share`].
struct Cores {
    /// Held by whoever is to be served next, so that a machine that needs all cores is not passed by for ever by those that need one.
    turn: Mutex<()>,
    free: Mutex<usize>,
    freed: Condvar,
}

/// How many cores the host has.
pub fn all() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

thread_local! {
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long this thread has waited for cores so far: no part of what its machines took.
pub fn waited() -> Duration {
    WAITED.get()
}

/// Waits for a core for each of `threads`, or for all there are if those are fewer.
pub(super) fn take(threads: usize) -> Share {
    static HOST: std::sync::LazyLock<Cores> = std::sync::LazyLock::new(|| Cores::new(all()));
    let began = Instant::now();
    let share = HOST.take(threads.clamp(1, all()));
    WAITED.set(WAITED.get() + began.elapsed());
    share
}

impl Cores {
    const fn new(free: usize) -> Self {
        Self { turn: Mutex::new(()), free: Mutex::new(free), freed: Condvar::new() }
    }

    fn take(&'static self, wanted: usize) -> Share {
        let _turn = locked(&self.turn);
        let enough = self.freed.wait_while(locked(&self.free), |free| *free < wanted);
        *enough.expect("no thread panics while it holds the lock") -= wanted;
        Share { cores: self, taken: wanted }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *locked(&self.cores.free) += self.taken;
        self.cores.freed.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_cores_are_in_use_than_there_are_and_everybody_gets_some() {
        static CORES: Cores = Cores::new(3);
        static USED: AtomicUsize = AtomicUsize::new(0);
        thread::scope(|scope| {
            for worker in 0..6 {
                scope.spawn(move || {
                    let wanted = worker % 3 + 1;
                    for _ in 0..200 {
                        let share = CORES.take(wanted);
                        assert!(USED.fetch_add(wanted, Ordering::SeqCst) + wanted <= 3);
                        thread::yield_now();
                        USED.fetch_sub(wanted, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!(*locked(&CORES.free), 3);
    }
}
