//! The simulated machine, put together.

use crate::control::Writer;
use crate::cpu::FLAGS;
use crate::hardware::{Seen, USER_CODE, Via};
use crate::paging::Rules;
use crate::world::{Interruption, World, lock};
use crate::{
    Arming, Backing, Bus, FaultHandlerId, FaultHandlerSpec, Hit, Machine, Outcome, PageSpec, ProbeSpec,
    Profile, Program, RecordedAccess, Region, Registrar, Trace, code,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trapline_abi::Counters;
use trapline_engine::{ControlError, Linear, Mapping, PageSize, ProbeId, inject};
use trapline_insn::Registers;

/// Linear space of one core's code: its program, an NMI's code, and handlers'.
const CODE: u64 = 0x1000;
const NMI_CODE: u64 = 0x400;
const TOUCH_CODE: u64 = 0x800;
const INCREMENT_CODE: u64 = 0x840;

/// `mov (%rdi),%eax`, what a handler that touches memory runs.
const TOUCH: &[u8] = &[0x8b, 0x07];

/// What a simulated machine is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Cores.
    pub cpus: usize,
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// Records in each ring; a power of two, at least 8.
    pub ring: usize,
    /// Records that the reader takes from each ring whenever it comes to it while programs run; 0
    /// for one that never comes.
    pub reader_pace: usize,
    /// An NMI comes at one in so many points, where there is one to come.
    pub nmi_rarity: u64,
    /// Levels of nested traps at which copies of instructions can be run.
    pub copy_levels: usize,
    /// How it arms pages.
    pub arming: Arming,
    /// Whether somebody comes to do what traps ask for ([`Platform::request_repair`]).
    ///
    /// [`Platform::request_repair`]: trapline_engine::Platform::request_repair
    pub repairs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cpus: 4,
            seed: 0,
            ring: 4096,
            reader_pace: 64,
            nmi_rarity: 16,
            copy_levels: 4,
            arming: Arming::default(),
            repairs: true,
        }
    }
}

/// The machine.
pub struct Simulated {
    writer: Writer,
    /// The code pages of the cores, and their stacks.
    code: Region,
    stacks: Region,
    mappings: u32,
}

impl Simulated {
    /// A new machine, with nothing mapped but its own code and stacks.
    pub fn new(options: Options) -> Self {
        let world = World::new(options);
        let pages = vec![PageSize::Small; options.cpus];
        let (code, _) = world.hardware().map(Backing::Ram, &pages);
        let (stacks, _) = world.hardware().map(Backing::Ram, &pages);
        world.hardware().make_executable(&code);
        world.code_start.store(code.start, Ordering::Relaxed);
        for cpu in 0..options.cpus {
            for (offset, handler) in [(TOUCH_CODE, TOUCH), (INCREMENT_CODE, code::INCREMENT)] {
                let base = code.start + CODE * cpu as u64 + offset;
                world.hardware().raw(Linear(base), handler.len()).copy_from_slice(handler);
            }
        }
        Self { writer: Writer::new(world), code, stacks, mappings: 0 }
    }

    fn world(&self) -> &World {
        &self.writer.world
    }

    /// From now on an NMI on `program.cpu` may come at any point of a program or a trap, and runs
    /// this.
    pub fn set_nmi(&mut self, program: &Program) {
        let start = self.code.start + CODE * program.cpu as u64 + NMI_CODE;
        let world = self.world();
        world.hardware().raw(Linear(start), program.code.len()).copy_from_slice(&program.code);
        let rsp = self.stacks.start + CODE * program.cpu as u64 + 0x800;
        // NMIs run with interrupts off.
        let registers = Registers { rip: start, rsp, rflags: 2, ..program.registers };
        let end = start + program.code.len() as u64;
        lock(&world.interruptions)[program.cpu] = Some(Interruption { registers, end });
    }

    /// Gives all probes to come these rules of injection; a device's physical addresses are its
    /// linear ones here.
    pub fn inject(&mut self, rules: inject::Rules) -> Arc<inject::Rules> {
        self.writer.inject(rules)
    }

    /// Nanoseconds on the machine's clock.
    pub fn now(&self) -> u64 {
        self.world().clock.load(Ordering::Relaxed)
    }

    /// Sets the base of `%gs` on a core.
    pub fn set_gs_base(&mut self, cpu: usize, base: u64) {
        self.world().gs_bases[cpu].store(base, Ordering::Relaxed);
    }

    /// Unmaps a page, as if its owner did.
    pub fn unmap(&mut self, address: u64) {
        self.world().hardware().unmap(Linear(address));
    }

    /// Makes a page read-only.
    pub fn write_protect(&mut self, address: u64) {
        self.world().hardware().protect(Linear(address), crate::paging::entry::WRITABLE);
    }

