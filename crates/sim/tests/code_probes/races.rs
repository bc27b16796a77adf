//! Probes that come and go while all cores hit their instruction.

use crate::ways::*;
use std::sync::Arc;
use trapline_abi::ProbeCounts;
use trapline_sim::{CodeMachine, Do, Fix, Handler, Watch};

const ROUNDS: u64 = 6;
/// Turns in which a few hits happen.
const SOME: u64 = 20;

/// Adds two probes in each of the rounds and takes them away again; returns their numbers.
fn come_and_go(machine: &mut CodeMachine, first: impl Fn(u64) -> Arc<Watch>) -> Vec<[u64; 2]> {
    let rounds = (0..ROUNDS).map(|round| {
        let ids = [first(round), watch(&[], &[], None)].map(|probe| machine.add(AT, &probe));
        machine.pause(SOME);
        ids.into_iter().for_each(|id| machine.remove(id));
        ids
    });
    rounds.collect()
}

#[test]
fn probes_that_come_and_go_see_every_hit_in_between() {
    under_seeds(|machine| {
        let stays = watch(&[], &[], None);
        let id = machine.add(AT, &stays);
        on_all_cores(machine, |machine| {
            let faulty = |round| watch(if round % 2 == 0 { &[Do::Fault] } else { &[] }, &[], None);
            for (round, ids) in come_and_go(machine, faulty).into_iter().enumerate() {
                ids.iter().skip((round + 1) % 2).for_each(|id| assert_complete(machine, *id));
            }
        });
        assert_orderly(machine, &[]);
        assert_complete(machine, id);
        assert_eq!((machine.counts(id).hits, posts(&stays)), (HITS, HITS));
        machine.remove(id);
        assert!(machine.armed().is_empty());
        assert_eq!(machine.points(), 0);
    });
}

#[test]
fn the_first_and_last_probe_of_an_instruction_comes_and_goes() {
    under_seeds(|machine| {
        on_all_cores(machine, |machine| {
            for _ in 0..ROUNDS {
                let id = machine.add(AT, &watch(&[], &[], None));
                machine.pause(SOME);
                machine.remove(id);
                assert_complete(machine, id);
                assert_eq!((machine.armed(), machine.points()), (Vec::new(), 0));
            }
        });
        assert_orderly(machine, &[]);
    });
}

#[test]
fn hits_inside_of_handlers_are_missed_by_those_that_stay_whoever_comes_and_goes() {
    under_seeds(|machine| {
        let outer = watch(&[Do::Execute(ELSEWHERE), Do::Execute(AT)], &[Do::Execute(ELSEWHERE)], None);
        let (outer_id, inner_id) = (machine.add(AT, &outer), machine.add(ELSEWHERE, &watch(&[], &[], None)));
        on_all_cores(machine, |machine| {
            for _ in 0..ROUNDS {
                let ids = [AT, ELSEWHERE].map(|address| machine.add(address, &watch(&[], &[], None)));
                machine.fault(ELSEWHERE, 1);
                ids.into_iter().for_each(|id| machine.remove(id));
                assert_complete(machine, ids[0]);
                assert_eq!(calls(machine, ids[1], Handler::Pre) + calls(machine, ids[1], Handler::Post), 0);
            }
        });
        assert_orderly(machine, &[]);
        assert_complete(machine, outer_id);
        let faults = ROUNDS - machine.faults_left(ELSEWHERE);
        let of_outer = ProbeCounts { hits: HITS, missed: HITS, ..ProbeCounts::default() };
        let of_inner = ProbeCounts { missed: 2 * HITS + faults, ..ProbeCounts::default() };
        assert_eq!((machine.counts(outer_id), machine.counts(inner_id)), (of_outer, of_inner));
        assert_eq!(posts(&outer), HITS);
    });
}

#[test]
fn steps_that_fault_are_hit_anew_whoever_comes_and_goes() {
    under_seeds_of(&STEPPED, |machine| {
        let (stays, of_system) = (watch(&[], &[], None), watch(&[], &[], None));
        let (id, system) = (machine.add(AT, &stays), machine.add(ELSEWHERE, &of_system));
        machine.execute_on_fault(ELSEWHERE);
        on_all_cores(machine, |machine| {
            for _ in 0..ROUNDS {
                machine.fault(AT, 2);
                let ids = [(); 2].map(|()| machine.add(AT, &watch(&[], &[], None)));
                machine.fault(AT, 2);
                ids.into_iter().for_each(|id| machine.remove(id));
                ids.iter().for_each(|id| assert_complete(machine, *id));
            }
        });
        assert_orderly(machine, &[]);
        assert_complete(machine, id);
        let faults = 4 * ROUNDS - machine.faults_left(AT);
        assert_eq!((machine.counts(id).hits, posts(&stays)), (HITS + faults, HITS));
        // What the system does about a fault is outside of the hit.
        let of_system = ProbeCounts { hits: faults, ..ProbeCounts::default() };
        assert_eq!(machine.counts(system), of_system);
    });
}

