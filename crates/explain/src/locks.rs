//! What lockdep tells: which lock a task takes, and which it holds. kernel/locking/lockdep.c.

use crate::scan::after;
use crate::task::Task;

/// Locks of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    /// Who takes or releases one.
    pub(crate) task: Option<Task>,
    /// What it takes or releases, and where.
    pub(crate) takes: Option<String>,
    /// What it holds, and where it took that.
    pub(crate) holds: Vec<String>,
    /// What is wrong with it, in the kernel's own words.
    pub(crate) usage: Option<String>,
    next: Next,
}

/// What a line with a lock alone is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Nothing,
    Takes,
    Holds,
}

/// How many locks that are held are told.
const HELD: usize = 8;

/// What follows a task that takes a lock.
const TAKING: [&str; 4] = [
    " is trying to acquire lock",
    " is trying to release lock",
    " is trying to lock",
    " just changed the state",
];

impl Locks {
    /// Takes a line; true if it was one of its own.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        if let Some(who) = TAKING.iter().find_map(|mark| text.split_once(mark)).map(|(who, _)| who) {
            self.begins(who);
            // `is trying to release lock (&a) at:` has the lock in it.
            self.takes = lock(text).or(self.takes.take());
        } else if let Some((who, rest)) = text.split_once(" [HC")
            && (rest.ends_with(" takes:") || rest.ends_with(" is trying to acquire:"))
        {
            self.begins(who);
        } else if text.ends_with("holding lock:") {
            self.next = Next::Holds;
        } else if let Some(who) = after(text, " held by ").and_then(|who| who.strip_suffix(':')) {
            self.task = Task::split(who, '/').or(self.task.take());
            self.next = Next::Holds;
        } else if text.starts_with("inconsistent {") || text.ends_with(" usage!") {
            self.usage = self.usage.take().or_else(|| Some(text.to_owned()));
        } else if let Some(lock) = lock(text).filter(|_| text.contains("at: ")) {
            match self.next {
                Next::Takes => self.takes = self.takes.take().or(Some(lock)),
                Next::Holds if self.holds.len() < HELD && !self.holds.contains(&lock) => {
                    self.holds.push(lock)
                }
                _ => {}
            }
            // A list of those that are held goes on.
            if !text.starts_with('#') {
                self.next = Next::Nothing;
            }
        } else {
            return false;
        }
        true
    }

    fn begins(&mut self, who: &str) {
        self.task = self.task.take().or_else(|| Task::split(who, '/'));
        self.next = Next::Takes;
    }
}

/// `&a->lock, at f+0x1/0x2` of `ffff888100abc000 (&a->lock){+.+.}-{3:3}, at: f+0x1/0x2`,
/// or of 3.x's
/// ` (&a->lock){+.+...}, at: [<ffffffff81234567>] f+0x1/0x2`.
fn lock(text: &str) -> Option<String> {
    let from = text.find('(')?;
    let inside = text.get(from + 1..)?;
    let end = inside.find("){").or_else(|| inside.find(") at:"))?;
    let name = inside.get(..end)?;
    let place = after(inside, "at: ").map(|place| place.rsplit_once(">] ").map_or(place, |(_, place)| place));
    Some(match place {
        Some(place) => format!("{name}, at {}", place.trim()),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_what_is_held_are_told_apart() {
        let mut locks = Locks::default();
        for (line, own) in [
            ("sh/123 is trying to acquire lock:", true),
            ("ffff888100abc000 (&a->lock){+.+.}-{3:3}, at: f+0x1/0x20", true),
            ("but task is already holding lock:", true),
            (" (&b->lock){+.+...}, at: [<ffffffff81234567>] g+0x1/0x20", true),
            ("which lock already depends on the new lock.", false),
            ("-> #1 (&b->lock){+.+.}-{3:3}:", false),
            ("2 locks held by sh/123:", true),
            ("#0: ffff888100abc100 (&c->lock){+.+.}-{3:3}, at: h+0x1/0x20", true),
            ("#1: ffff888100abc200 (&b->lock){+.+.}-{3:3}, at: g+0x1/0x20", true),
            ("stack backtrace:", false),
        ] {
            assert_eq!(locks.take(line.trim()), own, "{line}");
        }
        assert_eq!(locks.task, Some(Task { name: "sh".into(), id: 123 }));
        assert_eq!(locks.takes.as_deref(), Some("&a->lock, at f+0x1/0x20"));
        assert_eq!(locks.holds, ["&b->lock, at g+0x1/0x20", "&c->lock, at h+0x1/0x20"]);
    }
}
