//! What is registered, as `trapline list` asks for it: one thing at a time, in the order of their
//! numbers.
//!
//! Each question walks all there is, so that nothing has to be kept for whoever asks and may never
//! come back; a thousand probes are a thousand short walks.

use crate::api::{AccessProbe, PageFaultHandler};
use crate::code::Registry;
use crate::names::{module_of, name_of};
use crate::platform::Kernel;
use crate::session::Sessions;
use core::sync::atomic::Ordering;
use trapline_abi::{ListEntry, ListKind, ProbeCounts};
use trapline_engine::{Control, Engine};

/// The best answer so far.
struct Search {
    from: u64,
    found: Option<ListEntry>,
}

impl Search {
    /// Takes `entry` if `id` is the lowest number yet.
    fn offer(&mut self, id: u64, entry: impl FnOnce() -> ListEntry) {
        if id >= self.from && self.found.is_none_or(|found| id < found.id) {
            self.found = Some(ListEntry { id, ..entry() });
        }
    }
}

/// Something of that kind without anything else to say.
fn entry(kind: ListKind) -> ListEntry {
    ListEntry { kind: kind as u32, ..ListEntry::from(0) }
}

/// What has the lowest number from `from` on.
// It and what it asks are functions apart: an entry is large, and inlined all of theirs would be on
// the stack at once.
#[inline(never)]
pub(crate) fn first_listed(sessions: &mut Sessions, engine: &Engine<Kernel>, from: u64) -> Option<ListEntry> {
    let mut search = Search { from, found: None };
    list_code_probes(sessions, &mut search);
    let controlled = sessions.unlocked.control();
    list_handlers(&controlled.control, engine, &mut search);
    list_access_probes(&controlled.control, controlled.watched.owner, &mut search);
    search.found
}

/// The code probes: those of sessions that have stopped, and those that are registered.
#[inline(never)]
fn list_code_probes(sessions: &mut Sessions, search: &mut Search) {
    for session in sessions.all() {
        if let Some(stopped) = &session.sources.code.first_stopped(search.from) {
            search.offer(stopped.id, || *stopped);
        }
        if let Some(stopped) = &session.sources.config.first_stopped(search.from) {
            search.offer(stopped.id, || *stopped);
        }
    }
    if let Some(registered) = &Registry::of(&mut sessions.unlocked.patching()).list(search.from) {
        search.offer(registered.id, || *registered);
    }
    if let Some(first) = &mut search.found {
        sessions.all().iter().for_each(|session| session.sources.code.complete(first));
    }
}

#[inline(never)]
fn list_handlers(control: &Control, engine: &Engine<Kernel>, search: &mut Search) {
    for node in control.each_handler(engine) {
        // SAFETY: a registered node is alive while the control lock is held.
        let id = unsafe { node.as_ref() }.id();
        // SAFETY: every node is the first field of a `PageFaultHandler` (src/api/ registers no
        // others), whose name stays while it is registered.
        let name = || unsafe { name_of((*node.cast::<PageFaultHandler>().as_ptr()).name) };
        // SAFETY: as above.
        let handle = || unsafe { (*node.cast::<PageFaultHandler>().as_ptr()).handle };
        // SAFETY: as above.
        let faults = || unsafe { (*node.cast::<PageFaultHandler>().as_ptr()).faults.load(Ordering::Relaxed) };
        let counts = || ProbeCounts { pre_faults: faults(), ..ProbeCounts::default() };
        search.offer(id, || ListEntry {
            name: name(),
            module: module_of([handle().map(|handle| handle as usize)]),
            counts: counts(),
            ..entry(ListKind::FaultHandler)
        });
    }
}

/// `owner` has those that are no module's.
#[inline(never)]
fn list_access_probes(control: &Control, owner: u32, search: &mut Search) {
    for (id, probe) in control.each_probe() {
        search.offer(id.0, || {
            let (address, length) = (probe.start.0, probe.length);
            let module = probe.handlers.data.cast::<AccessProbe>();
            // A session's probes have no handlers, so no data.
            // SAFETY: a module's probe stays, and its name with it, while it is registered.
            let Some(module) = (unsafe { module.as_ref() }) else {
                return ListEntry { address, length, owner, ..entry(ListKind::Access) };
            };
            let counts = ProbeCounts {
                pre_faults: module.pre_faults.load(Ordering::Relaxed),
                post_faults: module.post_faults.load(Ordering::Relaxed),
                ..ProbeCounts::default()
            };
            // SAFETY: as above.
            let name = unsafe { name_of(module.name) };
            let module = module_of([
                module.pre.map(|handler| handler as usize),
                module.post.map(|handler| handler as usize),
            ]);
            ListEntry { address, length, name, module, counts, ..entry(ListKind::Access) }
        });
    }
}
