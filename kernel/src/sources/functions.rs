//! The functions of the kernel that a source follows: which of them the kernel has, and the probes
//! on those whose calls are not told by another one's.

use super::returns::{Returns, address_of};
use super::text::walk;
use crate::code::{At, Registration, Registry};
use crate::errno::Errno;
use crate::glue;
use crate::locks::PatchingLock;
use crate::names::text;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::NonNull;
use trapline_engine::code::{CodeHandlers, TrustedHandler};
use trapline_insn::branch;

/// A source that follows functions.
///
/// # Safety
/// The handlers take a [`Given`] of this source and, those that wait for the return, as much room
/// for what is carried as is asked for. They do not fault: they read registers and what is carried,
/// and all else with care.
pub(super) unsafe trait Follows {
    /// What says whose calls are recorded, and where to.
    type Watch: Sync;
    /// What tells what a function is called with.
    type Form: Copy + Send + Sync + 'static;

    /// What the probes that wait for the return have in common.
    const RETURNS: Returns;

    /// What is called, with a [`Given`], at the beginning of a call whose return is not waited for;
    /// `None` if the return is.
    fn begins(form: Self::Form) -> Option<TrustedHandler>;
}

/// One of the functions.
#[derive(Clone, Copy)]
pub(super) struct Function<F> {
    pub name: &'static CStr,
    pub form: F,
    /// The function that does its work on some kernels, by its place in the list. If it calls that,
    /// its calls are that one's, which is followed instead.
    pub inner: Option<usize>,
}

/// One that no other does the work of.
pub(super) const fn plain<F>(name: &'static CStr, form: F) -> Function<F> {
    Function { name, form, inner: None }
}

/// One that another may do the work of.
pub(super) const fn outer<F>(name: &'static CStr, form: F, inner: usize) -> Function<F> {
    Function { name, form, inner: Some(inner) }
}

/// Whether a function has this name; for tables that must be in the order of another one.
pub(super) const fn is_called(ours: &CStr, told: &str) -> bool {
    let (ours, told) = (ours.to_bytes(), told.as_bytes());
    if ours.len() != told.len() {
        return false;
    }
    let mut byte = 0;
    while byte < ours.len() {
        if ours[byte] != told[byte] {
            return false;
        }
        byte += 1;
    }
    true
}

/// What a probe's handlers are given. One for each, since a registry tells an owner's probes apart
/// by what they are given.
pub(super) struct Given<S: Follows> {
    pub watch: NonNull<S::Watch>,
    pub form: S::Form,
    id: u64,
    /// Where the function is probed; 0 if the kernel does not have it.
    address: u64,
}

// SAFETY: the watch is shared by the traps of all CPUs.
unsafe impl<S: Follows> Send for Given<S> {}

/// The probes, until [`Probes::end`].
///
/// # Invariants
/// `given` is in the order of the functions, and is not changed and dropped only after the probes
/// were removed.
pub(super) struct Probes<S: Follows> {
    /// A bit for each function that is followed.
    pub followed: u64,
    /// A bit for each that is there and can't be.
    pub refused: u64,
    given: Vec<Given<S>>,
}

impl<S: Follows> Probes<S> {
    /// Records calls from now on for `watch`; `ids` are the probes' numbers, one for each function,
    /// `owner` the process that asked. Functions that the kernel does not have are left out. There
    /// are at most 64.
    ///
    /// # Safety
    /// `watch` stays until after [`Probes::end`].
    pub(super) unsafe fn begin(
        patching: &mut PatchingLock<'_>,
        functions: &'static [Function<S::Form>],
        watch: &S::Watch,
        ids: &[u64],
        owner: u32,
    ) -> Result<Self, Errno> {
        let watch = NonNull::from(watch);
        let mut given = Vec::new();
        given.try_reserve_exact(functions.len()).map_err(|_| Errno::NO_MEMORY)?;
        for (function, id) in functions.iter().zip(ids) {
            let address = address_of(patching, function.name).unwrap_or(0);
            given.push(Given { watch, form: function.form, id: *id, address });
        }
        // INVARIANT: `end` removes the probes, and whoever has this calls it.
        let mut probes = Self { followed: 0, refused: 0, given };
        // Those that others call first: only what is followed can be told by them.
        for has_inner in [false, true] {
            for (number, function) in functions.iter().enumerate() {
                if function.inner.is_some() != has_inner {
                    continue;
                }
                // SAFETY: `begin` asks for the watch to stay.
                if let Err(errno) = unsafe { probes.follow(patching, number, function.inner, owner) } {
                    probes.end(patching);
                    return Err(errno);
                }
            }
        }
        if probes.followed == 0 {
            probes.end(patching);
            return Err(Errno::NO_FUNCTION);
        }
        Ok(probes)
    }

