//! The C interface for code probes: handlers at an instruction, and at a function's entry and
//! return.
//!
//! Their handlers may fault: they are abandoned then, and counted. What an abandoned handler leaves
//! undone in data of its own, or in locks it holds, stays so.

use super::unlocked;
use crate::code::{At, Registration, Registry};
use crate::errno::{Errno, status};
use crate::glue;
use crate::locks::Unlocked;
use crate::names::name_of;
use core::ffi::{c_char, c_void};
use trapline_abi::{LIST_DISABLED, LIST_GONE};
pub use trapline_api::raw::{CodeProbe, Counts, Exception, ReturnProbe};
use trapline_engine::Linear;
use trapline_engine::code::CodeHandlers;

const _: () = assert!(size_of::<Exception>() == size_of::<trapline_engine::code::Exception>());

/// Registers a code probe: when it returns 0, every execution of its instruction comes to its
/// handlers, on all CPUs.
///
/// Else `-EINVAL` (no handler; nothing that may be probed; registered already), `-ENOENT` (no such
/// symbol), `-EILSEQ` (inside of an instruction), `-EPERM` (Trapline's own code, or what it hangs
/// on), `-EBUSY` (another user of the address can't share it), `-ENOMEM`, or what else the kernel's
/// `register_kprobe()` says.
///
/// # Safety
/// `probe` is valid and is as this file's beginning says; its handlers are sound but for exceptions
/// that they may raise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_code_probe(probe: *mut CodeProbe) -> i32 {
    // SAFETY: an array of one, whose probe is as this function asks for.
    unsafe { trapline_register_code_probes(&raw const probe, 1) }
}

/// Takes a code probe away: when it returns, none of its handlers is running or will run; an
/// instruction that nobody else probes is as it was.
///
/// # Safety
/// `probe` was registered and not unregistered since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_code_probe(probe: *mut CodeProbe) {
    // SAFETY: an array of one, whose probe is as this function asks for.
    unsafe { trapline_unregister_code_probes(&raw const probe, 1) }
}

/// Registers `count` code probes: all of them, or none. Errors as for
/// `trapline_register_code_probe()`.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_register_code_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_code_probes(probes: *const *mut CodeProbe, count: usize) -> i32 {
    // SAFETY: `probes` is an array of `count` pointers: this function asks for that.
    let probes = unsafe { super::pointers(probes, count) };
    // SAFETY: each pointer is as for the function that registers one: this function asks for that.
    all_or_none(probes, |probe| unsafe { register(probe) }, |probe| unsafe { (*probe).id })
}

/// Takes `count` code probes away at once.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_unregister_code_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_code_probes(probes: *const *mut CodeProbe, count: usize) {
    // SAFETY: `probes` is an array of `count` pointers: this function asks for that.
    let probes = unsafe { super::pointers(probes, count) };
    // SAFETY: each probe is registered, so valid: this function asks for that.
    Registry::of(&mut unlocked().patching())
        .remove(|id| probes.iter().any(|&probe| unsafe { (*probe).id } == id));
}

/// Has the handlers of a code probe called again, after it was disabled by its owner or by its
/// limit, which begins to count anew.
///
/// # Safety
/// `probe` is registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_enable_code_probe(probe: *mut CodeProbe) {
    // SAFETY: `probe` is registered, so valid: this function asks for that.
    let id = unsafe { (*probe).id };
    Registry::of(&mut unlocked().patching()).with(id, |probe| probe.set_enabled(true));
}

/// Has the handlers of a code probe called no more, for now; one that is running goes on.
///
/// # Safety
/// `probe` is registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_disable_code_probe(probe: *mut CodeProbe) {
    // SAFETY: `probe` is registered, so valid: this function asks for that.
    let id = unsafe { (*probe).id };
    Registry::of(&mut unlocked().patching()).with(id, |probe| probe.set_enabled(false));
}

/// What a code probe has counted so far.
///
/// # Safety
/// `probe` is registered, `counts` valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_code_probe_counts(probe: *const CodeProbe, counts: *mut Counts) {
    // SAFETY: `probe` is registered and `counts` valid: this function asks for that.
    unsafe { give_counts((*probe).id, counts) }
}

/// Registers a return probe. Errors as for `trapline_register_code_probe()`; `-EINVAL` too if
/// `address` is not a function's first instruction.
///
/// # Safety
/// As for `trapline_register_code_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_return_probe(probe: *mut ReturnProbe) -> i32 {
    // SAFETY: `probe` is valid, stays, and its handlers are sound: this function asks for that.
    status(unsafe { register_return(probe) })
}

