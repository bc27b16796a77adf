//! One rule: which accesses it is about, how often it applies, and what it makes of their bytes.

use super::Seen;
use crate::{Physical, Platform};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use trapline_abi::{
    ALWAYS, InjectAction, InjectCounts, InjectRule, InjectTrigger, MAX_DELAY, MAX_STALE, WATCH_READS,
    WATCH_WRITES,
};

/// Nanoseconds within which a read is of the same polling loop as the one before it: longer than
/// any driver sleeps between two looks.
const LOOP: u64 = 1_000_000_000;

/// Values that a rule remembers: the last ones, and the one that is being read.
const REMEMBERED: usize = MAX_STALE as usize + 1;

/// A rule that was checked, and what it counts and remembers.
///
/// All orders are relaxed: each number means something by itself alone.
#[derive(Debug)]
pub(super) struct Rule {
    rule: InjectRule,
    action: InjectAction,
    /// Whether no write that it waits for, or that ends it, is in the way.
    is_on: AtomicBool,
    matched: AtomicU64,
    /// Reads whose values it has seen.
    seen: AtomicU64,
    applied: AtomicU64,
    impossible: AtomicU64,
    /// The values read last, by the number of the read.
    values: [AtomicU64; REMEMBERED],
    /// Of a polling loop: its instruction, what it got first, and when it read last.
    poller: AtomicU64,
    held: AtomicU64,
    polled: AtomicU64,
}

impl Rule {
    /// The rule, unless it can't be carried out.
    pub(super) fn new(rule: InjectRule) -> Option<Self> {
        let action = InjectAction::from_code(rule.action)?;
        let directions = match action {
            InjectAction::Stale | InjectAction::Withhold => WATCH_READS,
            InjectAction::Drop | InjectAction::Twice => WATCH_WRITES,
            _ => WATCH_READS | WATCH_WRITES,
        };
        let is_sound = rule.length > 0
            && rule.physical.checked_add(rule.length - 1).is_some()
            && rule.flags & directions != 0
            && rule.flags & !directions == 0
            && (1..=8).contains(&rule.size)
            && rule.delay <= MAX_DELAY
            && (rule.delay > 0 || action != InjectAction::Delay)
            && (action != InjectAction::Stale || (1..=MAX_STALE).contains(&rule.and))
            && rule.first > 0
            && rule.count > 0
            && rule.ip_first <= rule.ip_last
            && rule.reserved == 0
            && [rule.begin, rule.end].iter().all(|trigger| trigger.bits & !trigger.mask == 0);
        is_sound.then(|| Self {
            rule,
            action,
            is_on: AtomicBool::new(rule.begin.physical == 0),
            matched: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            impossible: AtomicU64::new(0),
            values: [const { AtomicU64::new(0) }; REMEMBERED],
            poller: AtomicU64::new(0),
            held: AtomicU64::new(0),
            polled: AtomicU64::new(0),
        })
    }

    pub(super) fn action(&self) -> InjectAction {
        self.action
    }

    /// Whether it changes values, and so has to see them.
    pub(super) fn changes(&self) -> bool {
        matches!(
            self.action,
            InjectAction::Change | InjectAction::Stale | InjectAction::Withhold | InjectAction::Random
        )
    }

    pub(super) fn delay(&self) -> u32 {
        self.rule.delay
    }

    pub(super) fn counts(&self) -> InjectCounts {
        InjectCounts {
            rule: 0,
            reserved: 0,
            matched: self.matched.load(Ordering::Relaxed),
            applied: self.applied.load(Ordering::Relaxed),
            impossible: self.impossible.load(Ordering::Relaxed),
        }
    }

