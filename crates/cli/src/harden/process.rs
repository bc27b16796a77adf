//! Processes that may hang in the kernel: run for a time, ended one after the other, left behind if
//! they can't be.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often it is looked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a task may take to end once it is told to: it may be in the middle of something.
const GRACE: Duration = Duration::from_secs(4);

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its status as a shell tells it, if it ended by itself.
    pub status: Option<i32>,
    /// Whether it ran past its time.
    pub late: bool,
    /// Whether what it had started could not be ended while it ran itself.
    pub stuck: bool,
    /// Whether something of it is still there.
    pub remains: bool,
    /// Whether we were told to end meanwhile.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// Runs `words` for `limit` at most, as the first of a process group of its own; what it prints
/// goes to `output`.
///
/// When the time is over, what works is killed first, while those that wait for it live: with
/// `trapline inject` that is COMMAND, and the device still lies. Then those are killed, then it
/// itself is asked to end, and then killed.
pub(crate) fn run(
    words: &[String],
    output: &File,
    limit: Duration,
    interrupted: &AtomicBool,
) -> io::Result<Ended> {
    let begun = Instant::now();
    let Some((name, arguments)) = words.split_first() else { return Ok(Ended::default()) };
    let mut child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    // Relaxed: nothing else is read that was written before it.
    let status = wait(&mut child, limit, || interrupted.load(Ordering::Relaxed))?;
    let mut ended = Ended { status, ..Ended::default() };
    if ended.status.is_none() {
        ended.interrupted = interrupted.load(Ordering::Relaxed);
        ended.late = !ended.interrupted;
        end(&mut child, &mut ended)?;
    } else if !others(child.id()).is_empty() {
        // What COMMAND left in the background.
        kill_others(child.id());
        ended.remains = !gone(child.id(), GRACE);
    }
    ended.took = begun.elapsed();
    Ok(ended)
}

/// Ends a process that ran past its time, and what it started.
fn end(child: &mut Child, ended: &mut Ended) -> io::Result<()> {
    let group = child.id();
    // The shell that runs COMMAND is its own child: once that has ended, it ends.
    let workers: Vec<u32> =
        members(group).into_iter().filter(|one| one.parent != group).map(|one| one.pid).collect();
    workers.iter().for_each(|pid| signal(*pid, Signal::KILL));
    let remain = |killed: &[u32]| others(group).iter().any(|pid| killed.contains(pid));
    ended.stuck = !until(GRACE, || !remain(&workers));
    let killed = if ended.stuck { workers } else { kill_others(group) };
    if ended.stuck || wait(child, GRACE, || false)?.is_none() {
        ended.stuck = remain(&killed);
        // Twice: the first goes on to COMMAND.
        for _ in 0..2 {
            signal(child.id(), Signal::TERM);
            thread::sleep(Duration::from_millis(100));
        }
        if wait(child, GRACE, || false)?.is_none() {
            signal(child.id(), Signal::KILL);
            if wait(child, GRACE, || false)?.is_none() {
                (ended.stuck, ended.remains) = (true, true);
            }
        }
    }
    kill_others(child.id());
    ended.remains |= !gone(child.id(), GRACE);
    Ok(())
}

/// Waits for `child` until `limit` is over or `enough` says so; its status.
fn wait(child: &mut Child, limit: Duration, enough: impl Fn() -> bool) -> io::Result<Option<i32>> {
    use std::os::unix::process::ExitStatusExt;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code().or_else(|| Some(128 + status.signal()?)));
        }
        if begun.elapsed() >= limit || enough() {
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// A process of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    pid: u32,
    parent: u32,
}

/// All of the process group `group` that live, but its first.
fn members(group: u32) -> Vec<Member> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|pid| *pid != group)
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some(Member { pid, parent: parent(&stat, group)? })
        })
        .collect()
}

/// Their process ids.
fn others(group: u32) -> Vec<u32> {
    members(group).into_iter().map(|one| one.pid).collect()
}

/// The parent that `/proc/PID/stat` tells of a living process of this group; `None` of any other.
/// The name, in parentheses, may have anything in it (proc(5)).
fn parent(stat: &str, group: u32) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let (state, parent, own) = (words.next()?, words.next()?, words.next()?);
    if matches!(state, "Z" | "X") || own != group.to_string() {
        return None;
    }
    parent.parse().ok()
}

/// Kills them; which.
fn kill_others(group: u32) -> Vec<u32> {
    let killed = others(group);
    killed.iter().for_each(|pid| signal(*pid, Signal::KILL));
    killed
}

/// Whether all others of the group are gone within `limit`.
fn gone(group: u32, limit: Duration) -> bool {
    until(limit, || others(group).is_empty())
}

/// Whether `is_so` comes to be within `limit`.
fn until(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() >= limit {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Ended, String) {
        let mut output = tempfile::tempfile().unwrap();
        let words = ["sh", "-c", script].map(str::to_owned);
        let ended = run(&words, &output, limit, &AtomicBool::new(false)).unwrap();
        let mut said = String::new();
        io::Seek::rewind(&mut output).unwrap();
        io::Read::read_to_string(&mut output, &mut said).unwrap();
        (ended, said)
    }

    #[test]
    fn what_ends_in_time_has_its_status_and_what_it_left_is_ended() {
        let (ended, said) = shell("sleep 60 & echo $!; exit 7", Duration::from_secs(60));
        assert_eq!((ended.status, ended.late, ended.remains), (Some(7), false, false));
        let left: u32 = said.trim().parse().unwrap();
        let stat = fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }

    #[test]
    fn what_runs_past_its_time_is_ended() {
        let (ended, said) = shell(
            "trap 'echo ended; exit 3' TERM; while :; do sleep 60 & wait; done",
            Duration::from_millis(200),
        );
        assert!(ended.late && !ended.stuck && !ended.remains, "{ended:?}");
        assert!(ended.status.is_none() && said.contains("ended"), "{ended:?}: {said}");
    }

    #[test]
    fn a_process_is_told_by_its_group_whatever_its_name() {
        assert_eq!(parent("12 (a) b) R 5 77 77 0 -1", 77), Some(5));
        assert_eq!(parent("12 (a) Z 5 77 77 0 -1", 77), None);
        assert_eq!(parent("12 (a) R 5 78 77 0 -1", 77), None);
        assert_eq!(parent("", 77), None);
    }
}
