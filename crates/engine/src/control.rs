//! The writer's side: mappings, probes, and which pages are armed for them.
//!
//! There is one [`Control`], behind a lock that may sleep; holding `&mut` of it is the right to
//! write. Each change builds a new [`Space`], and the order of steps is what keeps promise 3: a
//! page is in the published snapshot before it is armed and until no fault on it can be in flight
//! any more.

mod mapping;
mod sorted;

use crate::space::{ActiveProbe, ArmedPage, Space};
use crate::{
    Behind, ControlError, Engine, FaultHandler, Linear, Mapped, NotArmed, Owned, PageTables, Platform, Probe,
    ProbeId, Retired,
};
use alloc::vec::Vec;
use core::ptr::NonNull;
pub use mapping::Mapping;
use sorted::{by_start, merge, page_in, used_by};

/// The writer's state.
#[derive(Debug)]
pub struct Control {
    mappings: Vec<Mapping>,
    /// Sorted by start, then by id.
    probes: Vec<(ProbeId, Probe)>,
    /// What is armed, sorted by address.
    pages: Vec<ArmedPage>,
    ids: u64,
    memory: usize,
    changed: u64,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// Nothing mapped, nothing probed.
    pub const fn new() -> Self {
        Self { mappings: Vec::new(), probes: Vec::new(), pages: Vec::new(), ids: 1, memory: 0, changed: 0 }
    }

    /// The armed pages, sorted by address.
    pub fn pages(&self) -> &[ArmedPage] {
        &self.pages
    }

    /// How many probes are registered.
    pub fn probes(&self) -> usize {
        self.probes.len()
    }

    /// The mappings that were added and not removed.
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// How many probes touch the page that holds `address`: its count of users.
    pub fn users(&self, address: Linear) -> usize {
        let Some(page) = page_in(&self.pages, address) else { return 0 };
        let (first, last) = (page.page().address, page.page().last());
        self.probes.iter().filter(|(_, probe)| probe.start <= last && probe.last() >= first).count()
    }

    /// The registered probes, each with its name, sorted by their starts.
    pub fn each_probe(&self) -> impl Iterator<Item = (ProbeId, &Probe)> {
        self.probes.iter().map(|(id, probe)| (*id, probe))
    }

    /// A number for something that is registered: probes and handlers of every kind are counted
    /// together, so none is used twice.
    pub fn next_id(&mut self) -> u64 {
        let id = self.ids;
        self.ids += 1;
        id
    }

    /// The registered page-fault handlers, those of all faults first, of each kind the newest
    /// first.
    pub fn each_handler<P: Platform>(
        &self,
        engine: &Engine<P>,
    ) -> impl Iterator<Item = NonNull<FaultHandler>> {
        engine.all_handlers.nodes().chain(engine.handlers.nodes())
    }

    /// Bytes of memory that the tables take.
    pub fn memory(&self) -> usize {
        self.memory
            + self.probes.capacity() * size_of::<(ProbeId, Probe)>()
            + self.pages.capacity() * size_of::<ArmedPage>()
            + self.mappings.capacity() * size_of::<Mapping>()
    }

    /// Makes a range known that probes may lie in.
    pub fn add_mapping(&mut self, mapping: Mapping) -> Result<(), ControlError> {
        let Mapping { start, length, .. } = mapping;
        let last = last_of(start, length)?;
        let before = self.mappings.partition_point(|other| other.start < start);
        let follows = |other: &Mapping| other.start <= last;
        let precedes = |other: &Mapping| other.last() >= start;
        let clash = self.mappings.get(before).is_some_and(follows)
            || before.checked_sub(1).and_then(|at| self.mappings.get(at)).is_some_and(precedes);
        if clash {
            return Err(ControlError::Overlap { start });
        }
        self.mappings.try_reserve(1)?;
        self.mappings.insert(before, mapping);
        Ok(())
    }

    /// Forgets the mapping that begins at `start`, and removes all probes in it. Nothing of it is
    /// armed and no access in flight when this returns, so its alias can go.
    pub fn remove_mapping<P: Platform>(
        &mut self,
        engine: &Engine<P>,
        tables: &impl PageTables,
        start: Linear,
    ) -> Option<Mapping> {
        let at = self.mappings.iter().position(|mapping| mapping.start == start)?;
        let mapping = self.mappings.remove(at);
        self.remove_where(engine, tables, |_, probe| mapping.holds(probe.start, probe.last()));
        Some(mapping)
    }

