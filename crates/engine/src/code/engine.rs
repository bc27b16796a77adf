//! What a hit, a step and a handler's fault go through.

use super::counts::count;
use super::cpu::Cpu;
use super::phase::{OnFault, OnHit, OnStepped};
use super::probe::{CodeHandlers, CodeProbe, Exception, GuardedHandler};
use super::running::{Call, Caller, Calls, RESUMES, Recovery, Running, fixer_call};
use super::{Phase, Point};
use crate::{Lanes, OutOfMemory, Trap};
use core::cell::Cell;
use trapline_insn::Registers;
use trapline_ring::local;
use trapline_ring::primitive::atomic::Ordering;

/// How the platform delivers hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One at a time on each CPU: the platform steps over a hit inside of another, and resets one
    /// whose step faults, by itself; and it tells of the end of a step only where
    /// [`Breakpoints::set_post`](super::Breakpoints::set_post) asked for it.
    Alone,
    /// Each, wherever it comes, and the end of each step.
    Each,
}

/// What became of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum HitVerdict {
    /// The pre handlers have run.
    Ran,
    /// It came inside of another: counted as missed. Step over it all the same.
    Missed,
}

/// What the handlers of a hit are called with.
struct Hit<'a, P: Calls> {
    trap: &'a Trap,
    cpu: &'a Cpu,
    registers: &'a Registers,
    carried: *mut (),
    guard: &'a P::Guard,
}

/// The code probes' trap side: one for the whole machine.
pub struct CodeEngine<P: Calls> {
    platform: P,
    lanes: Lanes<Cpu>,
}