    /// Follows one of the functions, if it is there and its calls are not told by another. Fails
    /// only for want of memory.
    ///
    /// # Safety
    /// As for [`Probes::begin`].
    // A function of its own: what it has on the stack is not there once for each function.
    #[inline(never)]
    unsafe fn follow(
        &mut self,
        patching: &mut PatchingLock<'_>,
        number: usize,
        inner: Option<usize>,
        owner: u32,
    ) -> Result<(), Errno> {
        let Some(given) = self.given.get(number).filter(|given| given.address != 0) else { return Ok(()) };
        let inner = inner.filter(|inner| self.followed >> inner & 1 != 0);
        if let Some(inner) = inner.and_then(|inner| self.given.get(inner))
            && calls(patching, given.address, inner.address)
        {
            return Ok(());
        }
        // SAFETY: the watch stays: `follow` asks for that. What is given stays where it is, on the
        // heap, until `end` has removed the probe, by the invariant.
        match unsafe { add(patching, given, owner) } {
            Ok(()) => self.followed |= 1 << number,
            Err(Errno::NO_MEMORY) => return Err(Errno::NO_MEMORY),
            Err(_) => self.refused |= 1 << number,
        }
        Ok(())
    }

    fn has(&self, id: u64) -> bool {
        self.given.iter().any(|given| given.id == id)
    }

    /// Calls that the kernel could not deliver so far.
    pub(super) fn missed(&self, patching: &mut PatchingLock<'_>) -> u64 {
        Registry::of(patching).missed(|id| self.has(id))
    }

    /// Bytes that the kernel keeps for the calls that may be under way, but for its own part of
    /// each.
    pub(super) fn memory(&self) -> usize {
        let places = self
            .given
            .iter()
            .zip(0..)
            .filter(|(given, place)| self.followed >> place & 1 != 0 && S::begins(given.form).is_none());
        places.count() * S::RETURNS.active as usize * S::RETURNS.carried
    }

    /// No call is recorded any more when this returns.
    pub(super) fn end(self, patching: &mut PatchingLock<'_>) {
        Registry::of(patching).remove(|id| self.has(id));
    }
}

/// Bytes before a function that a call of it may lead to (`CONFIG_FUNCTION_PADDING_BYTES`).
const PADDING: u64 = 16;

/// Whether a function branches to another one: by a call, or by a jump as its last deed. Both are
/// told by an address inside: where a probe stands, which is behind an ENDBR.
fn calls(patching: &mut PatchingLock<'_>, function: u64, other: u64) -> bool {
    let extent = |inside| (glue::glue_function_end(inside), glue::glue_function_size(inside));
    let (end, size) = extent(function);
    let (other_end, other_size) = extent(other);
    let other = other_end.wrapping_sub(other_size);
    // A kernel that tracks the depth of calls has them lead to code before the function.
    let entry = other.saturating_sub(PADDING)..=other;
    let mut found = false;
    walk(patching, end.wrapping_sub(size), size, |at, bytes| {
        let (length, target) = branch(bytes, at).ok()?;
        found |= target.is_some_and(|target| entry.contains(&target));
        Some(length)
    });
    found
}

/// Follows one.
///
/// # Safety
/// `given`, and its watch, stay until the probe was removed.
unsafe fn add<S: Follows>(
    patching: &mut PatchingLock<'_>,
    given: &Given<S>,
    owner: u32,
) -> Result<(), Errno> {
    let &Given { id, address, form, .. } = given;
    let Some(begins) = S::begins(form) else {
        // SAFETY: the handlers get what they expect and do not fault: who implements `Follows`
        // promises that. What they are given stays: `add` asks for that.
        return unsafe { S::RETURNS.add(patching, address, given, id, owner) };
    };
    let registration = Registration {
        id,
        address,
        at: At::Instruction,
        handlers: CodeHandlers::Trusted { pre: Some(begins), post: None },
        data: core::ptr::from_ref(given).cast_mut().cast(),
        limit: 0,
        owner,
        name: text(S::RETURNS.name),
        flags: 0,
    };
    // SAFETY: as above.
    unsafe { Registry::of(patching).add(&registration) }.map_err(|refused| refused.errno)
}
