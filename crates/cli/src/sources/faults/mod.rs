//! Page faults of user and kernel mode, as they are raised.

mod memory;
mod top;

use std::borrow::Cow;

use trapline_abi::{
    ANY, ErrorCode, FAULTS_COUNT_ONLY, FAULTS_KERNEL, FAULTS_LATENCY, FAULTS_USER, FaultCounts, FaultPayload,
    FaultWatch, Gate, GateError, Info, Kind, Record,
};
use trapline_trace::fault::{Cause, Layout};
use trapline_trace::{Event, Header, PageFault, Site, Studied, What};

use crate::args::{FaultGate, Filter};
use crate::device::Control;
use crate::refusal::Refusal;
use crate::say::say;
use crate::system::{NoProcess, System};
use crate::trace::{Arming, Counted, Prepare, Source};
use memory::Memory;
pub(crate) use top::table;

/// The page faults that pass the filter.
pub(crate) struct Faults {
    system: System,
    watch: FaultWatch,
    /// The same, as the trace's header has it.
    asked: Studied,
    prepare: Option<Describe>,
    counts: Option<FaultCounts>,
}

impl Faults {
    /// Those that are asked for; `only_counted` if none is to be recorded.
    pub(crate) fn new(system: &System, wanted: &Filter, only_counted: bool) -> Result<Self, NoProcess> {
        let prepare =
            Describe { memory: Memory::new(system), why: wanted.why.clone(), own: std::process::id() };
        let watch = watch(system, wanted, only_counted)?;
        let (system, asked) = (system.clone(), asked(wanted, &watch));
        Ok(Self { system, watch, asked, prepare: Some(prepare), counts: None })
    }
}

/// What the module is asked for.
fn watch(system: &System, wanted: &Filter, only_counted: bool) -> Result<FaultWatch, NoProcess> {
    let mut flags = match (wanted.user, wanted.kernel) {
        (true, false) => FAULTS_USER,
        (false, true) => FAULTS_KERNEL,
        _ => FAULTS_USER | FAULTS_KERNEL,
    };
    if only_counted {
        flags |= FAULTS_COUNT_ONLY;
    }
    if wanted.latency {
        flags |= FAULTS_LATENCY;
    }
    let process = wanted.pid.map_or(Ok(ANY), |pid| system.process_of(pid))?;
    let mut comm = [0; 16];
    // The last byte stays the zero that ends it.
    for (to, from) in comm[..15].iter_mut().zip(wanted.comm.iter().flat_map(|name| name.bytes())) {
        *to = from;
    }
    // The kernel keeps out what can't be of the one cause that is wanted; what is left is looked at
    // here.
    let (error_set, error_clear) = match wanted.why.as_slice() {
        [one] => bits_of(*one),
        _ => (0, 0),
    };
    let (first, last) = wanted.address.map_or((0, u64::MAX), |range| (range.first, range.last));
    let gate = match wanted.gate {
        FaultGate::Hook => Gate::Hook,
        FaultGate::Idt => Gate::Idt,
    } as u32;
    Ok(FaultWatch {
        flags,
        gate,
        process,
        first,
        last,
        error_set,
        error_clear,
        comm,
        ..FaultWatch::default()
    })
}

/// What is asked for, in the words of a trace's header.
fn asked(wanted: &Filter, watch: &FaultWatch) -> Studied {
    Studied {
        user: watch.flags & FAULTS_USER != 0,
        kernel: watch.flags & FAULTS_KERNEL != 0,
        process: (watch.process != ANY).then_some(watch.process),
        comm: wanted.comm.clone(),
        addresses: wanted.address.map(|range| (range.first, range.last)),
        causes: wanted.why.iter().map(|cause| cause.name().into()).collect(),
        latency: wanted.latency,
        own_gate: watch.gate == Gate::Idt as u32,
    }
}

/// Bits of the error code that every fault of this cause has set, and clear.
fn bits_of(cause: Cause) -> (u32, u32) {
    use ErrorCode as E;
    match cause {
        Cause::NotPresent => (0, E::PRESENT),
        Cause::NotWritable => (E::PRESENT | E::WRITE, E::FETCH | E::RESERVED | E::PROTECTION_KEY),
        Cause::NotExecutable => (E::PRESENT | E::FETCH, E::WRITE | E::RESERVED),
        Cause::NotUser => (E::PRESENT | E::USER, E::RESERVED | E::PROTECTION_KEY),
        Cause::UserPage | Cause::Unclear => (E::PRESENT, E::USER | E::RESERVED | E::PROTECTION_KEY),
        Cause::Reserved => (E::RESERVED, 0),
        Cause::ProtectionKey => (E::PROTECTION_KEY, 0),
        Cause::ShadowStack => (E::SHADOW_STACK, 0),
        Cause::Hlat => (E::HLAT, 0),
        Cause::Sgx => (E::SGX, 0),
        Cause::Rmp => (E::RMP, 0),
    }
}

