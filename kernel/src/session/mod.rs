//! Sessions: each is one open file, the rings that its owner reads, and what it is for.

mod accesses;
mod code;
mod faults;
mod note;
mod recorder;
mod scratch;
mod served;

use crate::errno::Errno;
use crate::glue;
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::rings::Rings;
use crate::state::State;
use accesses::Watching;
use code::Probing;
use faults::Studying;
use trapline_abi::{Counters, RingGeometry, SessionKind};
use trapline_engine::{Engine, Owned, PageTables, Sink};

/// What a session is for, and what it has for that.
pub(crate) enum Purpose {
    /// To watch accesses. One at a time: its sink is the engine's.
    Accesses(Watching),
    /// To probe code. Any number at a time.
    Code(Probing),
    /// To record page faults. One at a time: its study is the engine's.
    Faults(Studying),
}

impl Purpose {
    fn kind(&self) -> SessionKind {
        match self {
            Self::Accesses(_) => SessionKind::Accesses,
            Self::Code(_) => SessionKind::Code,
            Self::Faults(_) => SessionKind::Faults,
        }
    }
}

/// A session.
///
/// # Invariants
/// Nothing writes to `sink` any more when it is dropped: [`State::end`] stops the session first.
// Dropped in this order: who writes, the writing ends, their memory.
pub(crate) struct Session {
    /// Number of the open file that it belongs to.
    pub file: u64,
    /// Thread group id of its owner.
    pub owner: u32,
    pub(super) purpose: Purpose,
    /// The writing ends of its rings, unless the engine has them.
    sink: Option<Owned<Sink>>,
    /// Its rings.
    pub rings: Rings,
}

impl Session {
    /// The writing ends of its rings, unless the engine has them.
    fn own_sink(&self) -> Option<&Sink> {
        self.sink.as_deref()
    }
}

impl State {
    /// The session of `file`, if it has one.
    pub(crate) fn session_of(&self, file: u64) -> Option<&Session> {
        self.sessions.iter().find(|session| session.file == file)
    }

    /// As [`State::session_of`].
    fn session_of_mut(&mut self, file: u64) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.file == file)
    }

    /// Whether `address` is in the rings of a session.
    pub(crate) fn rings_hold(&self, address: u64) -> bool {
        self.sessions.iter().any(|session| session.rings.hold(address))
    }

    /// Whether `file` has a session of this kind.
    pub(crate) fn has_session(&self, file: u64, kind: SessionKind) -> bool {
        self.session_of(file).is_some_and(|session| session.purpose.kind() == kind)
    }

    /// The session that there is only one of.
    pub(crate) fn only(&self, kind: SessionKind) -> Option<&Session> {
        self.sessions.iter().find(|session| session.purpose.kind() == kind)
    }

    /// Starts a session for `file`.
    pub(crate) fn start(
        &mut self,
        engine: &Engine<Kernel>,
        file: u64,
        kind: SessionKind,
        buffer: u64,
    ) -> Result<RingGeometry, Errno> {
        let purpose = match kind {
            SessionKind::Accesses => Purpose::Accesses(Watching::new(engine.counters())),
            SessionKind::Code => Purpose::Code(Probing::new()),
            SessionKind::Faults => Purpose::Faults(Studying::new()),
        };
        let is_taken = kind != SessionKind::Code && self.only(kind).is_some();
        if is_taken || self.session_of(file).is_some() {
            return Err(Errno::BUSY);
        }
        self.sessions.try_reserve(1).map_err(|_| Errno::NO_MEMORY)?;
        let rings = Rings::new(buffer)?;
        // SAFETY: called once for these rings; the sink is dropped before them, by `end` or by the order of the session's fields.
        let mut sink = Some(Owned::new(unsafe { rings.sink() }?).map_err(|_| Errno::NO_MEMORY)?);
        let geometry = rings.geometry();
        if kind == SessionKind::Accesses {
            // There was none before: the last session's end took it.
            let none = engine.set_sink(sink.take());
            // SAFETY: null: nothing to be read by any trap.
            unsafe { none.free() };
        }
        let owner = glue::glue_current_tgid();
        self.sessions.push(Session { file, owner, purpose, sink, rings });
        Ok(geometry)
    }

    /// Stops what the session of `file` does: nothing of it is armed and nothing of it in flight when this returns. Returns what was counted since it began.
    pub(crate) fn stop(&mut self, engine: &Engine<Kernel>, file: u64) -> Counters {
        let Some(session) = self.session_of_mut(file) else { return Counters::default() };
        let counters = match &mut session.purpose {
            Purpose::Accesses(_) => self.stop_watching(engine),
            Purpose::Code(probing) => {
                probing.stop();
                Counters::default()
            }
            Purpose::Faults(_) => {
                self.stop_studying(engine, file);
                Counters::default()
            }
        };
        let dropped = self.session_of(file).map_or(0, |session| session.rings.dropped());
        Counters { dropped, ..counters }
    }

    /// Ends the session of `file`, if it has one, and gives everything back.
    pub(crate) fn end(&mut self, engine: &Engine<Kernel>, file: u64) {
        self.stop(engine, file);
        let Some(at) = self.sessions.iter().position(|session| session.file == file) else { return };
        let session = self.sessions.swap_remove(at);
        if let Purpose::Accesses(_) = session.purpose {
            let sink = engine.set_sink(None);
            KernelTables.synchronize();
            // SAFETY: every trap that may have seen the sink has ended.
            unsafe { sink.free() };
        }
        self.dropped = self.dropped.wrapping_add(session.rings.dropped());
    }
}