/// Takes a return probe away: when it returns, none of its handlers is running or will run. Calls
/// that are under way return untold.
///
/// # Safety
/// `probe` was registered and not unregistered since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_return_probe(probe: *mut ReturnProbe) {
    // SAFETY: `probe` is registered, so valid: this function asks for that.
    let id = unsafe { (*probe).id };
    Registry::of(&mut unlocked().patching()).remove(|other| other == id);
}

/// Registers `count` return probes: all of them, or none. Errors as for
/// `trapline_register_return_probe()`.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_register_return_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_register_return_probes(
    probes: *const *mut ReturnProbe,
    count: usize,
) -> i32 {
    // SAFETY: `probes` is an array of `count` pointers: this function asks for that.
    let probes = unsafe { super::pointers(probes, count) };
    // SAFETY: each pointer is as for the function that registers one: this function asks for that.
    all_or_none(probes, |probe| unsafe { register_return(probe) }, |probe| unsafe { (*probe).id })
}

/// Takes `count` return probes away at once.
///
/// # Safety
/// `probes` is an array of `count` pointers, each as for `trapline_unregister_return_probe()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_unregister_return_probes(probes: *const *mut ReturnProbe, count: usize) {
    // SAFETY: `probes` is an array of `count` pointers: this function asks for that.
    let probes = unsafe { super::pointers(probes, count) };
    // SAFETY: each probe is registered, so valid: this function asks for that.
    Registry::of(&mut unlocked().patching())
        .remove(|id| probes.iter().any(|&probe| unsafe { (*probe).id } == id));
}

/// Has the handlers of a return probe called again, after it was disabled by its owner or by its
/// limit, which begins to count anew.
///
/// # Safety
/// `probe` is registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_enable_return_probe(probe: *mut ReturnProbe) {
    // SAFETY: `probe` is registered, so valid: this function asks for that.
    let id = unsafe { (*probe).id };
    Registry::of(&mut unlocked().patching()).with(id, |probe| probe.set_enabled(true));
}

/// Has the handlers of a return probe called no more, for now; one that is running goes on. Calls
/// that were entered before return untold.
///
/// # Safety
/// `probe` is registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_disable_return_probe(probe: *mut ReturnProbe) {
    // SAFETY: `probe` is registered, so valid: this function asks for that.
    let id = unsafe { (*probe).id };
    Registry::of(&mut unlocked().patching()).with(id, |probe| probe.set_enabled(false));
}

/// What a return probe has counted so far.
///
/// # Safety
/// `probe` is registered, `counts` valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_return_probe_counts(probe: *const ReturnProbe, counts: *mut Counts) {
    // SAFETY: `probe` is registered and `counts` valid: this function asks for that.
    unsafe { give_counts((*probe).id, counts) }
}

/// Reads `length` bytes of kernel memory, whatever lies there. Returns 0, or `-EFAULT`: then
/// nothing is to be said of `to`. For handlers and everybody else.
///
/// # Safety
/// `to` has room for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_read_kernel(to: *mut c_void, from: *const c_void, length: usize) -> i32 {
    // SAFETY: `to` has room for `length` bytes: this function asks for that.
    unsafe { read(to.cast(), from as u64, length, |address| (address as i64) < 0) }
}

/// Reads `length` bytes of the current process's memory, without waiting for pages that are not
/// there. Returns 0, or `-EFAULT`: then nothing is to be said of `to`.
///
/// # Safety
/// `to` has room for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn trapline_read_user(to: *mut c_void, from: u64, length: usize) -> i32 {
    // SAFETY: `to` has room for `length` bytes: this function asks for that.
    unsafe { read(to.cast(), from, length, |address| address as i64 >= 0) }
}

/// # Safety
/// `to` has room for `length` bytes.
unsafe fn read(to: *mut u8, from: u64, length: usize, is_allowed: impl Fn(u64) -> bool) -> i32 {
    let mut done = 0;
    while done < length {
        let address = from.wrapping_add(done as u64);
        let width = if length - done >= 8 && address % 8 == 0 { 8 } else { 1 };
        let mut value = 0u64;
        // SAFETY: a place to write to; what faults there is fixed up.
        let mut get = || unsafe { glue::glue_get_inatomic(Linear(address), width as u32, &mut value) };
        if !(is_allowed(address) && get()) {
            return Errno::FAULT.negative();
        }
        // SAFETY: `done + width` is `length` at most.
        unsafe { to.add(done).copy_from_nonoverlapping(value.to_le_bytes().as_ptr(), width) };
        done += width;
    }
    0
}

/// Registers each; if one is refused, those before it are taken away again. `id` tells a registered
/// one's number.
fn all_or_none<T>(
    probes: &[*mut T],
    register: impl Fn(*mut T) -> Result<(), Errno>,
    id: impl Fn(*mut T) -> u64,
) -> i32 {
    for (done, &probe) in probes.iter().enumerate() {
        if let Err(errno) = register(probe) {
            let before = probes.iter().take(done);
            Registry::of(&mut unlocked().patching())
                .remove(|other| before.clone().any(|&probe| id(probe) == other));
            return errno.negative();
        }
    }
    0
}

