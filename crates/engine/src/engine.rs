//! The engine: what a fault goes through.

use crate::cache::Site;
use crate::claims::Claims;
use crate::counters::{CpuCounters, count};
use crate::percpu::{Level, PerCpu};
use crate::perform::{Performer, Stop};
use crate::primitive::atomic::Ordering;
use crate::published::Published;
use crate::space::{ArmedPage, Space};
use crate::step::{Refault, Step};
use crate::{Claim, ErrorCode, Fault, HandlerList, OutOfMemory, Page, Platform, Sink, Study, Trap, Verdict};
use alloc::boxed::Box;
use alloc::vec::Vec;
use trapline_abi::{Counters, FaultCounts, Flags, Kind, Record, ServedPayload, Way};
use trapline_insn::{Direction, Method, Operand, Plan, Progress, Registers};

/// Elements of a string instruction performed before the interrupted code is let go, so that interrupts wait no longer than that.
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
    cpus: Box<[PerCpu]>,
    memory: usize,
}

impl<P: Platform> Engine<P> {
    /// An engine for CPUs `0..cpus`, with nothing armed.
    pub fn new(platform: P, cpus: usize) -> Result<Self, OutOfMemory> {
        let mut all = Vec::new();
        all.try_reserve_exact(cpus)?;
        for _ in 0..cpus {
            all.push(PerCpu::new()?);
        }
        let memory = size_of::<Self>() + all.iter_mut().map(PerCpu::memory).sum::<usize>();
        Ok(Self {
            platform,
            handlers: HandlerList::new(),
            all_handlers: HandlerList::new(),
            claims: Claims::new(),
            study: Published::empty(),
            space: Published::empty(),
            sink: Published::empty(),
            cpus: all.into_boxed_slice(),
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

    /// Bytes of memory that the engine itself holds; see [`Control::memory`](crate::Control::memory) for its tables.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// What happened so far. `dropped` is the sink's to tell.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for cpu in &self.cpus {
            cpu.counters.add_to(&mut sum);
        }
        sum
    }

    /// Decides about a page fault, and does what is to be done about it.
    ///
    /// # Safety
    /// Called in the exception, with interrupts off until it returns, with the registers of the context that faulted.
    pub unsafe fn page_fault(&self, fault: Fault, registers: &mut Registers) -> Verdict {
        // SAFETY: interrupts are off, as the caller vouches.
        let trap = unsafe { Trap::begin(self.platform.cpu()) };
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
        // SAFETY: interrupts are off, as the caller vouches.
        let trap = unsafe { Trap::begin(self.platform.cpu()) };
        if let Some(study) = self.study.read(&trap) {
            study.see(&trap, &self.platform, &fault, user, registers);
        }
    }

    /// Lets the study know that the kernel has served a page fault of this thread, which was raised in `user` mode or not.
    pub fn served(&self, trap: &Trap, user: bool, served: ServedPayload) {
        if let Some(study) = self.study.read(trap) {
            study.see_served(trap, &self.platform, user, served);
        }
    }

    /// Asks the handlers of all faults, newest first, about a page fault of user or kernel mode that nobody has dealt with yet; returns what is to be done about it.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`].
    pub unsafe fn claim(&self, fault: Fault, registers: &mut Registers) -> Claim {
        // SAFETY: interrupts are off, as the caller vouches.
        let trap = unsafe { Trap::begin(self.platform.cpu()) };
        let before = *registers;
        if self.all_handlers.ask(&trap, &fault, registers) == Verdict::NotOurs {
            return Claim::None;
        }
        let counters = self.cpus.get(trap.cpu()).map(|cpu| &cpu.counters);
        if self.claims.honour(&before, registers, &self.platform.task(), trap.cpu(), self.platform.now()) {
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

    /// What is looked at from now on: `None` for nothing. Returns the study before, which traps may still be using.
    pub fn set_study(&self, study: Option<crate::Owned<Study>>) -> crate::Retired<Study> {
        self.study.replace(study)
    }

    /// What the current study has counted, and the claims since the engine began.
    ///
    /// # Safety
    /// Called by the one who sets studies, who frees none meanwhile.
    pub unsafe fn fault_counts(&self) -> FaultCounts {
        // SAFETY: as the caller vouches.
        let mut counts = unsafe { self.study.current() }.map_or_else(FaultCounts::default, Study::counts);
        for cpu in &self.cpus {
            counts.claimed += cpu.counters.claimed.load(Ordering::Relaxed);
            counts.looping += cpu.counters.looping.load(Ordering::Relaxed);
        }
        counts
    }

    /// Decides about a debug exception that a single step raised; returns whether it was ours.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`].
    pub unsafe fn debug_exception(&self, registers: &mut Registers) -> bool {
        // SAFETY: interrupts are off, as the caller vouches.
        let trap = unsafe { Trap::begin(self.platform.cpu()) };
        let Some(cpu) = self.cpus.get(trap.cpu()) else { return false };
        let stays = |page| self.stays(&trap, page);
        // SAFETY: in the trap of a debug exception, on this CPU.
        let Some(step) = (unsafe { cpu.step.finish(&self.platform, registers, stays) }) else { return false };
        self.stepped(&trap, cpu, &step);
        true
    }

    /// Writes a record that is not of a trap (a mapping, a marker) to this CPU's ring. Time, CPU and task are filled in.
    ///
    /// # Safety
    /// Interrupts are off until it returns.
    pub unsafe fn note(&self, record: Record, more: &[Record]) {
        // SAFETY: interrupts are off, as the caller vouches.
        let trap = unsafe { Trap::begin(self.platform.cpu()) };
        if let Some(sink) = self.sink.read(&trap) {
            sink.push(&trap, &self.platform, record, more);
        }
    }

    /// Where events go from now on: `None` for nowhere. Returns the sink before, which traps may still be writing to.
    pub fn set_sink(&self, sink: Option<crate::Owned<Sink>>) -> crate::Retired<Sink> {
        self.sink.replace(sink)
    }

    /// The access probes' page-fault handler.
    fn access_fault(&self, trap: &Trap, fault: Fault, registers: &mut Registers) -> Verdict {
        let Some(cpu) = self.cpus.get(trap.cpu()) else { return Verdict::NotOurs };
        let found = if fault.error_code.is_armed_page() {
            self.space.read(trap).and_then(|space| Some((space, space.find(fault.address)?)))
        } else {
            None
        };
        let Some((space, page)) = found else { return self.foreign_fault(trap, cpu, fault, registers) };
        count(&cpu.counters.faults);
        if cpu.step.is_active()
            && let Some(verdict) = self.refault(trap, cpu, page, fault, registers)
        {
            return verdict;
        }
        let level = cpu.enter(trap);
        let mut own = None;
        let site = level.site(&self.platform, registers.rip, &mut own);
        let copy;
        let mut before = None;
        if space.has_handlers() {
            if level.number() < HANDLER_LEVELS {
                copy = *registers;
                before = Some(&copy);
            } else {
                count(&cpu.counters.nested);
            }
        }
        let mut performer = Performer {
            platform: &self.platform,
            trap,
            space,
            sink: self.sink.read(trap),
            counters: &cpu.counters,
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
                Ok(Progress::Refused) => {}
            }
        }
        self.perform_otherwise(cpu, &level, fault, site, &mut performer, registers)
    }

    /// Redirect, or the last resort.
    #[inline(never)]
    fn perform_otherwise(
        &self,
        cpu: &PerCpu,
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
            match performer.redirect(level.number(), copy, registers, operand.address) {
                Ok(true) => {
                    site.plan.complete(registers);
                    return Verdict::Resume;
                }
                Ok(false) | Err(Stop::Retry) => {}
                Err(Stop::Fault(fault)) => return Verdict::Instead(fault),
            }
        }
        self.step(performer.trap, cpu, level, fault, performer.page, known, registers);
        Verdict::Resume
    }

    /// A fault on an armed page while a step is under way on this CPU; `None` if it has nothing to do with the step.
    #[inline(never)]
    fn refault(
        &self,
        trap: &Trap,
        cpu: &PerCpu,
        page: &ArmedPage,
        fault: Fault,
        registers: &mut Registers,
    ) -> Option<Verdict> {
        // SAFETY: in a trap on this CPU.
        match unsafe { cpu.step.refault(&self.platform, registers, page.mapped, unknown(fault)) } {
            Refault::Elsewhere => None,
            Refault::Opened => Some(Verdict::Resume),
            Refault::Full => {
                self.leave_open(trap, cpu, page);
                Some(Verdict::Resume)
            }
            Refault::Foreign => Some(self.foreign_fault(trap, cpu, fault, registers)),
        }
    }

    /// A fault that no armed page explains.
    #[inline(never)]
    fn foreign_fault(&self, trap: &Trap, cpu: &PerCpu, fault: Fault, registers: &mut Registers) -> Verdict {
        self.abandon_step(trap, cpu, registers);
        // A page that was disarmed between the fault and now: the access succeeds if it is tried again. This ends, since whoever makes pages not
        // present and present again without end, so that each try faults and each look finds it present, is not us.
        if fault.error_code.is_armed_page() && self.platform.is_present(fault.address) {
            count(&cpu.counters.stale);
            return Verdict::Resume;
        }
        Verdict::NotOurs
    }

    /// An exception of another kind than a page or debug fault, in a context whose registers these are: if it hit an instruction that is being stepped, the step
    /// is undone, and the system finds everything as it was before.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`].
    pub unsafe fn other_exception(&self, registers: &mut Registers) {
        // SAFETY: interrupts are off, as the caller vouches.
        let trap = unsafe { Trap::begin(self.platform.cpu()) };
        if let Some(cpu) = self.cpus.get(trap.cpu()) {
            self.abandon_step(&trap, cpu, registers);
        }
    }

    /// Undoes the step of the interrupted instruction, if one is under way.
    fn abandon_step(&self, trap: &Trap, cpu: &PerCpu, registers: &mut Registers) {
        let stays = |page| self.stays(trap, page);
        // SAFETY: in a trap on this CPU.
        if let Some(step) = unsafe { cpu.step.abandon(&self.platform, registers, stays) } {
            self.window(trap, cpu, &step);
        }
    }

    /// Lets the CPU run the instruction itself, with `page` open.
    #[expect(clippy::too_many_arguments, reason = "all that is known of the trap, used once")]
    fn step(
        &self,
        trap: &Trap,
        cpu: &PerCpu,
        level: &Level,
        fault: Fault,
        page: &ArmedPage,
        known: &[Operand],
        registers: &mut Registers,
    ) {
        let operands = match known {
            [] => [Some(unknown(fault)), None],
            [one] => [Some(*one), None],
            [one, two, ..] => [Some(*one), Some(*two)],
        };
        let outermost = level.number() == 0;
        // SAFETY: in the outermost trap, if it is called at all.
        if !(outermost && unsafe { cpu.step.begin(&self.platform, registers, page.mapped, operands) }) {
            // A second step on this CPU, inside of a handler or an NMI.
            self.leave_open(trap, cpu, page);
        }
    }

    /// Opens `page` until it is repaired.
    fn leave_open(&self, trap: &Trap, cpu: &PerCpu, page: &ArmedPage) {
        self.platform.set_present(page.page(), page.mapped.entry, true);
        count(&cpu.counters.windows);
        self.record_window(trap, page.page().address, 0);
        self.platform.request_repair();
    }

    /// Whether `page` is armed, and not being disarmed just now.
    fn stays(&self, trap: &Trap, page: Page) -> bool {
        self.space.read(trap).is_some_and(|space| space.stays(page))
    }

    /// The stepped instruction has run.
    fn stepped(&self, trap: &Trap, cpu: &PerCpu, step: &Step) {
        let level = cpu.enter(trap);
        if let Some(space) = self.space.read(trap) {
            for operand in step.operands.iter().flatten() {
                self.show_stepped(trap, cpu, &level, space, operand, step);
            }
        }
        self.window(trap, cpu, step);
    }

    fn show_stepped(
        &self,
        trap: &Trap,
        cpu: &PerCpu,
        level: &Level,
        space: &Space,
        operand: &Operand,
        step: &Step,
    ) {
        let last = operand.address.wrapping_add(u64::from(operand.width.max(1)) - 1);
        let Some(page) = space.find(operand.address).or_else(|| space.find(last)) else { return };
        let counters: &CpuCounters = &cpu.counters;
        let sink = self.sink.read(trap);
        let platform = &self.platform;
        let handlers = space.has_handlers() && level.number() < HANDLER_LEVELS;
        let (before, ip) = (handlers.then_some(&step.before), step.before.rip);
        let (flags, way) = (0, Way::Step);
        let mut performer = Performer { platform, trap, space, sink, counters, page, before, ip, flags, way };
        let parts = performer.armed_parts(operand.address, operand.width);
        for span in parts.iter().flatten() {
            if operand.direction != Direction::Write {
                performer.show_unknown(span, false);
            }
            if operand.direction != Direction::Read {
                performer.show_unknown(span, true);
            }
        }
    }

    /// Says that the pages of `step` were open, and has their translations shot down on the CPUs that may have them now.
    fn window(&self, trap: &Trap, cpu: &PerCpu, step: &Step) {
        let open = self.platform.now().wrapping_sub(step.since);
        for page in step.pages() {
            count(&cpu.counters.windows);
            self.record_window(trap, page.page.address, open);
        }
        self.platform.request_repair();
    }

    fn record_window(&self, trap: &Trap, address: u64, nanoseconds: u64) {
        if let Some(sink) = self.sink.read(trap) {
            let payload = [address, nanoseconds, 0, 0];
            let record = Record { kind: Kind::Window as u8, payload, ..Record::EMPTY };
            sink.push(trap, &self.platform, record, &[]);
        }
    }
}

/// What the events of an instruction have in common.
#[inline(always)]
fn flags_of(plan: &Plan) -> u8 {
    let string = if plan.is_string() { Flags::STRING } else { 0 };
    let locked = if plan.locked() { Flags::LOCKED } else { 0 };
    string | locked
}

/// The access that raised `fault`, as far as the CPU told.
fn unknown(fault: Fault) -> Operand {
    let write = fault.error_code.has(ErrorCode::WRITE);
    let direction = if write { Direction::Write } else { Direction::Read };
    Operand { address: fault.address, width: 0, direction }
}
