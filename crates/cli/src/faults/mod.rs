//! `trapline faults`: page faults of user and kernel mode, as they are raised.

mod memory;
mod top;

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Write;

use trapline_abi::{
    ANY, ErrorCode, FAULTS_COUNT_ONLY, FAULTS_KERNEL, FAULTS_LATENCY, FAULTS_USER, FaultCounts, FaultPayload,
    FaultWatch, Gate, GateError, Info, Kind, Record, SessionKind,
};
use trapline_trace::fault::{Cause, Layout};
use trapline_trace::{Event, Header, PageFault, ProbeTotals, Registers, Site, What};

use crate::args::{FaultGate, Faults};
use crate::device::Control;
use crate::error::{Error, Exit, Result};
use crate::module;
use crate::output::{self, Output};
use crate::system::System;
use crate::trace::{self, Subject, choose_output};
use crate::writer::Prepare;
use memory::Memory;
use top::Top;

/// Traces; gives the exit status, which is COMMAND's if there is one.
pub(crate) fn run(system: &System, args: &Faults) -> Result<u8> {
    let watch = watch(args, system)?;
    choose_output(&args.trace, SessionKind::Faults)?;
    let mut subject = Study {
        watch,
        top: args.top,
        prepare: Some(Describe {
            memory: Memory::new(system),
            why: args.why.clone(),
            own: std::process::id(),
        }),
        registers: Registers::none(),
        counts: Cell::new(None),
    };
    let mut options = args.trace.clone();
    // The counts are all that is told, and the live table all that is shown.
    options.quiet |= args.count || args.top;
    let mut status = trace::run(system, &options, &mut subject)?;
    if let Some(FaultCounts { bypassed: 1.., .. }) = subject.counts.get() {
        eprintln!(
            "trapline: not all faults were seen: somebody else has changed a CPU's table of interrupts meanwhile, \
             as KVM does when it runs a guest on Intel; --gate hook is not touched by that"
        );
        if status == 0 {
            status = Exit::Failed as u8;
        }
    }
    if let Some(FaultCounts { unfollowed: unfollowed @ 1.., .. }) = subject.counts.get() {
        eprintln!(
            "trapline: the ends of {unfollowed} page faults were not seen, too many being served at once: those have no time"
        );
    }
    if let (true, Some(counts)) = (args.count, subject.counts.get()) {
        output::print(|out| write_counts(out, &counts))?;
    }
    Ok(status)
}

/// What the module is asked for.
fn watch(args: &Faults, system: &System) -> Result<FaultWatch> {
    let mut flags = match (args.user, args.kernel) {
        (true, false) => FAULTS_USER,
        (false, true) => FAULTS_KERNEL,
        _ => FAULTS_USER | FAULTS_KERNEL,
    };
    if args.count {
        flags |= FAULTS_COUNT_ONLY;
    }
    if args.latency {
        flags |= FAULTS_LATENCY;
    }
    let process = args.pid.map_or(Ok(ANY), |pid| system.process_of(pid))?;
    let mut comm = [0; 16];
    if let Some(name) = &args.comm {
        comm[..name.len()].copy_from_slice(name.as_bytes());
    }
    // The kernel keeps out what can't be of the one cause that is wanted; what is left is looked at here.
    let (error_set, error_clear) = match args.why.as_slice() {
        [one] => bits_of(*one),
        _ => (0, 0),
    };
    let (first, last) = args.address.map_or((0, u64::MAX), |range| (range.first, range.last));
    let gate = match args.gate {
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

fn write_counts(out: &mut impl Write, counts: &FaultCounts) -> std::io::Result<()> {
    let FaultCounts { user, kernel, passed, claimed, looping, .. } = *counts;
    writeln!(out, "{user:>12}  in user mode")?;
    writeln!(out, "{kernel:>12}  in kernel mode")?;
    if passed != user + kernel {
        writeln!(out, "{passed:>12}  of these as asked for")?;
    }
    if claimed > 0 {
        writeln!(out, "{claimed:>12}  claimed by handlers of other modules")?;
    }
    if looping > 0 {
        writeln!(out, "{looping:>12}  claimed again and again without progress, and not honoured")?;
    }
    Ok(())
}

/// The page faults that pass the filter.
struct Study {
    watch: FaultWatch,
    top: bool,
    prepare: Option<Describe>,
    registers: Registers,
    counts: Cell<Option<FaultCounts>>,
}

impl Subject for Study {
    const KIND: SessionKind = SessionKind::Faults;

    fn arm(&mut self, control: &impl Control, _quiet: bool) -> Result<()> {
        let mut watch = self.watch;
        control.faults(&mut watch).map_err(|source| match GateError::from_code(watch.error) {
            Some(reason) => Error::Gate { reason },
            None => Error::Faults { source },
        })?;
        let Info { direct_map, vmalloc, vmemmap, .. } = module::info(control)?;
        if let Some(describe) = &mut self.prepare {
            describe.memory.set_layout(Layout { direct_map, vmalloc, vmemmap });
        }
        Ok(())
    }

    fn describe(&self, _header: &mut Header) {}

    fn registers(&self) -> &Registers {
        &self.registers
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

    fn output(&mut self) -> Option<Output> {
        self.top.then(Top::output)
    }

    fn counted(&self, control: &impl Control) -> ProbeTotals {
        self.counts.set(control.fault_counts().ok());
        ProbeTotals::default()
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
            let process = FaultPayload::from_words(record.payload).process;
            if process != self.own {
                self.memory.expect(process);
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
}
