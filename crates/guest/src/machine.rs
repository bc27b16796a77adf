//! The kernel as a machine of the suite.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::io::Errno;
use trapline_abi::Counters;
use trapline_engine::{ControlError, Decision, ErrorCode, Fault, Linear, OutOfMemory, PageSize, ProbeId};
use trapline_sim::paging::Rules;
use trapline_sim::{
    Backing, Bus, FaultHandlerId, FaultHandlerSpec, Hit, HitKind, Machine, Outcome, PageSpec, ProbeSpec,
    Profile, Program, Reaction, RecordedAccess, Region, Registrar, Trace, Value,
};

use crate::contract::{self, ended, flags, reaction};
use crate::device::Device;
use crate::module::Module;
use crate::rings::Session;

/// How long CPUs are let run.
const A_WHILE: Duration = Duration::from_millis(2);
const LARGE: u64 = 2 << 20;
const SMALL: u64 = 4096;

/// The machine. What it set up is undone when it is dropped; the module goes first, so that nothing
/// is armed when the session ends.
pub(crate) struct Kernel<'a> {
    writer: Writer,
    session: Session,
    device: &'a mut Device,
    /// Where regions of the device lie in it, by their first linear address.
    regions: BTreeMap<u64, (Region, u64)>,
    /// First byte of the device that no region has.
    free: u64,
    refusal: String,
}

/// What may be done while programs run.
struct Writer {
    module: Module,
}

impl<'a> Kernel<'a> {
    pub(crate) fn new(device: &'a mut Device) -> Result<Self> {
        let writer = Writer { module: Module::open()? };
        let session = Session::start()?;
        // An earlier scenario may have failed before it looked.
        device.take()?;
        let regions = BTreeMap::new();
        Ok(Self {
            writer,
            session,
            device,
            regions,
            free: 0,
            refusal: "this machine has not what it needs".to_owned(),
        })
    }

    /// Why a scenario could not be set up.
    pub(crate) fn refusal(&self) -> &str {
        &self.refusal
    }

    /// The region of the device that holds `address`, and the offset in the device.
    fn device_offset(&self, address: u64) -> Option<u64> {
        let (region, offset) = self.regions.range(..=address).next_back()?.1;
        let within = address - region.start;
        (within < region.length).then_some(offset + within)
    }

    /// The linear address of what is at `offset` in the device.
    fn linear(&self, offset: u64) -> Option<u64> {
        let within = |(region, start): &(Region, u64)| {
            offset.checked_sub(*start).filter(|within| *within < region.length).map(|w| region.start + w)
        };
        self.regions.values().find_map(within)
    }

    /// A new region.
    fn map_region(&mut self, backing: Backing, pages: &[PageSize], is_read_only: bool) -> Option<Region> {
        let is_device = backing == Backing::Device;
        let mut wanted = contract::Region {
            is_device: is_device.into(),
            pages: pages.len() as u32,
            is_read_only: is_read_only.into(),
            reserved: 0,
            physical: 0,
            is_large: [0; contract::PAGES],
            start: 0,
            length: 0,
        };
        assert!(pages.len() <= contract::PAGES, "a region has at most {} pages", contract::PAGES);
        for (is_large, size) in wanted.is_large.iter_mut().zip(pages) {
            *is_large = (*size == PageSize::Large).into();
        }
        let alignment = if pages.contains(&PageSize::Large) { LARGE } else { SMALL };
        let offset = self.free.next_multiple_of(alignment);
        wanted.physical = self.device.physical() + offset;
        match self.writer.module.map(&mut wanted) {
            Err(Errno::OPNOTSUPP) => {
                self.refusal = format!("the kernel does not map {backing:?} with pages {pages:?}");
                return None;
            }
            other => sound("mapping a region", other),
        }
        let region = Region { start: wanted.start, length: wanted.length };
        if is_device {
            self.free = offset + wanted.length;
            assert!(self.free <= self.device.room(), "the device is too small for so many regions");
            self.regions.insert(region.start, (region.clone(), offset));
        }
        Some(region)
    }
}

