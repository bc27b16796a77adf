//! The C interface for other kernel modules: page-fault handlers and access probes; [`code`]
//! probes.
//!
//! This module, with the types of `trapline_api::raw`, is the whole contract; `include/trapline.h`
//! is generated from both (`cargo test -p xtask --test header` says when it is not). All functions
//! are called in process context and may sleep. All handlers run in the exception, with interrupts
//! off, maybe in NMI context, on any CPU: they must not sleep, allocate, or take a lock that the
//! code they interrupted may hold. One that faults is abandoned and counted; what it leaves undone
//! in data of its own, or in locks it holds, stays so. Memory that they are given is valid until
//! they return.
//!
//! Every object handed to a register function stays where it is and untouched until its unregister
//! function has returned; for a page-fault handler, until [`trapline_synchronize`] has returned
//! after that.

pub mod code;
mod twin;

use crate::code::CODE;
use crate::errno::{Errno, status};
use crate::faults;
use crate::glue;
use crate::locks::Unlocked;
use crate::mappings::{add_probes, errno_of};
use crate::page_tables::KernelTables;
use crate::platform::Kernel;
use crate::ranges;
use crate::self_test;
use crate::state::{Controlled, ENGINE};
use crate::tracking;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
pub use trapline_api::raw::{
    Access, AccessProbe, Decision, PageFault, PageFaultHandler, TRAPLINE_ALL_FAULTS, TRAPLINE_READS,
    TRAPLINE_RECORD, TRAPLINE_WRITES,
};
use trapline_engine::code::Call;
use trapline_engine::{
    Access as EngineAccess, Control, Decision as EngineDecision, Engine, Fault, FaultHandler, Handlers,
    Linear, PageTables, Probe, ProbeId, Trap, Verdict,
};
use trapline_insn::Registers;

const _: () = assert!(size_of::<FaultHandler>() == 24, "`reserved` is the engine's node");

const SUPPLY: u32 = Decision::Supply as u32;
const DROP: u32 = Decision::Drop as u32;

/// What a task has that comes from another module.
fn unlocked() -> Unlocked {
    // SAFETY: modules call us in process context, and nothing of ours calls a module's code with a
    // lock held; and none of ours calls this while it has another.
    unsafe { Unlocked::new() }
}

/// Puts `handler` at the head of the list of page-fault handlers. Returns 0; `-EINVAL` if it has no
/// function or unknown flags, or is there already; for all faults also `-EBUSY` (somebody else
/// redirects `kmmio_handler`), `-EOPNOTSUPP` (the kernel has no such function, or no tracepoints of
/// page faults), `-ENOMEM`.
///
/// # Safety
/// `handler` is valid and is as this file's beginning says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_page_fault_handler(handler: *mut PageFaultHandler) -> i32 {
    // SAFETY: `handler` is valid and stays: this function asks for that.
    status(unsafe { register_handler(handler) })
}

/// # Safety
/// As for [`trapline_register_page_fault_handler`].
unsafe fn register_handler(handler: *mut PageFaultHandler) -> Result<(), Errno> {
    let engine = ENGINE.get().ok_or(Errno::INVALID)?;
    let node = NonNull::new(handler).ok_or(Errno::INVALID)?;
    // SAFETY: valid: `register_handler` asks for that.
    let PageFaultHandler { handle, flags, .. } = unsafe { node.as_ref() };
    let all = flags & TRAPLINE_ALL_FAULTS != 0;
    if handle.is_none() || flags & !TRAPLINE_ALL_FAULTS != 0 {
        return Err(Errno::INVALID);
    }
    let node = node.cast::<FaultHandler>();
    let mut unlocked = unlocked();
    if !all {
        // SAFETY: of a `PageFaultHandler` that stays until it is unregistered: `register_handler`
        // asks for that.
        return unsafe { enlist(engine, &mut unlocked.control().control, node, false) };
    }
    let patching = &mut unlocked.patching();
    // SAFETY: of a `PageFaultHandler` that stays until it is unregistered: `register_handler` asks
    // for that.
    unsafe { enlist(engine, &mut patching.control().control, node, true) }?;
    faults::switch(engine, patching).inspect_err(|_| {
        // SAFETY: every registered handler is valid.
        unsafe { patching.control().control.unregister_handler(engine, node) };
    })
}

