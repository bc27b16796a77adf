//! The engine: what a fault goes through.

mod stepping;

use crate::cache::Site;
use crate::claims::Claims;
use crate::counters::count;
use crate::per_lane::{Level, PerLane};
use crate::perform::{Performer, Stop};
use crate::published::Published;
use crate::space::Space;
use crate::{
    Claim, ErrorCode, Fault, HandlerList, Lanes, Linear, Look, OutOfMemory, Platform, Sink, Study, Trap,
    Verdict,
};
use trapline_abi::{Counters, FaultCounts, Flags, Record, ServedPayload, Way};
use trapline_insn::{Method, Plan, Progress, Registers};
use trapline_ring::primitive::atomic::Ordering;

/// Elements of a string instruction performed before the interrupted code is let go, so that
/// interrupts wait no longer than that.
const STRING_BURST: u32 = 64;

/// How deep accesses inside of handlers of accesses may nest before handlers are no longer called.
const HANDLER_LEVELS: usize = 2;

/// The portable core of Trapline: one for the whole machine.
pub struct Engine<P> {
    platform: P,
    pub(crate) handlers: HandlerList,
    pub(crate) all_handlers: HandlerList,
    claims: Claims,
    study: Published<Study>,
    pub(crate) space: Published<Space>,
    sink: Published<Sink>,
    lanes: Lanes<PerLane>,
    memory: usize,
}

impl<P: Platform> Engine<P> {
    /// An engine for lanes `0..lanes`, with nothing armed.
    pub fn new(platform: P, lanes: usize) -> Result<Self, OutOfMemory> {
        let mut all = Lanes::new(lanes, PerLane::new)?;
        let claims = Claims::new()?;
        let lane_memory: usize = all.iter_mut().map(PerLane::memory).sum();
        let memory = size_of::<Self>() + claims.memory() + lane_memory;
        Ok(Self {
            platform,
            handlers: HandlerList::new(),
            all_handlers: HandlerList::new(),
            claims,
            study: Published::empty(),
            space: Published::empty(),
            sink: Published::empty(),
            lanes: all,
            memory,
        })
    }

    /// The platform.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// How many page-fault handlers are registered, those of all faults included.
    pub fn handlers(&self) -> usize {
        self.handlers.len() + self.all_handlers.len()
    }

    /// Whether there are handlers of all faults.
    pub fn has_handlers_of_all(&self) -> bool {
        !self.all_handlers.is_empty()
    }

