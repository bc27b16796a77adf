//! What the module holds: the engine, which traps use, and what the control lock guards, which one
//! task at a time may change.

use crate::fixed::Fixed;
use crate::mappings::Mappings;
use crate::platform::Kernel;
use crate::watched::Watched;
use trapline_engine::{Control, Engine};

/// The engine, from [`trapline_init`](crate::entry::trapline_init) until the hook is gone.
pub(crate) static ENGINE: Fixed<Engine<Kernel>> = Fixed::empty();

/// What the control lock ([`ControlLock`](crate::locks::ControlLock)) guards: what may be armed,
/// and what is. Whoever needs one of these is given that one.
pub(crate) struct Controlled {
    /// The engine's writer.
    pub control: Control,
    /// The mappings that have an alias.
    pub mappings: Mappings,
    /// The physical ranges that are armed wherever they come to be mapped.
    pub watched: Watched,
}

impl Controlled {
    pub(crate) const fn new() -> Self {
        Self { control: Control::new(), mappings: Mappings::new(), watched: Watched::new() }
    }
}