/// The counts, one a line.
fn counts_text(counts: &FaultCounts) -> String {
    let FaultCounts { user, kernel, passed, claimed, looping, .. } = *counts;
    let mut lines = vec![format!("{user:>12}  in user mode"), format!("{kernel:>12}  in kernel mode")];
    if passed != user + kernel {
        lines.push(format!("{passed:>12}  of these as asked for"));
    }
    if claimed > 0 {
        lines.push(format!("{claimed:>12}  claimed by handlers of other modules"));
    }
    if looping > 0 {
        lines.push(format!("{looping:>12}  claimed again and again without progress, and not honoured"));
    }
    lines.join("\n")
}

impl Source for Faults {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        let mut watch = self.watch;
        control.faults(&mut watch).map_err(|source| match GateError::from_code(watch.error) {
            Some(reason) => Refusal::Gate { reason },
            None if watch.owner != 0 => Refusal::Busy {
                what: "page faults are watched",
                owner: watch.owner,
                name: self.system.command_name(watch.owner),
            },
            None => Refusal::Faults { source },
        })?;
        let told = |source| Refusal::Told { what: "tell its state", source };
        let Info { direct_map, vmalloc, vmemmap, .. } = control.info().map_err(told)?;
        if let Some(describe) = &mut self.prepare {
            describe.memory.set_layout(Layout { direct_map, vmalloc, vmemmap });
        }
        if !arming.quiet {
            say!("watching page faults {}", modes(self.watch.flags));
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        header.sources.push(trapline_trace::Source::Fault(self.asked.clone()));
    }

    fn prepare(&mut self) -> Option<Box<dyn Prepare + Send>> {
        self.prepare.take().map(|describe| Box::new(describe) as _)
    }

    fn process(&self) -> Option<u32> {
        (self.watch.process != ANY).then_some(self.watch.process)
    }

    fn latency(&self) -> bool {
        self.watch.flags & FAULTS_LATENCY != 0
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        self.counts = control.fault_counts().ok();
        Counted { faults: self.counts, ..Counted::default() }
    }

    fn last_words(&self) -> Option<String> {
        let only_counted = self.watch.flags & FAULTS_COUNT_ONLY != 0;
        self.counts.as_ref().filter(|_| only_counted).map(counts_text)
    }
}

/// In which modes faults are watched, in words.
fn modes(flags: u32) -> &'static str {
    match (flags & FAULTS_USER != 0, flags & FAULTS_KERNEL != 0) {
        (true, false) => "in user mode",
        (false, true) => "in kernel mode",
        _ => "in user and kernel mode",
    }
}

/// Leaves out what was not asked for, and says what lies at each address.
struct Describe {
    memory: Memory,
    why: Vec<Cause>,
    /// Our own process, whose faults would beget more.
    own: u32,
}

impl Prepare for Describe {
    fn ahead(&mut self, records: &[Record]) {
        for record in records.iter().filter(|record| record.kind == Kind::Fault as u8) {
            let FaultPayload { process, address, error_code, .. } = FaultPayload::from_words(record.payload);
            if process != self.own {
                self.memory.expect(process, address, ErrorCode(error_code));
            }
        }
    }

    fn prepare<'e>(&'e mut self, event: Event<'e>) -> Option<Event<'e>> {
        let What::Fault(fault) = &event.what else { return Some(event) };
        let cause = fault.cause();
        if event.tgid == self.own || !(self.why.is_empty() || self.why.contains(&cause)) {
            return None;
        }
        let described = self.memory.describe(event.tgid, fault);
        let site = described.site.map(|(function, offset)| Site { function, offset, module: None });
        let memory = described.memory.map(Cow::Owned);
        let What::Fault(fault) = event.what else { return None };
        Some(Event { what: What::Fault(PageFault { memory, site, ..fault }), ..event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_keeps_every_fault_of_the_cause_that_is_wanted() {
        for code in (0..0x100).chain([0x8000, 0x8001, 0x8007, 0x8000_0001, 0x8000_0003]) {
            for address in [0x7f00_0000_0000, 0xffff_8880_0000_0000] {
                let cause = Cause::of(ErrorCode(code), address);
                let odd = trapline_trace::fault::oddities(ErrorCode(code));
                if odd.iter().any(|text| text.starts_with("impossible")) {
                    continue;
                }
                let (set, clear) = bits_of(cause);
                assert!(code & set == set && code & clear == 0, "{code:#x} is {cause}");
            }
        }
    }

    #[test]
    fn a_second_watch_of_page_faults_is_told_as_that() {
        let (_root, system) = crate::system::tests::with(&[]);
        let command = ["trapline", "faults"];
        let crate::args::Command::Faults(asked) =
            <crate::args::Cli as clap::Parser>::parse_from(command).command
        else {
            panic!("not faults")
        };
        let mut faults = Faults::new(&system, &asked.filter, false).unwrap();
        let module = crate::device::fake::Module { faults_owner: 812, ..Default::default() };
        let error = faults.arm(&module, &crate::trace::tests::quietly(false)).unwrap_err();
        assert!(matches!(error, Refusal::Busy { owner: 812, .. }), "{error}");
    }
}
