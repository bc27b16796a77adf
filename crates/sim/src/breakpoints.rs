//! A machine of breakpoints, single steps and handlers that fault: the smallest platform of the engine's code probes.
//!
//! Its cores execute instructions that are known by their addresses alone: whether one is armed, and whether it faults, is all that matters here. Handlers are small programs,
//! interpreted. Cores and the writer take turns as the seed says, at every point where another could make a difference.

use crate::schedule::{Scheduler, actor};
use crate::world::lock;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use trapline_abi::ProbeCounts;
use trapline_engine::code::{
    Breakpoints, Call, Calls, CodeControl, CodeEngine, CodeHandlers, CodeProbe, Delivery, Exception,
    HitVerdict, Point, Recovery,
};
use trapline_insn::Registers;

/// What a handler does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Raises a page fault.
    Fault,
    /// Executes the instruction at this address.
    Execute(u64),
    /// Is interrupted by code that faults and is nobody's handler.
    Interrupted,
}

/// What a fault handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Deals with it.
    Fixes,
    /// Does not.
    Declines,
    /// Faults itself.
    Faults,
}

/// A probe's handlers, and the calls of them that came to their end.
#[derive(Debug, Default)]
pub struct Watch {
    /// Its pre handler, if it has one.
    pub pre: Option<Vec<Do>>,
    /// Its post handler.
    pub post: Option<Vec<Do>>,
    /// Its fault handler.
    pub fix: Option<Fix>,
    /// Abandoned handlers after which it is disabled; 0: never.
    pub limit: u64,
    /// Calls of the pre handler, by core: the arguments of the calls it saw.
    pub seen: Mutex<Vec<(usize, u64)>>,
    /// Calls of the post handler that came to their end.
    pub posts: AtomicU64,
    /// Calls of the fault handler.
    pub asked: AtomicU64,
    /// A handler may run.
    pub open: AtomicBool,
}

/// What a core executes: `times` times the instruction at `address`, its argument counted from 1.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// The instruction.
    pub address: u64,
    /// How often.
    pub times: u64,
}

#[derive(Default)]
struct Core {
    /// Traps so far, and whether it is in one.
    epoch: AtomicU64,
    busy: AtomicU64,
    executed: AtomicU64,
}

struct World {
    engine: CodeEngine<Link>,
    scheduler: Scheduler,
    armed: Mutex<BTreeMap<u64, u64>>,
    /// Instructions that fault when they are executed the next time.
    faulty: Mutex<BTreeSet<u64>>,
    cores: Box<[Core]>,
    calls: AtomicU64,
    guards: AtomicU64,
}

struct Link(Weak<World>);

impl Link {
    fn world(&self) -> Arc<World> {
        self.0.upgrade().expect("the engine is part of its world")
    }
}

/// Names a context that calls are made in.
struct Guard(u64);

/// Names a call; what the cores' stack pointers tell in a real machine.
#[derive(Default)]
struct Frame {
    id: Cell<u64>,
    guard: Cell<u64>,
    abandoned: Cell<bool>,
}

// What the engine is given for functions. They are told apart by their addresses and never run.
unsafe extern "C" fn pre(_: *mut (), _: *const Registers, _: *mut ()) {
    unreachable!("a pre handler is interpreted")
}

unsafe extern "C" fn post(_: *mut (), _: *const Registers, _: *mut ()) {
    unreachable!("a post handler is interpreted, too")
}

unsafe extern "C" fn fix(_: *mut (), _: *mut Registers, _: *const Exception) -> bool {
    unreachable!("a fault handler is interpreted as well")
}

impl Calls for Link {
    type Guard = Guard;
    type Frame = Frame;

    fn cpu(&self) -> usize {
        actor().expect("traps happen on cores")
    }

    fn guarding<T>(&self, calls: impl FnOnce(&Guard) -> T) -> T {
        calls(&self.world().guard())
    }

