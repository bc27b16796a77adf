//! The machine, as a test sees it.

use super::cores::World;
use super::handlers::handlers_of;
use super::patcher::{Patcher, ReturnSite, Site};
use super::watch::{Called, Loop, Watch};
use crate::world::lock;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trapline_abi::ProbeCounts;
use trapline_engine::Owned;
use trapline_engine::code::{Breakpoints, CodeControl, CodeProbe, Delivery, Phase, Stage};

/// A machine of breakpoints.
pub struct CodeMachine {
    world: Arc<World>,
    patcher: Patcher,
    control: CodeControl<Site>,
    returns: BTreeMap<u64, Return>,
    ids: u64,
    watches: BTreeMap<u64, Arc<Watch>>,
}

/// A return probe.
struct Return {
    probe: NonNull<CodeProbe>,
    site: ReturnSite,
}

// SAFETY: the probe is shared by design and owned by the machine.
unsafe impl Send for Return {}

impl CodeMachine {
    /// A machine of `cores`, with nothing armed, which delivers hits so.
    pub fn new(cores: usize, seed: u64, delivery: Delivery) -> Self {
        let world = World::new(cores, seed, delivery);
        let patcher = Patcher(world.clone());
        let (returns, watches) = (BTreeMap::new(), BTreeMap::new());
        Self { world, patcher, control: CodeControl::new(), returns, ids: 0, watches }
    }

    /// How it delivers hits.
    pub fn delivery(&self) -> Delivery {
        self.world.delivery
    }

    fn probe(&mut self, watch: &Arc<Watch>) -> CodeProbe {
        self.ids += 1;
        watch.id.store(self.ids, Ordering::Relaxed);
        watch.open.store(true, Ordering::Relaxed);
        self.watches.insert(self.ids, watch.clone());
        let data = Arc::as_ptr(watch).cast_mut().cast();
        CodeProbe::new(self.ids, handlers_of(watch), data, watch.limit, self.world.cores.len())
            .expect("memory for a probe")
    }

    /// Registers a probe at `address`; returns its number, which is above all before it.
    pub fn add(&mut self, address: u64, watch: &Arc<Watch>) -> u64 {
        self.try_add(address, watch).expect("any address can be probed")
    }

    /// As [`CodeMachine::add`]; `None` if that is [refused](CodeMachine::refuse_after).
    pub fn try_add(&mut self, address: u64, watch: &Arc<Watch>) -> Option<u64> {
        let probe = self.probe(watch);
        // SAFETY: the watch is kept until the probe was removed.
        let added = unsafe { self.control.add(&mut self.patcher, address, probe) };
        if added.is_err() {
            self.watches.remove(&self.ids);
            watch.open.store(false, Ordering::Relaxed);
        }
        added.is_ok().then_some(self.ids)
    }

    /// Has the platform refuse to arm an instruction, or to tell of its steps, after it has granted
    /// that `times` times; once.
    pub fn refuse_after(&mut self, times: u64) {
        *lock(&self.world.refuse_after) = Some(times);
    }

    /// Registers a probe of the entry and the return of the function at `address`.
    pub fn add_return(&mut self, address: u64, watch: &Arc<Watch>) -> u64 {
        let probe = self.probe(watch);
        let probe = Owned::new(probe).expect("memory for a return probe").leak();
        let site = self.patcher.arm_return(address, probe);
        self.returns.insert(self.ids, Return { probe, site });
        self.ids
    }

    /// Takes a probe away.
    pub fn remove(&mut self, id: u64) {
        self.control.remove(&mut self.patcher, |probe| probe.id() == id);
        if let Some(gone) = self.returns.remove(&id) {
            self.patcher.disarm_return(&gone.site);
            // SAFETY: from `leak`; no handler is running any more, and none will.
            drop(unsafe { Owned::reclaim(gone.probe) });
        }
        if let Some(watch) = self.watches.remove(&id) {
            watch.open.store(false, Ordering::Relaxed);
        }
    }

    /// The module with the instruction at `address` is unloaded: its probes are not called from now
    /// on, but stay registered. What is at the address afterwards is another's.
    pub fn unload(&mut self, address: u64) {
        self.world.scheduler.pause();
        lock(&self.world.text).unload(address);
        self.patcher.synchronize();
    }

    /// What a probe has counted.
    pub fn counts(&self, id: u64) -> ProbeCounts {
        if let Some(found) = self.returns.get(&id) {
            // SAFETY: alive until it is removed.
            let mut counts = unsafe { found.probe.as_ref() }.counts();
            counts.missed += self.patcher.missed_returns(&found.site);
            return counts;
        }
        let mut all = self.control.probes(&self.patcher);
        all.find(|(probe, ..)| probe.id() == id).map(|(.., counts)| counts).unwrap_or_default()
    }

