//! A session with rules of injection: what the driver gets, what its device has, what the records
//! and the counts tell; and what is refused.

use anyhow::{Result, ensure};
use rustix::io::Errno;
use rustix::ioctl::Opcode;
use trapline_abi::{
    ALWAYS, AccessPayload, Change, Counters, Flags, INJECT, INJECT_COUNTS, Inject, InjectAction,
    InjectCounts, InjectRule, Kind, Record, STOP, WATCH_READS, WATCH_WRITES, Watch,
};

use super::{Argument, Session, give, happen};

impl Argument for Inject {}
impl Argument for InjectCounts {}

/// What is flipped in the second read.
const FLIPPED: u64 = 0x80;

fn rule(action: InjectAction, flags: u32, watch: &Watch) -> InjectRule {
    InjectRule {
        physical: watch.physical,
        length: 4,
        action: action as u32,
        flags,
        and: u64::MAX,
        size: 4,
        first: 2,
        count: 1,
        chance: ALWAYS,
        cpu: u32::MAX,
        thread: u32::MAX,
        ip_last: u64::MAX,
        ..InjectRule::default()
    }
}

impl Session {
    /// Gives the session rules; the number of the one at fault if it is refused.
    fn inject(&self, rules: &[InjectRule]) -> Result<(), (Errno, u32)> {
        // The rules stay where they are until the command has returned, and it reads so many.
        let mut inject =
            Inject { rules: rules.as_ptr().addr() as u64, count: rules.len() as u32, failed_at: 0 };
        give::<{ INJECT as Opcode }, _>(&self.file, &mut inject).map_err(|errno| (errno, inject.failed_at))
    }

    fn injected(&self, rule: u32) -> rustix::io::Result<InjectCounts> {
        let mut counts = InjectCounts { rule, ..InjectCounts::default() };
        give::<{ INJECT_COUNTS as Opcode }, _>(&self.file, &mut counts).map(|()| counts)
    }
}

/// Direction, value, what it was before it was changed, and whether it was dropped.
fn told(record: &Record) -> (bool, u64, Option<u64>, bool) {
    let ([value, was], flags) = (AccessPayload::from_words(record.payload).value, Flags(record.flags));
    let changed = record.change == Change::Known as u8;
    (flags.has(Flags::WRITE), value, changed.then_some(was), flags.has(Flags::DROPPED))
}

/// Of two writes of a register the second is dropped, of two reads the second is changed: the
/// module that accesses it must count one value that it did not write.
pub(crate) fn check(watch: Watch) -> Result<()> {
    let drop_second = rule(InjectAction::Drop, WATCH_WRITES, &watch);
    let flip_second = InjectRule { xor: FLIPPED, ..rule(InjectAction::Change, WATCH_READS, &watch) };
    let elsewhere = InjectRule { cpu: 1000, first: 1, ..rule(InjectAction::Gone, WATCH_READS, &watch) };
    let bad = InjectRule { size: 9, ..flip_second };

    let mut session = Session::start()?;
    ensure!(session.inject(&[]) == Err((Errno::INVAL, u32::MAX)), "no rules are none to give");
    ensure!(session.inject(&[drop_second, bad]) == Err((Errno::INVAL, 1)), "a rule that makes no sense");
    let rules = [drop_second, flip_second, elsewhere];
    session.inject(&rules).map_err(|refused| anyhow::anyhow!("INJECT: {refused:?}"))?;
    ensure!(session.inject(&rules) == Err((Errno::BUSY, u32::MAX)), "rules are given once");
    let reads = Watch { flags: WATCH_READS, ..watch };
    ensure!(session.watch(reads).is_err_and(|(errno, _)| errno == Errno::INVAL), "of reads and writes");
    session.watch(watch).map_err(|refused| anyhow::anyhow!("WATCH with rules: {refused:?}"))?;
    happen()?;
    session.give::<{ STOP as Opcode }, _>(Counters::default())?;
    // Nothing is asked any more.
    happen()?;

    let mut records = session.records()?;
    records.retain(|record| record.kind == Kind::Access as u8);
    records.sort_by_key(|record| record.time);
    let told: Vec<_> = records.iter().map(told).collect();
    let first = told.first().map_or(0, |access| access.1);
    let expected = [
        (true, first, None, false),
        (false, first, None, false),
        (true, first + 1, None, true),
        (false, first ^ FLIPPED, Some(first), false),
    ];
    ensure!(told == expected, "the rings hold {told:x?}, not {expected:x?}");
    for (number, expected) in [(0, (2, 1)), (1, (2, 1)), (2, (0, 0))] {
        let counts = session.injected(number)?;
        ensure!((counts.matched, counts.applied) == expected, "rule {number}: {counts:?}");
        ensure!(counts.impossible == 0 && counts.rule == number, "rule {number}: {counts:?}");
    }
    ensure!(session.injected(3) == Err(Errno::NOENT), "there is no fourth rule");
    drop(session);

    let mut next = Session::start()?;
    ensure!(next.injected(0) == Err(Errno::NOENT), "rules of another session");
    next.watch(watch).map_err(|refused| anyhow::anyhow!("WATCH without rules: {refused:?}"))?;
    ensure!(next.inject(&rules) == Err((Errno::BUSY, u32::MAX)), "rules after the first WATCH");
    happen()?;
    let records = next.records()?;
    let changed = records.iter().filter(|record| record.change != 0).count();
    ensure!(changed == 0, "a session without rules has {changed} accesses that were changed");
    Ok(())
}