/// Puts `node` into its list, unless it is in one already.
///
/// # Safety
/// It is of a [`PageFaultHandler`], as for [`trapline_register_page_fault_handler`].
unsafe fn enlist(
    engine: &Engine<Kernel>,
    control: &mut Control,
    node: NonNull<FaultHandler>,
    all: bool,
) -> Result<(), Errno> {
    if control.each_handler(engine).any(|registered| registered == node) {
        return Err(Errno::INVALID);
    }
    // SAFETY: `reserved` is the first field, as large as a node and no less aligned, and ours: in
    // no list. The handler stays where it is until it is unregistered, and its function may be
    // called: `enlist` asks for that.
    unsafe {
        node.write(FaultHandler::new(handle_page_fault));
        if all {
            control.register_handler_of_all(engine, node);
        } else {
            control.register_handler(engine, node);
        }
    }
    Ok(())
}

/// Takes `handler` out of the list. It may still be running, on any CPU, until
/// `trapline_synchronize()` has returned. Returns 0, or `-EINVAL` if it was not registered.
///
/// # Safety
/// Every registered handler is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_page_fault_handler(handler: *mut PageFaultHandler) -> i32 {
    let (Some(engine), Some(node)) = (ENGINE.get(), NonNull::new(handler)) else {
        return Errno::INVALID.negative();
    };
    let mut unlocked = unlocked();
    let mut controlled = unlocked.control();
    let hooked = engine.has_handlers_of_all();
    // SAFETY: every registered handler is valid: this function asks for that.
    if !unsafe { controlled.control.unregister_handler(engine, node.cast()) } {
        return Errno::INVALID.negative();
    }
    drop(controlled);
    if hooked && !engine.has_handlers_of_all() {
        // Nothing new is needed, so it can't fail. Whoever registers another meanwhile finds the
        // hook there, or puts it in again.
        let _ = faults::switch(engine, &mut unlocked.patching());
    }
    0
}

/// Returns when every handler that was running when it was called has returned, on all CPUs.
#[unsafe(no_mangle)]
pub extern "C" fn trapline_synchronize() {
    KernelTables.synchronize();
}

/// Takes from every CPU's TLB what it keeps of the page tables, all of it: for a module that made a
/// kernel page not present, whose faults it serves. The kernel exports no function for that. Not
/// for handlers: it waits for all CPUs.
#[unsafe(no_mangle)]
pub extern "C" fn trapline_flush_tlb() {
    KernelTables.shoot_down();
}

/// Registers an access probe: when it returns 0, every access to its bytes is trapped, on all CPUs.
///
/// Else `-EINVAL` (length 0, wraps, no direction, registered already), `-EPERM` (memory that must
/// not fault, as stacks are; the kernel log says why; or the self-test at load failed), `-EFAULT`
/// (not mapped, or neither from `ioremap` nor from `vmalloc`), `-EOPNOTSUPP` (a page larger than 2
/// MiB), `-EIO` (no second mapping with the same cache attributes), `-ENOMEM`.
///
/// # Safety
/// `probe` is valid and is as this file's beginning says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_access_probe(probe: *mut AccessProbe) -> i32 {
    // SAFETY: an array of one, whose probe is as this function asks for.
    unsafe { trapline_register_access_probes(&raw const probe, 1) }
}

/// Takes an access probe away: when it returns, none of its handlers is running or will run.
///
/// # Safety
/// `probe` was registered and not unregistered since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_access_probe(probe: *mut AccessProbe) {
    // SAFETY: an array of one, whose probe is as this function asks for.
    unsafe { trapline_unregister_access_probes(&raw const probe, 1) }
}

/// Registers `count` access probes at once: all of them, or none. Errors as for
/// `trapline_register_access_probe()`.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_register_access_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_access_probes(
    probes: *const *mut AccessProbe,
    count: usize,
) -> i32 {
    // SAFETY: an array of `count` pointers to probes that stay: this function asks for that.
    status(unsafe { register_probes(probes, count) })
}

