//! Sessions: each is one open file, the rings that its owner reads, and the sources that write to
//! them.

use crate::errno::Errno;
use crate::glue;
use crate::locks::{Held, Lock, Unlocked};
use crate::note::note_mark_in;
use crate::platform::Kernel;
use crate::rings::Rings;
use crate::sources::{Host, Sources};
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use trapline_abi::RingGeometry;
use trapline_engine::{Engine, Owned, Sink};

/// A session.
///
/// # Invariants
/// `sink` is from [`Owned::leak`] and writes to `rings`. Nothing writes to it any more when the
/// session is dropped: [`Sessions::end`] stops the sources first.
pub(crate) struct Session {
    /// Number of the open file that it belongs to.
    file: u64,
    /// Thread group id of its owner.
    owner: u32,
    /// What it records.
    pub sources: Sources,
    /// The writing ends of its rings, of all its sources.
    sink: NonNull<Sink>,
    /// Its rings.
    pub rings: Rings,
}

impl Session {
    /// Its sources, and what they have of it.
    pub(crate) fn parts<'a>(
        &'a mut self,
        engine: &'a Engine<Kernel>,
        unlocked: &'a mut Unlocked,
    ) -> (&'a mut Sources, Host<'a>) {
        (&mut self.sources, Host { engine, unlocked, sink: self.sink, owner: self.owner })
    }

    /// Stops all that it records: nothing of it is armed and nothing of it in flight when this
    /// returns.
    pub(crate) fn stop(&mut self, engine: &Engine<Kernel>, unlocked: &mut Unlocked) {
        let (sources, mut host) = self.parts(engine, unlocked);
        sources.stop(&mut host);
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> u64 {
        self.rings.bytes() + self.sources.memory() as u64
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: from `leak`, and nothing writes to it any more, by the invariant.
        drop(unsafe { Owned::reclaim(self.sink) });
    }
}

/// The sessions.
struct Table {
    /// In no order.
    sessions: Vec<Session>,
    /// Records dropped by sessions that have ended.
    dropped: u64,
}

struct Shared(UnsafeCell<Table>);

// SAFETY: reached only through `Sessions`, which holds the sessions lock. A session names memory
// that is not tied to a task.
unsafe impl Sync for Shared {}

static TABLE: Shared = Shared(UnsafeCell::new(Table { sessions: Vec::new(), dropped: 0 }));

/// The sessions, with their lock held: the outermost of the module's.
pub(crate) struct Sessions {
    table: &'static mut Table,
    /// Evidence that none of the other locks is held.
    pub unlocked: Unlocked,
    _held: Held<'static>,
}

impl Sessions {
    /// Takes the lock. `unlocked` is inside from now on, so that nobody takes it twice.
    pub(crate) fn lock(unlocked: Unlocked) -> Self {
        // SAFETY: `unlocked` is of a task that held none, and who had taken this lock since has no
        // `Unlocked` to give.
        let held = unsafe { Held::take(Lock::Sessions) };
        // SAFETY: the lock is held until the value is dropped, and this is the one place that
        // refers to the table.
        Self { table: unsafe { &mut *TABLE.0.get() }, unlocked, _held: held }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Session] {
        &self.table.sessions
    }

    /// Records dropped by them, and by those that have ended.
    pub(crate) fn dropped(&self) -> u64 {
        let now = self.all().iter().map(|session| session.rings.dropped());
        now.fold(self.table.dropped, u64::wrapping_add)
    }

    fn position(&self, file: u64) -> Option<usize> {
        self.table.sessions.iter().position(|session| session.file == file)
    }

    /// The session of `file`, and the evidence that its sources need.
    pub(crate) fn of(&mut self, file: u64) -> Option<(&mut Session, &mut Unlocked)> {
        let at = self.position(file)?;
        Some((self.table.sessions.get_mut(at)?, &mut self.unlocked))
    }

    /// Starts a session for `file`, with `buffer` bytes of records on each CPU.
    pub(crate) fn start(&mut self, file: u64, buffer: u64) -> Result<RingGeometry, Errno> {
        if self.position(file).is_some() {
            return Err(Errno::BUSY);
        }
        let out_of_memory = |_| Errno::NO_MEMORY;
        self.table.sessions.try_reserve(1).map_err(out_of_memory)?;
        let rings = Rings::new(buffer)?;
        let geometry = rings.geometry();
        // SAFETY: called once for these rings; the session frees the sink before them.
        let sink = Owned::new(unsafe { rings.sink() }?).map_err(|_| Errno::NO_MEMORY)?;
        // INVARIANT: as made just now.
        self.table.sessions.push(Session {
            file,
            owner: glue::glue_current_tgid(),
            sources: Sources::new(),
            sink: sink.leak(),
            rings,
        });
        Ok(geometry)
    }

    /// Ends the session of `file`, if it has one, and gives everything back.
    pub(crate) fn end(&mut self, engine: &Engine<Kernel>, file: u64) {
        let Some(at) = self.position(file) else { return };
        let mut session = self.table.sessions.swap_remove(at);
        session.stop(engine, &mut self.unlocked);
        self.table.dropped = self.table.dropped.wrapping_add(session.rings.dropped());
    }

    /// Calls `each` with the sources of every session, and what they have of it.
    pub(crate) fn each(&mut self, engine: &Engine<Kernel>, mut each: impl FnMut(&mut Sources, Host<'_>)) {
        for session in &mut self.table.sessions {
            let (sources, host) = session.parts(engine, &mut self.unlocked);
            each(sources, host);
        }
    }

    /// Puts `text` into the trace of every session as a marker; whether there is one.
    pub(crate) fn mark(&self, engine: &Engine<Kernel>, text: &[u8]) -> bool {
        for session in self.all() {
            // SAFETY: alive as long as its session is.
            note_mark_in(unsafe { session.sink.as_ref() }, engine, text);
        }
        !self.all().is_empty()
    }
}
