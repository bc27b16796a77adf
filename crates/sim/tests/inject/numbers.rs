//! Which accesses a rule applies to: by number, by chance, by who makes them.

use trapline_abi::{InjectAction, InjectRule};
use trapline_sim::{Machine, code};

use super::{at, device, load, of_reads, rule};

fn ones(start: u64) -> InjectRule {
    of_reads(InjectRule { or: u64::MAX, ..rule(InjectAction::Change, start, 4) })
}

/// Which of 20 reads by CPU 0 are lies under a rule.
fn lies(rule: impl FnOnce(u64) -> InjectRule) -> Vec<usize> {
    let (mut machine, region, _) = device(1, &[0], |start| vec![rule(start)]);
    (1..=20).filter(|_| load(&mut machine, region.start) != 0).collect()
}

#[test]
fn a_rule_applies_to_the_accesses_that_it_numbers() {
    assert_eq!(lies(ones), (1..=20).collect::<Vec<_>>());
    assert_eq!(lies(|start| InjectRule { first: 18, ..ones(start) }), [18, 19, 20]);
    assert_eq!(lies(|start| InjectRule { first: 3, count: 1, ..ones(start) }), [3]);
    assert_eq!(lies(|start| InjectRule { count: 2, ..ones(start) }), [1, 2]);
    assert_eq!(lies(|start| InjectRule { first: u64::MAX, ..ones(start) }), []);
}

#[test]
fn chance_follows_from_the_seed() {
    let by = |chance, seed| lies(|start| InjectRule { chance, seed, ..ones(start) });
    let half = u32::MAX / 2;
    assert_eq!(by(half, 1), by(half, 1));
    assert_ne!(by(half, 1), by(half, 2));
    let all: usize = (0..50).map(|seed| by(half, seed).len()).sum();
    assert!((400..600).contains(&all), "about half of 1000: {all}");
    assert_eq!(by(0, 1), []);
}

#[test]
fn a_rule_is_about_whom_it_names() {
    // Core N runs thread 100 + N.
    let rules = |start| {
        vec![
            InjectRule { cpu: 1, ..ones(start) },
            InjectRule { thread: 102, ..ones(start + 4) },
            InjectRule { ip_last: 0, ..ones(start + 8) },
            InjectRule { after: u64::MAX / 2, ..ones(start + 12) },
        ]
    };
    let (mut machine, region, counts) = device(4, &[0], rules);
    let programs: Vec<_> = (0..4)
        .flat_map(|cpu| [0, 4, 8, 12].map(|offset| at(code::LOAD, cpu, region.start + offset)))
        .collect();
    for program in programs {
        machine.run(&[program], &mut |_| {});
    }
    let applied = [0, 1, 2, 3].map(|number| counts.counts(number).unwrap().applied);
    let trace = machine.take_trace();
    let lied_to: Vec<usize> =
        trace.accesses.iter().filter(|access| access.original.is_some()).map(|access| access.cpu).collect();
    assert_eq!(applied[..2], [1, 1]);
    assert_eq!(applied[2..], [0, 0], "by another instruction; before its time");
    assert_eq!(lied_to, [1, 2]);
    assert!(counts.counts(4).is_none());
}

#[test]
fn a_limited_rule_lies_as_often_as_it_says_whoever_comes_first() {
    for seed in 0..20 {
        let limited = |start| InjectRule { first: 3, count: 5, seed, ..ones(start) };
        let (mut machine, region, counts) = device(4, &[0], |start| vec![limited(start)]);
        let programs: Vec<_> = (0..4).map(|cpu| at(code::LOAD, cpu, region.start).times(10)).collect();
        machine.run(&programs, &mut |_| {});
        let told = machine.take_trace().accesses;
        let changed = told.iter().filter(|access| access.original.is_some()).count();
        let counts = counts.counts(0).unwrap();
        assert_eq!((counts.matched, counts.applied, changed, told.len()), (40, 5, 5, 40));
    }
}
