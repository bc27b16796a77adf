//! Where a CPU is in the life of a code probe's hit.
//!
//! A value with named transitions; each answers every state it can be asked in, so nothing here
//! panics. Seed 2 kept the same states in `kprobe_status` and tested them in switch statements all
//! over the fault path.
//!
//! ```text
//!          hit              pre_done             stepped             post_done
//!   Idle --------> Pre ---------------> Stepping -------> Post ------------------> Idle
//!                  |  ^                    |              |  ^
//!            fault |  | answered           | fault  fault |  | answered
//!                  v  |                    v              v  |
//!               PreFaulted               Idle          PostFaulted
//! ```
//!
//! A hit in any state but `Idle` is *re-entered*: missed, stepped over, and the state is as before
//! afterwards.

/// What a CPU does for the hit it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Nothing.
    #[default]
    Idle = 0,
    /// It runs pre handlers.
    Pre = 1,
    /// A pre handler faulted, and its probe's fault handler is asked.
    PreFaulted = 2,
    /// It executes the original instruction.
    Stepping = 3,
    /// It runs post handlers.
    Post = 4,
    /// A post handler faulted, and its probe's fault handler is asked.
    PostFaulted = 5,
}

impl Stage {
    const ALL: [Stage; 6] =
        [Stage::Idle, Stage::Pre, Stage::PreFaulted, Stage::Stepping, Stage::Post, Stage::PostFaulted];
}

/// A CPU's stage, and how many hits it steps over inside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    stage: Stage,
    reentered: u8,
}

/// What to do about a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnHit {
    /// Run the pre handlers.
    Run,
    /// Count it as missed and step over the instruction.
    Miss,
}

/// What to do when the original instruction has been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStepped {
    /// Run the post handlers.
    Run,
    /// It was a missed hit's: the interrupted hit goes on.
    Restored,
    /// No hit is under way.
    Nothing,
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFault {
    /// A handler's: ask its probe's fault handler, abandon it if that does not help.
    Ask,
    /// The fault handler's own: abandon both.
    Abandon,
    /// The original instruction's: the instruction pointer goes back to it, and the fault to the
    /// system.
    Rewind,
    /// Not of a hit.
    NotOurs,
}

impl Phase {
    /// Nothing under way.
    pub const IDLE: Phase = Phase { stage: Stage::Idle, reentered: 0 };

    /// What it does for the innermost hit that was not missed.
    pub const fn stage(self) -> Stage {
        self.stage
    }

    /// How many missed hits it is stepping over.
    pub const fn reentered(self) -> u8 {
        self.reentered
    }

    /// As a word that an atomic holds.
    pub(crate) const fn to_word(self) -> u64 {
        self.stage as u64 | (self.reentered as u64) << 8
    }

    /// From such a word.
    pub(crate) fn from_word(word: u64) -> Self {
        let stage = Stage::ALL.get(usize::from(word as u8)).copied().unwrap_or_default();
        Self { stage, reentered: (word >> 8) as u8 }
    }

    const fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// A breakpoint was hit.
    pub(crate) const fn hit(self) -> (Self, OnHit) {
        match self {
            Phase { stage: Stage::Idle, reentered: 0 } => (self.at(Stage::Pre), OnHit::Run),
            // 255 hits inside of each other are more than any CPU has contexts; the count stays
            // where it is rather than wrap.
            _ => (Self { reentered: self.reentered.saturating_add(1), ..self }, OnHit::Miss),
        }
    }

    /// The pre handlers have run. `stepped`: whether [`Phase::stepped`] will be told of the
    /// original instruction.
    pub(crate) const fn pre_done(self, stepped: bool) -> Self {
        match self.stage {
            Stage::Pre | Stage::PreFaulted if stepped => self.at(Stage::Stepping),
            Stage::Pre | Stage::PreFaulted => self.at(Stage::Idle),
            _ => self,
        }
    }

    /// The original instruction has been executed.
    pub(crate) const fn stepped(self) -> (Self, OnStepped) {
        match self {
            Phase { reentered: 1.., .. } => {
                (Self { reentered: self.reentered - 1, ..self }, OnStepped::Restored)
            }
            Phase { stage: Stage::Stepping, .. } => (self.at(Stage::Post), OnStepped::Run),
            _ => (self, OnStepped::Nothing),
        }
    }

    /// The post handlers have run.
    pub(crate) const fn post_done(self) -> Self {
        match self.stage {
            Stage::Post | Stage::PostFaulted => self.at(Stage::Idle),
            _ => self,
        }
    }

    /// A return probe's function returned: its return handler is a post handler without a step
    /// before it.
    pub(crate) const fn returned(self) -> (Self, OnHit) {
        match self.hit() {
            (pre, OnHit::Run) => (pre.at(Stage::Post), OnHit::Run),
            missed => missed,
        }
    }