    unsafe fn call(&self, guard: &Guard, frame: &Frame, call: &Call) -> Option<u64> {
        let world = self.world();
        frame.id.set(world.calls.fetch_add(1, Ordering::Relaxed) + 1);
        frame.guard.set(guard.0);
        // SAFETY: the data of every probe is a `Watch` that its machine keeps.
        let watch = unsafe { &*(call.arguments[0] as *const Watch) };
        assert!(watch.open.load(Ordering::Relaxed), "a handler ran after its probe was removed");
        let nothing = Vec::new();
        let mut result = 0;
        let program = if call.function == pre as *const () {
            // SAFETY: the registers of the hit.
            let argument = unsafe { (*(call.arguments[1] as *const Registers)).rdi };
            lock(&watch.seen).push((self.cpu(), argument));
            watch.pre.as_ref().unwrap_or(&nothing)
        } else if call.function == post as *const () {
            watch.post.as_ref().unwrap_or(&nothing)
        } else {
            watch.asked.fetch_add(1, Ordering::Relaxed);
            result = u64::from(watch.fix == Some(Fix::Fixes));
            &if watch.fix == Some(Fix::Faults) { vec![Do::Fault] } else { Vec::new() }
        };
        for &step in program {
            world.scheduler.pause();
            match step {
                Do::Fault => {
                    if !world.handler_faults(frame) {
                        return None;
                    }
                }
                Do::Execute(address) => world.execute(address, 0),
                Do::Interrupted => {
                    let (exception, mut registers) = (PAGE_FAULT, Registers::default());
                    // SAFETY: on a core, in its trap.
                    let recovery = unsafe { world.engine.fault(&exception, &mut registers, true) };
                    assert_eq!(recovery, Recovery::NotOurs, "it is not the handler's fault");
                }
            }
        }
        if call.function == post as *const () {
            watch.posts.fetch_add(1, Ordering::Relaxed);
        }
        Some(result)
    }

    fn is_in(&self, guard: &Guard, frame: &Frame, registers: &Registers) -> bool {
        assert_eq!(guard.0, frame.guard.get(), "a call of another context");
        registers.rsp == frame.id.get()
    }

    fn abandon(&self, guard: &Guard, frame: &Frame, _: &mut Registers) {
        assert_eq!(guard.0, frame.guard.get(), "put back to another context");
        frame.abandoned.set(true);
    }
}

const PAGE_FAULT: Exception = Exception { vector: 14, error_code: 0, address: 0 };

impl World {
    /// The context as it is now.
    fn guard(&self) -> Guard {
        Guard(self.guards.fetch_add(1, Ordering::Relaxed))
    }

    /// A fault in the call of `frame`; returns whether it goes on.
    fn handler_faults(&self, frame: &Frame) -> bool {
        let mut registers = Registers { rsp: frame.id.get(), ..Registers::default() };
        // SAFETY: on a core, in its trap.
        match unsafe { self.engine.fault(&PAGE_FAULT, &mut registers, true) } {
            Recovery::Resume => true,
            Recovery::Abandon => {
                // SAFETY: as above.
                assert!(unsafe { self.engine.abandon(&mut registers) }, "it was the handler's a moment ago");
                assert!(frame.abandoned.get(), "another call was abandoned");
                false
            }
            other => panic!("a handler's fault became an oops: {other:?}"),
        }
    }

    /// Executes the instruction at `address` on this core.
    fn execute(&self, address: u64, argument: u64) {
        let core = &self.cores[actor().expect("programs run on cores")];
        let registers = Registers { rip: address, rdi: argument, ..Registers::default() };
        loop {
            self.scheduler.pause();
            let faults = || lock(&self.faulty).remove(&address);
            // Nothing comes between this look and the beginning of the trap: the CPU fetches the breakpoint and raises the exception.
            let Some(point) = lock(&self.armed).get(&address).copied() else {
                while faults() {
                    self.scheduler.pause();
                }
                core.executed.fetch_add(1, Ordering::Relaxed);
                return;
            };
            core.epoch.fetch_add(1, Ordering::Relaxed);
            core.busy.fetch_add(1, Ordering::Relaxed);
            let point = point as *const Point;
            // SAFETY: armed, so alive until `disarm`, which waits for this trap; on a core, which nothing interrupts but what it calls.
            let verdict = unsafe { self.engine.hit(&*point, &registers, Delivery::Each, &self.guard()) };
            self.scheduler.pause();
            let inside = core.busy.load(Ordering::Relaxed) > 1;
            assert_eq!(verdict == HitVerdict::Missed, inside, "hits inside of hits are missed, others not");
            let done = if faults() {
                // SAFETY: as above.
                assert_eq!(unsafe { self.engine.step_fault() }, Recovery::Rewind);
                false
            } else {
                core.executed.fetch_add(1, Ordering::Relaxed);
                // SAFETY: as above.
                unsafe { self.engine.stepped(&*point, &registers, &self.guard()) };
                true
            };
            core.busy.fetch_sub(1, Ordering::Relaxed);
            if done {
                return;
            }
        }
    }
}

/// What arms the instructions of a [`CodeMachine`].
struct Patcher(Arc<World>);

impl Breakpoints for Patcher {
    type Site = u64;
    type Error = ();

    unsafe fn arm(&mut self, point: NonNull<Point>) -> Result<u64, ()> {
        self.0.scheduler.pause();
        // SAFETY: alive until it is disarmed, as the caller vouches.
        let address = unsafe { point.as_ref() }.address();
        lock(&self.0.armed).insert(address, point.as_ptr() as u64);
        Ok(address)
    }

