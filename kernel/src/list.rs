//! What is registered, as `trapline list` asks for it: one thing at a time, in the order of their numbers.
//!
//! Each question walks all there is, so that nothing has to be kept for whoever asks and may never come back; a thousand probes are a thousand short walks.

use crate::api::{AccessProbe, PageFaultHandler};
use crate::glue;
use crate::platform::Kernel;
use crate::state::State;
use core::ffi::c_char;
use core::sync::atomic::Ordering;
use trapline_abi::{ListEntry, ListKind, MODULE_LENGTH, NAME_LENGTH, ProbeCounts, SessionKind};
use trapline_engine::Engine;

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

/// A module's text, as far as there is room for it; null is none.
///
/// # Safety
/// `text` is null or zero-terminated, and stays so meanwhile.
pub(crate) unsafe fn name_of(text: *const c_char) -> [u8; NAME_LENGTH] {
    let mut name = [0; NAME_LENGTH];
    if text.is_null() {
        return name;
    }
    for (at, byte) in name.iter_mut().enumerate() {
        // SAFETY: the text goes on up to here: no byte before this was its end.
        match unsafe { text.add(at).read() } {
            0 => break,
            next => *byte = next as u8,
        }
    }
    name
}

/// The name of the module that handlers are of, by the first that there is; nothing if there is none.
pub(crate) fn module_of<const N: usize>(handlers: [Option<usize>; N]) -> [u8; MODULE_LENGTH] {
    let mut name = [0; MODULE_LENGTH];
    if let Some(handler) = handlers.into_iter().flatten().next() {
        // SAFETY: a place of that length.
        unsafe { glue::glue_module_of(handler as u64, &mut name) };
    }
    name
}

impl State {
    /// What has the lowest number from `from` on.
    pub(crate) fn first_listed(&self, engine: &Engine<Kernel>, from: u64) -> Option<ListEntry> {
        let mut search = Search { from, found: None };
        self.list_handlers(engine, &mut search);
        self.list_access_probes(&mut search);
        if let Some(code) = self.first_code_probe(from) {
            search.offer(code.id, || code);
        }
        search.found
    }

    fn list_handlers(&self, engine: &Engine<Kernel>, search: &mut Search) {
        for node in self.control.each_handler(engine) {
            // SAFETY: a registered node is alive while the control lock is held.
            let id = unsafe { node.as_ref() }.id();
            // SAFETY: every node is the first field of a `PageFaultHandler` (src/api/ registers no others), whose name stays while it is registered.
            let name = || unsafe { name_of((*node.cast::<PageFaultHandler>().as_ptr()).name) };
            // SAFETY: as above.
            let handle = || unsafe { (*node.cast::<PageFaultHandler>().as_ptr()).handle };
            // SAFETY: as above.
            let faults =
                || unsafe { (*node.cast::<PageFaultHandler>().as_ptr()).faults.load(Ordering::Relaxed) };
            let counts = || ProbeCounts { pre_faults: faults(), ..ProbeCounts::default() };
            search.offer(id, || ListEntry {
                name: name(),
                module: module_of([handle().map(|handle| handle as usize)]),
                counts: counts(),
                ..entry(ListKind::FaultHandler)
            });
        }
    }

    fn list_access_probes(&self, search: &mut Search) {
        let watcher = self.only(SessionKind::Accesses).map_or(0, |session| session.owner);
        for (id, probe) in self.control.each_probe() {
            search.offer(id.0, || {
                let (address, length) = (probe.start, probe.length);
                let module = probe.handlers.data.cast::<AccessProbe>();
                // A session's probes have no handlers, so no data.
                // SAFETY: a module's probe stays, and its name with it, while it is registered.
                let Some(module) = (unsafe { module.as_ref() }) else {
                    return ListEntry { address, length, owner: watcher, ..entry(ListKind::Access) };
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
}
