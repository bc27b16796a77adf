//! The writer's side: which instructions are probed, and by whom.

use super::{CodeProbe, Point};
use crate::{OutOfMemory, Owned};
use alloc::vec::Vec;
use core::ptr::NonNull;
use trapline_abi::ProbeCounts;

/// What arms instructions; all of it where it may sleep.
pub trait Breakpoints {
    /// An armed instruction.
    type Site;
    /// Why one can't be armed.
    type Error;

    /// Has every execution of the instruction at `point` come to
    /// [`CodeEngine::hit`](super::CodeEngine::hit), on all CPUs.
    ///
    /// # Safety
    /// `point` stays where it is and alive until [`Breakpoints::disarm`] has returned.
    unsafe fn arm(&mut self, point: NonNull<Point>) -> Result<Self::Site, Self::Error>;

    /// Has the end of each step come to [`CodeEngine::stepped`](super::CodeEngine::stepped), or no
    /// more. Without a gap for hits.
    fn set_post(&mut self, site: &mut Self::Site, wanted: bool) -> Result<(), Self::Error>;

    /// Makes the instructions as they were, those for which `site` says so. When it returns, no hit
    /// of theirs is under way.
    fn disarm<'a>(&mut self, sites: impl Iterator<Item = &'a mut Self::Site>)
    where
        Self::Site: 'a;

    /// Whether the instruction has gone meanwhile, with the module it was in.
    fn is_gone(&self, site: &Self::Site) -> bool;

    /// Hits that the platform did not deliver, since it was armed.
    fn missed(&self, site: &Self::Site) -> u64;

    /// Returns when every trap that began before the call has ended, on all CPUs.
    fn synchronize(&self);
}

/// Why a probe was not registered. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError<E> {
    /// No memory for the tables.
    OutOfMemory,
    /// The instruction can't be armed.
    Site(E),
}

impl<E> From<OutOfMemory> for AddError<E> {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// A registered probe.
struct Entry {
    probe: NonNull<CodeProbe>,
    /// [`Breakpoints::missed`] when it came.
    missed: u64,
    leaving: bool,
}

/// An armed instruction and its probes.
struct Place<S> {
    point: NonNull<Point>,
    site: S,
    post: bool,
    entries: Vec<Entry>,
}

impl<S> Place<S> {
    fn address(&self) -> u64 {
        // SAFETY: alive as long as its place is.
        unsafe { self.point.as_ref() }.address()
    }

    fn is_leaving(&self) -> bool {
        self.entries.iter().all(|entry| entry.leaving)
    }

    fn wants_post(&self) -> bool {
        self.entries.iter().any(|entry| !entry.leaving && probe_of(entry).handlers().has_post())
    }
}

fn probe_of(entry: &Entry) -> &CodeProbe {
    // SAFETY: a registered probe is alive until it was removed.
    unsafe { entry.probe.as_ref() }
}

/// The writer's state: the armed instructions, sorted by address. Everything is disarmed and
/// removed before it is dropped.
pub struct CodeControl<S> {
    places: Vec<Place<S>>,
}

// SAFETY: what its pointers name is shared between threads by design (`Point`, `CodeProbe`), and
// owned by it.
unsafe impl<S: Send> Send for CodeControl<S> {}

impl<S> Default for CodeControl<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> CodeControl<S> {
    /// Nothing probed.
    pub const fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// How many instructions are armed.
    pub fn points(&self) -> usize {
        self.places.len()
    }

    /// The registered probes: each with its point, its site, and what it counted.
    pub fn probes<'a, B: Breakpoints<Site = S>>(
        &'a self,
        breakpoints: &'a B,
    ) -> impl Iterator<Item = (&'a CodeProbe, u64, &'a S, ProbeCounts)> {
        self.places.iter().flat_map(move |place| {
            let missed = breakpoints.missed(&place.site);
            place.entries.iter().map(move |entry| {
                let probe = probe_of(entry);
                let mut counts = probe.counts();
                counts.missed += missed.saturating_sub(entry.missed);
                (probe, place.address(), &place.site, counts)
            })
        })
    }

    /// Registers `probe` at the instruction at `address`, after those that are there. When it
    /// returns, every execution of the instruction comes to it.
    ///
    /// # Safety
    /// The handlers of `probe` may be called with its data in any trap on any CPU until it was
    /// removed; trusted ones do not fault.
    pub unsafe fn add<B: Breakpoints<Site = S>>(
        &mut self,
        breakpoints: &mut B,
        address: u64,
        probe: CodeProbe,
    ) -> Result<(), AddError<B::Error>> {
        let post = probe.handlers().has_post();
        let probe = Kept::new(probe)?;
        let after = self.places.partition_point(|place| place.address() <= address);
        let known = after
            .checked_sub(1)
            .and_then(|at| self.places.get_mut(at))
            .filter(|place| place.address() == address && !breakpoints.is_gone(&place.site));
        let Some(place) = known else {
            // SAFETY: the handlers may be called with their data until the probe was removed: `add`
            // asks for that.
            return unsafe { self.add_place(breakpoints, address, probe, post, after) };
        };
        place.entries.try_reserve(1).map_err(OutOfMemory::from)?;
        let had_post = place.post;
        if post && !had_post {
            breakpoints.set_post(&mut place.site, true).map_err(AddError::Site)?;
            place.post = true;
            // A hit that began before is not told of its step's end: it must not see the probe.
            breakpoints.synchronize();
        }
        // SAFETY: `&mut self` makes this the one writer; the probe is freed only after it was
        // struck out and `synchronize`.
        match unsafe { place.point.as_ref().append(probe.0) } {
            Ok(old) => {
                let missed = breakpoints.missed(&place.site);
                place.entries.push(Entry { probe: probe.keep(), missed, leaving: false });
                breakpoints.synchronize();
                // SAFETY: every trap that began before the replacement has ended.
                unsafe { old.free() };
                Ok(())
            }
            Err(error) => {
                if post && !had_post && breakpoints.set_post(&mut place.site, false).is_ok() {
                    place.post = false;
                }
                Err(error.into())
            }
        }
    }

