//! The writer: registers and removes, and knows for each moment what must be trapped.

use crate::allocation::Side;
use crate::cpu::RESUME_FLAG;
use crate::hardware::Hardware;
use crate::world::{World, lock};
use crate::{FaultHandlerId, FaultHandlerSpec, Hit, HitKind, ProbeSpec, Reaction, Registrar};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use trapline_engine::inject::Rules;
use trapline_engine::{
    Access, ControlError, Decision, ErrorCode, Fault, FaultHandler, Handlers, Linear, PageTables, Physical,
    Probe, ProbeId, Trap, Verdict,
};
use trapline_insn::Registers;

/// A probe's handlers.
struct Watcher {
    world: Weak<World>,
    label: u32,
    pre: Option<Reaction>,
    rules: Option<Arc<Rules>>,
    removed: AtomicBool,
}

/// A page-fault handler.
#[repr(C)]
struct Claimer {
    node: FaultHandler,
    world: Weak<World>,
    spec: FaultHandlerSpec,
    removed: AtomicBool,
}

/// The writer of a world. Handlers live as long as it does.
pub(crate) struct Writer {
    pub(crate) world: Arc<World>,
    watchers: Vec<(ProbeId, ProbeSpec, Arc<Watcher>)>,
    claimers: Vec<Arc<Claimer>>,
    rules: Option<Arc<Rules>>,
}

impl Writer {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world, watchers: Vec::new(), claimers: Vec::new(), rules: None }
    }

    /// Gives all probes to come these rules of injection.
    pub(crate) fn inject(&mut self, rules: Rules) -> Arc<Rules> {
        self.rules.insert(Arc::new(rules)).clone()
    }
}

fn hit(world: &World, label: u32, kind: HitKind, access: (u64, bool, &[u8]), late: bool) {
    let cpu = world.cpu().expect("handlers are called on cores");
    let (address, write, value) = access;
    let error_code = None;
    lock(&world.hits).push(Hit { label, kind, cpu, address, write, error_code, value: value.to_vec(), late });
}

/// # Safety
/// `data` is a [`Watcher`] that is alive.
unsafe fn before(data: *mut (), access: &Access) -> Decision {
    let _side = Side::platform();
    // SAFETY: a `Watcher` that is alive: `before` asks for that.
    let watcher = unsafe { &*data.cast::<Watcher>() };
    let world = watcher.world.upgrade().expect("handlers are called while the world lives");
    world.point();
    let late = watcher.removed.load(Ordering::Relaxed);
    hit(&world, watcher.label, HitKind::Pre, (access.address.0, access.write, access.value), late);
    if let Some(rules) = &watcher.rules {
        return rules.pre(&world.link(), physical(access), access);
    }
    match watcher.pre {
        Some(Reaction::Decide(decision)) => decision,
        Some(Reaction::Touch(address)) => {
            world.touch(address);
            Decision::Pass
        }
        Some(Reaction::Increment(address)) => {
            world.increment(address);
            Decision::Pass
        }
        None => Decision::Pass,
    }
}

/// # Safety
/// As for [`before`].
unsafe fn between(data: *mut (), access: &Access, words: &mut [u64]) -> bool {
    let _side = Side::platform();
    // SAFETY: a `Watcher` that is alive: `between` asks for that.
    let watcher = unsafe { &*data.cast::<Watcher>() };
    let world = watcher.world.upgrade().expect("handlers are called while the world lives");
    world.point();
    let rules = watcher.rules.as_ref();
    rules.is_some_and(|rules| rules.change(&world.link(), physical(access), access, words))
}

/// Where the device of an access has its bytes: at their linear address here.
fn physical(access: &Access) -> Physical {
    Physical(access.address.0)
}

/// # Safety
/// As for [`before`].
unsafe fn after(data: *mut (), access: &Access) {
    let _side = Side::platform();
    // SAFETY: a `Watcher` that is alive: `after` asks for that.
    let watcher = unsafe { &*data.cast::<Watcher>() };
    let world = watcher.world.upgrade().expect("handlers are called while the world lives");
    world.point();
    let late = watcher.removed.load(Ordering::Relaxed);
    hit(&world, watcher.label, HitKind::Post, (access.address.0, access.write, access.value), late);
    if let Some(rules) = &watcher.rules {
        rules.post(physical(access), access);
    }
}

