//! What KASAN and KFENCE tell of an access: what it was, of which object, allocated and freed by
//! whom.

use crate::call::Call;
use crate::scan::{Printed, after, decimal};
use crate::task::Task;

/// What was accessed how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// What is wrong: `slab-use-after-free in f+0x1/0x2`.
    pub bug: Option<String>,
    /// `Read` or `Write`, and how many bytes.
    pub access: Option<(String, Option<u64>)>,
    /// Where.
    pub address: Option<u64>,
    /// By whom, from the same line.
    pub task: Option<Task>,
    /// `52 bytes inside of freed 8456-byte region [a, b)`.
    pub place: Option<String>,
    /// The cache that the object is of.
    pub cache: Option<String>,
    /// Who allocated it.
    pub allocated: Option<Trace>,
    /// Who freed it.
    pub freed: Option<Trace>,
}

/// A task and its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The task's id; KASAN may have none.
    pub task: Option<u32>,
    /// What it did, the innermost first.
    pub calls: Vec<Call>,
}

/// Beginnings of lines behind which calls are of something else.
const OTHERS: [&str; 5] = [
    "Memory state around",
    "Last potentially related",
    "The buggy address belongs",
    "page last allocated",
    "page last free",
];

/// Whose calls follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Whose {
    #[default]
    Access,
    Allocated,
    Freed,
    Other,
}

impl Object {
    /// Takes a line; true if it was one of its own.
    pub(crate) fn take(&mut self, line: &str, whose: &mut Whose) -> bool {
        let text = line.trim();
        let lower = text.to_ascii_lowercase();
        if let Some(bug) = ["BUG: KASAN: ", "BUG: KFENCE: "].iter().find_map(|mark| after(text, mark)) {
            // Before 4.11 the address stands at the end of this line.
            let (bug, address) = bug.split_once(" at addr ").unwrap_or((bug, ""));
            self.bug = Some(bug.trim().to_owned());
            self.address = whole(address);
        } else if let Some((what, rest)) = text.split_once(" of size ").filter(|(what, _)| is_access(what)) {
            self.access = Some((what.to_owned(), decimal(rest)));
            self.address = after(rest, "at addr ").and_then(whole).or(self.address);
            self.task = after(rest, "by task ").and_then(|task| Task::split(task, '/'));
        } else if let Some((what, rest)) = text.split_once(" at addr ").filter(|(what, _)| is_access(what)) {
            self.access = Some((what.to_owned(), None));
            self.address = whole(rest);
            self.task = after(rest, "by task ").and_then(|task| Task::split(task, '/'));
        } else if is_kfence_access(text) {
            // A corruption and an invalid free are neither.
            let what = ["Read", "Write"].into_iter().find(|what| lower.contains(&what.to_lowercase()));
            self.access = what.map(|what| (what.to_owned(), None));
            // Pointers are hashed unless the kernel was told not to: not an address to tell.
            *whose = Whose::Access;
        } else if lower.starts_with("allocated by task ") || lower.contains("] allocated by task ") {
            self.region(text);
            self.allocated =
                Some(Trace { task: after(&lower, "by task ").and_then(decimal), calls: Vec::new() });
            *whose = Whose::Allocated;
        } else if lower.starts_with("freed by task ") {
            self.freed = Some(Trace { task: after(&lower, "by task ").and_then(decimal), calls: Vec::new() });
            *whose = Whose::Freed;
        } else if text == "(stack is not available)" {
            // So KASAN prints an empty track, whose task is 0 because nothing was written there.
            let track = match whose {
                Whose::Allocated => &mut self.allocated,
                Whose::Freed => &mut self.freed,
                _ => return false,
            };
            track.take_if(|track| track.task.is_none_or(|task| task == 0) && track.calls.is_empty());
        } else if text == "Allocated:" {
            self.allocated = Some(Trace::default());
            *whose = Whose::Allocated;
        } else if text == "Freed:" {
            self.freed = Some(Trace::default());
            *whose = Whose::Freed;
        } else if let Some(id) = text.strip_prefix("PID = ").and_then(decimal) {
            match whose {
                Whose::Allocated => self.allocated.get_or_insert_default().task = Some(id),
                Whose::Freed => self.freed.get_or_insert_default().task = Some(id),
                _ => return false,
            }
        } else if let Some(cache) = after(text, "which belongs to the cache ") {
            self.cache = Some(cache.to_owned());
        } else if let Some(cache) = text.strip_prefix("Object at ").and_then(|rest| after(rest, "in cache "))
        {
            self.cache = Some(cache.replace(" size:", " of size"));
        } else if let Some(place) = after(text, "The buggy address is located ") {
            self.place = Some(place.to_owned());
            *whose = Whose::Other;
        } else if self.place.as_ref().is_some_and(|place| place.ends_with(" of"))
            && text.contains("-byte region")
        {
            let place = self.place.take().unwrap_or_default();
            self.place = Some(format!("{place} {text}"));
        } else if text.starts_with("kfence-#") {
            self.region(text);
        } else if OTHERS.iter().any(|mark| text.starts_with(mark)) || text.ends_with("in frame:") {
            *whose = Whose::Other;
        } else {
            return false;
        }
        true
    }

    /// `kfence-#52: 0x…-0x…, size=568, cache=bfq_queue`.
    fn region(&mut self, text: &str) {
        let until = |rest: &str| rest.split([',', ']', ' ']).next().unwrap_or("").to_owned();
        if let (Some(size), Some(cache)) = (after(text, "size="), after(text, "cache=")) {
            self.cache = Some(format!("{} of size {}", until(cache), until(size)));
        }
    }

    /// The calls that follow a line of its own.
    pub(crate) fn calls(&mut self, whose: Whose) -> Option<&mut Vec<Call>> {
        match whose {
            Whose::Allocated => self.allocated.as_mut().map(|trace| &mut trace.calls),
            Whose::Freed => self.freed.as_mut().map(|trace| &mut trace.calls),
            Whose::Access | Whose::Other => None,
        }
    }
}

/// Whether it is the line of KFENCE that tells the access: `Out-of-bounds read at 0x… (1B left of
/// kfence-#72):`, `Corrupted memory at 0x… [ … ] (in kfence-#156):`,
/// `Invalid free of 0x… (in …`.
pub(crate) fn is_kfence_access(text: &str) -> bool {
    let at = text.contains(" at 0x") || text.starts_with("Invalid free of 0x");
    at && text.contains("kfence-#") && text.ends_with("):")
}

/// The address that `text` begins with; one of a text that is cut off is short, and has nothing
/// behind it.
fn whole(text: &str) -> Option<u64> {
    let is_followed = text.contains(' ');
    Printed::read(text).filter(|printed| printed.is_whole || is_followed).map(|printed| printed.value)
}

fn is_access(what: &str) -> bool {
    matches!(what, "Read" | "Write" | "Free")
}
