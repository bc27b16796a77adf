//! What the kernel's checkers found: KASAN, KFENCE, UBSAN, lockdep.

use super::*;

/// How many calls of an allocation are told.
const ALLOCATORS: usize = 3;

impl Report {
    pub(super) fn object(&self, told: &mut Explanation) {
        let object = &self.object;
        let by = if self.kind == Kind::Kasan { "KASAN" } else { "KFENCE" };
        let bug = object.bug.as_deref().unwrap_or("a wrong access");
        let access = object.access.as_ref().map(|(what, size)| match size {
            Some(1) => format!(", {} of 1 byte", what.to_lowercase()),
            Some(size) => format!(", {} of {size} bytes", what.to_lowercase()),
            // KFENCE has it in the line that names the bug.
            None if bug.contains(&what.to_lowercase()) => String::new(),
            None => format!(", {}", what.to_lowercase()),
        });
        told.row(
            "what",
            format!(
                "{by}: {bug}{}; a report of the checker's own, which is no oops",
                access.unwrap_or_default()
            ),
        );
        self.address(told, object.address);
        match (&object.place, &object.cache) {
            (Some(place), Some(cache)) => told.row("object", format!("{place}, of the cache {cache}")),
            (Some(place), None) => told.row("object", place),
            (None, Some(cache)) => told.row("object", format!("of the cache {cache}")),
            (None, None) => {}
        }
        for (name, trace) in [("allocated", &object.allocated), ("freed", &object.freed)] {
            let Some(trace) = trace else { continue };
            let by = trace.task.map_or_else(String::new, |task| format!("by task {task}"));
            let calls = trace.calls.iter().filter(|call| call.sure && !is_allocator(&call.text));
            let calls: Vec<&str> = calls.take(ALLOCATORS).map(|call| call.text.as_str()).collect();
            let text = if calls.is_empty() {
                by
            } else {
                format!("{by}{}{}", if trace.task.is_none() { "in " } else { ", in " }, calls.join("\n"))
            };
            told.row(name, text);
        }
    }

    pub(super) fn undefined(&self, told: &mut Explanation) {
        let found = self.headline.as_deref().and_then(|line| after(line, "UBSAN: ")).unwrap_or("a wrong use");
        told.row("what", format!("UBSAN: {found}: what C does not define; a report of the checker's own, after which the kernel went on: no fault"));
        for (at, line) in self.details.iter().take(CALLERS).enumerate() {
            told.row(if at == 0 { "found" } else { "" }, line);
        }
    }

    pub(super) fn lock(&self, told: &mut Explanation) {
        const MEANINGS: [(&str, &str); 8] = [
            ("circular", "locks are taken in different orders, so that tasks could wait for each other"),
            (
                "recursive",
                "a task takes a lock of a class of which it holds one, so that it could wait for itself",
            ),
            (
                "inconsistent lock state",
                "a lock is taken in an interrupt, and elsewhere with that interrupt on: one that comes while it is held could wait forever",
            ),
            (
                "lock inversion",
                "a lock that interrupts take depends on one that is held with interrupts on: an interrupt could wait forever",
            ),
            (
                "-safe -> ",
                "a lock that interrupts take depends on one that is held with interrupts on: an interrupt could wait forever",
            ),
            (
                "RCU usage",
                "data that RCU protects was used without its read lock, or the lock that the code names",
            ),
            ("unlock balance", "a lock was released that the task does not hold"),
            ("held lock freed", "memory was freed with a lock in it that is held"),
        ];
        let headline = self.headline.as_deref().unwrap_or("");
        let meaning = MEANINGS.iter().find(|(mark, _)| headline.contains(mark));
        let meaning = meaning.map_or("a lock was used in a wrong way", |(_, meaning)| meaning);
        let yet = if meaning.contains("could wait") { "; it need not have happened" } else { "" };
        told.row("what", format!("lockdep: {meaning}{yet}: no fault"));
        if let Some(usage) = &self.locks.usage {
            told.row("usage", usage);
        }
        if let Some(takes) = &self.locks.takes {
            told.row(if headline.contains("unlock") { "releases" } else { "takes" }, takes);
        }
        for (at, held) in self.locks.holds.iter().enumerate() {
            told.row(if at == 0 { "holds" } else { "" }, held);
        }
    }
}

/// Functions that allocate and free, and keep account of it: not who asked for it.
fn is_allocator(call: &str) -> bool {
    let name = call.split(['+', ' ']).next().unwrap_or(call);
    [
        "kasan_",
        "__kasan_",
        "save_stack",
        "stack_trace_save",
        "kmem_cache_",
        "__kmalloc",
        "kmalloc",
        "kfree",
        "slab_",
        "___slab",
        "__slab",
        "set_track",
        "stack_depot",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}
