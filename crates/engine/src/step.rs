//! The last resort: the instruction runs where it is, its pages open for one single step, as kmmio
//! did it (seed 1).
//!
//! While a page is open other CPUs can access it unseen, so each such *window* is counted and said.
//! One step at a time on each CPU, begun by an outermost trap only; what can't be stepped by that
//! rule has its page opened until [`Control::repair`](crate::Control::repair) arms it again.

use crate::{Linear, Mapped, Page, Platform};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use trapline_insn::{Operand, Registers};

/// `RFLAGS.TF` (Intel SDM volume 3, 2.3): a debug exception after the next instruction.
const TRAP_FLAG: u64 = 1 << 8;
/// `RFLAGS.IF`: interrupts enabled.
const INTERRUPT_FLAG: u64 = 1 << 9;

/// Pages that one instruction may open: its operands', each across a border.
const MAX_PAGES: usize = 4;

/// How often a page is opened again for one step. Other CPUs' steps close it now and then; whoever
/// closes it each time is not us.
const REOPENINGS: u32 = 1000;

/// A single step under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleStep {
    /// The registers at the fault.
    pub before: Registers,
    pages: [Option<Mapped>; MAX_PAGES],
    reopened: u32,
    /// What the instruction accesses, as far as it is known.
    pub operands: [Option<Operand>; MAX_PAGES],
    /// When the first page was opened.
    pub since: u64,
}

/// What became of a fault that came up while a step was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refault {
    /// No step is under way here, or not of this instruction.
    Elsewhere,
    /// The stepped instruction accesses this page too: it is open now.
    Opened,
    /// The stepped instruction accesses this page too, but more pages than a step can close.
    Full,
    /// However often the page is opened, it faults: that has another reason. The fault is the
    /// system's.
    Foreign,
}

impl SingleStep {
    /// The pages it opened.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Mapped> {
        self.pages.into_iter().flatten()
    }

    fn open(&mut self, platform: &impl Platform, page: Mapped) -> bool {
        let Some(free) = self.pages.iter_mut().find(|known| known.is_none()) else { return false };
        *free = Some(page);
        platform.set_present(page.page, page.entry, true);
        true
    }

    /// Notes an access that showed only when it faulted, if none that is known lies on that page.
    fn found(&mut self, operand: Operand, page: Page) {
        let known = self.operands.iter().flatten().any(|known| {
            let first = Linear(known.address);
            page.holds(first) || page.holds(first.plus(u64::from(known.width.max(1)) - 1))
        });
        if let Some(free) = self.operands.iter_mut().find(|known| known.is_none())
            && !known
        {
            *free = Some(operand);
        }
    }

    /// Closes the pages that are to `stay` armed; one that is being removed would not be opened
    /// again.
    fn close(&self, platform: &impl Platform, registers: &mut Registers, stays: impl Fn(Page) -> bool) {
        for page in self.pages().filter(|page| stays(page.page)) {
            platform.set_present(page.page, page.entry, false);
        }
        let replaced = TRAP_FLAG | INTERRUPT_FLAG;
        registers.rflags = registers.rflags & !replaced | self.before.rflags & replaced;
    }
}

/// A CPU's step, if one is under way.
///
/// # Invariants
/// `step` is written only by this CPU while `active` is clear, and by the trap of the stepped
/// instruction itself, which `ip` and `sp` tell from all that can nest into it; a trap that does
/// nest finds `active` clear and is not outermost, or finds a step that is not its own, and does
/// not look at it.
pub(crate) struct StepState {
    active: AtomicBool,
    /// Instruction and stack pointer of the stepped instruction. What else runs on this CPU
    /// meanwhile (an NMI) differs in one of them.
    ip: AtomicU64,
    sp: AtomicU64,
    step: UnsafeCell<Option<SingleStep>>,
}

impl StepState {
    pub(crate) const fn new() -> Self {
        let (ip, sp) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { active: AtomicBool::new(false), ip, sp, step: UnsafeCell::new(None) }
    }

    /// Whether a step is under way on this CPU, of whatever instruction.
    #[inline(always)]
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// The step under way, if it is of the instruction that `registers` are of.
    ///
    /// # Safety
    /// Called on the CPU that the state belongs to, in a trap, and the result is given up before
    /// the trap ends or another method is called.
    #[expect(clippy::mut_from_ref, reason = "the state is this CPU's alone, see the invariant")]
    unsafe fn of(&self, registers: &Registers) -> Option<&mut SingleStep> {
        let own = self.ip.load(Ordering::Relaxed) == registers.rip
            && self.sp.load(Ordering::Relaxed) == registers.rsp;
        // SAFETY: on the state's own CPU in a trap, and the result given up in time: `of` asks for
        // that; and a trap that nests into the one that holds the result is of another instruction,
        // so it does not get here.
        if own { unsafe { self.current() } } else { None }
    }