    /// As [`CodeControl::add`], the first at its instruction.
    ///
    /// # Safety
    /// As there.
    unsafe fn add_place<B: Breakpoints<Site = S>>(
        &mut self,
        breakpoints: &mut B,
        address: u64,
        probe: Kept<CodeProbe>,
        post: bool,
        at: usize,
    ) -> Result<(), AddError<B::Error>> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(1).map_err(OutOfMemory::from)?;
        self.places.try_reserve(1).map_err(OutOfMemory::from)?;
        let point = Kept::new(Point::new(address))?;
        // SAFETY: alive until it was disarmed.
        let mut site = unsafe { breakpoints.arm(point.0) }.map_err(AddError::Site)?;
        // The probe comes last: no hit is to have its pre handler called before the end of the step
        // is told of.
        let added = match post.then(|| breakpoints.set_post(&mut site, true)) {
            Some(Err(error)) => Err(AddError::Site(error)),
            told => {
                if told.is_some() {
                    breakpoints.synchronize();
                }
                // SAFETY: one writer; the probe is freed after its point was disarmed.
                unsafe { point.0.as_ref().append(probe.0) }.map_err(AddError::from)
            }
        };
        match added {
            // SAFETY: nothing was published before.
            Ok(nothing) => unsafe { nothing.free() },
            Err(error) => {
                breakpoints.disarm([&mut site].into_iter());
                return Err(error);
            }
        }
        entries.push(Entry { probe: probe.keep(), missed: 0, leaving: false });
        self.places.insert(at, Place { point: point.keep(), site, post, entries });
        Ok(())
    }

    /// Removes the probes that `gone` holds for. When it returns, none of their handlers is running
    /// or will run; the instructions that nobody probes any more are as they were. Can't fail.
    pub fn remove<B: Breakpoints<Site = S>>(
        &mut self,
        breakpoints: &mut B,
        mut gone: impl FnMut(&CodeProbe) -> bool,
    ) {
        let mut any = false;
        for place in &mut self.places {
            for entry in &mut place.entries {
                // SAFETY: registered, so alive.
                if gone(unsafe { entry.probe.as_ref() }) {
                    (entry.leaving, any) = (true, true);
                    // SAFETY: `&mut self` makes this the one writer.
                    unsafe { place.point.as_ref().strike(entry.probe) };
                }
            }
        }
        if !any {
            return;
        }
        breakpoints
            .disarm(self.places.iter_mut().filter(|place| place.is_leaving()).map(|place| &mut place.site));
        for place in self.places.iter_mut().filter(|place| !place.is_leaving()) {
            if place.post && !place.wants_post() && breakpoints.set_post(&mut place.site, false).is_ok() {
                place.post = false;
            }
        }
        breakpoints.synchronize();
        self.places.retain_mut(|place| {
            let empty = place.is_leaving();
            place.entries.retain(|entry| {
                if entry.leaving {
                    // SAFETY: struck out, and every trap since then has ended.
                    drop(unsafe { Kept::again(entry.probe) });
                }
                !entry.leaving
            });
            if empty {
                // SAFETY: disarmed, and every hit has ended.
                drop(unsafe { Kept::again(place.point) });
            }
            !empty
        });
    }

    /// Calls `change` with the probe named `id`; returns whether there is one.
    pub fn with(&self, id: u64, change: impl FnOnce(&CodeProbe)) -> bool {
        let found =
            self.places.iter().flat_map(|place| &place.entries).find(|entry| probe_of(entry).id() == id);
        found.map(|entry| change(probe_of(entry))).is_some()
    }
}

/// A value in memory of its own, that traps hold pointers to while it is kept.
struct Kept<T>(NonNull<T>);

impl<T> Kept<T> {
    fn new(value: T) -> Result<Self, OutOfMemory> {
        Owned::new(value).map(|owned| Self(owned.leak()))
    }

    /// Not dropped at the end of the scope.
    fn keep(self) -> NonNull<T> {
        let pointer = self.0;
        core::mem::forget(self);
        pointer
    }

    /// Undoes [`Kept::keep`].
    ///
    /// # Safety
    /// `pointer` came from there, and is not used again.
    unsafe fn again(pointer: NonNull<T>) -> Self {
        Self(pointer)
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        // SAFETY: from `Owned::leak`, and nobody else has it any more: not yet published, or
        // withdrawn.
        drop(unsafe { Owned::reclaim(self.0) });
    }
}