    fn with(&self, id: u64, change: impl FnOnce(&CodeProbe)) -> bool {
        match self.returns.get(&id) {
            Some(found) => {
                // SAFETY: alive until it is removed.
                change(unsafe { found.probe.as_ref() });
                true
            }
            None => self.control.with(id, change),
        }
    }

    /// Whether a probe is enabled.
    pub fn is_enabled(&self, id: u64) -> bool {
        let mut enabled = false;
        self.with(id, |probe| enabled = probe.is_enabled()) && enabled
    }

    /// Has a probe's handlers called, or not. At once: nobody gets a turn before.
    pub fn set_enabled(&self, id: u64, enabled: bool) {
        assert!(self.with(id, |probe| probe.set_enabled(enabled)), "there is a probe {id}");
    }

    /// Has the instruction at `address` fault the next `times` that it is executed.
    pub fn fault(&mut self, address: u64, times: u64) {
        self.world.scheduler.pause();
        *lock(&self.world.faulty).entry(address).or_default() += times;
    }

    /// How many of these are still to come.
    pub fn faults_left(&self, address: u64) -> u64 {
        lock(&self.world.faulty).get(&address).copied().unwrap_or_default()
    }

    /// Has the system execute the instruction at `address` for each fault of an instruction.
    pub fn execute_on_fault(&mut self, address: u64) {
        *lock(&self.world.on_fault) = Some(address);
    }

    /// Has a function begin at `address`, which executes those of `body` after its first
    /// instruction; itself, too, but not for ever.
    pub fn function(&mut self, address: u64, body: &[u64]) {
        lock(&self.world.text).set_function(address, body);
    }

    /// Has hits at `address` come by ftrace: nothing is stepped over there. For machines that
    /// deliver hits alone.
    pub fn by_ftrace(&mut self, address: u64) {
        lock(&self.world.text).set_by_ftrace(address);
    }

    /// The instructions that are armed.
    pub fn armed(&self) -> Vec<u64> {
        lock(&self.world.text).armed().collect()
    }

    /// Whether anybody asked to be told of the ends of steps at `address`; never where each is
    /// told.
    pub fn tells_steps(&self, address: u64) -> bool {
        lock(&self.world.text).tells_steps(address)
    }

    /// How many instructions the engine takes for armed.
    pub fn points(&self) -> usize {
        self.control.points()
    }

    /// Instructions that core `cpu` executed.
    pub fn executed(&self, cpu: usize) -> u64 {
        self.world.cores[cpu].executed.load(Ordering::Relaxed)
    }

    /// The calls of handlers so far, in the order in which they began.
    pub fn journal(&self) -> Vec<Called> {
        lock(&self.world.journal).clone()
    }

    /// Where the cores are in the life of a hit.
    pub fn phases(&self) -> Vec<Phase> {
        self.world.engine.phases().collect()
    }

    /// Whether every core is outside of any hit, as far as the engine was told.
    pub fn is_idle(&self) -> bool {
        self.phases().iter().all(|phase| {
            // Where the engine is not told of every end, it learns of the last one by the next hit.
            let ended = phase.stage() == Stage::Stepping && self.world.delivery == Delivery::Alone;
            phase.reentered() == 0 && (phase.stage() == Stage::Idle || ended)
        })
    }

    /// Lets the cores run for some turns.
    pub fn pause(&self, turns: u64) {
        (0..turns).for_each(|_| self.world.scheduler.pause());
    }

    /// Lets the cores run until `done`; for the writer of [`CodeMachine::run`].
    pub fn wait_until(&self, mut done: impl FnMut(&Self) -> bool) {
        self.world.scheduler.wait_until(|| done(self));
    }

    /// Runs a loop on each core at once, and `write` beside them.
    pub fn run(&mut self, loops: &[Loop], write: impl FnOnce(&mut Self) + Send) {
        let world = self.world.clone();
        let writer = world.cores.len();
        let actors: Vec<usize> = (0..loops.len()).chain([writer]).collect();
        world.scheduler.start(&actors);
        std::thread::scope(|scope| {
            for (cpu, &Loop { address, times }) in loops.iter().enumerate() {
                let world = &world;
                scope.spawn(move || {
                    world.scheduler.act(cpu, || {
                        (1..=times).for_each(|number| world.execute(address, number, 0));
                    });
                });
            }
            world.scheduler.act(writer, || write(self));
        });
    }
}

impl Drop for CodeMachine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Cores may have stopped inside of a trap, whose end would be waited for.
            return;
        }
        let ids: Vec<u64> = self.watches.keys().copied().collect();
        ids.into_iter().for_each(|id| self.remove(id));
    }
}