/// # Safety
/// As for [`trapline_code_probe_counts`].
unsafe fn give_counts(id: u64, counts: *mut Counts) {
    let Some(entry) = Registry::of(&mut unlocked().patching()).list(id).filter(|entry| entry.id == id) else {
        return;
    };
    let of = entry.counts;
    let given = Counts {
        hits: of.hits,
        missed: of.missed,
        pre_faults: of.pre_faults,
        post_faults: of.post_faults,
        fixed: of.fixed,
        disabled: entry.flags & LIST_DISABLED != 0,
        gone: entry.flags & LIST_GONE != 0,
    };
    // SAFETY: `counts` is valid: `give_counts` asks for that.
    unsafe { counts.write(given) };
}

/// Where a probe is to stand. Looking a symbol up waits for CPU hotplug, as registering does.
///
/// # Safety
/// `symbol` is NULL or text.
unsafe fn address_of(
    _unlocked: &mut Unlocked,
    address: u64,
    symbol: *const c_char,
    offset: u32,
) -> Result<u64, Errno> {
    if symbol.is_null() {
        return Ok(address);
    }
    if address != 0 {
        return Err(Errno::INVALID);
    }
    let mut found = 0;
    // SAFETY: text, and not NULL, as was looked at: `address_of` asks for one of both.
    match unsafe { glue::glue_kprobe_address(symbol, offset, &mut found) } {
        0 => Ok(found),
        error => Err(Errno::from_status(error)),
    }
}

/// # Safety
/// As for [`trapline_register_code_probe`].
unsafe fn register(probe: *mut CodeProbe) -> Result<(), Errno> {
    // SAFETY: NULL or valid: this function asks for that.
    let given = unsafe { probe.as_ref() }.ok_or(Errno::INVALID)?;
    if given.pre.is_none() && given.post.is_none() {
        return Err(Errno::INVALID);
    }
    let mut unlocked = unlocked();
    let id = unlocked.control().control.next_id();
    // SAFETY: the handlers are sound and `probe` stays: `register` asks for that. The types differ
    // from the engine's in what their first argument points to, and in a last one that they do not
    // take: the trampoline calls them by the C calling convention, in which neither makes a
    // difference.
    let registration = unsafe {
        Registration {
            id,
            address: address_of(&mut unlocked, given.address, given.symbol, given.offset)?,
            at: At::Instruction,
            handlers: CodeHandlers::Guarded {
                pre: core::mem::transmute(given.pre),
                post: core::mem::transmute(given.post),
                fault: core::mem::transmute(given.fault),
            },
            data: probe.cast(),
            limit: given.limit,
            owner: 0,
            name: name_of(given.name),
            flags: 0,
        }
    };
    // SAFETY: the handlers may be called with `probe` until it is unregistered: this function asks
    // for that.
    unsafe { Registry::of(&mut unlocked.patching()).add(&registration) }.map_err(|refused| refused.errno)?;
    // SAFETY: ours to fill in.
    unsafe { (&raw mut (*probe).id).write(registration.id) };
    Ok(())
}

/// # Safety
/// As for [`trapline_register_return_probe`].
unsafe fn register_return(probe: *mut ReturnProbe) -> Result<(), Errno> {
    // SAFETY: NULL or valid: this function asks for that.
    let given = unsafe { probe.as_ref() }.ok_or(Errno::INVALID)?;
    if given.entry.is_none() && given.returned.is_none() || given.carried > 4096 {
        return Err(Errno::INVALID);
    }
    let mut unlocked = unlocked();
    let id = unlocked.control().control.next_id();
    // SAFETY: as in `register`.
    let registration = unsafe {
        Registration {
            id,
            address: address_of(&mut unlocked, given.address, given.symbol, 0)?,
            at: At::Return { carried: given.carried, active: given.active },
            handlers: CodeHandlers::Guarded {
                pre: core::mem::transmute(given.entry),
                post: core::mem::transmute(given.returned),
                fault: core::mem::transmute(given.fault),
            },
            data: probe.cast(),
            limit: given.limit,
            owner: 0,
            name: name_of(given.name),
            flags: 0,
        }
    };
    // SAFETY: the handlers may be called with `probe` until it is unregistered: this function asks
    // for that.
    unsafe { Registry::of(&mut unlocked.patching()).add(&registration) }.map_err(|refused| refused.errno)?;
    // SAFETY: ours to fill in.
    unsafe { (&raw mut (*probe).id).write(registration.id) };
    Ok(())
}
