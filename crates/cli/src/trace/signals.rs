//! Signals that ask us to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::waiting::Wake;

/// Signals can't be caught.
#[derive(Debug, thiserror::Error)]
#[error("can't set up the handling of signals: {source}")]
pub(crate) struct SignalsError {
    /// Why.
    pub source: std::io::Error,
}

/// From this one on, we leave at once; closing the device puts everything back.
const IMPATIENT: u32 = 3;

/// Tells `wake` of every SIGINT, SIGTERM and SIGHUP from now on; and whoever looks at what this
/// gives that one has come.
///
/// The first ends the trace gently, the second without waiting for COMMAND, the third ends the
/// process on the spot, whatever it is stuck in.
pub(super) fn report_to(wake: Sender<Wake>) -> Result<Arc<AtomicBool>, SignalsError> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|source| SignalsError { source })?;
    let came = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&came);
    thread::spawn(move || {
        for (signal, count) in signals.forever().zip(1..) {
            if count >= IMPATIENT {
                signal_hook::low_level::exit(128 + signal);
            }
            // Relaxed: the flag is all that is told by it.
            noted.store(true, Ordering::Relaxed);
            // Nobody listens any more once the trace has ended.
            let _ = wake.send(Wake::Signal(signal));
        }
    });
    Ok(came)
}
