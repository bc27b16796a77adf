//! What a handler of an interrupt returned.

use trapline_abi::{IRQ_HANDLED, IRQ_NONE, IRQ_WAKE_THREAD};

/// What a handler returned: `irqreturn_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// `IRQ_NONE`: the interrupt was not of its device.
    None,
    /// `IRQ_HANDLED`.
    Handled,
    /// `IRQ_WAKE_THREAD`: its thread does the rest.
    WakeThread,
    /// What means nothing to the kernel, which warns of it.
    Bad,
}

impl Outcome {
    /// How many there are.
    pub(crate) const COUNT: usize = 4;

    const NAMES: [(Self, &'static str); Self::COUNT] = [
        (Self::None, "none"),
        (Self::Handled, "handled"),
        (Self::WakeThread, "wake_thread"),
        (Self::Bad, "bad"),
    ];

    /// Of what was returned. That a handler has both handled it and wakes its thread is allowed.
    pub(crate) fn of(result: u32) -> Self {
        match result {
            IRQ_NONE => Self::None,
            IRQ_HANDLED => Self::Handled,
            result if result & !(IRQ_HANDLED | IRQ_WAKE_THREAD) == 0 => Self::WakeThread,
            _ => Self::Bad,
        }
    }

    /// As files and JSON name it.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// The one with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(outcome, _)| *outcome)
    }

    /// As a person reads it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::None => "not its own",
            Self::Handled => "handled",
            Self::WakeThread => "wakes its thread",
            Self::Bad => "BAD RESULT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_has_an_outcome_and_that_a_name_which_leads_back() {
        let outcomes = [0, 1, 2, 3, 4, u32::MAX].map(Outcome::of);
        use Outcome as O;
        assert_eq!(outcomes, [O::None, O::Handled, O::WakeThread, O::WakeThread, O::Bad, O::Bad]);
        for outcome in outcomes {
            assert_eq!(Outcome::from_name(outcome.name()), Some(outcome));
        }
        assert_eq!(Outcome::from_name("maybe"), None);
    }
}
