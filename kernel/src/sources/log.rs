//! Lines of the kernel log, by the kernel's tracepoint (glue/log.c).

use super::{Host, Source};
use crate::cpu;
use crate::errno::Errno;
use crate::glue;
use crate::platform::Kernel;
use crate::state::ENGINE;
use core::ptr::NonNull;
use trapline_abi::{Kind, LogLength, LogWatch, MAX_LOG_LINE, Record};
use trapline_engine::{Engine, Sink, Trap};

/// Words of a line.
const WORDS: usize = MAX_LOG_LINE / 8;
const _: () = assert!(MAX_LOG_LINE.is_multiple_of(8));

/// A session's recording of the kernel log.
///
/// # Invariants
/// `sink`, if there is one, is what `glue_log_begin` was given, which was not ended; it is the
/// session's, and outlives this: a session stops its sources first.
pub(crate) struct Log {
    sink: Option<NonNull<Sink>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { sink: None }
    }
}

impl Source for Log {
    type Request = LogWatch;
    type Counts = ();

    fn start(&mut self, host: &mut Host<'_>, _request: &mut LogWatch) -> Result<(), Errno> {
        if self.sink.is_some() {
            return Err(Errno::EXISTS);
        }
        let sink = host.sink;
        let _patching = host.unlocked.patching();
        // SAFETY: the sink stays until `stop` has ended this; the control lock is not held, since
        // `_patching` is there.
        match unsafe { glue::glue_log_begin(sink.as_ptr().cast()) } {
            0 => {
                // INVARIANT: begun just now.
                self.sink = Some(sink);
                Ok(())
            }
            status => Err(Errno::from_status(status)),
        }
    }

    /// No line is recorded for it when this returns.
    fn stop(&mut self, host: &mut Host<'_>) {
        let Some(sink) = self.sink.take() else { return };
        let _patching = host.unlocked.patching();
        // SAFETY: begun and not ended, by the invariant; the control lock is not held, since
        // `_patching` is there.
        unsafe { glue::glue_log_end(sink.as_ptr().cast()) }
    }

    fn counts(&self, _engine: &Engine<Kernel>) {}
}

/// A line is written to the kernel log.
///
/// # Safety
/// Called with interrupts off; `sink` is that of a session whose recording has not ended; `text` are
/// `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_line(sink: *const Sink, text: *const u8, length: usize) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: interrupts are off until this function returns, which asks for that.
    let trap = unsafe { Trap::begin(cpu::lane()) };
    let recorded = length.min(MAX_LOG_LINE);
    // SAFETY: as many bytes are there: this function asks for that.
    let line = unsafe { core::slice::from_raw_parts(text, recorded) };
    let mut words = [0; WORDS];
    let (whole, rest) = line.as_chunks::<8>();
    for (word, bytes) in words.iter_mut().zip(whole) {
        *word = u64::from_le_bytes(*bytes);
    }
    if let Some(word) = words.get_mut(whole.len()) {
        for (number, byte) in (0..).zip(rest) {
            *word |= u64::from(*byte) << (8 * number);
        }
    }
    let told = LogLength { recorded: recorded as u32, whole: u32::try_from(length).unwrap_or(u32::MAX) };
    let record = Record { kind: Kind::Log as u8, payload: [told.to_word(), 0, 0, 0], ..Record::EMPTY };
    let used = words.get(..recorded.div_ceil(8)).unwrap_or(&[]);
    // SAFETY: valid: this function asks for that.
    unsafe { &*sink }.push_words(&trap, engine.platform(), record, used);
}
