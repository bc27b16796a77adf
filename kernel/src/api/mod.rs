//! The C interface for other kernel modules: page-fault handlers and access probes; [`code`] probes.
//!
//! This module, with the types of `trapline_api::raw`, is the whole contract; `include/trapline.h` is generated from both (`cargo test -p xtask --test header` says when it is not). All functions are called in process context and may
//! sleep. All handlers run in the exception, with interrupts off, maybe in NMI context, on any CPU: they must not sleep, allocate, or take a lock that the
//! code they interrupted may hold. One that faults is abandoned and counted; what it leaves undone in data of its own, or in locks it holds, stays so. Memory that they are given is
//! valid until they return.
//!
//! Every object handed to a register function stays where it is and untouched until its unregister function has returned; for a page-fault handler,
//! until [`trapline_synchronize`] has returned after that.

pub mod code;
mod twin;

use crate::code::CODE;
use crate::errno::{Errno, status};
use crate::mappings::errno_of;
use crate::page_tables::KernelTables;
use crate::ranges;
use crate::state::{ENGINE, Guard};
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use trapline_abi::SelfTest;
pub use trapline_api::raw::{
    Access, AccessProbe, Decision, PageFault, PageFaultHandler, TRAPLINE_ALL_FAULTS, TRAPLINE_READS,
    TRAPLINE_RECORD, TRAPLINE_WRITES,
};
use trapline_engine::code::Call;
use trapline_engine::{
    Access as EngineAccess, Decision as EngineDecision, Fault, FaultHandler, Handlers, PageTables, Probe,
    ProbeId, Trap, Verdict,
};
use trapline_insn::Registers;

const _: () = assert!(size_of::<FaultHandler>() == 24, "`reserved` is the engine's node");

const SUPPLY: u32 = Decision::Supply as u32;
const DROP: u32 = Decision::Drop as u32;

/// Puts `handler` at the head of the list of page-fault handlers. Returns 0; `-EINVAL` if it has no function or unknown flags, or is there already; for all faults also
/// `-EBUSY` (somebody else redirects `kmmio_handler`), `-EOPNOTSUPP` (the kernel has no such function, or no tracepoints of page faults), `-ENOMEM`.
///
/// # Safety
/// `handler` is valid and is as this file's beginning says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_page_fault_handler(handler: *mut PageFaultHandler) -> i32 {
    // SAFETY: as the caller vouches.
    status(unsafe { register_handler(handler) })
}

/// # Safety
/// As for [`trapline_register_page_fault_handler`].
unsafe fn register_handler(handler: *mut PageFaultHandler) -> Result<(), Errno> {
    let engine = ENGINE.get().ok_or(Errno::INVALID)?;
    let node = NonNull::new(handler).ok_or(Errno::INVALID)?;
    // SAFETY: valid, as the caller vouches.
    let PageFaultHandler { handle, flags, .. } = unsafe { node.as_ref() };
    let all = flags & TRAPLINE_ALL_FAULTS != 0;
    if handle.is_none() || flags & !TRAPLINE_ALL_FAULTS != 0 {
        return Err(Errno::INVALID);
    }
    let node = node.cast::<FaultHandler>();
    let mut state = Guard::lock();
    if state.control.each_handler(engine).any(|registered| registered == node) {
        return Err(Errno::INVALID);
    }
    // SAFETY: `reserved` is the first field, as large as a node and no less aligned, and ours.
    unsafe { node.write(FaultHandler::new(handle_page_fault)) };
    if !all {
        // SAFETY: in no list, stays where it is until it is unregistered, and its function may be called, as the caller vouches.
        unsafe { state.control.register_handler(engine, node) };
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { state.control.register_handler_of_all(engine, node) };
    state.hook_all_faults(engine, state.studies_by_hook()).inspect_err(|_| {
        // SAFETY: every registered handler is valid.
        unsafe { state.control.unregister_handler(engine, node) };
    })
}

/// Takes `handler` out of the list. It may still be running, on any CPU, until `trapline_synchronize()` has returned. Returns 0, or
/// `-EINVAL` if it was not registered.
///
/// # Safety
/// Every registered handler is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_page_fault_handler(handler: *mut PageFaultHandler) -> i32 {
    let (Some(engine), Some(node)) = (ENGINE.get(), NonNull::new(handler)) else {
        return Errno::INVALID.negative();
    };
    let mut state = Guard::lock();
    // SAFETY: as the caller vouches.
    if !unsafe { state.control.unregister_handler(engine, node.cast()) } {
        return Errno::INVALID.negative();
    }
    // Nothing new is needed, so it can't fail.
    let _ = state.hook_all_faults(engine, state.studies_by_hook());
    0
}

/// Returns when every handler that was running when it was called has returned, on all CPUs.
#[unsafe(no_mangle)]
pub extern "C" fn trapline_synchronize() {
    KernelTables.synchronize();
}

/// Registers an access probe: when it returns 0, every access to its bytes is trapped, on all CPUs.
///
/// Else `-EINVAL` (length 0, wraps, no direction, registered already), `-EPERM` (executable or kernel-stack memory, or the self-test at load failed), `-EFAULT` (not mapped, or
/// neither from `ioremap` nor from `vmalloc`), `-EOPNOTSUPP` (a page larger than 2 MiB), `-EIO` (no second mapping with the same cache
/// attributes), `-ENOMEM`.
///
/// # Safety
/// `probe` is valid and is as this file's beginning says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_access_probe(probe: *mut AccessProbe) -> i32 {
    // SAFETY: an array of one, as the caller vouches.
    unsafe { trapline_register_access_probes(&raw const probe, 1) }
}

