//! A core: runs instructions, raises exceptions, takes interrupts where the CPU would.

use crate::allocation::Side;
use crate::hardware::{Via, Who};
use crate::model::{Bytes, recognise};
use crate::paging::{AccessKind, Mode};
use crate::world::World;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use trapline_engine::{Fault, Linear, Verdict};
use trapline_insn::{Memory, Method, Registers, Segment, decode};

/// AC in supervisor mode: data on pages of user mode may be accessed in spite of SMAP.
const ACCESS_FLAG: u64 = 1 << 18;
const TRAP_FLAG: u64 = 1 << 8;
const INTERRUPT_FLAG: u64 = 1 << 9;
pub(crate) const RESUME_FLAG: u64 = 1 << 16;
/// Bit 1 of RFLAGS is always set.
const FIXED_FLAG: u64 = 1 << 1;

/// RFLAGS of code that runs with interrupts enabled.
pub(crate) const FLAGS: u64 = FIXED_FLAG | INTERRUPT_FLAG;

/// One core's state that others look at. The scheduler's baton orders all access.
#[derive(Default)]
pub(crate) struct Core {
    /// In a trap, between a trap and the step that it asked for, or in an NMI.
    pub(crate) busy: AtomicBool,
    /// How often it stopped being busy.
    pub(crate) epoch: AtomicU64,
    /// It runs a program.
    pub(crate) running: AtomicBool,
    /// An interrupt that asks it to empty its TLB is pending.
    pub(crate) flush: AtomicBool,
    /// NMIs and handlers' own code that it is inside of.
    pub(crate) nested: AtomicUsize,
    /// The instruction it runs, and whether that is single-stepped.
    pub(crate) ip: AtomicU64,
    stepping: AtomicBool,
    /// Where the code ends that it runs.
    pub(crate) end: AtomicU64,
    /// It runs in user mode.
    pub(crate) user: AtomicBool,
    /// `EFLAGS.AC` of that code.
    ac: AtomicBool,
}

impl World {
    pub(crate) fn who(&self, cpu: usize, alias: bool) -> Who {
        let core = &self.cores[cpu];
        let stepping = core.stepping.load(Ordering::Relaxed);
        let via = match (alias, stepping) {
            (true, _) => Via::Alias,
            (false, true) => Via::Step,
            (false, false) => Via::Native,
        };
        let mode = match core.user.load(Ordering::Relaxed) {
            true => Mode::User,
            false => Mode::Supervisor { ac: core.ac.load(Ordering::Relaxed) },
        };
        Who { cpu, ip: core.ip.load(Ordering::Relaxed), via, mode }
    }

    /// Runs from `registers.rip` to `end`; returns the fault that nobody dealt with, if there was
    /// one.
    pub(crate) fn execute(&self, cpu: usize, registers: &mut Registers, end: u64) -> Option<Fault> {
        let core = &self.cores[cpu];
        core.end.store(end, Ordering::Relaxed);
        while registers.rip != end || registers.rflags & TRAP_FLAG != 0 {
            self.boundary(cpu, registers);
            let stepping = registers.rflags & TRAP_FLAG != 0;
            core.ip.store(registers.rip, Ordering::Relaxed);
            core.stepping.store(stepping, Ordering::Relaxed);
            core.ac.store(registers.rflags & ACCESS_FLAG != 0, Ordering::Relaxed);
            let result = self.instruction(cpu, registers);
            core.stepping.store(false, Ordering::Relaxed);
            match result {
                Ok(()) if stepping => {
                    core.busy.store(true, Ordering::Relaxed);
                    let _side = Side::engine();
                    // SAFETY: the core takes no interrupt but NMIs until this returns, and these
                    // are the interrupted registers.
                    let ours = unsafe { self.engine.debug_exception(registers) };
                    assert!(ours, "a single step that nobody asked for");
                }
                Ok(()) => {}
                Err(fault) => {
                    // On its way to the handler the fault may be overtaken by a removal that does
                    // not know of it.
                    self.scheduler.pause();
                    registers.rflags |= RESUME_FLAG;
                    core.busy.store(true, Ordering::Relaxed);
                    // The exception is dealt with in supervisor mode; its entry clears AC
                    // (asm_exc_page_fault's ASM_CLAC).
                    let user = core.user.swap(false, Ordering::Relaxed);
                    core.ac.store(false, Ordering::Relaxed);
                    let side = Side::engine();
                    // SAFETY: as above.
                    let verdict = unsafe { self.engine.page_fault(fault, registers) };
                    drop(side);
                    core.user.store(user, Ordering::Relaxed);
                    let completed = registers.rip != core.ip.load(Ordering::Relaxed);
                    assert!(
                        !completed || registers.rflags & RESUME_FLAG == 0,
                        "an instruction that completed clears RF (Intel SDM volume 3, 18.3.1.1)"
                    );
                    registers.rflags &= !RESUME_FLAG;
                    match verdict {
                        Verdict::Resume => {}
                        Verdict::NotOurs => return Some(fault),
                        Verdict::Instead(other) => return Some(other),
                    }
                }
            }
        }
        None
    }