impl<P: Calls> CodeEngine<P> {
    /// For lanes `0..lanes`.
    pub fn new(platform: P, lanes: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { platform, lanes: Lanes::new(lanes, || Ok(Cpu::new()))? })
    }

    /// The platform.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// Where each lane is in the life of a hit, in order of their numbers.
    pub fn phases(&self) -> impl Iterator<Item = Phase> {
        self.lanes.open().map(|phase| Phase::from_word(phase.load(Ordering::Relaxed)))
    }

    /// The instruction at `point` was reached, and has not been executed yet. `guard` is of the
    /// context that its handlers run in.
    ///
    /// # Safety
    /// Called in the trap, with interrupts off until it returns; `point` is armed.
    pub unsafe fn hit(
        &self,
        point: &Point,
        registers: &Registers,
        delivery: Delivery,
        guard: &P::Guard,
    ) -> HitVerdict {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(cpu) = self.lanes.of(&trap) else { return HitVerdict::Missed };
        let before = if delivery == Delivery::Each { cpu.phase() } else { cpu.phase().reset() };
        let (phase, todo) = before.hit();
        cpu.set(phase);
        if todo == OnHit::Miss {
            point.probes(&trap).filter_map(|probe| probe.on(&trap)).for_each(|counts| count(&counts.missed));
            return HitVerdict::Missed;
        }
        // It tells whose post handlers are due. Where nobody has one the hit needs none.
        let number = point.posts(&trap).then(|| local::add(&cpu.hits, 1).wrapping_add(1));
        let mut posts = false;
        let hit = Hit { trap: &trap, cpu, registers, carried: core::ptr::null_mut(), guard };
        for probe in point.probes(&trap).filter(|probe| probe.is_enabled()) {
            if self.before(&hit, probe, number) && number.is_some() {
                posts |= probe.handlers().has_post();
            }
        }
        // Whatever nested has left the phase as it found it.
        cpu.set(phase.pre_done(posts || delivery == Delivery::Each));
        HitVerdict::Ran
    }

    /// The original instruction of a hit was executed.
    ///
    /// # Safety
    /// As for [`CodeEngine::hit`]; and all since the hit ran with interrupts off.
    pub unsafe fn stepped(&self, point: &Point, registers: &Registers, guard: &P::Guard) {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(cpu) = self.lanes.of(&trap) else { return };
        let (phase, todo) = cpu.phase().stepped();
        cpu.set(phase);
        if todo != OnStepped::Run {
            return;
        }
        let number = cpu.hits.load(Ordering::Relaxed);
        let hit = Hit { trap: &trap, cpu, registers, carried: core::ptr::null_mut(), guard };
        for probe in point.probes(&trap) {
            let due = |counts: &&super::counts::CpuCounts| counts.entered.load(Ordering::Relaxed) == number;
            if probe.on(&trap).filter(due).is_some() {
                self.after(&hit, probe);
            }
        }
        cpu.set(phase.post_done());
    }

    /// A return probe's function was entered. Returns whether its return is to be told of;
    /// `carried` is what both handlers are given.
    ///
    /// # Safety
    /// As for [`CodeEngine::hit`]; `probe` is registered, as a return probe.
    pub unsafe fn entered(
        &self,
        probe: &CodeProbe,
        registers: &Registers,
        carried: *mut (),
        guard: &P::Guard,
    ) -> bool {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(cpu) = self.lanes.of(&trap) else { return false };
        if !probe.is_enabled() {
            return false;
        }
        if !probe.handlers().has_pre() {
            return true;
        }
        // Left as it is found: a hit of the same instruction may be under way, whose post handlers
        // are still to come. It has a number; an entry needs none.
        let outer = cpu.phase();
        cpu.set(outer.reset().hit().0);
        let wanted = self.before(&Hit { trap: &trap, cpu, registers, carried, guard }, probe, None);
        cpu.set(outer);
        wanted
    }

    /// A return probe's function has returned.
    ///
    /// # Safety
    /// As for [`CodeEngine::entered`].
    pub unsafe fn returned(
        &self,
        probe: &CodeProbe,
        registers: &Registers,
        carried: *mut (),
        guard: &P::Guard,
    ) {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(cpu) = self.lanes.of(&trap) else { return };
        if !probe.is_enabled() {
            return;
        }
        if !probe.handlers().has_pre()
            && let Some(counts) = probe.on(&trap)
        {
            count(&counts.hits);
        }
        let outer = cpu.phase();
        cpu.set(outer.reset().returned().0);
        self.after(&Hit { trap: &trap, cpu, registers, carried, guard }, probe);
        cpu.set(outer);
    }

    /// Calls the pre handler of `probe`; returns whether it ran to its end, or there is none.
    #[inline(always)]
    fn before(&self, hit: &Hit<'_, P>, probe: &CodeProbe, number: Option<u64>) -> bool {
        let Some(counts) = probe.on(hit.trap) else { return false };
        count(&counts.hits);
        let ran = match *probe.handlers() {
            CodeHandlers::Guarded { pre: Some(pre), .. } => self.handler(hit, probe, pre),
            CodeHandlers::Trusted { pre: Some(pre), .. } => {
                // SAFETY: the contract of `CodeControl::add`.
                unsafe { pre(probe.data, hit.trap, hit.registers, hit.carried) };
                true
            }
            _ => true,
        };
        if ran {
            if let Some(number) = number {
                counts.entered.store(number, Ordering::Relaxed);
            }
        } else {
            count(&counts.pre_faults);
        }
        ran
    }

    /// Calls the post handler of `probe`.
    #[inline(always)]
    fn after(&self, hit: &Hit<'_, P>, probe: &CodeProbe) {
        let ran = match *probe.handlers() {
            CodeHandlers::Guarded { post: Some(post), .. } => self.handler(hit, probe, post),
            CodeHandlers::Trusted { post: Some(post), .. } => {
                // SAFETY: the contract of `CodeControl::add`.
                unsafe { post(probe.data, hit.trap, hit.registers, hit.carried) };
                true
            }
            _ => true,
        };
        if let Some(counts) = probe.on(hit.trap).filter(|_| !ran) {
            count(&counts.post_faults);
        }
    }

    #[inline(always)]
    fn handler(&self, hit: &Hit<'_, P>, probe: &CodeProbe, handler: GuardedHandler) -> bool {
        let call = Call {
            function: handler as *const (),
            arguments: [probe.data as u64, &raw const *hit.registers as u64, hit.carried as u64],
        };
        // SAFETY: the contract of `CodeControl::add`.
        let ran = unsafe { self.run(hit.cpu, hit.guard, Caller::Handler(probe), &call) }.is_some();
        if !ran {
            probe.abandoned();
        }
        ran
    }

    /// Makes a call that may fault; `None` if it was abandoned.
    ///
    /// # Safety
    /// As for [`Calls::call`]; on `cpu`, with interrupts off.
    #[inline(always)]
    unsafe fn run(&self, cpu: &Cpu, guard: &P::Guard, caller: Caller, call: &Call) -> Option<u64> {
        let outer = cpu.running.load(Ordering::Relaxed);
        let frame = P::Frame::default();
        // INVARIANT: `outer` is what this call runs inside of, since each call puts back what it
        // found before it ends.
        let running: Running<'_, P> =
            Running { outer: outer.cast(), guard, frame, caller, resumed: Cell::new(0) };
        cpu.running.store((&raw const running).cast_mut().cast(), Ordering::Relaxed);
        // SAFETY: the call is one that `Calls::call` may make, on `cpu` with interrupts off: `run`
        // asks for that.
        let result = unsafe { self.platform.call(guard, &running.frame, call) };
        cpu.running.store(running.outer.cast_mut().cast(), Ordering::Relaxed);
        result
    }

    /// Makes a call of another kind of handler, which may fault; `None` if it was abandoned.
    ///
    /// # Safety
    /// As for [`Calls::call`]; in the trap, with interrupts off until it returns.
    pub unsafe fn guarded(&self, call: &Call) -> Option<u64> {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let cpu = self.lanes.of(&trap)?;
        // SAFETY: the call is one that `Calls::call` may make, with interrupts off in the trap:
        // `guarded` asks for that.
        self.platform
            .guarding(|guard| unsafe { self.run(cpu, guard, Caller::Other(call.arguments[0]), call) })
    }

    /// As [`CodeEngine::guarded`]; not if a call with the same first argument is running on this
    /// CPU already, as for a handler of faults that has faulted itself.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn guarded_once(&self, call: &Call) -> Option<u64> {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let cpu = self.lanes.of(&trap)?;
        let mut at: *const Running<'_, P> = cpu.running.load(Ordering::Relaxed).cast();
        // SAFETY: as in `innermost`, and by the invariant of `Running`. As many as there are calls
        // inside of each other.
        while let Some(running) = unsafe { at.as_ref() } {
            if matches!(running.caller, Caller::Other(argument) if argument == call.arguments[0]) {
                return None;
            }
            at = running.outer;
        }
        // SAFETY: what `guarded` asks for is asked of our caller, word for word.
        unsafe { self.guarded(call) }
    }

    /// The innermost call of this CPU, if `registers` are of it.
    fn innermost(&self, cpu: &Cpu, registers: &Registers) -> Option<&Running<'_, P>> {
        let running: *const Running<'_, P> = cpu.running.load(Ordering::Relaxed).cast();
        // SAFETY: null or in the frame of a `run` that has not ended: this exception came inside of
        // it, or of what interrupted it.
        let running = unsafe { running.as_ref() }?;
        self.platform.is_in(running.guard, &running.frame, registers).then_some(running)
    }

    /// Decides about an exception in a context whose registers these are, and asks the fault
    /// handler of the probe whose handler raised it.
    ///
    /// `ask`: false if the fault handler is not to be asked, since the instruction has a fixup of
    /// its own.
    ///
    /// # Safety
    /// Called in the exception, with interrupts off until it returns.
    pub unsafe fn fault(&self, exception: &Exception, registers: &mut Registers, ask: bool) -> Recovery {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(cpu) = self.lanes.of(&trap) else { return Recovery::NotOurs };
        let Some(running) = self.innermost(cpu, registers) else { return Recovery::NotOurs };
        let Caller::Handler(probe) = running.caller else { return Recovery::Abandon };
        let CodeHandlers::Guarded { fault: Some(fix), .. } = *probe.handlers() else {
            return Recovery::Abandon;
        };
        if !ask || running.resumed.get() >= RESUMES {
            return Recovery::Abandon;
        }
        let (phase, todo) = cpu.phase().fault();
        if todo != OnFault::Ask {
            return Recovery::Abandon;
        }
        cpu.set(phase);
        let mut wanted = *registers;
        let call = fixer_call(fix, probe.data, &mut wanted, exception);
        // SAFETY: the contract of `CodeControl::add`.
        let asked = self.platform.guarding(|guard| unsafe { self.run(cpu, guard, Caller::Fixer, &call) });
        // The low byte of a C function's result is its `bool`.
        let fixed = asked.is_some_and(|result| result as u8 != 0);
        cpu.set(cpu.phase().answered());
        if !fixed {
            return Recovery::Abandon;
        }
        *registers = wanted;
        running.resumed.set(running.resumed.get() + 1);
        if let Some(counts) = probe.on(&trap) {
            count(&counts.fixed);
        }
        Recovery::Resume
    }

    /// Ends the innermost call of this CPU: changes `registers`, which the exception returns to.
    /// False if they are not of that call.
    ///
    /// # Safety
    /// As for [`CodeEngine::fault`].
    pub unsafe fn abandon(&self, registers: &mut Registers) -> bool {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(cpu) = self.lanes.of(&trap) else { return false };
        let Some(running) = self.innermost(cpu, registers) else { return false };
        // SAFETY: theirs is this call's frame, as was just found.
        unsafe { self.platform.abandon(running.guard, &running.frame, registers) };
        true
    }

    /// The original instruction that is being stepped over on this CPU has faulted: its hit is
    /// reset.
    ///
    /// For platforms that deliver [each](Delivery::Each) hit; the fault handlers of probes are not
    /// asked.
    ///
    /// # Safety
    /// As for [`CodeEngine::fault`].
    pub unsafe fn step_fault(&self) -> Recovery {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(cpu) = self.lanes.of(&trap) else { return Recovery::NotOurs };
        match cpu.phase().fault() {
            (phase, OnFault::Rewind) => {
                cpu.set(phase);
                Recovery::Rewind
            }
            _ => Recovery::NotOurs,
        }
    }
}