/// Takes `count` access probes away at once.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_unregister_access_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_access_probes(probes: *const *mut AccessProbe, count: usize) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: `probes` is an array of `count` pointers: this function asks for that.
    let probes = unsafe { pointers(probes, count) };
    let mut unlocked = unlocked();
    let Controlled { control, mappings, watched } = &mut *unlocked.control();
    let mut rest = probes;
    while !rest.is_empty() {
        // In batches on the stack: taking away must not need memory.
        let (batch, after) = rest.split_at(rest.len().min(64));
        rest = after;
        let mut ids = [ProbeId(u64::MAX); 64];
        for (slot, &probe) in ids.iter_mut().zip(batch) {
            // SAFETY: registered, so valid: this function asks for that.
            let (id, mapping) = unsafe { ((*probe).id, (*probe).mapping) };
            *slot = ProbeId(id);
            // Gone if it was unmapped meanwhile.
            if let Some(known) = mappings.known.iter_mut().find(|known| known.mapping.id == mapping) {
                known.used = known.used.saturating_sub(1);
            }
        }
        control.remove_probes(engine, &KernelTables, ids.get(..batch.len()).unwrap_or(&ids));
    }
    mappings.forget_unused(control, engine);
    tracking::set(mappings, watched);
}

/// # Safety
/// `probes` is an array of `count` pointers, valid for as long as the result is used.
unsafe fn pointers<'a, T>(probes: *const *mut T, count: usize) -> &'a [*mut T] {
    if probes.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: `probes` is such an array, valid for long enough: `pointers` asks for that.
    unsafe { core::slice::from_raw_parts(probes, count) }
}

/// # Safety
/// As for [`trapline_register_access_probes`].
unsafe fn register_probes(probes: *const *mut AccessProbe, count: usize) -> Result<(), Errno> {
    let engine = ENGINE.get().ok_or(Errno::INVALID)?;
    // SAFETY: `probes` is an array of `count` pointers: this function asks for that.
    let probes = unsafe { pointers(probes, count) };
    let mut wanted = Vec::new();
    wanted.try_reserve_exact(probes.len()).map_err(|_| Errno::NO_MEMORY)?;
    for &probe in probes {
        // SAFETY: NULL or valid: `register_probes` asks for that.
        let AccessProbe { start, length, flags, pre, post, .. } =
            *unsafe { probe.as_ref() }.ok_or(Errno::INVALID)?;
        let (reads, writes) = (flags & TRAPLINE_READS != 0, flags & TRAPLINE_WRITES != 0);
        let start = Linear(start);
        let last = length.checked_sub(1).and_then(|rest| start.checked_plus(rest));
        let record = flags & TRAPLINE_RECORD != 0;
        let unknown = flags & !(TRAPLINE_READS | TRAPLINE_WRITES | TRAPLINE_RECORD);
        if last.is_none() || !(reads || writes) || unknown != 0 {
            return Err(Errno::INVALID);
        }
        let handlers = Handlers {
            pre: pre.is_some().then_some(before_access),
            change: None,
            post: post.is_some().then_some(after_access),
            data: probe.cast(),
        };
        wanted.push(Probe { start, length, reads, writes, record, handlers });
    }
    let mut sorted = Vec::new();
    sorted.try_reserve_exact(probes.len()).map_err(|_| Errno::NO_MEMORY)?;
    sorted.extend_from_slice(probes);
    // By a heap: the slice's own sort recurses, on the stack of whoever registers.
    let sorted = BinaryHeap::from(sorted).into_sorted_vec();
    let mut unlocked = unlocked();
    if !self_test::has_passed() {
        return Err(Errno::PERM);
    }
    let Controlled { control, mappings, watched } = &mut *unlocked.control();
    let twice = sorted.windows(2).any(|two| two[0] == two[1]);
    let is_wanted = |probe: &Probe| sorted.binary_search(&probe.handlers.data.cast()).is_ok();
    if twice || control.each_probe().any(|(_, probe)| is_wanted(probe)) {
        return Err(Errno::INVALID);
    }
    // Before anything is looked up: from here on a mapping that is about to go waits for this lock,
    // so that what is found is still there when it is armed.
    glue::glue_set_tracking(true);
    let covered = wanted.iter().try_for_each(|probe| ranges::cover(mappings, control, probe));
    let result = covered.and_then(|()| {
        // SAFETY: the handlers may be called with their probes until those are unregistered, as
        // `register_probes` asks for.
        unsafe { add_probes(control, engine, &wanted) }.map_err(errno_of)
    });
    if let Ok(ids) = &result {
        for (&probe, id) in probes.iter().zip(ids) {
            // SAFETY: valid, and ours to fill in: no trap reads these two fields.
            unsafe {
                (*probe).id = id.0;
                if let Some(at) = mappings.at(Linear((*probe).start))
                    && let Some(known) = mappings.known.get_mut(at)
                {
                    known.used += 1;
                    (*probe).mapping = known.mapping.id;
                }
            }
        }
    }
    mappings.forget_unused(control, engine);
    tracking::set(mappings, watched);
    result.map(|_| ())
}

