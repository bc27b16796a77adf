//! Lines of the kernel log, as whoever writes them does.
//!
//! Each line passes the kernel's `printk_sprint()` (kernel/printk/printk.c), which formats it where
//! it is stored, in the task and on the CPU that write it, whenever a console shows it. A return
//! probe stands there, which `trapline list` shows: its text is there when it returns.
//!
//! Rejected: the tracepoint `printk:console`, of which kernels up to 6.2 warn if a line is written
//! in an NMI or in a breakpoint's handler while anybody uses it; `/dev/kmsg`, which tells neither
//! CPU nor task on most kernels, and whose times are of another clock than the trace's.
//!
//! A line that is written inside of a probe's handler is missed, and counted.

use super::returns::{Returns, address_of};
use super::{Host, Source};
use crate::code::Registry;
use crate::errno::Errno;
use crate::glue;
use crate::platform::Kernel;
use crate::state::ENGINE;
use core::ffi::CStr;
use core::ptr::NonNull;
use trapline_abi::{Kind, LogCounts, LogLength, LogWatch, MAX_LOG_LINE, Record};
use trapline_engine::{Engine, Owned, Sink, Trap};
use trapline_insn::Registers;

/// What is called with the place for a text, and returns the text's length.
const FUNCTION: &CStr = c"printk_sprint";

/// Calls that may be under way at once. They wait for nothing, so there are a few on each CPU. More
/// are counted as missed.
const ACTIVE: u32 = 256;

/// Words of a line.
const WORDS: usize = MAX_LOG_LINE / 8;
const _: () = assert!(MAX_LOG_LINE.is_multiple_of(8));

/// What is carried from a call to its return.
#[repr(C)]
struct Carried {
    text: u64,
}

/// What the probe's handlers are given.
struct Given {
    sink: NonNull<Sink>,
}

// SAFETY: a sink is made to be shared by the traps of all CPUs.
unsafe impl Send for Given {}
// SAFETY: as above.
unsafe impl Sync for Given {}

/// What has begun.
///
/// # Invariants
/// `given` is dropped only after the probe was removed; its sink is the session's, and outlives it:
/// a session stops its sources first.
struct Running {
    id: u64,
    given: Owned<Given>,
}

impl Running {
    fn counts(&self, host: &mut Host<'_>) -> LogCounts {
        let mut patching = host.unlocked.patching();
        LogCounts { missed: Registry::of(&mut patching).missed(|id| id == self.id) }
    }
}

/// A session's recording of the kernel log.
pub(crate) struct Log {
    running: Option<Running>,
    /// What was counted when it was stopped.
    stopped: LogCounts,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { running: None, stopped: LogCounts::default() }
    }

    /// What was counted so far, and after the end.
    pub(crate) fn told(&self, host: &mut Host<'_>) -> LogCounts {
        self.running.as_ref().map_or(self.stopped, |running| running.counts(host))
    }
}

/// What a probe on it is.
const RETURNS: Returns =
    Returns { name: b"kernel log", called, returned, carried: size_of::<Carried>(), active: ACTIVE };

impl Source for Log {
    type Request = LogWatch;
    type Counts = ();

    fn start(&mut self, host: &mut Host<'_>, request: &mut LogWatch) -> Result<(), Errno> {
        if request.reserved != 0 {
            return Err(Errno::INVALID);
        }
        if self.running.is_some() {
            return Err(Errno::EXISTS);
        }
        let given = Owned::new(Given { sink: host.sink }).map_err(|_| Errno::NO_MEMORY)?;
        let id = host.unlocked.control().control.next_id();
        let mut patching = host.unlocked.patching();
        let address = address_of(&mut patching, FUNCTION).map_err(|_| Errno::NO_FUNCTION)?;
        // SAFETY: what is given stays where it is, on the heap, until `stop` has removed the probe.
        // The handlers get what they expect, and read with care what they are told of.
        unsafe { RETURNS.add(&mut patching, address, &*given, id, host.owner) }?;
        // INVARIANT: `stop` removes the probe before it drops what is given.
        self.running = Some(Running { id, given });
        Ok(())
    }

    /// No line is recorded for it when this returns.
    fn stop(&mut self, host: &mut Host<'_>) {
        let Some(running) = self.running.take() else { return };
        self.stopped = running.counts(host);
        let Running { id, given } = running;
        Registry::of(&mut host.unlocked.patching()).remove(|known| known == id);
        drop(given);
    }

    fn counts(&self, _engine: &Engine<Kernel>) {}
}

/// `u16 printk_sprint(text, …)` was called.
///
/// # Safety
/// `carried` is room for a [`Carried`]; `registers` are those of the call.
unsafe fn called(_given: *mut (), _trap: &Trap, registers: &Registers, carried: *mut ()) {
    // SAFETY: room for a `Carried`, which the kernel aligns as pointers are: `called` asks for
    // that.
    unsafe { carried.cast::<Carried>().write(Carried { text: registers.rdi }) }
}

/// It has returned.
///
/// # Safety
/// `given` is a [`Given`] whose sink stays; `carried` is what [`called`] left.
unsafe fn returned(given: *mut (), trap: &Trap, registers: &Registers, carried: *mut ()) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: `returned` asks for both.
    let (Given { sink }, Carried { text }) =
        unsafe { (&*given.cast::<Given>(), carried.cast::<Carried>().read()) };
    let whole = usize::from(registers.rax as u16);
    let recorded = whole.min(MAX_LOG_LINE);
    let mut words = [0; WORDS];
    let mut at = text;
    let mut left = recorded;
    for word in words.iter_mut().take(recorded.div_ceil(8)) {
        // Its own place is longer than the text, but for the last word.
        // SAFETY: room for the value; whatever the address is, it is read with care.
        let is_read = left >= 8 && unsafe { glue::glue_get_kernel_nofault(at, word) };
        if !is_read {
            *word = bytes(at, left.min(8));
        }
        at = at.wrapping_add(8);
        left = left.saturating_sub(8);
    }
    let told = LogLength { recorded: recorded as u32, whole: whole as u32 };
    let record = Record { kind: Kind::Log as u8, payload: [told.to_word(), 0, 0, 0], ..Record::EMPTY };
    let used = words.get(..recorded.div_ceil(8)).unwrap_or(&[]);
    // SAFETY: the sink stays: `returned` asks for that.
    unsafe { sink.as_ref() }.push_words(trap, engine.platform(), record, used);
}

/// So many bytes at an address, at most 8, as far as they can be read.
fn bytes(at: u64, count: usize) -> u64 {
    let mut bytes = [0; 8];
    for (byte, offset) in bytes.iter_mut().take(count).zip(0..) {
        // SAFETY: room for the value; whatever the address is, it is read with care.
        unsafe { glue::glue_get_kernel_byte_nofault(at.wrapping_add(offset), byte) };
    }
    u64::from_le_bytes(bytes)
}
