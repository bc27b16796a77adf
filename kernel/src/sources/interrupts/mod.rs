//! Interrupts of PCI devices: calls of their handlers, by the kernel's tracepoints
//! (glue/interrupts.c), and of what their threads run.
//!
//! Any number of sessions may record them: each has a watch of its own, which the tracepoints hand
//! to what they call. So nothing is published here, and nothing looked up: a watch is freed when
//! the tracepoints have let go of it.

mod threads;

use super::{Host, Source};
use crate::cpu;
use crate::errno::Errno;
use crate::glue;
use crate::platform::Kernel;
use crate::state::ENGINE;
use core::ffi::c_void;
use core::ptr::NonNull;
use threads::Threads;
use trapline_abi::{
    HandledPayload, INTERRUPT_THREADS_FOLLOWED, InterruptPayload, InterruptWatch, Kind, PciFunction, Record,
};
use trapline_engine::{Engine, Sink, Trap};

/// A watch that tracepoints hand to what they call.
///
/// # Invariants
/// `watch` is from `glue_interrupts_begin`, and was not ended; its sink is the session's, which
/// outlives it: a session stops its sources first.
struct Running {
    watch: NonNull<c_void>,
    threads: Option<Threads>,
}

/// A session's recording of interrupts.
pub(crate) struct Interrupts {
    running: Option<Running>,
}

impl Interrupts {
    pub(super) fn new() -> Self {
        Self { running: None }
    }

    /// Begins a watch of no device.
    fn begin(host: &mut Host<'_>) -> Result<Running, Errno> {
        let mut watch = core::ptr::null_mut();
        let ids = {
            let control = &mut host.unlocked.control().control;
            [control.next_id(), control.next_id()]
        };
        let patching = &mut host.unlocked.patching();
        // SAFETY: the control lock is not held, since `patching` is there; the sink is the
        // session's, which stays until `stop` has ended the watch.
        let status =
            unsafe { glue::glue_interrupts_begin(host.sink.as_ptr().cast_const().cast(), &mut watch) };
        if status != 0 {
            return Err(Errno::from_status(status));
        }
        let watch = NonNull::new(watch).ok_or(Errno::NO_MEMORY)?;
        // Without them all else is told, and the command says what is not.
        // SAFETY: the watch stays until `stop`, which ends the threads' probes before it.
        let threads = unsafe { Threads::begin(patching, watch, ids, host.owner) }.ok();
        // INVARIANT: begun just now.
        Ok(Running { watch, threads })
    }
}

impl Source for Interrupts {
    type Request = InterruptWatch;
    type Counts = ();

    /// Says in the request whether threads are followed.
    fn start(&mut self, host: &mut Host<'_>, request: &mut InterruptWatch) -> Result<(), Errno> {
        if request.reserved != 0 {
            return Err(Errno::INVALID);
        }
        request.told = 0;
        let running = match self.running.take() {
            Some(running) => running,
            None => Self::begin(host)?,
        };
        let Running { watch, ref threads } = *self.running.insert(running);
        if threads.is_some() {
            request.told |= INTERRUPT_THREADS_FOLLOWED;
        }
        // Its list has one writer: who has the session has the sessions lock.
        // SAFETY: begun and not ended, by the invariant.
        match unsafe { glue::glue_interrupts_add(watch.as_ptr(), request.device.0) } {
            0 => Ok(()),
            status => Err(Errno::from_status(status)),
        }
    }

    /// No interrupt is recorded for it when this returns.
    fn stop(&mut self, host: &mut Host<'_>) {
        let Some(Running { watch, threads }) = self.running.take() else { return };
        let patching = &mut host.unlocked.patching();
        if let Some(threads) = threads {
            threads.end(patching);
        }
        // SAFETY: begun and not ended, by the invariant, and nothing else has it any more; the
        // control lock is not held, since `patching` is there.
        unsafe { glue::glue_interrupts_end(watch.as_ptr()) }
    }

    fn counts(&self, _engine: &Engine<Kernel>) {}
}

/// Writes a record of this CPU.
///
/// # Safety
/// Interrupts are off until it returns. `sink` is valid.
unsafe fn record(sink: *const Sink, kind: Kind, payload: [u64; 4]) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: interrupts are off until this function returns, which asks for that.
    let trap = unsafe { Trap::begin(cpu::lane()) };
    let record = Record { kind: kind as u8, payload, ..Record::EMPTY };
    // SAFETY: valid: this function asks for that.
    unsafe { &*sink }.push(&trap, engine.platform(), record, &[]);
}

fn called(interrupt: &glue::Interrupt) -> [u64; 4] {
    let glue::Interrupt { handler, device, irq, index, signal, flags } = *interrupt;
    InterruptPayload { handler, irq, index, signal, flags, device: PciFunction(device) }.to_words()
}

fn returned(interrupt: &glue::Interrupt, result: u32) -> [u64; 4] {
    let glue::Interrupt { handler, irq, flags, .. } = *interrupt;
    HandledPayload { handler, irq, flags, result }.to_words()
}

/// A handler is called.
///
/// # Safety
/// Called with interrupts off; `sink` is that of a watch that has not ended, `interrupt` valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_interrupt(sink: *const Sink, interrupt: *const glue::Interrupt) {
    // SAFETY: this function asks for what `record` does; `interrupt` is valid.
    unsafe { record(sink, Kind::Interrupt, called(&*interrupt)) }
}

/// It has returned.
///
/// # Safety
/// As for [`trapline_interrupt`].
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_handled(sink: *const Sink, interrupt: *const glue::Interrupt, result: u32) {
    // SAFETY: as in `trapline_interrupt`.
    unsafe { record(sink, Kind::Handled, returned(&*interrupt, result)) }
}