    /// Registers all of `probes`, or none; appends their ids to `ids`, which has room for them.
    ///
    /// When it returns, every access to their bytes is trapped, on all CPUs.
    ///
    /// # Safety
    /// The handlers of each probe may be called with its data in any trap on any CPU until it was
    /// removed; the alias of the mapping it lies in maps the same memory as the mapping itself,
    /// with the same cache attributes, until the mapping was removed.
    pub unsafe fn add_probes<P: Platform>(
        &mut self,
        engine: &Engine<P>,
        tables: &impl PageTables,
        probes: &[Probe],
        ids: &mut Vec<ProbeId>,
    ) -> Result<(), ControlError> {
        ids.try_reserve(probes.len())?;
        let new = by_start(self.ids, probes)?;
        let mut all = Vec::new();
        all.try_reserve(self.probes.len() + new.len())?;
        merge(&mut all, &self.probes, &new, |(id, probe)| (probe.start, *id));
        let mut fresh = Vec::new();
        for (_, probe) in &new {
            self.cover(tables, probe, &mut fresh)?;
        }
        let mut pages = Vec::new();
        pages.try_reserve(self.pages.len() + fresh.len())?;
        merge(&mut pages, &self.pages, &fresh, |page| page.page().address);
        let space = snapshot(&pages, &all)?;
        let memory = space.memory();
        let mut mapped = Vec::new();
        mapped.try_reserve_exact(fresh.len())?;
        mapped.extend(fresh.iter().map(|page| page.mapped));

        // Published first, armed then: a fault on a page that is armed finds it.
        let old = engine.space.replace(Some(Owned::new(space)?));
        if let Err(NotArmed { armed, error }) = tables.arm(&mapped) {
            let (done, rest) = mapped.split_at(armed.min(mapped.len()));
            self.undo(engine, tables, done, old);
            let address = rest.first().map_or(Linear(0), |page| page.page.address);
            return Err(ControlError::Page { address, error });
        }
        tables.shoot_down();
        tables.synchronize();
        // SAFETY: every trap that began before the replacement has ended.
        unsafe { old.free() };
        ids.extend((self.ids..).take(probes.len()).map(ProbeId));
        self.ids += probes.len() as u64;
        (self.pages, self.probes, self.memory) = (pages, all, memory);
        Ok(())
    }

    /// Removes the probes with these ids; unknown ones are ignored. When it returns, none of their
    /// handlers is running or will run.
    pub fn remove_probes<P: Platform>(
        &mut self,
        engine: &Engine<P>,
        tables: &impl PageTables,
        ids: &[ProbeId],
    ) {
        // Ids come in ascending order, so this is the rule; a caller may still have shuffled them.
        let sorted = ids.is_sorted();
        self.remove_where(engine, tables, |id, _| {
            if sorted { ids.binary_search(&id).is_ok() } else { ids.contains(&id) }
        });
    }

    /// Arms again what a single step left open, and shoots down what other CPUs kept of it.
    pub fn repair(&self, tables: &impl PageTables) {
        for page in &self.pages {
            // One whose entry somebody has changed meanwhile is that one's from then on.
            let _ = tables.arm(core::slice::from_ref(&page.mapped));
        }
        tables.shoot_down();
    }

    /// Disarms `pages`, which were armed with the published snapshot, and publishes `old` again.
    fn undo<P: Platform>(
        &mut self,
        engine: &Engine<P>,
        tables: &impl PageTables,
        pages: &[Mapped],
        old: Retired<Space>,
    ) {
        // SAFETY: `&mut self` makes this the writer, and the borrow ends before anything is
        // replaced.
        let current = unsafe { engine.space.current() };
        if let Some(space) = current {
            pages.iter().for_each(|page| space.leave(page.page));
        }
        pages.iter().for_each(|page| _ = tables.disarm(*page));
        // No fault from before the disarming is in flight after this, so the old snapshot, which
        // does not know the pages, will do. A step that did not know yet that its page leaves may
        // have closed it once more.
        tables.synchronize();
        self.changed += pages.iter().filter(|page| tables.disarm(**page).is_err()).count() as u64;
        let new = engine.space.restore(old);
        tables.synchronize();
        // SAFETY: every trap that began before it was replaced has ended.
        unsafe { new.free() };
    }

    /// How often a page could not be made as it was, since somebody else had changed its entry
    /// while it was armed.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// Puts a page-fault handler at the head of the list.
    ///
    /// # Safety
    /// `node` is in no list, stays where it is and alive until it was unregistered and
    /// [`PageTables::synchronize`] has returned since, and its handler may be called with it in any
    /// trap until then.
    pub unsafe fn register_handler<P: Platform>(&mut self, engine: &Engine<P>, node: NonNull<FaultHandler>) {
        let id = self.next_id();
        // SAFETY: `&mut self` excludes other writers; the rest is the caller's.
        unsafe { engine.handlers.register(node, id) }
    }

