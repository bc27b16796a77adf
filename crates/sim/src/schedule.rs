//! Who runs: actors (cores, the writer, the repair worker) are threads of which one holds the
//! baton.
//!
//! At each [`Scheduler::pause`] the next one is drawn from the seed, so a run is a function of the
//! seed and the programs. Threads, not coroutines, since the engine calls the platform in the
//! middle of its own functions.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    static ACTOR: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Pauses after which a run counts as stuck.
const PATIENCE: u64 = 20_000_000;

/// One in so many pauses gives the baton away.
const CHANGE: u64 = 3;

struct State {
    random: u64,
    holder: usize,
    alive: Vec<bool>,
    pauses: u64,
    /// An actor panicked: everybody stops.
    broken: bool,
}

impl State {
    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Gives the baton to a living actor other than the holder, if there is one.
    fn choose(&mut self) {
        let others = (0..self.alive.len()).filter(|&actor| self.alive[actor] && actor != self.holder).count();
        if others > 0 {
            let number = self.draw() as usize % others;
            let mut living = (0..self.alive.len()).filter(|&actor| self.alive[actor] && actor != self.holder);
            self.holder = living.nth(number).unwrap_or(self.holder);
        }
    }
}

pub(crate) struct Scheduler {
    state: Mutex<State>,
    turns: Box<[Condvar]>,
}

/// The number of the actor that this thread is.
pub(crate) fn actor() -> Option<usize> {
    ACTOR.get()
}

impl Scheduler {
    pub(crate) fn new(actors: usize, seed: u64) -> Self {
        let state = State { random: seed, holder: 0, alive: vec![false; actors], pauses: 0, broken: false };
        Self { state: Mutex::new(state), turns: (0..actors).map(|_| Condvar::new()).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below `bound`, drawn from the seed.
    pub(crate) fn draw(&self, bound: u64) -> u64 {
        self.lock().draw() % bound
    }

    /// Makes these actors runnable; one of them, drawn, will hold the baton first.
    pub(crate) fn start(&self, actors: &[usize]) {
        let mut state = self.lock();
        (state.pauses, state.broken) = (0, false);
        for &actor in actors {
            state.alive[actor] = true;
        }
        let first = state.draw() as usize % actors.len();
        state.holder = actors[first];
    }

    /// Runs `act` as `actor`, with the baton.
    pub(crate) fn act<T>(&self, actor: usize, act: impl FnOnce() -> T) -> T {
        ACTOR.set(Some(actor));
        let leave = Leave { scheduler: self, actor };
        self.wait_for_turn(self.lock(), actor);
        let result = act();
        drop(leave);
        result
    }

    fn wait_for_turn(&self, mut state: MutexGuard<'_, State>, actor: usize) {
        while state.holder != actor && !state.broken {
            state = self.turns[actor].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let broken = state.broken;
        drop(state);
        assert!(!broken || std::thread::panicking(), "stopped since another actor panicked");
    }

    /// A point at which others may run.
    pub(crate) fn pause(&self) {
        let Some(actor) = actor() else { return };
        let mut state = self.lock();
        state.pauses += 1;
        if state.pauses > PATIENCE {
            drop(state);
            panic!("no end after {PATIENCE} pauses: an actor waits for what never comes");
        }
        if !state.draw().is_multiple_of(CHANGE) {
            return;
        }
        self.hand_over(state, actor);
    }

    /// Lets others run until `done`.
    pub(crate) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        while !done() {
            let Some(actor) = actor() else { panic!("waits for what nobody runs to bring about") };
            let mut state = self.lock();
            state.pauses += 1;
            assert!(state.pauses < PATIENCE, "no end after {PATIENCE} pauses: actor {actor} waits for ever");
            self.hand_over(state, actor);
        }
    }

    fn hand_over(&self, mut state: MutexGuard<'_, State>, actor: usize) {
        state.choose();
        if state.holder != actor {
            self.turns[state.holder].notify_one();
            self.wait_for_turn(state, actor);
        }
    }
}

/// Takes an actor out when its thread ends, however it ends.
struct Leave<'a> {
    scheduler: &'a Scheduler,
    actor: usize,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        ACTOR.set(None);
        let mut state = self.scheduler.lock();
        state.alive[self.actor] = false;
        if std::thread::panicking() {
            state.broken = true;
            self.scheduler.turns.iter().for_each(Condvar::notify_one);
        } else if state.holder == self.actor {
            state.choose();
            self.scheduler.turns[state.holder].notify_one();
        }
    }
}
