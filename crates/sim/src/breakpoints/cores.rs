//! What cores do: they execute instructions, trap where one is armed, step over the original, and
//! return from functions.

use super::handlers::{Guard, Link};
use super::text::{Hook, HookKind, Text, Walk};
use super::watch::Called;
use crate::allocation::Side;
use crate::schedule::{Scheduler, actor};
use crate::world::lock;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use trapline_engine::code::{CodeEngine, CodeProbe, Delivery, HitVerdict, Point, Recovery};
use trapline_insn::Registers;

/// Calls of a function inside of each other.
const DEPTH: u64 = 3;

#[derive(Default)]
pub(super) struct Core {
    /// Traps so far, those inside of another not counted.
    pub(super) traps: AtomicU64,
    /// Traps inside of each other that it is in.
    pub(super) busy: AtomicU64,
    pub(super) executed: AtomicU64,
    /// `current_kprobe` is set: hits are not delivered.
    pub(super) running: AtomicBool,
}

pub(super) struct World {
    pub(super) engine: CodeEngine<Link>,
    pub(super) scheduler: Scheduler,
    pub(super) delivery: Delivery,
    pub(super) text: Mutex<Text>,
    /// How many of the next executions of an instruction fault.
    pub(super) faulty: Mutex<BTreeMap<u64, u64>>,
    /// What the system executes for each fault of an instruction.
    pub(super) on_fault: Mutex<Option<u64>>,
    /// So many hooks are granted, then one is refused.
    pub(super) refuse_after: Mutex<Option<u64>>,
    /// Calls of functions whose return is to come, by hook; one that is not in it is told of none.
    pub(super) under_way: Mutex<BTreeMap<u64, u64>>,
    pub(super) cores: Box<[Core]>,
    pub(super) journal: Mutex<Vec<Called>>,
    pub(super) calls: AtomicU64,
    guards: AtomicU64,
}

/// A function's call whose return is to be told of: `struct kretprobe_instance`.
struct Return {
    hook: u64,
    probe: u64,
    carried: Box<Cell<[u64; 3]>>,
}

/// An execution of an instruction.
struct Execution {
    address: u64,
    registers: Registers,
    /// Newest last.
    returns: Vec<Return>,
}

/// The engine while one of its functions for traps is called: it must not allocate.
pub(super) struct InTrap<'a> {
    engine: &'a CodeEngine<Link>,
    _side: Side,
}

impl Deref for InTrap<'_> {
    type Target = CodeEngine<Link>;

    fn deref(&self) -> &Self::Target {
        self.engine
    }
}

impl World {
    pub(super) fn new(cores: usize, seed: u64, delivery: Delivery) -> Arc<Self> {
        Arc::new_cyclic(|world: &Weak<Self>| Self {
            engine: CodeEngine::new(Link(world.clone()), cores).expect("memory for the engine"),
            // The cores and the writer.
            scheduler: Scheduler::new(cores + 1, seed),
            delivery,
            text: Mutex::default(),
            faulty: Mutex::default(),
            on_fault: Mutex::default(),
            refuse_after: Mutex::default(),
            under_way: Mutex::default(),
            cores: (0..cores).map(|_| Core::default()).collect(),
            journal: Mutex::default(),
            calls: AtomicU64::new(0),
            guards: AtomicU64::new(0),
        })
    }

    /// The context as it is now.
    pub(super) fn guard(&self) -> Guard {
        Guard(self.guards.fetch_add(1, Ordering::Relaxed))
    }

