//! `/dev/trapline`: its commands and its rings (crates/abi/src/command.rs says what they mean).

use crate::code::Registry;
use crate::errno::{Errno, status};
use crate::glue;
use crate::mappings::errno_of;
use crate::rings::Rings;
use crate::state::{ENGINE, Guard};
use alloc::vec::Vec;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{
    ABI_VERSION, CodeProbe, FAULT_COUNTS, FAULTS, FaultWatch, HookState, INFO, Info, LIST, ListEntry, MARK,
    MAX_STEPS, Mark, PROBE, START, STOP, SessionKind, Start, Step, WATCH, Watch,
};

/// Numbers for open files: a file is known by its number, so it needs no memory of its own.
static NEXT_FILE: AtomicU64 = AtomicU64::new(1);

/// A user-space address that an argument was given at: nothing is known about it.
#[derive(Clone, Copy)]
struct UserPointer(u64);

impl UserPointer {
    /// Copies a `T` from there.
    ///
    /// # Safety
    /// Every bit pattern is a valid `T`.
    unsafe fn read<T: Copy>(self) -> Result<T, Errno> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: room for a `T`.
        if unsafe { glue::glue_copy_from_user(value.as_mut_ptr().cast(), self.0, size_of::<T>()) } {
            // SAFETY: filled completely; any bit pattern will do.
            Ok(unsafe { value.assume_init() })
        } else {
            Err(Errno::FAULT)
        }
    }

    /// Copies a `T`, which has no padding, to there.
    fn write<T: Copy>(self, value: &T) -> Result<(), Errno> {
        // SAFETY: valid for its size.
        let copied =
            unsafe { glue::glue_copy_to_user(self.0, core::ptr::from_ref(value).cast(), size_of::<T>()) };
        if copied { Ok(()) } else { Err(Errno::FAULT) }
    }
}

/// The file's number, which the glue keeps as its private data.
#[unsafe(no_mangle)]
extern "C" fn trapline_open() -> u64 {
    NEXT_FILE.fetch_add(1, Ordering::Relaxed)
}

/// The last reference to the file is gone: its session ends, whatever happened to its owner.
#[unsafe(no_mangle)]
extern "C" fn trapline_release(file: u64) {
    if let Some(engine) = ENGINE.get() {
        Guard::lock().end(engine, file);
    }
}

/// A command; `argument` is a user-space address. Returns 0 or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn trapline_ioctl(file: u64, command: u32, argument: u64) -> i32 {
    let argument = UserPointer(argument);
    status(match command {
        INFO => info(argument),
        START => start(file, argument),
        WATCH => watch(file, argument),
        MARK => mark(argument),
        STOP => stop(file, argument),
        PROBE => probe(file, argument),
        FAULTS => faults(file, argument),
        FAULT_COUNTS => fault_counts(file, argument),
        LIST => list(argument),
        _ => Err(Errno::NOT_A_COMMAND),
    })
}

/// Maps `length` bytes of the rings, from `offset` on, into `area`. Returns 0 or a negative errno.
///
/// # Safety
/// `area` is the `vm_area_struct` that the file is being mapped to.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_mmap(file: u64, area: *mut c_void, offset: u64, length: u64) -> i32 {
    let state = Guard::lock();
    let Some(session) = state.session_of(file) else {
        return Errno::INVALID.negative();
    };
    if offset.checked_add(length).is_none_or(|end| end > session.rings.bytes()) {
        return Errno::INVALID.negative();
    }
    // SAFETY: as the caller vouches; the rings' memory is from `vmalloc_user` and holds the pages asked for. Its pages are counted, so they outlive the
    // session where they are mapped.
    unsafe { glue::glue_remap_vmalloc_range(area, session.rings.memory(), offset / 4096) }
}