/// # Safety
/// `node` is the first member of a [`Claimer`] that is alive.
unsafe fn claim(node: NonNull<FaultHandler>, _: &Trap, fault: &Fault, registers: &mut Registers) -> Verdict {
    let _side = Side::platform();
    // SAFETY: the first member of a `Claimer` that is alive: `claim` asks for that.
    let claimer = unsafe { node.cast::<Claimer>().as_ref() };
    let world = claimer.world.upgrade().expect("handlers are called while the world lives");
    world.point();
    let late = claimer.removed.load(Ordering::Relaxed);
    let cpu = world.cpu().expect("handlers are called on cores");
    let Fault { address: Linear(address), error_code } = *fault;
    let write = error_code.has(ErrorCode::WRITE);
    let (label, error_code) = (claimer.spec.label, Some(error_code));
    let told = Hit { label, kind: HitKind::Fault, cpu, address, write, error_code, value: Vec::new(), late };
    lock(&world.hits).push(told);
    if address.wrapping_sub(claimer.spec.start) < claimer.spec.length {
        registers.rip = world.cores[cpu].end.load(Ordering::Relaxed);
        registers.rflags &= !RESUME_FLAG;
        Verdict::Resume
    } else {
        Verdict::NotOurs
    }
}

impl Hardware {
    fn guard(&mut self, spec: &ProbeSpec) {
        let directions = [(spec.reads, false), (spec.writes, true)];
        for (_, write) in directions.into_iter().filter(|(wanted, _)| *wanted && spec.record) {
            self.guards.push((spec.start, spec.length, write));
        }
    }

    fn unguard(&mut self, spec: &ProbeSpec) {
        let directions = [(spec.reads, false), (spec.writes, true)];
        for (_, write) in directions.into_iter().filter(|(wanted, _)| *wanted && spec.record) {
            let guard = (spec.start, spec.length, write);
            if let Some(at) = self.guards.iter().position(|known| *known == guard) {
                self.guards.swap_remove(at);
            }
        }
    }
}

impl Registrar for Writer {
    fn probe(&mut self, probes: &[ProbeSpec]) -> Result<Vec<ProbeId>, ControlError> {
        let world = &self.world;
        let watchers: Vec<_> = probes
            .iter()
            .map(|spec| Watcher {
                world: Arc::downgrade(world),
                label: spec.label,
                pre: spec.pre,
                rules: self.rules.clone(),
                removed: AtomicBool::new(false),
            })
            .map(Arc::new)
            .collect();
        let specified = |(spec, watcher): (&ProbeSpec, &Arc<Watcher>)| Probe {
            start: Linear(spec.start),
            length: spec.length,
            reads: spec.reads,
            writes: spec.writes,
            record: spec.record,
            handlers: Handlers {
                pre: (spec.pre.is_some() || watcher.rules.is_some()).then_some(before as _),
                change: watcher.rules.is_some().then_some(between as _),
                post: (spec.post || watcher.rules.is_some()).then_some(after as _),
                data: Arc::as_ptr(watcher).cast_mut().cast(),
            },
        };
        let wanted: Vec<Probe> = probes.iter().zip(&watchers).map(specified).collect();
        let mut ids = Vec::new();
        // SAFETY: the watchers live as long as the writer does, and the machine's aliases as long
        // as their mappings.
        unsafe { world.control().add_probes(&world.engine, &world.link(), &wanted, &mut ids)? };
        for ((id, spec), watcher) in ids.iter().zip(probes).zip(watchers) {
            world.hardware().guard(spec);
            self.watchers.push((*id, *spec, watcher));
        }
        Ok(ids)
    }

    fn unprobe(&mut self, ids: &[ProbeId]) {
        let world = &self.world;
        let is_going = |watcher: &&(ProbeId, ProbeSpec, Arc<Watcher>)| {
            ids.contains(&watcher.0) && !watcher.2.removed.load(Ordering::Relaxed)
        };
        for (_, spec, _) in self.watchers.iter().filter(is_going) {
            world.hardware().unguard(spec);
        }
        world.control().remove_probes(&world.engine, &world.link(), ids);
        for (_, _, watcher) in self.watchers.iter().filter(is_going) {
            watcher.removed.store(true, Ordering::Relaxed);
        }
    }

    fn register(&mut self, spec: FaultHandlerSpec) -> FaultHandlerId {
        let (node, world) = (FaultHandler::new(claim), Arc::downgrade(&self.world));
        let claimer = Arc::new(Claimer { node, world, spec, removed: AtomicBool::new(false) });
        // The pointer is to the whole, since that is what the handler makes of it.
        let whole = NonNull::from(&*claimer).cast();
        self.claimers.push(claimer);
        let world = &self.world;
        // SAFETY: the claimer is in no list yet and lives, where it is, as long as the writer does.
        unsafe { world.control().register_handler(&world.engine, whole) };
        FaultHandlerId(self.claimers.len() - 1)
    }

    fn unregister(&mut self, FaultHandlerId(number): FaultHandlerId) -> bool {
        let (world, claimer) = (&self.world, &self.claimers[number]);
        // SAFETY: all claimers live as long as the writer does.
        let was_there =
            unsafe { world.control().unregister_handler(&world.engine, NonNull::from(&**claimer).cast()) };
        world.link().synchronize();
        claimer.removed.store(true, Ordering::Relaxed);
        was_there
    }

    fn linger(&mut self) {
        for _ in 0..32 {
            self.world.scheduler.pause();
        }
    }
}