    /// From now on somebody else makes this page not present again as soon as it is opened for a
    /// step.
    pub fn hold_closed(&mut self, address: u64) {
        self.world().hardware().held_closed = Some(Linear(address));
    }

    /// From now on this page's owner changes its entry at the moment when it is to be armed.
    pub fn change_when_armed(&mut self, address: u64) {
        self.world().hardware().changed_when_armed = Some(Linear(address));
    }

    /// How often a page could not be made as it was.
    pub fn changed_pages(&self) -> u64 {
        self.world().control().changed()
    }

    /// Accesses under a recording probe that passed it unseen, outside of any window; none if all
    /// is well.
    pub fn take_missed(&mut self) -> Vec<RecordedAccess> {
        std::mem::take(&mut self.world().hardware().missed)
    }

    /// As [`Machine::take_seen`], and for each access whether it was certainly under a recording
    /// probe and how it came: `None` by the instruction itself with nobody watching, else whether
    /// it was stepped.
    pub fn take_seen_with_fate(&mut self) -> Vec<(RecordedAccess, bool, Option<bool>)> {
        let fate = |seen: Seen| match seen.via {
            Via::Native => None,
            Via::Step => Some(true),
            Via::Alias => Some(false),
        };
        let all = std::mem::take(&mut self.world().hardware().seen);
        all.into_iter().map(|seen| (seen.access, seen.must, fate(seen))).collect()
    }

    /// Forgets a mapping, as `iounmap` does; its probes and its alias go with it.
    pub fn remove_mapping(&mut self, region: &Region) {
        self.removal(region)();
    }

    /// What [`Simulated::remove_mapping`] does, to be done while programs run.
    pub fn removal(&self, region: &Region) -> impl FnOnce() + use<> {
        let (world, region) = (self.writer.world.clone(), region.clone());
        move || {
            let removed = world.control().remove_mapping(&world.engine, &world.link(), Linear(region.start));
            let mapping = removed.unwrap_or_else(|| panic!("{region:x?} is not mapped"));
            let mut hardware = world.hardware();
            (0..region.length)
                .step_by(0x1000)
                .for_each(|offset| hardware.unmap(mapping.alias.plus(offset).linear()));
        }
    }

    /// Pages armed now.
    pub fn armed_pages(&self) -> usize {
        self.world().control().pages().len()
    }
}

impl World {
    /// Reads four bytes at `address` with an instruction on the calling core.
    pub(crate) fn touch(&self, address: u64) {
        self.handle_by(TOUCH_CODE, TOUCH, address);
    }

    /// Adds one to the four bytes at `address`, likewise.
    pub(crate) fn increment(&self, address: u64) {
        self.handle_by(INCREMENT_CODE, code::INCREMENT, address);
    }

    /// Runs a handler's code at `offset`, whose operand is at `address`.
    fn handle_by(&self, offset: u64, code: &[u8], address: u64) {
        let cpu = self.cpu().expect("handlers are called on cores");
        let start = self.code_start.load(Ordering::Relaxed) + CODE * cpu as u64 + offset;
        let mut registers = Registers { rip: start, rdi: address, rflags: 2, ..Registers::default() };
        let fault = self.execute_nested(cpu, &mut registers, start + code.len() as u64);
        assert_eq!(fault, None, "a handler touched {address:#x}, which is not there");
    }
}

impl Registrar for Simulated {
    fn probe(&mut self, probes: &[ProbeSpec]) -> Result<Vec<ProbeId>, ControlError> {
        self.writer.probe(probes)
    }

    fn unprobe(&mut self, ids: &[ProbeId]) {
        self.writer.unprobe(ids);
    }

    fn register(&mut self, handler: FaultHandlerSpec) -> FaultHandlerId {
        self.writer.register(handler)
    }

    fn unregister(&mut self, handler: FaultHandlerId) -> bool {
        self.writer.unregister(handler)
    }

    fn linger(&mut self) {
        self.writer.linger();
    }
}

impl Machine for Simulated {
    fn profile(&self) -> Profile {
        let bus = Bus::Whole;
        Profile { bus, patience: 1, side_effects: true, separate_stacks: true, tells_replaced_faults: true }
    }

    fn executes(&self, _: &[u8]) -> bool {
        true
    }

    fn map(&mut self, backing: Backing, pages: &[PageSize]) -> Option<Region> {
        let (region, alias) = self.world().hardware().map(backing, pages);
        self.mappings += 1;
        let (id, start, length) = (self.mappings, Linear(region.start), region.length);
        let mapping = Mapping { id, start, length, alias, backing };
        self.world().control().add_mapping(mapping).expect("regions do not overlap");
        Some(region)
    }