    fn set_post(&mut self, _: &mut u64, _: bool) -> Result<(), ()> {
        // The end of every step is told.
        self.0.scheduler.pause();
        Ok(())
    }

    fn disarm<'a>(&mut self, sites: impl Iterator<Item = &'a mut u64>) {
        for site in sites {
            self.0.scheduler.pause();
            lock(&self.0.armed).remove(site);
        }
        self.synchronize();
    }

    fn is_gone(&self, _: &u64) -> bool {
        false
    }

    fn missed(&self, _: &u64) -> u64 {
        0
    }

    fn synchronize(&self) {
        self.0.scheduler.pause();
        let epochs: Vec<u64> = self.0.cores.iter().map(|core| core.epoch.load(Ordering::Relaxed)).collect();
        let inside = || {
            self.0.cores.iter().zip(&epochs).any(|(core, epoch)| {
                core.busy.load(Ordering::Relaxed) > 0 && core.epoch.load(Ordering::Relaxed) == *epoch
            })
        };
        if inside() {
            self.0.scheduler.wait_until(|| !inside());
        }
    }
}

/// The machine.
pub struct CodeMachine {
    world: Arc<World>,
    patcher: Patcher,
    control: CodeControl<u64>,
    ids: u64,
    watches: BTreeMap<u64, Arc<Watch>>,
}

impl CodeMachine {
    /// A machine of `cores`, with nothing armed.
    pub fn new(cores: usize, seed: u64) -> Self {
        let world = Arc::new_cyclic(|world: &Weak<World>| World {
            engine: CodeEngine::new(Link(world.clone()), cores).expect("memory for the engine"),
            // The cores and the writer.
            scheduler: Scheduler::new(cores + 1, seed),
            armed: Mutex::default(),
            faulty: Mutex::default(),
            cores: (0..cores).map(|_| Core::default()).collect(),
            calls: AtomicU64::new(0),
            guards: AtomicU64::new(0),
        });
        let patcher = Patcher(world.clone());
        Self { world, patcher, control: CodeControl::new(), ids: 0, watches: BTreeMap::new() }
    }

    /// Registers a probe at `address`; returns its number.
    pub fn add(&mut self, address: u64, watch: &Arc<Watch>) -> u64 {
        watch.open.store(true, Ordering::Relaxed);
        let handlers = CodeHandlers::Guarded {
            pre: watch.pre.is_some().then_some(pre as _),
            post: watch.post.is_some().then_some(post as _),
            fault: watch.fix.is_some().then_some(fix as _),
        };
        self.ids += 1;
        let data = Arc::as_ptr(watch).cast_mut().cast();
        let probe = CodeProbe::new(self.ids, handlers, data, watch.limit, self.world.cores.len())
            .expect("memory for a probe");
        // SAFETY: the watch is kept until the probe was removed.
        unsafe { self.control.add(&mut self.patcher, address, probe) }.expect("any address can be probed");
        self.watches.insert(self.ids, watch.clone());
        self.ids
    }

    /// Takes a probe away.
    pub fn remove(&mut self, id: u64) {
        self.control.remove(&mut self.patcher, |probe| probe.id() == id);
        if let Some(watch) = self.watches.remove(&id) {
            watch.open.store(false, Ordering::Relaxed);
        }
    }

    /// What a probe has counted.
    pub fn counts(&self, id: u64) -> ProbeCounts {
        let mut all = self.control.probes(&self.patcher);
        all.find(|(probe, ..)| probe.id() == id).map(|(.., counts)| counts).unwrap_or_default()
    }

    /// Whether a probe is enabled.
    pub fn is_enabled(&self, id: u64) -> bool {
        let mut enabled = false;
        self.control.with(id, |probe| enabled = probe.is_enabled()) && enabled
    }

    /// Has the instruction at `address` fault once, when it is executed next.
    pub fn fault_once(&mut self, address: u64) {
        lock(&self.world.faulty).insert(address);
    }

    /// The instructions that are armed.
    pub fn armed(&self) -> Vec<u64> {
        lock(&self.world.armed).keys().copied().collect()
    }

    /// Instructions that core `cpu` executed.
    pub fn executed(&self, cpu: usize) -> u64 {
        self.world.cores[cpu].executed.load(Ordering::Relaxed)
    }

    /// Whether every core is outside of any hit.
    pub fn is_idle(&self) -> bool {
        (0..self.world.cores.len())
            .all(|cpu| self.world.engine.phase(cpu) == trapline_engine::code::Phase::IDLE)
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
                    world.scheduler.act(cpu, || (1..=times).for_each(|number| world.execute(address, number)))
                });
            }
            world.scheduler.act(writer, || write(self));
        });
    }
}

impl Drop for CodeMachine {
    fn drop(&mut self) {
        self.control.remove(&mut self.patcher, |_| true);
    }
}
