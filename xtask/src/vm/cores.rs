//! The host's cores, shared out among the machines that run at once: a machine waits until there is
//! one for each thread of QEMU's that it keeps busy.
//!
//! So scenarios need not say which of them may run beside which, and none is slowed down by another
//! to where a time limit takes it for dead. A core is a file with a lock on it (flock(2)), so that
//! machines of other runs of xtask count too; the system takes the locks of a process that dies.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often is looked whether a core is free.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After so long a person is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// So long is waited: longer than the longest machines take, one after another.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// Some cores, given back when dropped.
pub(super) struct Share {
    cores: &'static Cores,
    taken: Vec<File>,
}

struct Cores {
    folder: PathBuf,
    count: usize,
    patience: Duration,
    /// How many of them this process has.
    ours: AtomicUsize,
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
///
/// # Errors
/// None came free for two hours, or the files that stand for them can't be made.
pub(super) fn take(threads: usize) -> Result<Share> {
    // A folder for each user: one's files another may not lock. It is the same in each checkout.
    static HOST: LazyLock<Cores> = LazyLock::new(|| {
        let user = rustix::process::geteuid().as_raw();
        Cores::new(std::env::temp_dir().join(format!("trapline-cores-{user}")), all(), PATIENCE)
    });
    let began = Instant::now();
    let share = HOST.take(threads.clamp(1, all()));
    WAITED.set(WAITED.get() + began.elapsed());
    share
}

impl Cores {
    fn new(folder: PathBuf, count: usize, patience: Duration) -> Self {
        Self { folder, count, patience, ours: AtomicUsize::new(0) }
    }

    fn take(&'static self, wanted: usize) -> Result<Share> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        // Who has it is served next, so that a machine that needs all cores is not passed by for
        // ever by those that need one, and two that have some each do not wait for each other.
        let began = Instant::now();
        let mut turn = vec![self.folder.join("turn")];
        let _turn = self.wait(1, &mut turn, began)?;
        let mut free = (0..self.count).map(|core| self.folder.join(core.to_string())).collect();
        let taken = self.wait(wanted, &mut free, began)?;
        // Relaxed: it is only for what a person is told.
        self.ours.fetch_add(wanted, Ordering::Relaxed);
        Ok(Share { cores: self, taken })
    }

    /// Locks as many of the files as `wanted`, and takes those from the list.
    fn wait(&self, wanted: usize, files: &mut Vec<PathBuf>, began: Instant) -> Result<Vec<File>> {
        let mut taken = Vec::new();
        let mut told = false;
        loop {
            let mut index = 0;
            while index < files.len() && taken.len() < wanted {
                match lock(&files[index])? {
                    Some(file) => {
                        taken.push(file);
                        files.swap_remove(index);
                    }
                    None => index += 1,
                }
            }
            if taken.len() == wanted {
                return Ok(taken);
            }
            if began.elapsed() > self.patience {
                bail!(
                    "no core of the host came free in {} s: another run of xtask has its machines on them (locks in {})",
                    self.patience.as_secs(),
                    self.folder.display()
                );
            }
            // Those that this process has are no news: its scenarios run side by side.
            if !told && began.elapsed() > TELL_AFTER && self.ours.load(Ordering::Relaxed) == 0 {
                told = true;
                eprintln!("xtask: waiting for a core: another run of xtask has its machines on them");
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// The file, locked, if nobody else has its lock.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Before the files are closed, so that no core is counted as another's.
        self.cores.ours.fetch_sub(self.taken.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    fn cores(folder: &Path, count: usize, patience: Duration) -> &'static Cores {
        Box::leak(Box::new(Cores::new(folder.to_owned(), count, patience)))
    }

    #[test]
    fn no_more_cores_are_in_use_than_there_are_and_everybody_gets_some() {
        static USED: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        // Two runs of xtask on one host.
        let runs = [(); 2].map(|()| cores(folder.path(), 3, Duration::from_secs(60)));
        thread::scope(|scope| {
            for worker in 0..6 {
                scope.spawn(move || {
                    let wanted = worker % 3 + 1;
                    for _ in 0..5 {
                        let share = runs[worker % 2].take(wanted).unwrap();
                        assert!(USED.fetch_add(wanted, Ordering::SeqCst) + wanted <= 3);
                        thread::yield_now();
                        USED.fetch_sub(wanted, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        for run in runs {
            assert_eq!(run.ours.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn a_core_that_another_process_has_is_waited_for_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let core = folder.path().join("0");
        let mut other = Command::new("flock")
            .arg(&core)
            .args(["sh", "-c", "echo has it; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(other.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "has it\n");

        let impatient = cores(folder.path(), 1, Duration::from_millis(100));
        let error = impatient.take(1).err().expect("the other one has it").to_string();
        assert!(error.contains("another run of xtask"), "{error}");

        drop(other.stdin.take());
        other.wait().unwrap();
        assert!(cores(folder.path(), 1, Duration::from_secs(60)).take(1).is_ok());
    }
}