    /// Counts an access that it is about and that can't be changed.
    pub(super) fn count_impossible(&self) {
        let number = self.matched.fetch_add(1, Ordering::Relaxed) + 1;
        if self.wants(number) {
            self.impossible.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether an access is one of those that it is about: where, by whom, since when.
    pub(super) fn is_about<P: Platform>(&self, seen: &Seen<'_, P>) -> bool {
        let (rule, access) = (&self.rule, seen.access);
        let direction = if access.write { WATCH_WRITES } else { WATCH_READS };
        let (start, width) = (Physical(rule.physical), u64::from(access.width.max(1)));
        let overlaps = seen.physical.since(start) < rule.length || start.since(seen.physical) < width;
        overlaps
            && rule.flags & direction != 0
            && self.is_on.load(Ordering::Relaxed)
            && seen.elapsed >= rule.after
            && (rule.ip_first..=rule.ip_last).contains(&access.ip)
            && (rule.cpu == u32::MAX || rule.cpu as usize == seen.platform.lane().number())
            && (rule.thread == u32::MAX || rule.thread == seen.platform.task().thread)
    }

    /// Counts an access that it is about; whether it applies to that one, if it `may`.
    pub(super) fn applies(&self, may: bool) -> bool {
        let number = self.matched.fetch_add(1, Ordering::Relaxed) + 1;
        let applies = may && self.wants(number);
        if applies {
            self.applied.fetch_add(1, Ordering::Relaxed);
        }
        applies
    }

    /// Whether it applies to the access of this number, from 1 on.
    fn wants(&self, number: u64) -> bool {
        let rule = &self.rule;
        let nth = number.checked_sub(rule.first).is_some_and(|nth| nth < rule.count);
        nth && (rule.chance == ALWAYS || (mix(rule.seed, number) >> 32) as u32 <= rule.chance)
    }

    /// Makes of `words` what it says, if it applies to the access and `may`; whether it has.
    pub(super) fn change<P: Platform>(&self, seen: &Seen<'_, P>, words: &mut [u64], may: bool) -> bool {
        let number = self.matched.fetch_add(1, Ordering::Relaxed) + 1;
        let first = words.first().copied().unwrap_or(0);
        // Remembered in any case.
        let new = match self.action {
            InjectAction::Stale => Some(self.remember(first)),
            InjectAction::Withhold => self.poll(seen, first),
            InjectAction::Random => Some(mix(!self.rule.seed, self.applied.load(Ordering::Relaxed))),
            _ => Some(0),
        };
        let Some(new) = new.filter(|_| may && self.wants(number)) else { return false };
        self.applied.fetch_add(1, Ordering::Relaxed);
        let InjectRule { physical, length, and, or, xor, size, .. } = self.rule;
        for (word, from) in words.iter_mut().zip((0..).step_by(8)) {
            let mut bytes = word.to_le_bytes();
            for (byte, offset) in bytes.iter_mut().zip(from..) {
                let within = seen.physical.plus(offset).since(Physical(physical));
                if within >= length || offset >= u64::from(seen.access.width) {
                    continue;
                }
                *byte = match self.action {
                    InjectAction::Change => {
                        let shift = 8 * (within % u64::from(size));
                        let [and, or, xor] = [and, or, xor].map(|mask| (mask >> shift) as u8);
                        (*byte & and | or) ^ xor
                    }
                    InjectAction::Random => (mix(new, offset) >> 32) as u8,
                    // They know of the first word.
                    _ if offset < 8 => (new >> (8 * offset)) as u8,
                    _ => *byte,
                };
            }
            *word = u64::from_le_bytes(bytes);
        }
        true
    }

    /// Remembers the value of a read; the one so many reads before, or the oldest there is.
    fn remember(&self, value: u64) -> u64 {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        let slot = |number: u64| self.values.get((number % REMEMBERED as u64) as usize);
        if let Some(slot) = slot(number) {
            slot.store(value, Ordering::Relaxed);
        }
        // MAX_STALE at most, so it has not been written again.
        let before = number.saturating_sub(self.rule.and).max(1);
        slot(before).map_or(value, |slot| slot.load(Ordering::Relaxed))
    }

    /// What the polling loop that this read belongs to got first; `None` if this is its first read.
    fn poll<P: Platform>(&self, seen: &Seen<'_, P>, value: u64) -> Option<u64> {
        // Never 0, which stands for no read yet.
        let now = seen.elapsed.max(1);
        let last = self.polled.swap(now, Ordering::Relaxed);
        let poller = self.poller.swap(seen.access.ip, Ordering::Relaxed);
        if last != 0 && poller == seen.access.ip && now.saturating_sub(last) < LOOP {
            return Some(self.held.load(Ordering::Relaxed));
        }
        self.held.store(value, Ordering::Relaxed);
        None
    }

    /// A write of `value` at `physical`: if it is one that the rule begins or ends with, it does.
    pub(super) fn saw_write(&self, physical: Physical, value: &[u8]) {
        for (trigger, is_on) in [(&self.rule.end, false), (&self.rule.begin, true)] {
            if is_met(trigger, physical, value) {
                self.is_on.store(is_on, Ordering::Relaxed);
            }
        }
    }
}

fn is_met(trigger: &InjectTrigger, physical: Physical, value: &[u8]) -> bool {
    if trigger.physical == 0 {
        return false;
    }
    let offset = Physical(trigger.physical).since(physical);
    let Some(bytes) = usize::try_from(offset).ok().and_then(|offset| value.get(offset..)) else {
        return false;
    };
    let word = bytes.iter().take(8).rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    !bytes.is_empty() && word & trigger.mask == trigger.bits
}

/// A number that looks random and is the same for the same two: the finaliser of SplitMix64
/// (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn mix(seed: u64, number: u64) -> u64 {
    let mut word = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
