//! `/dev/trapline`: its commands and its rings (crates/abi/src/command.rs says what they mean).

use crate::code::Registry;
use crate::errno::{Errno, status};
use crate::glue;
use crate::list::first_listed;
use crate::locks::Unlocked;
use crate::platform::Kernel;
use crate::self_test;
use crate::session::{Session, Sessions};
use crate::sources::{Host, NewProbe, PortRequest, Source, Sources, awaits_a_module, fault_watcher};
use crate::state::ENGINE;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{
    ABI_VERSION, CONFIG, CodeProbe, ConfigWatch, Counters, DMA, DMA_COUNTS, DmaWatch, FAULT_COUNTS, FAULTS,
    FaultWatch, HookState, INFO, INJECT, INJECT_COUNTS, INTERRUPTS, Info, Inject, InjectCounts, InjectRule,
    InterruptWatch, LIFECYCLE, LIFECYCLE_COUNTS, LIST, LOG, LOG_COUNTS, LifecycleWatch, ListEntry, LogWatch,
    MARK, MAX_RULES, MAX_STEPS, MODULE_LENGTH, Mark, PORT_CODE, PORT_COUNTS, PORTS, PROBE, START, STOP,
    Start, Step, WATCH, Watch,
};
use trapline_engine::Engine;

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

/// What a task has that comes from the kernel by a file operation.
fn unlocked() -> Unlocked {
    // SAFETY: file operations are called in process context, by a kernel that holds no lock of ours
    // and is not called by us; each of them calls this once.
    unsafe { Unlocked::new() }
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
        Sessions::lock(unlocked()).end(engine, file);
    }
}

/// The module `name`, zero-padded, was loaded, and runs once this has returned; `code` is where its
/// code begins and how long it is, and the same of the code that it runs once.
///
/// # Safety
/// Called in process context, without a lock of ours; both can be read.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_module_comes(name: *const [u8; MODULE_LENGTH], code: *const [u64; 4]) {
    // SAFETY: this function asks for that.
    let (name, [core, core_length, init, init_length]) = unsafe { (&*name, *code) };
    let Some(engine) = ENGINE.get().filter(|_| awaits_a_module()) else { return };
    Sessions::lock(unlocked()).each(engine, |sources, mut host| {
        sources.ports.module_comes(&mut host, name, &[(core, core_length), (init, init_length)]);
    });
}

/// A command; `argument` is a user-space address. Returns 0 or a negative errno.
///
/// Each command is a function apart: inlined, all of them together would have their values on the
/// stack below each one.
#[unsafe(no_mangle)]
extern "C" fn trapline_ioctl(file: u64, command: u32, argument: u64) -> i32 {
    let argument = UserPointer(argument);
    let Some(engine) = ENGINE.get() else { return Errno::IO.negative() };
    status(match command {
        INFO => info(engine, argument),
        START => start(engine, file, argument),
        WATCH => watch(engine, file, argument),
        MARK => mark(engine, argument),
        STOP => stop(engine, file, argument),
        PROBE => probe(engine, file, argument),
        FAULTS => faults(engine, file, argument),
        FAULT_COUNTS => fault_counts(engine, file, argument),
        LIST => list(engine, argument),
        INJECT => inject(engine, file, argument),
        INJECT_COUNTS => inject_counts(engine, file, argument),
        INTERRUPTS => interrupts(engine, file, argument),
        CONFIG => config(engine, file, argument),
        PORTS => ports(engine, file, argument),
        PORT_CODE => port_code(engine, file, argument),
        PORT_COUNTS => port_counts(engine, file, argument),
        DMA => dma(engine, file, argument),
        DMA_COUNTS => dma_counts(engine, file, argument),
        LIFECYCLE => lifecycle(engine, file, argument),
        LIFECYCLE_COUNTS => lifecycle_counts(engine, file, argument),
        LOG => log(engine, file, argument),
        LOG_COUNTS => log_counts(engine, file, argument),
        _ => Err(Errno::NOT_A_COMMAND),
    })
}

/// Maps `length` bytes of the rings, from `offset` on, into `area`. Returns 0 or a negative errno.
///
/// # Safety
/// `area` is the `vm_area_struct` that the file is being mapped to.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_mmap(file: u64, area: *mut c_void, offset: u64, length: u64) -> i32 {
    let mut sessions = Sessions::lock(unlocked());
    let Some((session, _)) = sessions.of(file) else {
        return Errno::INVALID.negative();
    };
    if offset.checked_add(length).is_none_or(|end| end > session.rings.bytes()) {
        return Errno::INVALID.negative();
    }
    // SAFETY: `area` is the one that the file is being mapped to: this function asks for that; the
    // rings' memory is from `vmalloc_user` and holds the pages asked for. Its pages are counted, so
    // they outlive the session where they are mapped.
    unsafe { glue::glue_remap_vmalloc_range(area, session.rings.memory(), offset / 4096) }
}