fn info(argument: UserPointer) -> Result<(), Errno> {
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    let state = Guard::lock();
    let session = state.only(SessionKind::Accesses);
    let mut counters = engine.counters();
    let all = || state.sessions.iter().map(|session| &session.rings);
    counters.dropped = all().map(Rings::dropped).fold(state.dropped, u64::wrapping_add);
    let rings = all().map(Rings::bytes).sum::<u64>() + state.probing_memory() as u64;
    let info = Info {
        version: ABI_VERSION,
        // The hook is there for as long as the device is.
        hook: HookState::FixupException as u32,
        self_test: state.self_test as u32,
        session: session.map_or(0, |session| session.owner),
        faults_session: state.only(SessionKind::Faults).map_or(0, |session| session.owner),
        reserved: 0,
        armed_pages: state.control.pages().len() as u64,
        probes: state.control.probes() as u64,
        code_probes: Registry::lock().len() as u64,
        handlers: engine.handlers() as u64,
        memory: (engine.memory() + state.control.memory()) as u64 + rings,
        direct_map: glue::glue_direct_map_start(),
        vmalloc: glue::glue_vmalloc_start(),
        vmemmap: glue::glue_vmemmap_start(),
        counters,
    };
    drop(state);
    argument.write(&info)
}

fn start(file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut start: Start = unsafe { argument.read() }?;
    if start.version != ABI_VERSION {
        return Err(Errno::INVALID);
    }
    let kind = SessionKind::from_code(start.kind).ok_or(Errno::INVALID)?;
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    start.rings = Guard::lock().start(engine, file, kind, start.buffer)?;
    // Without the lock: user memory may have to be waited for, and who maps rings holds its lock when it takes ours.
    argument.write(&start).inspect_err(|_| Guard::lock().end(engine, file))
}

/// The state, if `file` has a session of this kind.
fn own_session(file: u64, kind: SessionKind) -> Result<Guard, Errno> {
    let state = Guard::lock();
    if state.has_session(file, kind) { Ok(state) } else { Err(Errno::INVALID) }
}

fn watch(file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut watch: Watch = unsafe { argument.read() }?;
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    let result = own_session(file, SessionKind::Accesses)?.watch(engine, &mut watch);
    watch.error = result.err().map_or(0, |error| error as u32);
    argument.write(&watch)?;
    result.map_err(errno_of)
}

fn faults(file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut watch: FaultWatch = unsafe { argument.read() }?;
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    let result = own_session(file, SessionKind::Faults)?.watch_faults(engine, file, &mut watch);
    argument.write(&watch)?;
    result
}

fn fault_counts(file: u64, argument: UserPointer) -> Result<(), Errno> {
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    let counts = own_session(file, SessionKind::Faults)?.fault_counts(engine, file)?;
    argument.write(&counts)
}

fn mark(argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mark: Mark = unsafe { argument.read() }?;
    let text = mark.text.get(..mark.length as usize).ok_or(Errno::INVALID)?;
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    let state = Guard::lock();
    if state.sessions.is_empty() {
        return Err(Errno::INVALID);
    }
    state.mark(engine, text);
    Ok(())
}

fn stop(file: u64, argument: UserPointer) -> Result<(), Errno> {
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    let mut state = Guard::lock();
    state.session_of(file).ok_or(Errno::INVALID)?;
    let counters = state.stop(engine, file);
    drop(state);
    argument.write(&counters)
}

fn probe(file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut probe: CodeProbe = unsafe { argument.read() }?;
    // Before the lock is taken, as in `start`.
    let steps = program(&probe)?;
    let result = own_session(file, SessionKind::Code)?.probe(file, &probe, &steps);
    (probe.id, probe.error, probe.errno) = match result {
        Ok(id) => (id, 0, 0),
        Err(refused) => (0, refused.error as u32, refused.of_kernel()),
    };
    argument.write(&probe)?;
    result.map(|_| ()).map_err(|refused| refused.errno)
}

/// The program of `probe`, not checked. Of one that is too long so much that it is seen to be.
fn program(probe: &CodeProbe) -> Result<Vec<Step>, Errno> {
    let count = (probe.steps as usize).min(MAX_STEPS + 1);
    let mut steps = Vec::new();
    steps.try_reserve_exact(count).map_err(|_| Errno::NO_MEMORY)?;
    for number in 0..count {
        let at = probe.program.wrapping_add((number * size_of::<Step>()) as u64);
        // SAFETY: integers only.
        steps.push(unsafe { UserPointer(at).read() }?);
    }
    Ok(steps)
}

fn list(argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let wanted: ListEntry = unsafe { argument.read() }?;
    let engine = ENGINE.get().ok_or(Errno::IO)?;
    let found = Guard::lock().first_listed(engine, wanted.id).ok_or(Errno::NOT_FOUND)?;
    argument.write(&found)
}