    fn map_read_only(&mut self, pages: &[PageSize]) -> Option<Region> {
        let region = self.map(Backing::Ram, pages)?;
        let mut address = region.start;
        for page in pages {
            self.write_protect(address);
            address += page.bytes();
        }
        Some(region)
    }

    fn page(&mut self, rules: Rules, spec: &PageSpec) -> Option<u64> {
        let mut hardware = self.world().hardware();
        hardware.rules = rules;
        Some(hardware.map_single(spec).0)
    }

    fn entries(&self, region: &Region) -> Vec<u64> {
        self.world().hardware().entries(region)
    }

    fn peek(&self, address: u64, bytes: &mut [u8]) {
        bytes.copy_from_slice(self.world().hardware().raw(Linear(address), bytes.len()));
    }

    fn poke(&mut self, address: u64, bytes: &[u8]) {
        self.world().hardware().replace(Linear(address), bytes);
    }

    fn run(&mut self, programs: &[Program], meanwhile: &mut dyn FnMut(&mut dyn Registrar)) -> Vec<Outcome> {
        let (code, stacks) = (self.code.start, self.stacks.start);
        let world = self.writer.world.clone();
        let mut actors: Vec<usize> = programs.iter().map(|program| program.cpu).collect();
        for program in programs {
            let start = code + CODE * program.cpu as u64;
            assert!(program.code.len() as u64 <= NMI_CODE, "a program is at most {NMI_CODE} bytes long");
            world.hardware().raw(Linear(start), program.code.len()).copy_from_slice(&program.code);
            world.cores[program.cpu].running.store(true, Ordering::Relaxed);
        }
        let (writer, worker) = (world.writer(), world.writer() + 1);
        actors.extend([writer, worker]);
        world.scheduler.start(&actors);
        std::thread::scope(|scope| {
            let world = &world;
            let running: Vec<_> = programs
                .iter()
                .map(|program| {
                    let code = if program.user { USER_CODE.0 } else { code };
                    let start = code + CODE * program.cpu as u64;
                    let stack = stacks + CODE * program.cpu as u64 + CODE - 64;
                    let run = move || world.run_program(program, start, stack);
                    scope.spawn(move || world.scheduler.act(program.cpu, run))
                })
                .collect();
            let over = || world.cores.iter().all(|core| !core.running.load(Ordering::Relaxed));
            scope.spawn(move || {
                world.scheduler.act(worker, || {
                    while !over() {
                        world.scheduler.pause();
                        world.repair();
                        world.drain(world.options.reader_pace);
                    }
                    world.repair();
                });
            });
            world.scheduler.act(writer, || meanwhile(&mut self.writer));
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn take_trace(&mut self) -> Trace {
        let world = self.world();
        world.drain(usize::MAX);
        let mut trace = Trace::default();
        for records in lock(&world.drained).iter_mut() {
            trace.read(records);
            records.clear();
        }
        trace
    }

    fn take_seen(&mut self) -> Vec<RecordedAccess> {
        self.take_seen_with_fate().into_iter().map(|(access, ..)| access).collect()
    }

    fn take_hits(&mut self) -> Vec<Hit> {
        std::mem::take(&mut *lock(&self.world().hits))
    }

    fn counters(&self) -> Counters {
        Counters {
            dropped: lock(&self.world().rings).iter().map(|ring| ring.dropped()).sum(),
            ..self.world().engine.counters()
        }
    }
}

impl World {
    fn run_program(&self, program: &Program, start: u64, stack: u64) -> Outcome {
        let end = start + program.code.len() as u64;
        let mut outcome = Outcome { registers: program.registers, vectors: program.vectors, fault: None };
        self.cores[program.cpu].user.store(program.user, Ordering::Relaxed);
        for _ in 0..program.repeat {
            let mut registers = program.registers;
            registers.rip = start;
            registers.rsp = if registers.rsp == 0 { stack } else { registers.rsp };
            registers.rflags |= FLAGS;
            self.hardware().vectors[program.cpu] = program.vectors;
            outcome.fault = self.execute(program.cpu, &mut registers, end);
            outcome.vectors = self.hardware().vectors[program.cpu];
            outcome.registers = Registers { rip: registers.rip.wrapping_sub(start), ..registers };
            if outcome.fault.is_some() {
                break;
            }
        }
        self.cores[program.cpu].user.store(false, Ordering::Relaxed);
        self.idle(program.cpu);
        outcome
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // What the engine has published is not dropped with it.
        let old = self.world().engine.set_sink(None);
        // SAFETY: no program runs, so no trap does.
        unsafe { old.free() };
    }
}
