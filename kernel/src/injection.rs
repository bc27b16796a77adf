//! The rules of the session that watches accesses, if it injects, and the handlers by which its
//! probes ask them.
//!
//! A rule names physical addresses, an access a linear one. Which belongs to which differs between
//! mappings; so the handlers' data is no pointer: it is the difference, which holds for all of a
//! mapping.

use crate::glue;
use crate::platform::Kernel;
use crate::state::ENGINE;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use trapline_engine::inject::Rules;
use trapline_engine::{Access, Decision, Engine, Handlers, Linear, Owned, Physical};

/// The rules that the probes ask.
///
/// # Invariants
/// Null, or of a [`Given`], whose rules stay where they are until it is dropped; then no probe with
/// these handlers is registered any more, nor a trap under way that has seen one.
static RULES: AtomicPtr<Rules> = AtomicPtr::new(ptr::null_mut());

/// The rules that a session was given. They are asked between [`Given::begin`] and [`Given::end`].
pub(crate) struct Given {
    rules: Owned<Rules>,
    /// Whether they are in `RULES`.
    begun: bool,
}

impl Given {
    /// Rules that nobody asks yet.
    pub(crate) fn new(rules: Owned<Rules>) -> Self {
        Self { rules, begun: false }
    }

    /// Lets probes ask them. One session at a time does: the one that watches accesses.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
        // Release pairs with the acquire in `asked`: whoever sees the pointer sees the rules.
        RULES.store(ptr::from_ref::<Rules>(&self.rules).cast_mut(), Ordering::Release);
        warn(
            b"trapline: injection begins: accesses to a device are changed from here on; rules: ",
            self.rules.count(),
        );
    }

    /// Lets nobody ask them any more. What they counted stays.
    ///
    /// # Safety
    /// No probe with their handlers is registered, and no trap under way has seen one.
    pub(crate) unsafe fn end(&mut self) {
        if core::mem::take(&mut self.begun) {
            RULES.store(ptr::null_mut(), Ordering::Relaxed);
            warn(b"trapline: injection has ended; accesses that were changed: ", self.rules.applied());
        }
    }

    /// What they are.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// Handlers of a probe in a mapping that has `physical` at `start`.
pub(crate) fn handlers(start: Linear, physical: Physical) -> Handlers {
    let difference = physical.0.wrapping_sub(start.0);
    let data = ptr::without_provenance_mut(difference as usize);
    Handlers { pre: Some(pre), change: Some(change), post: Some(post), data }
}

/// The rules, and where an access goes.
#[inline(always)]
fn asked(data: *mut (), access: &Access<'_>) -> Option<(&'static Rules, &'static Engine<Kernel>, Physical)> {
    // SAFETY: null or valid, and not freed before this trap has ended: `RULES`' invariant.
    let rules = unsafe { RULES.load(Ordering::Acquire).as_ref() }?;
    Some((rules, ENGINE.get()?, Physical(access.address.0.wrapping_add(data.addr() as u64))))
}

/// # Safety
/// `data` is from [`handlers`].
unsafe fn pre(data: *mut (), access: &Access<'_>) -> Decision {
    asked(data, access).map_or(Decision::Pass, |(rules, engine, at)| rules.pre(engine.platform(), at, access))
}

/// # Safety
/// As for [`pre`].
unsafe fn change(data: *mut (), access: &Access<'_>, words: &mut [u64]) -> bool {
    asked(data, access).is_some_and(|(rules, engine, at)| rules.change(engine.platform(), at, access, words))
}

/// # Safety
/// As for [`pre`].
unsafe fn post(data: *mut (), access: &Access<'_>) {
    if let Some((rules, _, at)) = asked(data, access) {
        rules.post(at, access);
    }
}

/// A line for the kernel log, with a number at its end.
fn warn(text: &[u8], number: u64) {
    // SAFETY: `text` is valid for its length.
    unsafe { glue::glue_warn_number(text.as_ptr(), text.len(), number) };
}
