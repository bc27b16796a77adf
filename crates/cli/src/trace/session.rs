//! One session of the module, from START to the last record.

use std::io;
use std::sync::mpsc::{Sender, sync_channel};
use std::thread;

use trapline_abi::{Counters, RingGeometry};

use super::pump::{Backlog, ROUNDS, Records, pump};
use super::waiting::Wake;
use super::writer::Writer;
use crate::device::Control;
use crate::refusal::Refusal;
use crate::units::format_size;

/// Starts a session with `buffer` bytes of records on each CPU.
pub(super) fn start(control: &dyn Control, buffer: u64) -> Result<RingGeometry, Refusal> {
    control.start(buffer).map_err(|source| Refusal::Start { buffer: format_size(buffer), source })
}

/// Moves records from `rings` to `writer` until `wait` returns, then stops the session and moves
/// the rest.
///
/// When it returns nothing is armed, and the writer has everything but what its merge still holds.
/// Gives what the module counted in the session.
pub(super) fn run<S: Records + Send>(
    control: &dyn Control,
    rings: &mut [S],
    backlog: &Backlog,
    writer: &mut Writer,
    wake: Sender<Wake>,
    wait: impl FnOnce(),
) -> io::Result<Counters> {
    thread::scope(|scope| {
        let (rounds, received) = sync_channel(ROUNDS);
        scope.spawn(move || pump(rings, backlog, &rounds));
        scope.spawn(move || writer.receive(&received, backlog, &wake));
        wait();
        let counters = control.stop();
        // Also when it failed: the rings are read to their end, and closing the device ends the
        // session for sure.
        backlog.stop();
        counters
    })
}

#[cfg(test)]
mod tests;