    /// Bytes of memory that the engine itself holds; see
    /// [`Control::memory`](crate::Control::memory) for its tables.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// What happened so far. `dropped` is the sink's to tell.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.lanes.open().for_each(|counters| counters.add_to(&mut sum));
        sum
    }

    /// Decides about a page fault, and does what is to be done about it.
    ///
    /// # Safety
    /// Called in a trap on [`Platform::lane`], with the registers of the context that faulted.
    pub unsafe fn page_fault(&self, fault: Fault, registers: &mut Registers) -> Verdict {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        match self.handlers.ask(&trap, &fault, registers) {
            // The access probes are the oldest handler of all, so they are asked last.
            Verdict::NotOurs => self.access_fault(&trap, fault, registers),
            claimed => claimed,
        }
    }

    /// Lets the study look at a page fault, of user or kernel mode, before anybody deals with it.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`].
    pub unsafe fn look_at(&self, fault: Fault, user: bool, registers: &Registers) {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        if let Some(study) = self.study.read(&trap) {
            study.see(&trap, &self.platform, &fault, user, registers);
        }
    }

    /// Lets the study know that the kernel has served a page fault of this thread, which was raised
    /// in `user` mode or not.
    pub fn served(&self, trap: &Trap, user: bool, served: ServedPayload) {
        if let Some(study) = self.study.read(trap) {
            study.see_served(trap, &self.platform, user, served);
        }
    }

    /// Asks the handlers of all faults, newest first, about a page fault of user or kernel mode
    /// that nobody has dealt with yet; returns what is to be done about it.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`].
    pub unsafe fn claim(&self, fault: Fault, registers: &mut Registers) -> Claim {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let before = *registers;
        if self.all_handlers.ask(&trap, &fault, registers) == Verdict::NotOurs {
            return Claim::None;
        }
        let counters = self.lanes.of(&trap).map(|own| &own.counters);
        if self.claims.honour(&before, registers, &self.platform.task(), trap.lane(), self.platform.now()) {
            if let Some(counters) = counters {
                count(&counters.claimed);
            }
            return Claim::Resume;
        }
        if let Some(counters) = counters {
            count(&counters.looping);
        }
        *registers = before;
        Claim::Looping
    }

    /// What is looked at from now on: `None` for nothing. Returns the study before, which traps may
    /// still be using.
    pub fn set_study(&self, study: Option<crate::Owned<Study>>) -> crate::Retired<Study> {
        self.study.replace(study)
    }

    /// What the current study has counted, and the claims since the engine began.
    ///
    /// # Safety
    /// Called by the one who sets studies, who frees none meanwhile.
    pub unsafe fn fault_counts(&self) -> FaultCounts {
        // SAFETY: no study is freed meanwhile: the caller is the one who sets and frees them.
        let mut counts = unsafe { self.study.current() }.map_or_else(FaultCounts::default, Study::counts);
        for counters in self.lanes.open() {
            counts.claimed += counters.claimed.load(Ordering::Relaxed);
            counts.looping += counters.looping.load(Ordering::Relaxed);
        }
        counts
    }

    /// Writes a record that is not of a trap (a mapping, a marker) to this lane's ring. Time, CPU
    /// and task are filled in.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`]: what runs here is a trap in all but name.
    pub unsafe fn note(&self, record: Record, more: &[Record]) {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        if let Some(sink) = self.sink.read(&trap) {
            sink.push(&trap, &self.platform, record, more);
        }
    }

    /// Where events go from now on: `None` for nowhere. Returns the sink before, which traps may
    /// still be writing to.
    pub fn set_sink(&self, sink: Option<crate::Owned<Sink>>) -> crate::Retired<Sink> {
        self.sink.replace(sink)
    }

    /// The access probes' page-fault handler.
    fn access_fault(&self, trap: &Trap, fault: Fault, registers: &mut Registers) -> Verdict {
        let Some(own) = self.lanes.of(trap) else { return Verdict::NotOurs };
        let found = if self.platform.look(&fault) == Look::Armed {
            self.space.read(trap).and_then(|space| Some((space, space.find(fault.address)?)))
        } else {
            None
        };
        let Some((space, page)) = found else { return self.foreign_fault(trap, own, fault, registers) };
        count(&own.counters.faults);
        if own.step.is_active()
            && let Some(verdict) = self.refault(trap, own, page, fault, registers)
        {
            return verdict;
        }
        let level = own.enter(trap);
        let mut decoded = None;
        let site = level.site(&self.platform, registers.rip, &mut decoded);
        let copy;
        let mut before = None;
        if space.has_handlers() {
            if level.number() < HANDLER_LEVELS {
                copy = *registers;
                before = Some(&copy);
            } else {
                count(&own.counters.nested);
            }
        }
        let mut performer = Performer {
            platform: &self.platform,
            trap,
            space,
            sink: self.sink.read(trap),
            counters: &own.counters,
            page,
            before,
            ip: registers.rip,
            flags: 0,
            way: Way::Emulate,
        };
        if let Some(site) = site
            && site.plan.method() == Method::Emulate
            && (!site.plan.pushes() || self.platform.can_push())
        {
            performer.flags = flags_of(&site.plan);
            match site.plan.execute(registers, &mut performer, STRING_BURST) {
                Ok(Progress::Done | Progress::More) | Err(Stop::Retry) => return Verdict::Resume,
                Err(Stop::Fault(fault)) => return Verdict::Instead(fault),
                Ok(Progress::Refused) | Err(Stop::Step) => {}
            }
        }
        self.perform_otherwise(own, &level, fault, site, &mut performer, registers)
    }

    /// Redirect, or the last resort.
    #[inline(never)]
    fn perform_otherwise(
        &self,
        own: &PerLane,
        level: &Level,
        fault: Fault,
        site: Option<&Site>,
        performer: &mut Performer<P>,
        registers: &mut Registers,
    ) -> Verdict {
        let operands = site.map(|site| site.plan.operands(registers, |s| self.platform.segment_base(s)));
        let known = operands.as_ref().filter(|all| all.is_complete()).map_or(&[][..], |all| all.as_slice());
        if let Some(site) = site
            && let (Some(copy), [operand]) = (&site.redirect, known)
        {
            performer.way = Way::Redirect;
            match performer.redirect(level.number(), copy, registers, Linear(operand.address)) {
                Ok(true) => {
                    site.plan.complete(registers);
                    return Verdict::Resume;
                }
                Ok(false) | Err(Stop::Retry | Stop::Step) => {}
                Err(Stop::Fault(fault)) => return Verdict::Instead(fault),
            }
        }
        // Before the CPU finds out: no page has to be opened for that.
        if let Some(forbidden) = self.forbidden(performer.trap, own, fault, registers) {
            return Verdict::Instead(forbidden);
        }
        self.step(performer.trap, own, level, fault, performer.page, known, registers);
        Verdict::Resume
    }

    /// A fault that no armed page explains, or that an armed page does not explain alone.
    #[inline(never)]
    fn foreign_fault(&self, trap: &Trap, own: &PerLane, fault: Fault, registers: &mut Registers) -> Verdict {
        self.abandon_step(trap, own, registers);
        if let Some(forbidden) = self.forbidden(trap, own, fault, registers) {
            return Verdict::Instead(forbidden);
        }
        // A page that was disarmed between the fault and now: the access succeeds if it is tried
        // again. This ends, since whoever makes pages not present and present again without end, so
        // that each try faults and each look finds it present, is not us.
        if self.platform.look(&fault) == Look::Armed && self.platform.is_present(fault.address) {
            count(&own.counters.stale);
            return Verdict::Resume;
        }
        Verdict::NotOurs
    }

    /// What `fault` were if the armed page that it is on were present (as it is for a step): `None`
    /// if it is on none, or the page's rights allow the access. It is recorded if there is such a
    /// fault.
    // Out of line: the way of every redirected access passes the call of it, and seldom takes it.
    #[cold]
    #[inline(never)]
    fn forbidden(&self, trap: &Trap, own: &PerLane, fault: Fault, registers: &Registers) -> Option<Fault> {
        let Fault { error_code, address } = fault;
        let space = self.space.read(trap).filter(|_| self.platform.look(&fault) != Look::Foreign)?;
        let page = space.find(address)?;
        if !page.behind.rights.forbid(error_code, self.platform.write_protects()) {
            return None;
        }
        let (platform, sink, counters) = (&self.platform, self.sink.read(trap), &own.counters);
        let (before, ip, flags, way) = (None, registers.rip, 0, Way::Forbidden);
        let mut performer = Performer { platform, trap, space, sink, counters, page, before, ip, flags, way };
        if let Some(span) = performer.span(address, 0) {
            performer.show_forbidden(&span, error_code.has(ErrorCode::WRITE));
        }
        // Without arming there would be a translation, with no bit set that must be clear.
        let error_code = ErrorCode(error_code.0 & !ErrorCode::RESERVED | ErrorCode::PRESENT);
        Some(Fault { error_code, address })
    }
}

/// What the events of an instruction have in common.
#[inline(always)]
fn flags_of(plan: &Plan) -> u8 {
    let string = if plan.is_string() { Flags::STRING } else { 0 };
    let locked = if plan.locked() { Flags::LOCKED } else { 0 };
    string | locked
}
