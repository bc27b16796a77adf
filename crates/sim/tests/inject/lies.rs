//! What each action does.

use trapline_abi::{InjectAction, InjectRule, InjectTrigger, MAX_DELAY, MAX_RULES, MAX_STALE, WATCH_READS};
use trapline_engine::inject::{Rules, RulesError};
use trapline_sim::{Machine, code};

use super::{at, device, load, of_reads, of_writes, rule, run, store, word};

#[test]
fn bits_are_kept_set_and_flipped_in_that_order_and_only_in_the_register() {
    let change =
        |start| InjectRule { and: 0xff, or: 0x1_0000, xor: 0x3, ..rule(InjectAction::Change, start + 4, 4) };
    let (mut machine, region, rules) = device(1, &[0xcc], |start| vec![of_reads(change(start))]);
    assert_eq!(load(&mut machine, region.start + 4), 0x1_00cf);
    assert_eq!(load(&mut machine, region.start + 8), 0xcccc_cccc);
    // Across its border: the bytes that are the register's.
    assert_eq!(load(&mut machine, region.start + 2), 0x00cf_cccc);
    assert_eq!(load(&mut machine, region.start + 6), 0xcccc_0001);
    // Eight bytes that hold it.
    let wide = run(&mut machine, at(&[0x48, 0x8b, 0x07], 0, region.start)).registers.rax;
    assert_eq!(wide, 0x0001_00cf_cccc_cccc);
    let told = machine.take_trace().accesses;
    assert_eq!(told[0].original.unwrap().bytes(), [0xcc; 4]);
    assert_eq!(told[1].original, None, "what is not changed is not told of as changed");
    let counts = rules.counts(0).unwrap();
    assert_eq!((counts.matched, counts.applied, counts.impossible), (4, 4, 0));
}

#[test]
fn a_write_is_dropped_made_twice_or_changed() {
    let (mut machine, region, _) = device(1, &[0], |start| {
        vec![
            of_writes(rule(InjectAction::Drop, start, 4)),
            of_writes(rule(InjectAction::Twice, start + 4, 4)),
            of_writes(InjectRule { or: 0x80, ..rule(InjectAction::Change, start + 8, 4) }),
            of_writes(InjectRule { xor: 1, ..rule(InjectAction::Change, start + 4, 4) }),
        ]
    });
    for offset in [0, 4, 8, 12] {
        store(&mut machine, region.start + offset, 0x1000 + offset as u32);
    }
    let left = [0, 4, 8, 12].map(|offset| word(&machine, region.start + offset));
    assert_eq!(left, [0, 0x1005, 0x1088, 0x100c], "an action of each kind may apply to one access");
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    let arrived: Vec<_> = trace.accesses.iter().filter(|access| !access.is_held_back()).collect();
    assert_eq!((trace.accesses.len(), arrived.len(), seen.len()), (5, 4, 4));
    assert!(arrived.iter().zip(&seen).all(|(told, seen)| told.tells_of(seen)), "{arrived:?} {seen:?}");
}