#[inline(never)]
fn info(engine: &Engine<Kernel>, argument: UserPointer) -> Result<(), Errno> {
    let mut sessions = Sessions::lock(unlocked());
    let counters = Counters { dropped: sessions.dropped(), ..engine.counters() };
    let count = sessions.all().len() as u32;
    let held: u64 = sessions.all().iter().map(Session::memory).sum();
    let mut patching = sessions.unlocked.patching();
    let (code_probes, faults_owner) = (Registry::of(&mut patching).len(), fault_watcher(&mut patching));
    drop(patching);
    let controlled = sessions.unlocked.control();
    let (control, mappings) = (&controlled.control, &controlled.mappings);
    let info = Info {
        version: ABI_VERSION,
        // The hook is there for as long as the device is.
        hook: HookState::FixupException as u32,
        self_test: self_test::outcome(),
        sessions: count,
        accesses_owner: controlled.watched.owner,
        faults_owner,
        armed_pages: control.pages().len() as u64,
        probes: control.probes() as u64,
        code_probes: code_probes as u64,
        handlers: engine.handlers() as u64,
        memory: (engine.memory() + control.memory() + mappings.memory()) as u64 + held,
        direct_map: glue::glue_direct_map_start().0,
        vmalloc: glue::glue_vmalloc_start().0,
        vmemmap: glue::glue_vmemmap_start().0,
        counters,
    };
    // Without the locks: user memory may have to be waited for, and who maps rings holds its lock
    // when it takes ours.
    drop(controlled);
    drop(sessions);
    argument.write(&info)
}

#[inline(never)]
fn start(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut start: Start = unsafe { argument.read() }?;
    if start.version != ABI_VERSION || start.reserved != 0 {
        return Err(Errno::INVALID);
    }
    let mut sessions = Sessions::lock(unlocked());
    start.rings = sessions.start(file, start.buffer)?;
    drop(sessions);
    // Without the lock, as in `info`.
    let told = argument.write(&start);
    if told.is_err() {
        Sessions::lock(unlocked()).end(engine, file);
    }
    told
}