/// The engine's handler: calls the C one.
///
/// # Safety
/// `node` is a registered handler's.
unsafe fn handle_page_fault(
    node: NonNull<FaultHandler>,
    _trap: &Trap,
    fault: &Fault,
    registers: &mut Registers,
) -> Verdict {
    let handler = node.cast::<PageFaultHandler>();
    let fault = PageFault { error_code: fault.error_code.0.into(), address: fault.address.0 };
    // SAFETY: registered, so valid.
    let given = unsafe { handler.as_ref() };
    let (Some(handle), Some(code)) = (given.handle, CODE.get()) else { return Verdict::NotOurs };
    // Its own copy: what a handler changed that was abandoned, or claims nothing, is as if it had
    // not been.
    let mut wanted = *registers;
    let call = Call {
        function: handle as *const (),
        arguments: [handler.as_ptr() as u64, &raw const fault as u64, &raw mut wanted as u64],
    };
    // SAFETY: a function that may be called: registering the handler asks for that; in the trap. A
    // fault of its own is not asked of it.
    match unsafe { code.guarded_once(&call) } {
        Some(claimed) if claimed as u8 != 0 => {
            *registers = wanted;
            Verdict::Resume
        }
        Some(_) => Verdict::NotOurs,
        None => {
            // Also when it is running already, which is its own fault too.
            given.faults.fetch_add(1, Ordering::Relaxed);
            Verdict::NotOurs
        }
    }
}

fn c_access(access: &EngineAccess) -> Access {
    Access {
        address: access.address.0,
        ip: access.ip,
        registers: access.registers,
        value: access.value.as_ptr(),
        value_length: access.value.len() as u32,
        width: access.width,
        write: access.write,
    }
}

/// The engine's pre handler: calls the C one.
///
/// # Safety
/// `data` is a registered [`AccessProbe`].
unsafe fn before_access(data: *mut (), access: &EngineAccess) -> EngineDecision {
    let probe = data.cast::<AccessProbe>();
    // SAFETY: registered, so valid; the handler may be called.
    let pre = unsafe { (*probe).pre };
    let (Some(pre), Some(code)) = (pre, CODE.get()) else { return EngineDecision::Pass };
    let mut value = 0u64;
    let access = c_access(access);
    let call = Call {
        function: pre as *const (),
        arguments: [probe as u64, &raw const access as u64, &raw mut value as u64],
    };
    // SAFETY: as above, in the trap.
    let Some(decision) = (unsafe { code.guarded(&call) }) else {
        // SAFETY: registered, so valid.
        unsafe { (*probe).pre_faults.fetch_add(1, Ordering::Relaxed) };
        return EngineDecision::Pass;
    };
    match decision as u32 {
        SUPPLY => EngineDecision::Supply(value),
        DROP => EngineDecision::Drop,
        _ => EngineDecision::Pass,
    }
}

/// The engine's post handler: calls the C one.
///
/// # Safety
/// As for [`before_access`].
unsafe fn after_access(data: *mut (), access: &EngineAccess) {
    let probe = data.cast::<AccessProbe>();
    // SAFETY: registered, so valid; the handler may be called.
    let post = unsafe { (*probe).post };
    let (Some(post), Some(code)) = (post, CODE.get()) else { return };
    let access = c_access(access);
    let call = Call { function: post as *const (), arguments: [probe as u64, &raw const access as u64, 0] };
    // SAFETY: as above, in the trap.
    if unsafe { code.guarded(&call) }.is_none() {
        // SAFETY: registered, so valid.
        unsafe { (*probe).post_faults.fetch_add(1, Ordering::Relaxed) };
    }
}