    /// A fault came that is of the hit under way: of a handler, or of the original instruction.
    pub(crate) const fn fault(self) -> (Self, OnFault) {
        match self {
            Phase { reentered: 1.., .. } => (Self { reentered: self.reentered - 1, ..self }, OnFault::Rewind),
            Phase { stage: Stage::Idle, .. } => (self, OnFault::NotOurs),
            Phase { stage: Stage::Pre, .. } => (self.at(Stage::PreFaulted), OnFault::Ask),
            Phase { stage: Stage::Post, .. } => (self.at(Stage::PostFaulted), OnFault::Ask),
            Phase { stage: Stage::PreFaulted | Stage::PostFaulted, .. } => (self, OnFault::Abandon),
            Phase { stage: Stage::Stepping, .. } => (Self::IDLE, OnFault::Rewind),
        }
    }

    /// The fault handler was asked: the handler resumes, or the next one's turn comes.
    pub(crate) const fn answered(self) -> Self {
        match self.stage {
            Stage::PreFaulted => self.at(Stage::Pre),
            Stage::PostFaulted => self.at(Stage::Post),
            _ => self,
        }
    }

    /// Whatever was under way has ended without our being told: a step that faulted on a platform
    /// that deals with that itself.
    pub(crate) const fn reset(self) -> Self {
        Self::IDLE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(stage: Stage) -> Phase {
        Phase { stage, reentered: 0 }
    }

    #[test]
    fn a_hit_goes_through_pre_step_and_post() {
        let (phase, todo) = Phase::IDLE.hit();
        assert_eq!((phase, todo), (at(Stage::Pre), OnHit::Run));
        let phase = phase.pre_done(true);
        assert_eq!(phase, at(Stage::Stepping));
        let (phase, todo) = phase.stepped();
        assert_eq!((phase, todo), (at(Stage::Post), OnStepped::Run));
        assert_eq!(phase.post_done(), Phase::IDLE);
    }

    #[test]
    fn a_hit_that_nobody_steps_for_ends_after_its_pre_handlers() {
        assert_eq!(at(Stage::Pre).pre_done(false), Phase::IDLE);
    }

    #[test]
    fn a_hit_inside_of_any_other_is_missed_and_leaves_no_trace() {
        for stage in Stage::ALL.into_iter().skip(1) {
            let (inside, todo) = at(stage).hit();
            assert_eq!(todo, OnHit::Miss, "{stage:?}");
            assert_eq!(inside.stage(), stage);
            let (deeper, todo) = inside.hit();
            assert_eq!((deeper.reentered(), todo), (2, OnHit::Miss));
            let (inside_again, todo) = deeper.stepped();
            assert_eq!((inside_again, todo), (inside, OnStepped::Restored));
            assert_eq!(inside.stepped(), (at(stage), OnStepped::Restored));
        }
    }

    #[test]
    fn a_handler_that_faults_asks_once_and_its_fault_handler_is_abandoned_with_it() {
        for (stage, faulted) in [(Stage::Pre, Stage::PreFaulted), (Stage::Post, Stage::PostFaulted)] {
            let (phase, todo) = at(stage).fault();
            assert_eq!((phase, todo), (at(faulted), OnFault::Ask));
            assert_eq!(phase.fault(), (phase, OnFault::Abandon));
            assert_eq!(phase.answered(), at(stage));
        }
    }

    #[test]
    fn a_fault_of_the_stepped_instruction_resets_and_rewinds() {
        assert_eq!(at(Stage::Stepping).fault(), (Phase::IDLE, OnFault::Rewind));
        let (inside, _) = at(Stage::Pre).hit();
        assert_eq!(inside.fault(), (at(Stage::Pre), OnFault::Rewind), "a missed hit's step");
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        assert_eq!(Phase::IDLE.stepped(), (Phase::IDLE, OnStepped::Nothing));
        assert_eq!(Phase::IDLE.fault(), (Phase::IDLE, OnFault::NotOurs));
        for stage in Stage::ALL {
            if !matches!(stage, Stage::Pre | Stage::PreFaulted) {
                assert_eq!(at(stage).pre_done(true), at(stage));
            }
            if !matches!(stage, Stage::Post | Stage::PostFaulted) {
                assert_eq!(at(stage).post_done(), at(stage));
            }
            if !matches!(stage, Stage::PreFaulted | Stage::PostFaulted) {
                assert_eq!(at(stage).answered(), at(stage));
            }
            if stage != Stage::Stepping {
                assert_eq!(at(stage).stepped(), (at(stage), OnStepped::Nothing));
            }
            assert_eq!(at(stage).reset(), Phase::IDLE);
        }
    }

    #[test]
    fn a_return_runs_post_handlers_at_once() {
        assert_eq!(Phase::IDLE.returned(), (at(Stage::Post), OnHit::Run));
        assert_eq!(at(Stage::Pre).returned().1, OnHit::Miss);
    }

    #[test]
    fn a_phase_survives_the_way_through_a_word() {
        for stage in Stage::ALL {
            for reentered in [0, 1, u8::MAX] {
                let phase = Phase { stage, reentered };
                assert_eq!(Phase::from_word(phase.to_word()), phase);
            }
        }
    }

    #[test]
    fn depth_saturates() {
        let deep = Phase { stage: Stage::Pre, reentered: u8::MAX };
        assert_eq!(deep.hit().0.reentered(), u8::MAX);
    }
}
