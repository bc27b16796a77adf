//! Code probes in this kernel: what is registered, by whom, and what the kprobes call.
//!
//! Registering and removing happen in process context under the patching lock ([`Registry::of`]);
//! hits come in traps, with interrupts off.

use crate::calls::{Guard, KernelCalls};
use crate::entry::{FaultWords, VerdictCode};
use crate::errno::Errno;
use crate::fixed::Fixed;
use crate::glue;
use crate::kprobes::{Kprobes, ReturnSite, Site};
use crate::locks::{Patched, PatchingLock};
use crate::names::module_of;
use alloc::vec::Vec;
use core::ptr::NonNull;
use trapline_abi::{
    CODE_FAULT, CODE_POST, CODE_RETURN, LIST_DISABLED, LIST_GONE, ListEntry, ListKind, MODULE_LENGTH,
    NAME_LENGTH, ProbeError,
};
use trapline_engine::code::{
    AddError, Breakpoints as _, CodeControl, CodeEngine, CodeHandlers, CodeProbe, Delivery, Exception,
    HitVerdict, Point, Recovery,
};
use trapline_engine::{Linear, Owned};
use trapline_insn::Registers;

/// The trap side, from [`trapline_init`](crate::entry::trapline_init) until no kprobe of ours is
/// left.
pub(crate) static CODE: Fixed<CodeEngine<KernelCalls>> = Fixed::empty();

/// A probe to register.
pub(crate) struct Registration {
    /// Its number: see [`Control::next_id`](trapline_engine::Control::next_id).
    pub id: u64,
    /// Address of the instruction; of a return probe, of the function.
    pub address: u64,
    /// What it probes.
    pub at: At,
    /// Its handlers.
    pub handlers: CodeHandlers,
    /// What they are given.
    pub data: *mut (),
    /// Abandoned handlers after which it is disabled; 0: never.
    pub limit: u64,
    /// Thread group id of the command it belongs to; 0 for a module's.
    pub owner: u32,
    /// What `trapline list` shows it as, zero-padded.
    pub name: [u8; NAME_LENGTH],
    /// [`CODE_STACK`](trapline_abi::CODE_STACK) if it records the stack, which only its handlers
    /// know.
    pub flags: u32,
}

/// What a probe is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// An instruction.
    Instruction,
    /// A function: its entry and its return.
    Return {
        /// Bytes carried from one to the other.
        carried: usize,
        /// Calls under way at most; 0 for the kernel's own choice.
        active: u32,
    },
}

/// Why a probe was not registered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProbeRefused {
    pub error: ProbeError,
    /// What the kernel said, or would.
    pub errno: Errno,
}

impl ProbeRefused {
    pub(crate) const NO_MEMORY: ProbeRefused =
        ProbeRefused { error: ProbeError::NoMemory, errno: Errno::NO_MEMORY };

    /// What the kernel said, as a positive number; 0 if the refusal is ours.
    pub(crate) fn of_kernel(self) -> u32 {
        match self.error {
            ProbeError::Own | ProbeError::Program | ProbeError::NoMemory | ProbeError::Flags => 0,
            _ => self.errno.number(),
        }
    }

    /// For what `register_kprobe` (for a return, `register_kretprobe`) answered.
    fn of(errno: Errno, at: At) -> Self {
        let error = match (errno, at) {
            (Errno::PERM, _) => ProbeError::Own,
            (Errno::NO_MEMORY, _) => ProbeError::NoMemory,
            (Errno::ILLEGAL_SEQUENCE, _) => ProbeError::InsideInstruction,
            (Errno::BUSY | Errno::EXISTS, _) => ProbeError::Taken,
            (Errno::INVALID, At::Return { .. }) => ProbeError::NotAFunction,
            (Errno::INVALID | Errno::NOT_FOUND, _) => ProbeError::NotProbeable,
            _ => ProbeError::Other,
        };
        Self { error, errno }
    }
}

/// What `trapline list` shows of a probe besides what the engine knows.
struct Label {
    id: u64,
    /// Which tells its owner's probes apart.
    data: *mut (),
    owner: u32,
    name: [u8; NAME_LENGTH],
    flags: u32,
}

// SAFETY: the data is only compared.
unsafe impl Send for Label {}

/// A return probe.
struct Return {
    id: u64,
    address: u64,
    probe: NonNull<CodeProbe>,
    site: ReturnSite,
    leaving: bool,
}

// SAFETY: the probe is shared by design and owned by the registry.
unsafe impl Send for Return {}

/// The code probes. Its methods wait for CPU hotplug: what they are called on comes from the
/// patching lock alone, while the control lock is not held.
pub(crate) struct Registry {
    control: CodeControl<Site>,
    returns: Vec<Return>,
    /// Sorted by id.
    labels: Vec<Label>,
}

static REGISTRY: Patched<Registry> =
    Patched::new(Registry { control: CodeControl::new(), returns: Vec::new(), labels: Vec::new() });

impl Registry {
    /// Those of this kernel.
    pub(crate) fn of<'a>(patching: &'a mut PatchingLock<'_>) -> &'a mut Self {
        REGISTRY.of(patching)
    }