    /// The engine, called in a trap.
    pub(super) fn trap(&self) -> InTrap<'_> {
        InTrap { engine: &self.engine, _side: Side::engine() }
    }

    fn core(&self) -> &Core {
        &self.cores[actor().expect("programs run on cores")]
    }

    /// Executes the instruction at `address` on this core; if a function begins there, all of it.
    pub(super) fn execute(&self, address: u64, argument: u64, depth: u64) {
        let registers = Registers { rip: address, rdi: argument, rsi: depth, ..Registers::default() };
        let mut execution = Execution { address, registers, returns: Vec::new() };
        while !self.attempt(&mut execution) {
            self.system_fault();
        }
        let body = lock(&self.text).body(address).filter(|_| depth < DEPTH);
        for address in body.unwrap_or_default() {
            self.execute(address, argument, depth + 1);
        }
        while let Some(end) = execution.returns.pop() {
            self.scheduler.pause();
            self.in_trap(|core| self.returns(core, &end, &registers));
        }
    }

    /// Executes an instruction, or begins to; returns false if it has faulted.
    fn attempt(&self, execution: &mut Execution) -> bool {
        self.scheduler.pause();
        // Nothing comes between this look and the beginning of the trap: the CPU fetches the
        // breakpoint and raises the exception.
        let walk = lock(&self.text).begin(execution.address);
        match (walk, self.delivery) {
            (None, _) => self.original(execution.address),
            (Some(walk), Delivery::Each) => self.in_trap(|core| self.each(core, execution, walk)),
            (Some(walk), Delivery::Alone) => self.in_trap(|core| self.alone(core, execution, walk)),
        }
    }

    fn in_trap<T>(&self, trap: impl FnOnce(&Core) -> T) -> T {
        let core = self.core();
        if core.busy.fetch_add(1, Ordering::Relaxed) == 0 {
            core.traps.fetch_add(1, Ordering::Relaxed);
        }
        self.scheduler.pause();
        let result = trap(core);
        core.busy.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// The instruction itself; returns false if it faults.
    fn original(&self, address: u64) -> bool {
        let mut faulty = lock(&self.faulty);
        if let Some(left) = faulty.get_mut(&address).filter(|left| **left > 0) {
            *left -= 1;
            return false;
        }
        self.core().executed.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// What the system does about a fault of an instruction, before that is executed again.
    fn system_fault(&self) {
        self.scheduler.pause();
        let address = *lock(&self.on_fault);
        if let Some(address) = address {
            self.execute(address, 0, 0);
        }
    }

    /// A hit on a platform that leaves all to the engine.
    fn each(&self, core: &Core, execution: &mut Execution, mut walk: Walk) -> bool {
        let inside = core.busy.load(Ordering::Relaxed) > 1;
        let mut hit = None;
        while let Some(hook) = self.next(execution.address, &mut walk) {
            match hook.kind {
                HookKind::Hit(point) => {
                    let point = point as *const Point;
                    // SAFETY: armed, so alive until `disarm`, which waits for this trap; on a core,
                    // which nothing interrupts but what it calls.
                    let verdict = unsafe {
                        self.trap().hit(&*point, &execution.registers, Delivery::Each, &self.guard())
                    };
                    assert_eq!(
                        verdict == HitVerdict::Missed,
                        inside,
                        "hits inside of hits are missed, others not"
                    );
                    hit = Some(point);
                }
                HookKind::Entry(probe) if !inside => self.enters(execution, &hook, probe),
                HookKind::Entry(_) => lock(&self.text).miss_one(execution.address, hook.number),
                HookKind::Step(_) => unreachable!("the end of each step is told"),
            }
            self.scheduler.pause();
        }
        let done = self.original(execution.address);
        if let Some(point) = hit {
            // SAFETY: as above.
            unsafe {
                if done {
                    self.trap().stepped(&*point, &execution.registers, &self.guard());
                } else {
                    assert_eq!(self.trap().step_fault(), Recovery::Rewind);
                }
            }
        }
        done
    }

    /// A hit as kprobes deliver it: `kprobe_int3_handler()`, `reenter_kprobe()`,
    /// `kprobe_post_process()`, `kprobe_fault_handler()`.
    fn alone(&self, core: &Core, execution: &mut Execution, mut walk: Walk) -> bool {
        let address = execution.address;
        let by_ftrace = lock(&self.text).is_by_ftrace(address);
        let inside = core.running.swap(true, Ordering::Relaxed);
        if inside {
            lock(&self.text).miss(address);
        } else {
            while let Some(hook) = self.next(address, &mut walk) {
                match hook.kind {
                    HookKind::Hit(point) => self.delivers(execution, &hook, point, by_ftrace),
                    HookKind::Entry(probe) => self.enters(execution, &hook, probe),
                    HookKind::Step(_) => {}
                }
                self.scheduler.pause();
            }
        }
        self.scheduler.pause();
        let done = self.original(address);
        // The list is walked anew, as it is now; a hit of what was no list has none.
        if let (true, false, Walk::List { below }) = (done, inside, &mut walk) {
            *below = u64::MAX;
            while let Some(hook) = self.next(address, &mut walk) {
                if let HookKind::Step(point) = hook.kind {
                    // SAFETY: as in `each`.
                    unsafe {
                        self.trap().stepped(&*(point as *const Point), &execution.registers, &self.guard())
                    };
                }
                self.scheduler.pause();
            }
        }
        // Of a step that faulted the engine is told nothing.
        core.running.store(inside, Ordering::Relaxed);
        done
    }

    /// `on_hit()` of `kernel/glue/kprobe.c`.
    fn delivers(&self, execution: &Execution, hook: &Hook, point: u64, by_ftrace: bool) {
        let (point, registers) = (point as *const Point, &execution.registers);
        // SAFETY: as in `each`.
        let verdict = unsafe { self.trap().hit(&*point, registers, Delivery::Alone, &self.guard()) };
        assert_eq!(verdict, HitVerdict::Ran, "hits that are delivered one at a time are never missed");
        self.scheduler.pause();
        let wants_step = lock(&self.text).wants_step(hook.number);
        if by_ftrace && wants_step {
            // SAFETY: as in `each`.
            unsafe { self.trap().stepped(&*point, registers, &self.guard()) };
        }
    }

    fn next(&self, address: u64, walk: &mut Walk) -> Option<Hook> {
        lock(&self.text).next(address, walk)
    }

    /// `on_entry()`.
    fn enters(&self, execution: &mut Execution, hook: &Hook, probe: u64) {
        let carried = Box::new(Cell::new([0; 3]));
        let (to, registers) = (probe as *const CodeProbe, &execution.registers);
        // SAFETY: registered, and alive until every trap that may find its hook has ended; on a
        // core, which nothing interrupts but what it calls.
        let wanted = unsafe { self.trap().entered(&*to, registers, carried.as_ptr().cast(), &self.guard()) };
        if wanted {
            if let Some(calls) = lock(&self.under_way).get_mut(&hook.number) {
                *calls += 1;
            }
            execution.returns.push(Return { hook: hook.number, probe, carried });
        }
    }

    /// `on_return()`, in `kretprobe_rethook_handler()`.
    fn returns(&self, core: &Core, end: &Return, registers: &Registers) {
        if !lock(&self.under_way).contains_key(&end.hook) {
            return;
        }
        assert!(
            !core.running.swap(true, Ordering::Relaxed),
            "a call inside of a handler has no return probe"
        );
        self.scheduler.pause();
        // SAFETY: as in `enters`.
        unsafe {
            let probe = end.probe as *const CodeProbe;
            self.trap().returned(&*probe, registers, end.carried.as_ptr().cast(), &self.guard());
        }
        core.running.store(false, Ordering::Relaxed);
        if let Some(calls) = lock(&self.under_way).get_mut(&end.hook) {
            *calls -= 1;
        }
    }
}