    /// As [`Control::register_handler`], for all faults: see [`Engine::claim`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn register_handler_of_all<P: Platform>(
        &mut self,
        engine: &Engine<P>,
        node: NonNull<FaultHandler>,
    ) {
        let id = self.next_id();
        // SAFETY: `&mut self` excludes other writers; the rest is the caller's.
        unsafe { engine.all_handlers.register(node, id) }
    }

    /// Takes a page-fault handler out; returns whether it was registered. It may go on running
    /// until [`PageTables::synchronize`] has returned.
    ///
    /// # Safety
    /// Every registered handler's node is alive.
    pub unsafe fn unregister_handler<P: Platform>(
        &mut self,
        engine: &Engine<P>,
        node: NonNull<FaultHandler>,
    ) -> bool {
        // SAFETY: `&mut self` excludes other writers; the rest is the caller's.
        unsafe { engine.handlers.unregister(node) || engine.all_handlers.unregister(node) }
    }

    /// Adds the pages of `probe` that are neither armed nor among `fresh` yet.
    ///
    /// Called for probes in the order of their starts, so `fresh` stays sorted: each probe covers
    /// its range without gaps, so what it adds lies behind all that was added before.
    fn cover(
        &self,
        tables: &impl PageTables,
        probe: &Probe,
        fresh: &mut Vec<ArmedPage>,
    ) -> Result<(), ControlError> {
        let last = last_of(probe.start, probe.length)?;
        let (start, length) = (probe.start, probe.length);
        let after = self.mappings.partition_point(|mapping| mapping.start <= start);
        let mapping = after
            .checked_sub(1)
            .and_then(|at| self.mappings.get(at))
            .filter(|mapping| mapping.holds(start, last))
            .ok_or(ControlError::NoMapping { start, length })?;
        let mut address = start;
        loop {
            let known = page_in(&self.pages, address).or_else(|| page_in(fresh, address));
            let page = match known {
                Some(page) => page.page(),
                None => {
                    let (mapped, rights) =
                        tables.page_at(address).map_err(|error| ControlError::Page { address, error })?;
                    let alias = mapping.alias.plus(mapped.page.address.since(mapping.start));
                    let behind = Behind { backing: mapping.backing, rights, alias };
                    fresh.try_reserve(1)?;
                    fresh.push(ArmedPage::new(mapped, behind, mapping.id));
                    mapped.page
                }
            };
            match page.end() {
                Linear(0) => break,
                end if end > last => break,
                end => address = end,
            }
        }
        Ok(())
    }

    /// Removes the probes that `gone` holds for. Can't fail: the published snapshot is struck out
    /// in place, and only its compaction needs memory.
    fn remove_where<P: Platform>(
        &mut self,
        engine: &Engine<P>,
        tables: &impl PageTables,
        gone: impl Fn(ProbeId, &Probe) -> bool,
    ) {
        let before = self.probes.len();
        self.probes.retain(|(id, probe)| !gone(*id, probe));
        if self.probes.len() == before {
            return;
        }
        // SAFETY: `&mut self` makes this the writer, and the borrow ends before anything is
        // replaced.
        if let Some(space) = unsafe { engine.space.current() } {
            // 1. No handler of theirs begins any more.
            space.probes().iter().filter(|active| gone(active.id, &active.probe)).for_each(ActiveProbe::end);
            // 2. Pages that nobody uses become as they were. A fault on one that is in flight still
            //    finds it in the snapshot.
            let unused = || {
                let mut is_used = used_by(&self.probes);
                self.pages.iter().filter(move |page| !is_used(page))
            };
            unused().for_each(|page| space.leave(page.page()));
            unused().for_each(|page| _ = tables.disarm(page.mapped));
            // 3. No fault from before the disarming is in flight after this, and no handler from
            //    before its probe's end.
            tables.synchronize();
            // 4. A step that did not know yet that its page leaves may have closed it once more;
            //    later ones don't.
            self.changed += unused().filter(|page| tables.disarm(page.mapped).is_err()).count() as u64;
            // 5. Only now may traps no longer know the pages.
            unused().for_each(|page| space.forget(page.page()));
        }
        self.pages.retain(used_by(&self.probes));
        if let Ok(space) = snapshot(&self.pages, &self.probes) {
            let memory = space.memory();
            if let Ok(space) = Owned::new(space) {
                let old = engine.space.replace(Some(space));
                tables.synchronize();
                // SAFETY: every trap that began before the replacement has ended.
                unsafe { old.free() };
                self.memory = memory;
            }
        }
    }
}

fn last_of(start: Linear, length: u64) -> Result<Linear, ControlError> {
    let bad = ControlError::BadRange { start, length };
    length.checked_sub(1).and_then(|rest| start.checked_plus(rest)).ok_or(bad)
}

fn snapshot(pages: &[ArmedPage], probes: &[(ProbeId, Probe)]) -> Result<Space, ControlError> {
    let mut own_pages = Vec::new();
    own_pages.try_reserve_exact(pages.len())?;
    own_pages.extend_from_slice(pages);
    let mut active = Vec::new();
    active.try_reserve_exact(probes.len())?;
    active.extend(probes.iter().map(|(id, probe)| ActiveProbe::new(*id, *probe)));
    Ok(Space::build(own_pages, active)?)
}