#[test]
fn handlers_that_fault_are_fixed_abandoned_and_disabled_while_their_probes_go() {
    under_seeds(|machine| {
        let stays = watch(&[], &[], None);
        let id = machine.add(AT, &stays);
        on_all_cores(machine, |machine| {
            for round in 0..ROUNDS {
                let fix = [Fix::Fixes, Fix::Declines, Fix::Faults][round as usize % 3];
                let fixed = watch(&[Do::Fault, Do::Execute(AT)], &[Do::Fault], Some(fix));
                let (pre, limit) = (Some(vec![Do::Fault]), 2);
                let limited = Arc::new(Watch { pre, limit, ..Watch::default() });
                let ids = [&fixed, &limited].map(|probe| machine.add(AT, probe));
                let last = machine.add(AT, &watch(&[], &[], None));
                let counts = machine.counts(ids[1]);
                assert!(counts.pre_faults < limit + CORES as u64, "{counts:?}");
                assert!(counts.pre_faults < limit || !machine.is_enabled(ids[1]));
                ids.into_iter().for_each(|id| machine.remove(id));
                machine.remove(last);
                assert_complete(machine, last);
                let pres = calls(machine, ids[0], Handler::Pre);
                let ends = calls(machine, ids[0], Handler::Post);
                if fix == Fix::Fixes {
                    assert_complete(machine, ids[0]);
                    assert_eq!(asked(&fixed), pres + ends);
                } else {
                    assert_eq!((ends, asked(&fixed)), (0, pres));
                }
            }
        });
        assert_orderly(machine, &[]);
        assert_complete(machine, id);
        assert_eq!((machine.counts(id).hits, posts(&stays)), (HITS, HITS));
    });
}

#[test]
fn post_handlers_come_and_go_and_each_call_is_of_a_hit_that_its_probe_saw() {
    under_seeds(|machine| {
        let stays = machine.add(AT, &Arc::new(Watch { pre: Some(Vec::new()), ..Watch::default() }));
        let mut ends = Vec::new();
        on_all_cores(machine, |machine| {
            for round in 0..ROUNDS {
                let both = machine.add(AT, &watch(&[], &[], None));
                machine.pause(SOME);
                if round % 3 == 0 {
                    let end = Arc::new(Watch { post: Some(Vec::new()), ..Watch::default() });
                    let id = machine.add(AT, &end);
                    machine.pause(SOME);
                    assert!(
                        posts(&end) <= machine.counts(id).hits,
                        "an end of a hit that it was not there for"
                    );
                    machine.remove(both);
                    machine.remove(id);
                    ends.push(id);
                } else {
                    machine.remove(both);
                }
                assert!(!machine.tells_steps(AT), "nobody wants to know");
                assert_complete(machine, both);
            }
        });
        assert_orderly(machine, &ends);
        assert_eq!(calls(machine, stays, Handler::Pre), HITS);
        let journal = machine.journal();
        for end in ends {
            for cpu in 0..CORES {
                let of = journal.iter().filter(|call| call.probe == end && call.cpu == cpu);
                let numbers: Vec<u64> = of.map(|call| call.number).collect();
                assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{end} on {cpu}: {numbers:?}");
            }
        }
    });
}

#[test]
fn a_probe_that_is_disabled_is_still_told_of_the_ends_of_its_hits() {
    under_seeds(|machine| {
        let probes = [watch(&[], &[], None), watch(&[], &[], None)];
        let [toggled, stays] = [0, 1].map(|at: usize| machine.add(AT, &probes[at]));
        on_all_cores(machine, |machine| {
            for round in 0..4 * ROUNDS {
                machine.pause(SOME / 4);
                machine.set_enabled(toggled, round % 2 == 1);
            }
        });
        assert_orderly(machine, &[]);
        assert_complete(machine, stays);
        assert_eq!(machine.counts(toggled).hits, posts(&probes[0]));
        assert_eq!((machine.counts(stays).hits, posts(&probes[1])), (HITS, HITS));
    });
}
