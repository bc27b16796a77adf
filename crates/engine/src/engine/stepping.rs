//! What the engine does about instructions that the CPU runs itself, with their page open.

use super::{Engine, HANDLER_LEVELS};
use crate::counters::{CpuCounters, count};
use crate::per_lane::{Level, PerLane};
use crate::perform::Performer;
use crate::space::{ArmedPage, Space};
use crate::step::{Refault, SingleStep};
use crate::{ErrorCode, Fault, Linear, Page, Platform, Trap, Verdict};
use trapline_abi::{Kind, Record, Way};
use trapline_insn::{Direction, Operand, Registers};

impl<P: Platform> Engine<P> {
    /// Decides about a debug exception that a single step raised; returns whether it was ours.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`].
    pub unsafe fn debug_exception(&self, registers: &mut Registers) -> bool {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        let Some(own) = self.lanes.of(&trap) else { return false };
        let stays = |page| self.stays(&trap, page);
        // SAFETY: in the trap of a debug exception, on this lane.
        let step = unsafe { own.step.finish(&self.platform, registers, stays) };
        // Looked at where it is: taken out, it would be on the stack twice.
        let Some(step) = &step else { return false };
        self.stepped(&trap, own, step);
        true
    }

    /// A fault on an armed page while a step is under way on this lane; `None` if it has nothing to
    /// do with the step.
    #[inline(never)]
    pub(super) fn refault(
        &self,
        trap: &Trap,
        own: &PerLane,
        page: &ArmedPage,
        fault: Fault,
        registers: &mut Registers,
    ) -> Option<Verdict> {
        // SAFETY: in a trap on this lane.
        match unsafe { own.step.refault(&self.platform, registers, page.mapped, unknown(fault)) } {
            Refault::Elsewhere => None,
            Refault::Opened => Some(Verdict::Resume),
            Refault::Full => {
                self.leave_open(trap, own, page);
                Some(Verdict::Resume)
            }
            Refault::Foreign => Some(self.foreign_fault(trap, own, fault, registers)),
        }
    }

    /// An exception of another kind than a page or debug fault, in a context whose registers these
    /// are: if it hit an instruction that is being stepped, the step is undone, and the system
    /// finds everything as it was before.
    ///
    /// # Safety
    /// As for [`Engine::page_fault`].
    pub unsafe fn other_exception(&self, registers: &mut Registers) {
        // SAFETY: in a trap on that lane until the function returns: its contract asks for that.
        let trap = unsafe { Trap::begin(self.platform.lane()) };
        if let Some(own) = self.lanes.of(&trap) {
            self.abandon_step(&trap, own, registers);
        }
    }

    /// Undoes the step of the interrupted instruction, if one is under way.
    pub(super) fn abandon_step(&self, trap: &Trap, own: &PerLane, registers: &mut Registers) {
        let stays = |page| self.stays(trap, page);
        // SAFETY: in a trap on this lane.
        if let Some(step) = &unsafe { own.step.abandon(&self.platform, registers, stays) } {
            self.window(trap, own, step);
        }
    }

    /// Lets the CPU run the instruction itself, with `page` open.
    #[expect(clippy::too_many_arguments, reason = "all that is known of the trap, used once")]
    pub(super) fn step(
        &self,
        trap: &Trap,
        own: &PerLane,
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
        if !(outermost && unsafe { own.step.begin(&self.platform, registers, page.mapped, operands) }) {
            // A second step on this lane, inside of a handler or an NMI.
            self.leave_open(trap, own, page);
        }
    }

    /// Opens `page` until it is repaired.
    pub(super) fn leave_open(&self, trap: &Trap, own: &PerLane, page: &ArmedPage) {
        self.platform.set_present(page.page(), page.mapped.entry, true);
        count(&own.counters.windows);
        self.record_window(trap, page.page().address, 0);
        self.platform.request_repair();
    }

    /// Whether `page` is armed, and not being disarmed just now.
    fn stays(&self, trap: &Trap, page: Page) -> bool {
        self.space.read(trap).is_some_and(|space| space.stays(page))
    }

    /// The stepped instruction has run.
    // Apart from its caller, whose frame holds the step.
    #[inline(never)]
    fn stepped(&self, trap: &Trap, own: &PerLane, step: &SingleStep) {
        let level = own.enter(trap);
        if let Some(space) = self.space.read(trap) {
            for operand in step.operands.iter().flatten() {
                self.show_stepped(trap, own, &level, space, operand, step);
            }
        }
        self.window(trap, own, step);
    }

    fn show_stepped(
        &self,
        trap: &Trap,
        own: &PerLane,
        level: &Level,
        space: &Space,
        operand: &Operand,
        step: &SingleStep,
    ) {
        let first = Linear(operand.address);
        let last = first.plus(u64::from(operand.width.max(1)) - 1);
        let Some(page) = space.find(first).or_else(|| space.find(last)) else { return };
        let counters: &CpuCounters = &own.counters;
        let sink = self.sink.read(trap);
        let platform = &self.platform;
        let handlers = space.has_handlers() && level.number() < HANDLER_LEVELS;
        let (before, ip) = (handlers.then_some(&step.before), step.before.rip);
        let (flags, way) = (0, Way::Step);
        let mut performer = Performer { platform, trap, space, sink, counters, page, before, ip, flags, way };
        let parts = performer.armed_parts(first, operand.width);
        for span in parts.iter().flatten() {
            if operand.direction != Direction::Write {
                performer.show_unknown(span, false);
            }
            if operand.direction != Direction::Read {
                performer.show_unknown(span, true);
            }
        }
    }

    /// Says that the pages of `step` were open, and has their translations shot down on the CPUs
    /// that may have them now.
    fn window(&self, trap: &Trap, own: &PerLane, step: &SingleStep) {
        let open = self.platform.now().wrapping_sub(step.since);
        for page in step.pages() {
            count(&own.counters.windows);
            self.record_window(trap, page.page.address, open);
        }
        self.platform.request_repair();
    }

    fn record_window(&self, trap: &Trap, address: Linear, nanoseconds: u64) {
        if let Some(sink) = self.sink.read(trap) {
            let payload = [address.0, nanoseconds, 0, 0];
            let record = Record { kind: Kind::Window as u8, payload, ..Record::EMPTY };
            sink.push(trap, &self.platform, record, &[]);
        }
    }
}

/// The access that raised `fault`, as far as the CPU told.
fn unknown(fault: Fault) -> Operand {
    let write = fault.error_code.has(ErrorCode::WRITE);
    let direction = if write { Direction::Write } else { Direction::Read };
    Operand { address: fault.address.0, width: 0, direction }
}