    /// Runs code in the middle of what the core is doing: an NMI's, or a handler's. The general
    /// registers are saved around it.
    pub(crate) fn execute_nested(&self, cpu: usize, registers: &mut Registers, end: u64) -> Option<Fault> {
        let core = &self.cores[cpu];
        let (ip, stepping) = (core.ip.load(Ordering::Relaxed), core.stepping.load(Ordering::Relaxed));
        let (outer, ac) = (core.end.load(Ordering::Relaxed), core.ac.load(Ordering::Relaxed));
        let user = core.user.swap(false, Ordering::Relaxed);
        let busy = core.busy.swap(true, Ordering::Relaxed);
        core.nested.fetch_add(1, Ordering::Relaxed);
        let fault = self.execute(cpu, registers, end);
        core.nested.fetch_sub(1, Ordering::Relaxed);
        core.end.store(outer, Ordering::Relaxed);
        core.ac.store(ac, Ordering::Relaxed);
        core.user.store(user, Ordering::Relaxed);
        core.ip.store(ip, Ordering::Relaxed);
        core.stepping.store(stepping, Ordering::Relaxed);
        if !busy {
            self.quiet(cpu);
        }
        fault
    }

    /// Between two instructions.
    fn boundary(&self, cpu: usize, registers: &Registers) {
        let core = &self.cores[cpu];
        let nested = core.nested.load(Ordering::Relaxed) > 0;
        if !nested && registers.rflags & INTERRUPT_FLAG != 0 {
            self.quiet(cpu);
            if core.flush.swap(false, Ordering::Relaxed) {
                self.hardware().tlbs[cpu].clear();
            }
        }
        self.point();
    }

    fn quiet(&self, cpu: usize) {
        let core = &self.cores[cpu];
        if core.busy.swap(false, Ordering::Relaxed) {
            core.epoch.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The program on `cpu` is over: the core waits for interrupts.
    pub(crate) fn idle(&self, cpu: usize) {
        self.quiet(cpu);
        self.cores[cpu].running.store(false, Ordering::Relaxed);
        // What its TLB holds stays there, unless an interrupt that empties it is pending.
        if self.cores[cpu].flush.swap(false, Ordering::Relaxed) {
            self.hardware().tlbs[cpu].clear();
        }
    }

    fn instruction(&self, cpu: usize, registers: &mut Registers) -> Result<(), Fault> {
        let (code, length, beyond) = self.hardware().fetch(self.who(cpu, false), Linear(registers.rip));
        let code = &code[..length];
        let plan = match (decode(code), beyond) {
            (Ok(plan), _) => plan,
            // The instruction goes on where none can be fetched.
            (Err(_), Some(fault)) => return Err(fault),
            (Err(error), None) => panic!("{code:02x?} at {:#x}: {error}", registers.rip),
        };
        let mut memory = Native { world: self, cpu };
        if plan.method() == Method::Emulate {
            // One element at a time: between two of them the CPU takes interrupts and exceptions.
            return plan.execute(registers, &mut memory, 1).map(drop);
        }
        let model = recognise(code).unwrap_or_else(|| panic!("no model of {code:02x?}"));
        let operands = plan.operands(registers, |segment| self.segment_base(cpu, segment));
        let operand = operands.first().map_or(0, |operand| operand.address);
        let mut vectors = self.hardware().vectors[cpu];
        model.run(plan.length(), operand, registers, &mut vectors, &mut memory)?;
        self.hardware().vectors[cpu] = vectors;
        Ok(())
    }

    pub(crate) fn segment_base(&self, cpu: usize, segment: Segment) -> u64 {
        match segment {
            Segment::Fs => 0,
            Segment::Gs => self.gs_bases[cpu].load(Ordering::Relaxed),
        }
    }
}

/// A core's own view of memory.
pub(crate) struct Native<'a> {
    pub(crate) world: &'a World,
    pub(crate) cpu: usize,
}

impl Bytes for Native<'_> {
    fn check(&mut self, address: u64, width: usize, write: bool) -> Result<(), Fault> {
        let who = self.world.who(self.cpu, false);
        let kind = if write { AccessKind::Write } else { AccessKind::Read };
        self.world.hardware().check(who, Linear(address), width, kind)
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        self.world.scheduler.pause();
        let who = self.world.who(self.cpu, false);
        self.world.hardware().read(who, Linear(address), bytes)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.world.scheduler.pause();
        let who = self.world.who(self.cpu, false);
        self.world.hardware().write(who, Linear(address), bytes)
    }
}

impl Memory for Native<'_> {
    type Fault = Fault;

    fn read(&mut self, address: u64, width: u8) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        Bytes::read(self, address, &mut bytes[..width.into()])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, address: u64, width: u8, value: u64) -> Result<(), Fault> {
        Bytes::write(self, address, &value.to_le_bytes()[..width.into()])
    }

    fn update(
        &mut self,
        address: u64,
        width: u8,
        locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Fault> {
        let (address, width) = (Linear(address), usize::from(width));
        let mut bytes = [0; 16];
        self.world.scheduler.pause();
        let who = self.world.who(self.cpu, false);
        let mut hardware = self.world.hardware();
        // The read of a read-modify-write already needs the right to write.
        hardware.check(who, address, width, AccessKind::Write)?;
        hardware.read(who, address, &mut bytes[..width])?;
        let old = u128::from_le_bytes(bytes);
        if !locked {
            drop(hardware);
            self.world.scheduler.pause();
            hardware = self.world.hardware();
        }
        hardware.write(who, address, &compute(old).to_le_bytes()[..width])?;
        Ok(old)
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        self.world.segment_base(self.cpu, segment)
    }
}
