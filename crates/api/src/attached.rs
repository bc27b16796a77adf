//! Probes that are registered, as owned values.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::{Counts, Error};

/// A probe of any kind.
pub trait Probe: Attach {}

impl<P: Attach> Probe for P {}

/// What the probes of every kind have in common. Nobody else can name it, so nobody else registers
/// or takes away what an [`Attached`] owns.
pub trait Attach: Sync {
    fn slot(&self) -> &Slot;

    /// Registers it; called by whoever has taken its slot.
    fn add(&'static self) -> Result<(), Error>;

    /// Takes it away; called by whoever has its slot, after `add` succeeded. None of its handlers
    /// is running or will run when this returns.
    fn remove(&self);

    fn set_enabled(&self, _enabled: bool) {}

    fn read_counts(&self) -> Counts {
        NOTHING
    }
}

pub(crate) const NOTHING: Counts =
    Counts { hits: 0, missed: 0, pre_faults: 0, post_faults: 0, fixed: 0, disabled: false, gone: false };

/// Whether a probe is registered: whoever sets it is the only one who may use the probe's C half.
#[derive(Debug)]
pub struct Slot(AtomicBool);

impl Slot {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    // Acquire and release: what one owner wrote to the C half is seen by the next.
    fn take(&self) -> Result<(), Error> {
        if self.0.swap(true, Ordering::Acquire) { Err(Error::Registered) } else { Ok(()) }
    }

    fn give_back(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// `N` probes that are registered, until this is dropped: none of their handlers is running or will
/// run then. To leave them registered for good, and the module loaded, is what `core::mem::forget`
/// is for.
#[must_use = "the probes are taken away when this is dropped"]
pub struct Attached<const N: usize> {
    probes: [&'static dyn Probe; N],
}

/// Registers probes, of any kinds: all of them, or none.
///
/// # Errors
/// The first that one of them gave.
pub fn register_all<const N: usize>(probes: [&'static dyn Probe; N]) -> Result<Attached<N>, Error> {
    for (done, probe) in probes.iter().enumerate() {
        let added = probe.slot().take().and_then(|()| probe.add().inspect_err(|_| probe.slot().give_back()));
        if let Err(error) = added {
            probes.iter().take(done).for_each(|probe| detach(*probe));
            return Err(error);
        }
    }
    Ok(Attached { probes })
}

fn detach(probe: &dyn Probe) {
    probe.remove();
    probe.slot().give_back();
}

impl<const N: usize> Attached<N> {
    /// What the probe at place `at` has counted so far; nothing for probes that count nothing, or
    /// if there is no such place.
    pub fn counts(&self, at: usize) -> Counts {
        self.probes.get(at).map_or(NOTHING, |probe| probe.read_counts())
    }

    /// Has the handlers of code and return probes called again, after they were disabled here or by
    /// their limit, which begins to count anew.
    pub fn enable(&self) {
        self.probes.iter().for_each(|probe| probe.set_enabled(true));
    }

    /// Has the handlers of code and return probes called no more, for now; those that are running
    /// go on.
    pub fn disable(&self) {
        self.probes.iter().for_each(|probe| probe.set_enabled(false));
    }
}

impl<const N: usize> Drop for Attached<N> {
    fn drop(&mut self) {
        self.probes.iter().for_each(|probe| detach(*probe));
    }
}
