//! What is true, and what nobody knows: the logic of conditions.

/// Whether something holds; `None` if it is not known.
pub type Truth = Option<bool>;

/// What joins the last truths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    And,
    Or,
    Not,
}

impl Join {
    /// Truths that it takes.
    pub(super) const fn operands(self) -> u32 {
        match self {
            Self::And | Self::Or => 2,
            Self::Not => 1,
        }
    }
}

/// Truths that wait to be joined, the last one first: two bits each.
#[derive(Default)]
pub(super) struct Truths {
    is_true: u64,
    is_known: u64,
}

impl Truths {
    /// How many there may be.
    pub(super) const ROOM: usize = u64::BITS as usize;

    #[inline(always)]
    pub(super) fn push(&mut self, truth: Truth) {
        self.is_true = self.is_true << 1 | u64::from(truth == Some(true));
        self.is_known = self.is_known << 1 | u64::from(truth.is_some());
    }

    /// The last one; unknown if there is none.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Truth {
        let truth = (self.is_known & 1 == 1).then_some(self.is_true & 1 == 1);
        (self.is_true, self.is_known) = (self.is_true >> 1, self.is_known >> 1);
        truth
    }

    /// Kleene's: unknown may be either, so what does not depend on it is known.
    #[inline(always)]
    pub(super) fn join(&mut self, join: Join) {
        let last = self.pop();
        let truth = match join {
            Join::Not => last.map(|truth| !truth),
            Join::And => decided(self.pop(), last, false),
            Join::Or => decided(self.pop(), last, true),
        };
        self.push(truth);
    }
}

/// `decisive` if either is, else its opposite if both are known.
#[inline(always)]
fn decided(one: Truth, other: Truth, decisive: bool) -> Truth {
    match (one, other) {
        (Some(one), Some(other)) => Some(if one == decisive { one } else { other }),
        (Some(known), None) | (None, Some(known)) if known == decisive => Some(known),
        _ => None,
    }
}
