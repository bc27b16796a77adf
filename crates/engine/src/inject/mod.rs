//! Injection: rules that lie to a driver about its device, and to a device about its driver.
//!
//! A rule is data ([`InjectRule`]), which [`Rules::new`] checks; so the module carries out what a
//! person typed without running anybody's code. What [`Rules::pre`], [`Rules::change`] and
//! [`Rules::post`] do takes place in traps, on any lane, on all of them at once: no allocation, no
//! lock, and no loop but over the rules, at most [`MAX_RULES`](trapline_abi::MAX_RULES), and over
//! the bytes of an access, at most 64. What they count and remember is in atomics, each read and
//! written by itself: where accesses of two lanes are under way at once, either may be the first.
//!
//! Rejected: a small program for each rule, as code probes have for what they fetch. All that is
//! asked for is a table of conditions and one action, which is checked and told of more easily.

mod rule;

use crate::{Access, Decision, OutOfMemory, Physical, Platform};
use alloc::vec::Vec;
use rule::Rule;
use trapline_abi::{InjectAction, InjectCounts, InjectRule, MAX_DELAY, MAX_RULES};

/// Why rules are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// The rule of this number, from 0 on, can't be carried out.
    Rule(usize),
    /// No memory.
    OutOfMemory,
}

impl From<OutOfMemory> for RulesError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The rules of a session, in their order: of those that apply to an access and do the same kind of
/// thing to it, the first does.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    /// When they began, on the platform's clock.
    begun: u64,
}

/// An access, with what the rules ask about it.
struct Seen<'a, P> {
    platform: &'a P,
    access: &'a Access<'a>,
    /// Its first byte.
    physical: Physical,
    /// Nanoseconds since the rules began.
    elapsed: u64,
}

impl Rules {
    /// Rules that begin `now`, on the platform's clock.
    ///
    /// # Errors
    /// If one can't be carried out, or memory lacks.
    pub fn new(wanted: &[InjectRule], now: u64) -> Result<Self, RulesError> {
        let mut rules = Vec::new();
        rules.try_reserve_exact(wanted.len()).map_err(|_| RulesError::OutOfMemory)?;
        if wanted.len() > MAX_RULES {
            return Err(RulesError::Rule(MAX_RULES));
        }
        for (number, rule) in wanted.iter().enumerate() {
            rules.push(Rule::new(*rule).ok_or(RulesError::Rule(number))?);
        }
        Ok(Self { rules, begun: now })
    }

    /// Bytes of memory that they take.
    pub fn memory(&self) -> usize {
        self.rules.capacity() * size_of::<Rule>()
    }

    /// What the rule of this number, from 0 on, has counted.
    pub fn counts(&self, number: usize) -> Option<InjectCounts> {
        self.rules.get(number).map(Rule::counts)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.rules.len() as u64
    }

    /// How often any rule was applied.
    pub fn applied(&self) -> u64 {
        self.rules.iter().map(|rule| rule.counts().applied).fold(0, u64::wrapping_add)
    }

    fn seen<'a, P: Platform>(
        &self,
        platform: &'a P,
        physical: Physical,
        access: &'a Access<'a>,
    ) -> Seen<'a, P> {
        Seen { platform, access, physical, elapsed: platform.now().wrapping_sub(self.begun) }
    }

    /// Before an access whose first byte is at `physical`: lets delays pass, and decides whether
    /// the device is accessed at all.
    pub fn pre<P: Platform>(&self, platform: &P, physical: Physical, access: &Access<'_>) -> Decision {
        let seen = self.seen(platform, physical, access);
        let (mut decision, mut delay) = (Decision::Pass, 0);
        for rule in self.rules.iter().filter(|rule| rule.is_about(&seen)) {
            if access.by_itself {
                rule.count_impossible();
                continue;
            }
            if rule.changes() {
                continue;
            }
            // Each counts the access, whatever those before it have decided.
            let is_delay = rule.action() == InjectAction::Delay;
            if !rule.applies(is_delay || decision == Decision::Pass) {
                continue;
            }
            delay = delay.max(rule.delay());
            match rule.action() {
                InjectAction::Gone => decision = Decision::Absent,
                InjectAction::Drop => decision = Decision::Drop,
                InjectAction::Twice => decision = Decision::Twice,
                _ => {}
            }
        }
        if matches!(decision, Decision::Absent | Decision::Drop) {
            // There will be no value to change.
            for rule in self.rules.iter().filter(|rule| rule.changes() && rule.is_about(&seen)) {
                rule.applies(false);
            }
        }
        if delay > 0 {
            platform.wait(delay.min(MAX_DELAY));
        }
        decision
    }

    /// Between the device and the driver: changes `words`, the bytes of the access, as the first
    /// rule that applies says. Whether it has.
    pub fn change<P: Platform>(
        &self,
        platform: &P,
        physical: Physical,
        access: &Access<'_>,
        words: &mut [u64],
    ) -> bool {
        let seen = self.seen(platform, physical, access);
        let mut has_changed = false;
        for rule in self.rules.iter().filter(|rule| rule.changes()) {
            if rule.is_about(&seen) && rule.change(&seen, words, !has_changed) {
                has_changed = true;
                if rule.delay() > 0 {
                    platform.wait(rule.delay());
                }
            }
        }
        has_changed
    }

    /// After an access: rules that wait for it begin or end.
    pub fn post(&self, physical: Physical, access: &Access<'_>) {
        if access.write {
            self.rules.iter().for_each(|rule| rule.saw_write(physical, access.value));
        }
    }
}