/// Takes an access probe away: when it returns, none of its handlers is running or will run.
///
/// # Safety
/// `probe` was registered and not unregistered since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_access_probe(probe: *mut AccessProbe) {
    // SAFETY: an array of one, as the caller vouches.
    unsafe { trapline_unregister_access_probes(&raw const probe, 1) }
}

/// Registers `count` access probes at once: all of them, or none. Errors as for `trapline_register_access_probe()`.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_register_access_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_access_probes(
    probes: *const *mut AccessProbe,
    count: usize,
) -> i32 {
    // SAFETY: as the caller vouches.
    status(unsafe { register_probes(probes, count) })
}

/// Takes `count` access probes away at once.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_unregister_access_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_access_probes(probes: *const *mut AccessProbe, count: usize) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: as the caller vouches.
    let probes = unsafe { pointers(probes, count) };
    let mut state = Guard::lock();
    let mut rest = probes;
    while !rest.is_empty() {
        // In batches on the stack: taking away must not need memory.
        let (batch, after) = rest.split_at(rest.len().min(64));
        rest = after;
        let mut ids = [ProbeId(u64::MAX); 64];
        for (slot, &probe) in ids.iter_mut().zip(batch) {
            // SAFETY: valid, as the caller vouches.
            let (id, mapping) = unsafe { ((*probe).id, (*probe).mapping) };
            *slot = ProbeId(id);
            // Gone if it was unmapped meanwhile.
            if let Some(known) = state.known.iter_mut().find(|known| known.mapping.id == mapping) {
                known.used = known.used.saturating_sub(1);
            }
        }
        state.control.remove_probes(engine, &KernelTables, ids.get(..batch.len()).unwrap_or(&ids));
    }
    state.forget_unused(engine);
    state.set_tracking();
}

/// # Safety
/// `probes` is an array of `count` pointers, valid for as long as the result is used.
unsafe fn pointers<'a, T>(probes: *const *mut T, count: usize) -> &'a [*mut T] {
    if probes.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as the caller vouches.
    unsafe { core::slice::from_raw_parts(probes, count) }
}

/// # Safety
/// As for [`trapline_register_access_probes`].
unsafe fn register_probes(probes: *const *mut AccessProbe, count: usize) -> Result<(), Errno> {
    let engine = ENGINE.get().ok_or(Errno::INVALID)?;
    // SAFETY: as the caller vouches.
    let probes = unsafe { pointers(probes, count) };
    let mut wanted = Vec::new();
    wanted.try_reserve_exact(probes.len()).map_err(|_| Errno::NO_MEMORY)?;
    for &probe in probes {
        // SAFETY: valid, as the caller vouches.
        let AccessProbe { start, length, flags, pre, post, .. } =
            *unsafe { probe.as_ref() }.ok_or(Errno::INVALID)?;
        let (reads, writes) = (flags & TRAPLINE_READS != 0, flags & TRAPLINE_WRITES != 0);
        let last = length.checked_sub(1).and_then(|rest| start.checked_add(rest));
        let record = flags & TRAPLINE_RECORD != 0;
        let unknown = flags & !(TRAPLINE_READS | TRAPLINE_WRITES | TRAPLINE_RECORD);
        if last.is_none() || !(reads || writes) || unknown != 0 {
            return Err(Errno::INVALID);
        }
        let handlers = Handlers {
            pre: pre.is_some().then_some(before_access),
            post: post.is_some().then_some(after_access),
            data: probe.cast(),
        };
        wanted.push(Probe { start, length, reads, writes, record, handlers });
    }
    let mut sorted = Vec::new();
    sorted.try_reserve_exact(probes.len()).map_err(|_| Errno::NO_MEMORY)?;
    sorted.extend_from_slice(probes);
    sorted.sort_unstable();
    let mut state = Guard::lock();
    if state.self_test != SelfTest::Passed {
        return Err(Errno::PERM);
    }
    let twice = sorted.windows(2).any(|two| two[0] == two[1]);
    let is_wanted = |probe: &Probe| sorted.binary_search(&probe.handlers.data.cast()).is_ok();
    if twice || state.control.each_probe().any(|(_, probe)| is_wanted(probe)) {
        return Err(Errno::INVALID);
    }
    let result =
        wanted.iter().try_for_each(|probe| ranges::cover(engine, &mut state, probe)).and_then(|()| {
            // SAFETY: the handlers may be called with their probes until those are unregistered, as the caller vouches.
            unsafe { state.add_probes(engine, &wanted) }.map_err(errno_of)
        });
    if let Ok(ids) = &result {
        for (&probe, id) in probes.iter().zip(ids) {
            // SAFETY: valid, and ours to fill in: no trap reads these two fields.
            unsafe {
                (*probe).id = id.0;
                if let Some(at) = state.known_at((*probe).start)
                    && let Some(known) = state.known.get_mut(at)
                {
                    known.used += 1;
                    (*probe).mapping = known.mapping.id;
                }
            }
        }
    }
    state.forget_unused(engine);
    state.set_tracking();
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
    let fault = PageFault { error_code: fault.error_code.0.into(), address: fault.address };
    // SAFETY: registered, so valid.
    let given = unsafe { handler.as_ref() };
    let (Some(handle), Some(code)) = (given.handle, CODE.get()) else { return Verdict::NotOurs };
    // Its own copy: what a handler changed that was abandoned, or claims nothing, is as if it had not been.
    let mut wanted = *registers;
    let call = Call {
        function: handle as *const (),
        arguments: [handler.as_ptr() as u64, &raw const fault as u64, &raw mut wanted as u64],
    };
    // SAFETY: a function that may be called, as the one who registered it vouches; in the trap. A fault of its own is not asked of it.
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
        address: access.address,
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