    /// The step under way.
    ///
    /// # Safety
    /// As for [`StepState::of`], in a trap of the stepped instruction.
    #[expect(clippy::mut_from_ref, reason = "the state is this CPU's alone, see the invariant")]
    unsafe fn current(&self) -> Option<&mut SingleStep> {
        // Acquire: pairs with the release in `begin`, as seen from a trap on the same CPU.
        if !self.active.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: active, so completely written; only the stepped instruction's traps use it, one
        // at a time (`StepState::of` asks for that).
        unsafe { (*self.step.get()).as_mut() }
    }

    /// Begins a step of the interrupted instruction with `page` open: it will run with interrupts
    /// off and raise a debug exception after it. Returns false if a step is under way already.
    ///
    /// # Safety
    /// Called in the outermost trap of the CPU that the state belongs to.
    pub(crate) unsafe fn begin(
        &self,
        platform: &impl Platform,
        registers: &mut Registers,
        page: Mapped,
        operands: [Option<Operand>; 2],
    ) -> bool {
        if self.active.load(Ordering::Acquire) {
            return false;
        }
        let ([first, second], since) = (operands, platform.now());
        let operands = [first, second, None, None];
        let mut step =
            SingleStep { before: *registers, pages: [None; MAX_PAGES], reopened: 0, operands, since };
        step.open(platform, page);
        registers.rflags = registers.rflags & !INTERRUPT_FLAG | TRAP_FLAG;
        self.ip.store(step.before.rip, Ordering::Relaxed);
        self.sp.store(step.before.rsp, Ordering::Relaxed);
        // SAFETY: not active, and outermost: nobody else looks at the cell.
        unsafe { *self.step.get() = Some(step) };
        // Release: a trap that nests from here on finds the step complete.
        self.active.store(true, Ordering::Release);
        true
    }

    /// A fault on `page` in a trap on this CPU, of which `operand` is known: is it of the
    /// instruction being stepped?
    ///
    /// # Safety
    /// Called in a trap on the CPU that the state belongs to.
    pub(crate) unsafe fn refault(
        &self,
        platform: &impl Platform,
        registers: &Registers,
        page: Mapped,
        operand: Operand,
    ) -> Refault {
        // SAFETY: in a trap on the state's own CPU: `refault` asks for that; given up at the end of
        // this function.
        let Some(step) = (unsafe { self.of(registers) }) else { return Refault::Elsewhere };
        if step.pages().any(|open| open.page == page.page) {
            // Another CPU's step, or a repair, closed it before the instruction ran.
            if step.reopened == REOPENINGS {
                return Refault::Foreign;
            }
            step.reopened += 1;
            platform.set_present(page.page, page.entry, true);
            return Refault::Opened;
        }
        if !step.open(platform, page) {
            return Refault::Full;
        }
        step.found(operand, page.page);
        Refault::Opened
    }

    /// A fault that is not ours hit the instruction being stepped: the step is undone, as if it had
    /// never begun. Returns it.
    ///
    /// # Safety
    /// As for [`StepState::refault`].
    pub(crate) unsafe fn abandon(
        &self,
        platform: &impl Platform,
        registers: &mut Registers,
        stays: impl Fn(Page) -> bool,
    ) -> Option<SingleStep> {
        // SAFETY: in a trap on the state's own CPU: `refault` asks for that, and so does `abandon`.
        let step = unsafe { self.of(registers) }?;
        step.close(platform, registers, stays);
        // SAFETY: in the same trap, and `step` has been given up.
        unsafe { self.end() }
    }

    /// The debug exception after the instruction: closes the pages and puts the flags back. Returns
    /// the step, or `None` if the exception is not ours.
    ///
    /// # Safety
    /// Called in the trap of a debug exception on the CPU that the state belongs to.
    pub(crate) unsafe fn finish(
        &self,
        platform: &impl Platform,
        registers: &mut Registers,
        stays: impl Fn(Page) -> bool,
    ) -> Option<SingleStep> {
        // SAFETY: in the debug exception's trap on the state's own CPU: `finish` asks for that;
        // interrupts are off since the step began, and an NMI does not single-step: this exception
        // is the stepped instruction's.
        let step = unsafe { self.current() }?;
        step.close(platform, registers, stays);
        // SAFETY: in the same trap, and `step` has been given up.
        unsafe { self.end() }
    }

    /// Nothing is under way from here on. Returns the step as the one copy of it: a trap that nests
    /// may begin another in its place now, and the stack has no room for more.
    ///
    /// # Safety
    /// A step is under way, this is a trap on the state's own lane, and no reference to the step is
    /// left.
    unsafe fn end(&self) -> Option<SingleStep> {
        // SAFETY: written when the step began, and nobody else's before `active` is cleared.
        let ended = unsafe { *self.step.get() };
        self.active.store(false, Ordering::Release);
        ended
    }
}
