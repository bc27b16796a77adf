//! Arrows from a doorbell to the access that answers it, as far as the device's register file tells
//! which that is.
//!
//! Of several doorbells before one answer nobody can tell which it answers: then there is no arrow.

use hashbrown::HashMap;

use super::sequence::{Sequence, Spot};
use crate::{Direction, Event, Names, What};

/// What of an arrow is at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Its beginning. One that never ends is not drawn.
    Begins(u64),
    /// Its end.
    Ends(u64),
}

impl Flow {
    /// Its number, if it begins.
    pub(super) fn begins(self) -> Option<u64> {
        if let Self::Begins(number) = self { Some(number) } else { None }
    }

    /// Its number, if it ends.
    pub(super) fn ends(self) -> Option<u64> {
        if let Self::Ends(number) = self { Some(number) } else { None }
    }
}

/// What was asked of a register and not answered yet.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Once(u64),
    Often,
}

/// Arrows that have begun.
#[derive(Default)]
pub(super) struct Flows {
    names: Names,
    /// By the register that answers.
    asked: HashMap<Spot, Asked>,
    last: u64,
}

impl Flows {
    /// As the register files in `names` tell.
    pub(super) fn new(names: Names) -> Self {
        Self { names, ..Self::default() }
    }

    /// What of an arrow is at the next event.
    pub(super) fn at(&mut self, event: &Event<'_>, sequence: &mut Sequence) -> Option<Flow> {
        let What::Access(access) = &event.what else { return None };
        let place = access.place.as_ref()?;
        let doorbell = if access.direction == Direction::Write { self.names.answer(place) } else { None };
        if doorbell.is_none() && self.asked.is_empty() {
            return None;
        }
        let device = sequence.device(place.device);
        let Some((bar, offset)) = doorbell else {
            let spot = Spot { device, bar: place.bar, offset: place.offset };
            return match self.asked.remove(&spot)? {
                Asked::Once(number) => Some(Flow::Ends(number)),
                Asked::Often => None,
            };
        };
        self.last += 1;
        let asked = self.asked.entry(Spot { device, bar, offset });
        asked.and_modify(|asked| *asked = Asked::Often).or_insert(Asked::Once(self.last));
        Some(Flow::Begins(self.last))
    }
}