/// Calls `command` with what the session of `file` has.
fn in_session<T>(
    engine: &Engine<Kernel>,
    file: u64,
    command: impl FnOnce(&mut Sources, Host<'_>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut sessions = Sessions::lock(unlocked());
    let (session, unlocked) = sessions.of(file).ok_or(Errno::INVALID)?;
    let (sources, host) = session.parts(engine, unlocked);
    command(sources, host)
}

/// Begins a source of the session with what a command asks for, and tells what was done about it.
fn begin<S>(
    engine: &Engine<Kernel>,
    file: u64,
    argument: UserPointer,
    source: fn(&mut Sources) -> &mut S,
) -> Result<(), Errno>
where
    S: Source,
    S::Request: Integers,
{
    // SAFETY: integers only.
    let mut request: S::Request = unsafe { argument.read() }?;
    let result = in_session(engine, file, |sources, mut host| source(sources).start(&mut host, &mut request));
    argument.write(&request)?;
    result
}

#[inline(never)]
fn watch(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    begin(engine, file, argument, |sources| &mut sources.accesses)
}

#[inline(never)]
fn faults(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    begin(engine, file, argument, |sources| &mut sources.faults)
}

#[inline(never)]
fn interrupts(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    begin(engine, file, argument, |sources| &mut sources.interrupts)
}

#[inline(never)]
fn config(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    begin(engine, file, argument, |sources| &mut sources.config)
}

#[inline(never)]
fn dma(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    begin(engine, file, argument, |sources| &mut sources.dma)
}

#[inline(never)]
fn lifecycle(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    begin(engine, file, argument, |sources| &mut sources.lifecycle)
}

#[inline(never)]
fn log(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    begin(engine, file, argument, |sources| &mut sources.log)
}

#[inline(never)]
fn fault_counts(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    let counts = in_session(engine, file, |sources, _| Ok(sources.faults.counts(engine)))?;
    argument.write(&counts)
}

#[inline(never)]
fn ports(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut request = PortRequest::Ports(unsafe { argument.read() }?);
    in_session(engine, file, |sources, mut host| sources.ports.start(&mut host, &mut request))
}

#[inline(never)]
fn port_code(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut request = PortRequest::Code(unsafe { argument.read() }?);
    in_session(engine, file, |sources, mut host| sources.ports.start(&mut host, &mut request))
}

#[inline(never)]
fn port_counts(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    let counts = in_session(engine, file, |sources, mut host| Ok(sources.ports.told(&mut host)))?;
    argument.write(&counts)
}

#[inline(never)]
fn dma_counts(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    let counts = in_session(engine, file, |sources, mut host| Ok(sources.dma.told(&mut host)))?;
    argument.write(&counts)
}

#[inline(never)]
fn lifecycle_counts(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    let counts = in_session(engine, file, |sources, mut host| Ok(sources.lifecycle.told(&mut host)))?;
    argument.write(&counts)
}

#[inline(never)]
fn log_counts(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    let counts = in_session(engine, file, |sources, mut host| Ok(sources.log.told(&mut host)))?;
    argument.write(&counts)
}

#[inline(never)]
fn mark(engine: &Engine<Kernel>, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mark: Mark = unsafe { argument.read() }?;
    let text = mark.text.get(..mark.length as usize).ok_or(Errno::INVALID)?;
    if Sessions::lock(unlocked()).mark(engine, text) { Ok(()) } else { Err(Errno::INVALID) }
}

#[inline(never)]
fn stop(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    let mut sessions = Sessions::lock(unlocked());
    let (session, unlocked) = sessions.of(file).ok_or(Errno::INVALID)?;
    session.stop(engine, unlocked);
    let dropped = session.rings.dropped();
    let counters = Counters { dropped, ..session.sources.accesses.counts(engine) };
    drop(sessions);
    argument.write(&counters)
}

#[inline(never)]
fn probe(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let probe: CodeProbe = unsafe { argument.read() }?;
    // Before the lock is taken, as in `info`.
    let mut new = NewProbe { steps: list_of(probe.program, probe.steps, MAX_STEPS)?, probe };
    let result = in_session(engine, file, |sources, mut host| sources.code.start(&mut host, &mut new));
    argument.write(&new.probe)?;
    result
}

/// What a command takes that is integers only, so that every bit pattern is one.
trait Integers: Copy {}

impl Integers for Watch {}
impl Integers for FaultWatch {}
impl Integers for InterruptWatch {}
impl Integers for ConfigWatch {}
impl Integers for DmaWatch {}
impl Integers for LifecycleWatch {}
impl Integers for LogWatch {}
impl Integers for Step {}
impl Integers for InjectRule {}

/// The `count` items from `start` on, not checked. Of a list of more than `most` so much that it is
/// seen to be too long.
fn list_of<T: Integers>(start: u64, count: u32, most: usize) -> Result<Vec<T>, Errno> {
    let count = (count as usize).min(most + 1);
    let mut items = Vec::new();
    items.try_reserve_exact(count).map_err(|_| Errno::NO_MEMORY)?;
    for number in 0..count {
        let at = start.wrapping_add((number * size_of::<T>()) as u64);
        // SAFETY: integers only.
        items.push(unsafe { UserPointer(at).read() }?);
    }
    Ok(items)
}

#[inline(never)]
fn inject(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let mut inject: Inject = unsafe { argument.read() }?;
    inject.failed_at = u32::MAX;
    // Before the lock is taken, as in `info`.
    let rules: Vec<InjectRule> = list_of(inject.rules, inject.count, MAX_RULES)?;
    let result = if rules.is_empty() {
        Err(Errno::INVALID)
    } else {
        in_session(engine, file, |sources, _| sources.accesses.inject(engine, &rules, &mut inject))
    };
    argument.write(&inject)?;
    result
}

#[inline(never)]
fn inject_counts(engine: &Engine<Kernel>, file: u64, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let wanted: InjectCounts = unsafe { argument.read() }?;
    let counts = in_session(engine, file, |sources, _| {
        sources.accesses.inject_counts(wanted.rule).ok_or(Errno::NOT_FOUND)
    })?;
    argument.write(&InjectCounts { rule: wanted.rule, ..counts })
}

#[inline(never)]
fn list(engine: &Engine<Kernel>, argument: UserPointer) -> Result<(), Errno> {
    // SAFETY: integers only.
    let wanted: ListEntry = unsafe { argument.read() }?;
    let found = first_listed(&mut Sessions::lock(unlocked()), engine, wanted.id).ok_or(Errno::NOT_FOUND)?;
    argument.write(&found)
}