#[test]
fn a_stale_read_gets_what_was_said_so_many_reads_before() {
    let stale = |start| InjectRule { and: 2, ..of_reads(rule(InjectAction::Stale, start, 4)) };
    let (mut machine, region, _) = device(1, &[0], |start| vec![stale(start)]);
    let mut got = Vec::new();
    for value in 1..=40u32 {
        machine.poke(region.start, &value.to_le_bytes());
        got.push(load(&mut machine, region.start));
    }
    let expected: Vec<u64> = (1..=40u64).map(|value| value.saturating_sub(2).max(1)).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_stale_read_gets_what_was_said_also_where_a_read_between_got_no_value() {
    let rules = |start| {
        let gone = InjectRule { first: 2, count: 1, ..of_reads(rule(InjectAction::Gone, start, 4)) };
        vec![gone, InjectRule { and: 1, ..of_reads(rule(InjectAction::Stale, start, 4)) }]
    };
    let (mut machine, region, _) = device(1, &[0], rules);
    let got = [1u32, 2, 3, 4].map(|value| {
        machine.poke(region.start, &value.to_le_bytes());
        load(&mut machine, region.start)
    });
    assert_eq!(got, [1, u32::MAX.into(), 1, 3]);
}

#[test]
fn what_a_polling_loop_waits_for_does_not_come() {
    let withhold = |start| of_reads(rule(InjectAction::Withhold, start, 4));
    let (mut machine, region, rules) = device(1, &[0], |start| vec![withhold(start)]);
    // Two loads of the same register, at two places, five times.
    let twice = [code::LOAD, code::LOAD].concat();
    run(&mut machine, at(code::LOAD, 0, region.start).times(5));
    assert_eq!(rules.counts(0).unwrap().applied, 4, "all but the first read of a loop");
    machine.poke(region.start, &[1]);
    assert_eq!(load(&mut machine, region.start), 0, "the same instruction still waits");
    run(&mut machine, at(&twice, 0, region.start));
    let before = rules.counts(0).unwrap().applied;
    let second = run(&mut machine, at(&twice, 0, region.start)).registers.rax;
    assert_eq!((second, rules.counts(0).unwrap().applied), (1, before), "no loop, so the truth");
}

#[test]
fn random_values_follow_from_the_seed() {
    let drawn = |seed| {
        let random = |start| InjectRule { seed, ..of_reads(rule(InjectAction::Random, start, 4)) };
        let (mut machine, region, _) = device(1, &[0], |start| vec![random(start)]);
        (0..8).map(|_| load(&mut machine, region.start)).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    let mut values = drawn(7);
    values.dedup();
    assert_eq!(values.len(), 8, "each read gets another");
}

#[test]
fn a_delay_takes_its_time_whatever_else_is_done() {
    for action in [InjectAction::Delay, InjectAction::Gone, InjectAction::Change] {
        let time = |delay| {
            let slow = |start| InjectRule { delay, ..of_reads(rule(action, start, 4)) };
            let rules = |start| if delay == 0 { vec![] } else { vec![slow(start), slow(start + 4)] };
            let (mut machine, region, _) = device(1, &[0], rules);
            let begun = machine.now();
            load(&mut machine, region.start);
            machine.now() - begun
        };
        let (without, with) = (time(0), time(250));
        assert!((249_000..251_000).contains(&(with - without)), "{action:?}: {without} {with}");
    }
}

#[test]
fn a_rule_begins_and_ends_with_writes_it_waits_for() {
    let (control, status) = (0x10, 0x20);
    let rules = |start| {
        let trigger = |bits| InjectTrigger { physical: start + control, mask: 0xf0, bits };
        let ones = InjectRule {
            or: u64::MAX,
            begin: trigger(0x30),
            end: trigger(0x40),
            ..rule(InjectAction::Change, start + status, 4)
        };
        vec![of_reads(ones)]
    };
    let (mut machine, region, _) = device(1, &[0], rules);
    let mut got = Vec::new();
    for write in [0x20u32, 0x31, 0x00, 0x4f, 0x00, 0x3f] {
        store(&mut machine, region.start + control, write);
        got.push(load(&mut machine, region.start + status) != 0);
    }
    assert_eq!(got, [false, true, true, false, false, true]);
    // A wider write that holds the register, from below.
    store(&mut machine, region.start + control, 0x40);
    let wide = at(&[0x48, 0x89, 0x07], 0, region.start + control - 4);
    run(&mut machine, wide.with(|registers| registers.rax = 0x30 << 32));
    assert_ne!(load(&mut machine, region.start + status), 0);
}

#[test]
fn a_rule_that_can_not_be_carried_out_is_refused_by_its_number() {
    let good = of_reads(InjectRule { and: 1, ..rule(InjectAction::Stale, 0x1000, 4) });
    let bad = [
        InjectRule { length: 0, ..good },
        InjectRule { physical: u64::MAX, ..good },
        InjectRule { action: 0, ..good },
        InjectRule { action: 99, ..good },
        InjectRule { flags: 0, ..good },
        InjectRule { flags: WATCH_READS | 8, ..good },
        of_writes(good),
        InjectRule { and: 0, ..good },
        InjectRule { and: MAX_STALE + 1, ..good },
        InjectRule { size: 0, ..good },
        InjectRule { size: 9, ..good },
        InjectRule { delay: MAX_DELAY + 1, ..good },
        InjectRule { first: 0, ..good },
        InjectRule { count: 0, ..good },
        InjectRule { ip_first: 2, ip_last: 1, ..good },
        InjectRule { reserved: 1, ..good },
        InjectRule { begin: InjectTrigger { physical: 1, mask: 1, bits: 2 }, ..good },
        rule(InjectAction::Drop, 0x1000, 4),
        rule(InjectAction::Delay, 0x1000, 4),
    ];
    for (number, bad) in bad.into_iter().enumerate() {
        let error = Rules::new(&[good, bad, good], 0).err();
        assert_eq!(error, Some(RulesError::Rule(1)), "{number}: {bad:x?}");
    }
    assert!(Rules::new(&[good; MAX_RULES], 0).is_ok());
    assert_eq!(Rules::new(&[good; MAX_RULES + 1], 0).err(), Some(RulesError::Rule(MAX_RULES)));
}

#[test]
fn a_read_a_second_after_the_last_one_is_of_no_loop() {
    let rules = |start| {
        let slow = InjectRule { delay: MAX_DELAY, ..of_reads(rule(InjectAction::Delay, start + 4, 4)) };
        vec![of_reads(rule(InjectAction::Withhold, start, 4)), slow]
    };
    let (mut machine, region, _) = device(1, &[0], rules);
    assert_eq!(load(&mut machine, region.start), 0);
    machine.poke(region.start, &[1]);
    run(&mut machine, at(code::LOAD, 0, region.start + 4).times(900));
    assert_eq!(load(&mut machine, region.start), 0, "0.9 s later");
    run(&mut machine, at(code::LOAD, 0, region.start + 4).times(1001));
    assert_eq!(load(&mut machine, region.start), 1, "more than a second later");
}

#[test]
fn of_rules_that_decide_about_a_write_the_first_does() {
    for (first, second, arrive) in
        [(InjectAction::Drop, InjectAction::Twice, 0), (InjectAction::Twice, InjectAction::Drop, 2)]
    {
        let rules = |start| [first, second].map(|action| of_writes(rule(action, start, 4))).to_vec();
        let (mut machine, region, rules) = device(1, &[0], rules);
        store(&mut machine, region.start, 7);
        assert_eq!(machine.take_seen().len(), arrive, "{first:?} before {second:?}");
        assert_eq!([0, 1].map(|number| rules.counts(number).unwrap().applied), [1, 0]);
    }
}

#[test]
fn each_rule_counts_for_itself_whatever_those_before_it_do() {
    let rules = |start| {
        let only =
            |action, first| InjectRule { first, count: 1, or: 0x100, ..of_reads(rule(action, start, 4)) };
        vec![only(InjectAction::Gone, 1), only(InjectAction::Gone, 2), only(InjectAction::Change, 3)]
    };
    let (mut machine, region, rules) = device(1, &[7, 0, 0, 0], rules);
    let ones = u64::from(u32::MAX);
    assert_eq!([(); 4].map(|()| load(&mut machine, region.start)), [ones, ones, 0x107, 7]);
    assert_eq!([0, 1, 2].map(|number| rules.counts(number).unwrap().matched), [4; 3]);
}

#[test]
fn a_delay_passes_before_a_write_that_is_dropped_as_well() {
    let rules = |start| {
        let slow = InjectRule { delay: 250, ..of_writes(rule(InjectAction::Delay, start, 4)) };
        vec![of_writes(rule(InjectAction::Drop, start, 4)), slow]
    };
    let (mut machine, region, rules) = device(1, &[0], rules);
    let begun = machine.now();
    store(&mut machine, region.start, 7);
    assert!(machine.now() - begun >= 250_000);
    assert!(machine.take_seen().is_empty());
    assert_eq!([0, 1].map(|number| rules.counts(number).unwrap().applied), [1, 1]);
}