/// The scenario fails if the machine itself does.
fn sound<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error:#}"))
}

fn probe_of(spec: &ProbeSpec) -> contract::Probe {
    let (reaction, given) = match spec.pre {
        None => (reaction::NONE, 0),
        Some(Reaction::Decide(Decision::Pass)) => (reaction::PASS, 0),
        Some(Reaction::Decide(Decision::Supply(value))) => (reaction::SUPPLY, value),
        Some(Reaction::Decide(Decision::Drop)) => (reaction::DROP, 0),
        Some(Reaction::Decide(other @ (Decision::Absent | Decision::Twice))) => {
            panic!("the interface for modules has no way to decide {other:?}")
        }
        Some(Reaction::Touch(address)) => (reaction::TOUCH, address),
        Some(Reaction::Increment(address)) => (reaction::INCREMENT, address),
    };
    let bit = |set, flag| if set { flag } else { 0 };
    contract::Probe {
        start: spec.start,
        length: spec.length,
        flags: bit(spec.reads, flags::READS)
            | bit(spec.writes, flags::WRITES)
            | bit(spec.record, flags::RECORD),
        label: spec.label,
        reaction,
        has_post: spec.post.into(),
        given,
        id: 0,
    }
}

impl Registrar for Writer {
    fn probe(&mut self, probes: &[ProbeSpec]) -> Result<Vec<ProbeId>, ControlError> {
        let mut wanted: Vec<_> = probes.iter().map(probe_of).collect();
        match self.module.probe(&mut wanted) {
            Ok(()) => Ok(wanted.iter().map(|probe| ProbeId(probe.id)).collect()),
            // Which of the probes it was the interface does not tell.
            Err(Errno::INVAL) => Err(ControlError::BadRange { start: Linear(0), length: 0 }),
            Err(Errno::FAULT) => Err(ControlError::NoMapping { start: Linear(0), length: 0 }),
            Err(Errno::NOMEM) => Err(OutOfMemory.into()),
            Err(error) => panic!("the kernel refuses probes: {error}"),
        }
    }

    fn unprobe(&mut self, ids: &[ProbeId]) {
        let mut ids: Vec<u64> = ids.iter().map(|id| id.0).collect();
        sound("removing probes", self.module.unprobe(&mut ids));
    }

    fn register(&mut self, handler: FaultHandlerSpec) -> FaultHandlerId {
        let FaultHandlerSpec { start, length, label } = handler;
        let mut wanted = contract::Handler { start, length, label, ..contract::Handler::default() };
        sound("registering a page-fault handler", self.module.register(&mut wanted));
        FaultHandlerId(wanted.id as usize)
    }

    fn unregister(&mut self, handler: FaultHandlerId) -> bool {
        match self.module.unregister(handler.0 as u64) {
            Err(Errno::NOENT) => false,
            other => {
                sound("removing a page-fault handler", other);
                true
            }
        }
    }

    fn linger(&mut self) {
        std::thread::sleep(A_WHILE);
    }
}

impl Registrar for Kernel<'_> {
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

