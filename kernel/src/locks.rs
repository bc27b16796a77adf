//! The module's locks: what each is for, and the one order that they are taken in.
//!
//! 1. The *sessions lock* ([`Sessions::lock`](crate::session::Sessions::lock)): the sessions. A
//!    command on the device holds it; so does `mmap`, with the memory lock of its process held, so
//!    user memory is never touched under it.
//!    Whoever loads a module takes it too, in the kernel's chain of module notifiers
//!    (glue/modules.c), whose lock the kernel holds then for reading. So nobody may register a
//!    module notifier, which takes it for writing, with a lock of ours held.
//! 2. The *patching lock* ([`Unlocked::patching`]): what patches the kernel's code or is called
//!    back by it: code probes, hooks of all page faults, the page-fault gate. Its holder waits: for
//!    CPU hotplug (`register_kprobe()`, static keys of tracepoints, `cpuhp_setup_state()`), for
//!    ftrace, for tasks' RCU, for whoever else patches text.
//! 3. The *control lock* ([`Unlocked::control`], [`PatchingLock::control`]): mappings and the
//!    engine's tables. `ioremap()` and `iounmap()` take it (tracking.rs), in whatever their caller
//!    is: a driver's CPU hotplug callback too. So nobody may wait for CPU hotplug, nor for what
//!    waits for it, with the control lock held: the callback would wait for the holder, and the
//!    holder for the callback. What its holder does wait for is none of that: memory, expedited
//!    grace periods of RCU, interrupts to other CPUs, `vmap()` and `ioremap()` of aliases (whose
//!    own hook passes the holder by).
//!
//! That order is a fact of types. A task that enters the module has an [`Unlocked`]. The guards of
//! the control lock borrow it, or the patching lock's guard, mutably, so neither can be used
//! meanwhile; and everything that waits takes one of those, or is a method of what only the
//! patching lock gives ([`Patched`]). The sessions lock consumes the [`Unlocked`] and keeps it
//! inside, so that lock is the outermost. What stays to be promised is where an [`Unlocked`]
//! begins.
//!
//! Rejected: one lock, which the hook of `ioremap()` then waits for while its holder waits for
//! hotplug; taking the control lock in the hook only if it is free, since a mapping that is not
//! armed would be missing in the trace.

use crate::glue;
use crate::state::Controlled;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// A lock of glue/locks.c, by its number there.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Lock {
    Sessions = 0,
    Patching = 1,
    Control = 2,
}

/// A lock that this task holds, until the value is dropped. Process context: taking it may sleep.
///
/// What is evidence that it may be taken is borrowed until the lock is let go, not only until the
/// value is used for the last time: that is why the type that is dropped has the lifetime.
pub(crate) struct Held<'a>(Lock, PhantomData<&'a mut Unlocked>);

impl Held<'_> {
    /// Takes it.
    ///
    /// # Safety
    /// This task holds neither this lock nor a later one of the order, and what is evidence of that
    /// is borrowed for as long as the result lives.
    pub(crate) unsafe fn take(lock: Lock) -> Self {
        // SAFETY: a lock of the list; `take` asks for it not to be ours already, so it comes free.
        unsafe { glue::glue_lock(lock as u32) };
        Self(lock, PhantomData)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: `take` took it, in this task: no guard is sent to another.
        unsafe { glue::glue_unlock(self.0 as u32) }
    }
}

/// Evidence that this task holds neither the patching nor the control lock: it may take either, and
/// may wait for CPU hotplug.
pub(crate) struct Unlocked(());

impl Unlocked {
    /// # Safety
    /// This task is in process context and holds none of the module's locks, and none of its
    /// callers has another of these: so it is wherever the kernel or another module calls us, but
    /// for the hook of `ioremap()`, which asks first (`wanted()` in glue/tracking.c).
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Takes the patching lock.
    pub(crate) fn patching(&mut self) -> PatchingLock<'_> {
        // SAFETY: neither it nor the control lock is held, as `self` is evidence of.
        PatchingLock { _held: unsafe { Held::take(Lock::Patching) } }
    }

    /// Takes the control lock.
    pub(crate) fn control(&mut self) -> ControlLock<'_> {
        // SAFETY: it is not held, as `self` is evidence of.
        unsafe { ControlLock::take() }
    }
}

/// The patching lock, held; and evidence that the control lock is not, while this can be used.
pub(crate) struct PatchingLock<'a> {
    _held: Held<'a>,
}

impl PatchingLock<'_> {
    /// Takes the control lock as well.
    pub(crate) fn control(&mut self) -> ControlLock<'_> {
        // SAFETY: it is not held: its guard would borrow `self`.
        unsafe { ControlLock::take() }
    }
}

/// What the patching lock guards.
pub(crate) struct Patched<T>(UnsafeCell<T>);

// SAFETY: reached only through `of`, by one task at a time.
unsafe impl<T: Send> Sync for Patched<T> {}

impl<T> Patched<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// It, and evidence that the control lock is not held.
    pub(crate) fn of<'a>(&'a self, _lock: &'a mut PatchingLock<'_>) -> &'a mut T {
        // SAFETY: the lock is held, and borrowed mutably for as long as the result lives, so there
        // is no other reference.
        unsafe { &mut *self.0.get() }
    }
}

/// The control lock, held.
pub(crate) struct ControlLock<'a> {
    _held: Held<'a>,
}

impl ControlLock<'_> {
    /// # Safety
    /// It is not held by this task, and whatever is evidence of that is borrowed for as long as the
    /// result lives.
    unsafe fn take() -> Self {
        // SAFETY: this task does not hold it: `take` asks for that; it is the last of the order.
        Self { _held: unsafe { Held::take(Lock::Control) } }
    }
}

impl Deref for ControlLock<'_> {
    type Target = Controlled;

    fn deref(&self) -> &Controlled {
        // SAFETY: the lock is held, so this is the only reference but for those borrowed from this
        // guard.
        unsafe { &*CONTROLLED.0.get() }
    }
}

impl DerefMut for ControlLock<'_> {
    fn deref_mut(&mut self) -> &mut Controlled {
        // SAFETY: as above, and `&mut self` excludes the guard's own.
        unsafe { &mut *CONTROLLED.0.get() }
    }
}

struct Shared(UnsafeCell<Controlled>);

// SAFETY: reached only through `ControlLock`.
unsafe impl Sync for Shared {}

static CONTROLLED: Shared = Shared(UnsafeCell::new(Controlled::new()));
