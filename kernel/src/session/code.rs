//! What a session of code probes has.

/// The probes of a session.
pub(crate) struct Probing {}

impl Probing {
    pub(super) fn new() -> Self {
        Self {}
    }

    pub(super) fn stop(&mut self) {}
}