impl Machine for Kernel<'_> {
    fn profile(&self) -> Profile {
        Profile {
            bus: Bus::Words,
            patience: 300,
            side_effects: false,
            separate_stacks: false,
            tells_replaced_faults: false,
        }
    }

    fn executes(&self, code: &[u8]) -> bool {
        /// CPUID.(7,0):ECX.MOVDIR64B.
        const MOVDIR64B: u32 = 1 << 28;
        let is_movdir64b = code.windows(3).any(|bytes| bytes == [0x0f, 0x38, 0xf8]);
        !is_movdir64b || std::arch::x86_64::__cpuid_count(7, 0).ecx & MOVDIR64B != 0
    }

    fn map(&mut self, backing: Backing, pages: &[PageSize]) -> Option<Region> {
        self.map_region(backing, pages, false)
    }

    fn map_read_only(&mut self, pages: &[PageSize]) -> Option<Region> {
        self.map_region(Backing::Ram, pages, true)
    }

    fn page(&mut self, _: Rules, _: &PageSpec) -> Option<u64> {
        self.refusal = "page tables and control registers are the kernel's own".to_owned();
        None
    }

    fn entries(&self, region: &Region) -> Vec<u64> {
        sound("reading page-table entries", self.writer.module.entries(region.start, region.length))
    }

    fn peek(&self, address: u64, bytes: &mut [u8]) {
        match self.device_offset(address) {
            Some(offset) => self.device.peek(offset, bytes),
            None => sound("reading RAM", self.writer.module.peek(address, bytes)),
        }
    }

    fn poke(&mut self, address: u64, bytes: &[u8]) {
        match self.device_offset(address) {
            Some(offset) => self.device.poke(offset, bytes),
            None => sound("writing RAM", self.writer.module.poke(address, bytes)),
        }
    }

    fn run(&mut self, programs: &[Program], meanwhile: &mut dyn FnMut(&mut dyn Registrar)) -> Vec<Outcome> {
        let mut running: Vec<_> = programs.iter().map(program_of).collect();
        sound("starting programs", self.writer.module.start(&mut running));
        meanwhile(&mut self.writer);
        sound("waiting for programs", self.writer.module.wait(&mut running));
        running.iter().map(|program| sound("running a program", outcome_of(program))).collect()
    }

    fn take_trace(&mut self) -> Trace {
        sound("reading the rings", self.session.take())
    }

    fn take_seen(&mut self) -> Vec<RecordedAccess> {
        let seen = sound("reading QEMU's record", self.device.take());
        let access = |line: crate::record::Line| RecordedAccess {
            cpu: line.cpu,
            address: self.linear(line.physical - self.device.physical()).unwrap_or_else(|| {
                panic!("the device was accessed where no region is: {line:x?}");
            }),
            width: line.width,
            write: line.write,
            value: Some(Value::of(line.value, line.width)),
            original: None,
            flags: 0,
            way: None,
            ip: 0,
        };
        seen.into_iter().map(access).collect()
    }

    fn take_hits(&mut self) -> Vec<Hit> {
        sound("reading hits", self.writer.module.hits()).iter().map(hit_of).collect()
    }

    fn counters(&self) -> Counters {
        sound("reading counters", self.session.counters())
    }
}

fn program_of(program: &Program) -> contract::Program {
    assert!(!program.user, "the module runs programs in kernel mode");
    let mut code = [0; contract::CODE];
    assert!(program.code.len() <= code.len(), "a program is at most {} bytes long", code.len());
    code[..program.code.len()].copy_from_slice(&program.code);
    contract::Program {
        cpu: program.cpu as u32,
        length: program.code.len() as u32,
        repeat: program.repeat,
        ended: 0,
        registers: program.registers,
        vectors: program.vectors,
        code,
        faults: 0,
        fault_address: 0,
        fault_error_code: 0,
    }
}

fn outcome_of(program: &contract::Program) -> Result<Outcome> {
    let (error_code, address) = (ErrorCode(program.fault_error_code as u32), Linear(program.fault_address));
    let fault = Fault { error_code, address };
    let stopped = program.ended == ended::BY_EXCEPTION;
    ensure!(
        !stopped || program.faults > 0,
        "{:02x?} on CPU {} was ended by an exception that is no page fault",
        &program.code[..program.length as usize],
        program.cpu
    );
    let registers = program.registers;
    Ok(Outcome { registers, vectors: program.vectors, fault: stopped.then_some(fault) })
}

fn hit_of(hit: &contract::Hit) -> Hit {
    let kind = match hit.kind {
        0 => HitKind::Pre,
        1 => HitKind::Post,
        _ => HitKind::Fault,
    };
    Hit {
        label: hit.label,
        kind,
        cpu: hit.cpu as usize,
        address: hit.address,
        write: hit.write != 0,
        value: hit.value[..hit.length.into()].to_vec(),
        error_code: None,
        late: hit.late != 0,
    }
}