    /// Registers a probe: when it returns, every hit comes to its handlers. Refused if another one
    /// has the same data: it is registered already.
    ///
    /// # Safety
    /// The handlers may be called with `data` in any trap on any CPU until the probe was removed;
    /// trusted ones do not fault.
    pub(crate) unsafe fn add(&mut self, registration: &Registration) -> Result<(), ProbeRefused> {
        if self.labels.iter().any(|label| label.data == registration.data) {
            return Err(ProbeRefused { error: ProbeError::Flags, errno: Errno::INVALID });
        }
        self.labels.try_reserve(1).map_err(|_| ProbeRefused::NO_MEMORY)?;
        let cpus = glue::glue_nr_cpu_ids() as usize;
        let probe = CodeProbe::new(
            registration.id,
            registration.handlers,
            registration.data,
            registration.limit,
            cpus,
        )
        .map_err(|_| ProbeRefused::NO_MEMORY)?;
        match registration.at {
            At::Instruction => {
                // SAFETY: the handlers may be called with `data` until the probe was removed: `add`
                // asks for that.
                unsafe { self.control.add(&mut Kprobes, registration.address, probe) }.map_err(|error| {
                    match error {
                        AddError::OutOfMemory => ProbeRefused::NO_MEMORY,
                        AddError::Site(errno) => ProbeRefused::of(errno, registration.at),
                    }
                })?;
            }
            At::Return { carried, active } => {
                self.returns.try_reserve(1).map_err(|_| ProbeRefused::NO_MEMORY)?;
                let probe = Owned::new(probe).map_err(|_| ProbeRefused::NO_MEMORY)?.leak();
                // SAFETY: freed only after it was removed, or at once if it was never armed.
                match unsafe { ReturnSite::arm(registration.address, probe, carried, active) } {
                    Ok(site) => {
                        let (id, address) = (registration.id, registration.address);
                        self.returns.push(Return { id, address, probe, site, leaving: false });
                    }
                    Err(errno) => {
                        // SAFETY: from `leak`, and nobody else has it.
                        drop(unsafe { Owned::reclaim(probe) });
                        return Err(ProbeRefused::of(errno, registration.at));
                    }
                }
            }
        }
        let at = self.labels.partition_point(|label| label.id < registration.id);
        let &Registration { id, data, owner, name, flags, .. } = registration;
        self.labels.insert(at, Label { id, data, owner, name, flags });
        Ok(())
    }

    /// Takes probes away: when it returns, none of their handlers is running or will run, and
    /// instructions that nobody else probes are as they were.
    pub(crate) fn remove(&mut self, gone: impl Fn(u64) -> bool) {
        self.control.remove(&mut Kprobes, |probe| gone(probe.id()));
        for probe in &mut self.returns {
            probe.leaving = gone(probe.id);
        }
        let leaving = self.returns.iter_mut().filter(|probe| probe.leaving);
        ReturnSite::remove(leaving.map(|probe| &mut probe.site));
        self.returns.retain(|probe| {
            if probe.leaving {
                // SAFETY: from `leak`; no handler is running any more.
                drop(unsafe { Owned::reclaim(probe.probe) });
            }
            !probe.leaving
        });
        self.labels.retain(|label| !gone(label.id));
    }

    /// Calls `change` with the probe `id`; returns whether there is one.
    pub(crate) fn with(&self, id: u64, mut change: impl FnMut(&CodeProbe)) -> bool {
        if let Some(found) = self.returns.iter().find(|probe| probe.id == id) {
            // SAFETY: alive until it is removed.
            change(unsafe { found.probe.as_ref() });
            return true;
        }
        self.control.with(id, change)
    }

    /// What the probe with the lowest number from `id` on is.
    pub(crate) fn list(&self, id: u64) -> Option<ListEntry> {
        let label = self.labels.get(self.labels.partition_point(|label| label.id < id))?;
        let found = self.returns.iter().find(|probe| probe.id == label.id).map(|found| {
            // SAFETY: alive until it is removed.
            let probe = unsafe { found.probe.as_ref() };
            let mut counts = probe.counts();
            counts.missed += found.site.missed();
            (probe, found.address, found.site.flags() | CODE_RETURN, counts)
        });
        let (probe, address, flags, counts) = found.or_else(|| {
            let mut all = self.control.probes(&Kprobes);
            let (probe, address, site, counts) = all.find(|(probe, ..)| probe.id() == label.id)?;
            let post = probe.handlers().has_post() && !probe.handlers().has_pre();
            Some((probe, address, site.flags() | if post { CODE_POST } else { 0 }, counts))
        })?;
        let fixes = matches!(probe.handlers(), CodeHandlers::Guarded { fault: Some(_), .. });
        let disabled = !probe.is_enabled() && flags & LIST_GONE == 0;
        let flags = flags
            | label.flags
            | if fixes { CODE_FAULT } else { 0 }
            | if disabled { LIST_DISABLED } else { 0 };
        Some(ListEntry {
            id: label.id,
            kind: ListKind::Code as u32,
            flags,
            address,
            length: 0,
            owner: label.owner,
            reserved: 0,
            counts,
            name: label.name,
            module: owner_of(probe.handlers()),
        })
    }

    /// Whether the instruction that the probe `id` is on went away with its module.
    pub(crate) fn is_gone(&self, id: u64) -> bool {
        let mut all = self.control.probes(&Kprobes);
        all.find(|(probe, ..)| probe.id() == id).is_some_and(|(_, _, site, _)| Kprobes.is_gone(site))
    }

    /// What those probes that `wanted` names have missed.
    pub(crate) fn missed(&self, wanted: impl Fn(u64) -> bool) -> u64 {
        let all = self.control.probes(&Kprobes).filter(|(probe, ..)| wanted(probe.id()));
        let returns = self.returns.iter().filter(|probe| wanted(probe.id)).map(|found| {
            // SAFETY: alive until it is removed.
            unsafe { found.probe.as_ref() }.counts().missed + found.site.missed()
        });
        all.map(|(.., counts)| counts.missed).chain(returns).sum()
    }

    /// How many are registered.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }
}

/// The name of the module whose handlers these are; nothing for a command's.
fn owner_of(handlers: &CodeHandlers) -> [u8; MODULE_LENGTH] {
    match *handlers {
        CodeHandlers::Guarded { pre, post, .. } => {
            module_of([pre.map(|handler| handler as usize), post.map(|handler| handler as usize)])
        }
        CodeHandlers::Trusted { .. } => module_of([]),
    }
}

/// A kprobe's instruction was reached.
///
/// # Safety
/// Called in the trap, with interrupts off until it returns; `point` is an armed one; `registers`
/// are valid, and `guard` is of this context.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_hit(point: *const Point, registers: *const Registers, guard: *const Guard) {
    let Some(code) = CODE.get() else { return };
    // SAFETY: in the trap with interrupts off, and the pointers valid: this function asks for that.
    // kprobes step over a hit inside of another one's and count it, and reset themselves when a
    // step faults.
    let (HitVerdict::Ran | HitVerdict::Missed) =
        unsafe { code.hit(&*point, &*registers, Delivery::Alone, &*guard) };
}

/// The instruction of the last hit was executed.
///
/// # Safety
/// As for [`trapline_hit`].
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_stepped(point: *const Point, registers: *const Registers, guard: *const Guard) {
    let Some(code) = CODE.get() else { return };
    // SAFETY: in the trap with interrupts off, and the pointers valid: this function asks for that.
    unsafe { code.stepped(&*point, &*registers, &*guard) }
}

/// A return probe's function was entered; returns whether its return is to be told of.
///
/// # Safety
/// As for [`trapline_hit`]; `probe` is an armed return probe, `carried` what it carries.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_entered(
    probe: *const CodeProbe,
    registers: *const Registers,
    carried: *mut (),
    guard: *const Guard,
) -> bool {
    // SAFETY: in the trap with interrupts off, the pointers valid, `carried` the probe's: this
    // function asks for that.
    CODE.get().is_some_and(|code| unsafe { code.entered(&*probe, &*registers, carried, &*guard) })
}

/// It has returned.
///
/// # Safety
/// As for [`trapline_entered`].
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_returned(
    probe: *const CodeProbe,
    registers: *const Registers,
    carried: *mut (),
    guard: *const Guard,
) {
    let Some(code) = CODE.get() else { return };
    // SAFETY: in the trap with interrupts off, the pointers valid, `carried` the probe's: this
    // function asks for that.
    unsafe { code.returned(&*probe, &*registers, carried, &*guard) }
}

/// An exception, vector `trap`, in kernel mode: is it of a handler that is running on this CPU? Its
/// probe's fault handler is asked if `ask` says so.
///
/// # Safety
/// Called in the exception, with interrupts off until it returns; the pointers are valid and nobody
/// else's.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_handler_fault(
    registers: *mut Registers,
    trap: u64,
    fault: *const FaultWords,
    ask: bool,
) -> VerdictCode {
    let Some(code) = CODE.get() else { return VerdictCode::NotOurs };
    // SAFETY: in the exception with interrupts off, the pointers valid: this function asks for
    // that.
    let recovery = unsafe {
        let FaultWords { error_code, address: Linear(address) } = *fault;
        let exception = Exception { vector: trap, error_code, address };
        code.fault(&exception, &mut *registers, ask)
    };
    match recovery {
        Recovery::NotOurs | Recovery::Rewind => VerdictCode::NotOurs,
        Recovery::Resume => VerdictCode::Resume,
        Recovery::Abandon => VerdictCode::Abandon,
    }
}

/// Ends the innermost handler of this CPU: `registers`, those the exception returns to, become
/// those of its end. False if they are not of a handler.
///
/// # Safety
/// As for [`trapline_handler_fault`].
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_handler_abandon(registers: *mut Registers) -> bool {
    // SAFETY: in the exception with interrupts off, the pointers valid: this function asks for
    // that.
    CODE.get().is_some_and(|code| unsafe { code.abandon(&mut *registers) })
}
