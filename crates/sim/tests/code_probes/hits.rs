//! One thing at a time: what handlers, faults and hits inside of hits lead to.

use crate::ways::*;
use std::sync::Arc;
use trapline_abi::ProbeCounts;
use trapline_engine::code::Phase;
use trapline_sim::{Do, Fix, Handler, Watch};

#[test]
fn handlers_run_before_and_after_each_hit() {
    under_seeds(|machine| {
        let probe = watch(&[], &[], None);
        let id = machine.add(AT, &probe);
        hit_on_all_cores(machine);
        assert_eq!(machine.counts(id), ProbeCounts { hits: HITS, ..ProbeCounts::default() });
        assert_eq!(posts(&probe), HITS);
        machine.remove(id);
        assert!(machine.armed().is_empty());
    });
}

#[test]
fn a_handler_that_faults_is_abandoned_without_its_post_handler_and_without_harm_to_others() {
    under_seeds(|machine| {
        let (faulty, good) = (watch(&[Do::Fault], &[], None), watch(&[], &[], None));
        let late = watch(&[], &[Do::Fault], None);
        let ids = [&faulty, &good, &late].map(|probe| machine.add(AT, probe));
        hit_on_all_cores(machine);
        let hits = ProbeCounts { hits: HITS, ..ProbeCounts::default() };
        assert_eq!(machine.counts(ids[0]), ProbeCounts { pre_faults: HITS, ..hits });
        assert_eq!(machine.counts(ids[1]), hits);
        assert_eq!(machine.counts(ids[2]), ProbeCounts { post_faults: HITS, ..hits });
        assert_eq!([posts(&faulty), posts(&good), posts(&late)], [0, HITS, 0]);
    });
}

#[test]
fn a_fault_handler_fixes_declines_or_is_abandoned_with_its_handler() {
    let hits = ProbeCounts { hits: HITS, ..ProbeCounts::default() };
    let cases = [
        (Fix::Fixes, ProbeCounts { fixed: HITS, ..hits }, HITS),
        (Fix::Declines, ProbeCounts { pre_faults: HITS, ..hits }, 0),
        (Fix::Faults, ProbeCounts { pre_faults: HITS, ..hits }, 0),
    ];
    for (fix, counts, after) in cases {
        under_seeds(|machine| {
            let probe = watch(&[Do::Fault], &[], Some(fix));
            let id = machine.add(AT, &probe);
            hit_on_all_cores(machine);
            assert_eq!(machine.counts(id), counts, "{fix:?}");
            assert_eq!((posts(&probe), asked(&probe)), (after, HITS), "{fix:?}");
        });
    }
}

#[test]
fn fault_handlers_are_asked_about_every_fault_of_a_hit() {
    under_seeds(|machine| {
        let twice = [Do::Fault, Do::Interrupted, Do::Fault];
        let fixes = [Fix::Declines, Fix::Fixes, Fix::Faults, Fix::Fixes];
        let probes = fixes.map(|fix| watch(&twice, &twice, Some(fix)));
        let ids = [0, 1, 2, 3].map(|at: usize| machine.add(AT, &probes[at]));
        hit_on_all_cores(machine);
        let hits = ProbeCounts { hits: HITS, ..ProbeCounts::default() };
        let (fixed, given_up) =
            (ProbeCounts { fixed: 4 * HITS, ..hits }, ProbeCounts { pre_faults: HITS, ..hits });
        assert_eq!(ids.map(|id| machine.counts(id)), [given_up, fixed, given_up, fixed]);
        assert_eq!([0, 1, 2, 3].map(|at: usize| asked(&probes[at])), [HITS, 4 * HITS, HITS, 4 * HITS]);
    });
}

#[test]
fn a_fault_of_the_stepped_instruction_goes_to_the_system_and_the_hit_begins_anew() {
    under_seeds_of(&STEPPED, |machine| {
        let probe = watch(&[], &[], Some(Fix::Fixes));
        let id = machine.add(AT, &probe);
        machine.fault(AT, 1);
        hit_on_all_cores(machine);
        assert_eq!(machine.counts(id).hits, HITS + 1, "once more, for the execution that faulted");
        assert_eq!((posts(&probe), asked(&probe)), (HITS, 0));
    });
}

#[test]
fn a_hit_inside_of_a_handler_is_missed_and_the_interrupted_hit_goes_on() {
    under_seeds(|machine| {
        let outer = watch(&[Do::Execute(ELSEWHERE), Do::Execute(AT)], &[Do::Execute(ELSEWHERE)], None);
        let inner = watch(&[], &[], None);
        let (outer_id, inner_id) = (machine.add(AT, &outer), machine.add(ELSEWHERE, &inner));
        machine.fault(ELSEWHERE, 1);
        hit_on_all_cores(machine);
        let of_outer = ProbeCounts { hits: HITS, missed: HITS, ..ProbeCounts::default() };
        assert_eq!(machine.counts(outer_id), of_outer);
        // One of them faulted in its step, and was hit again.
        let of_inner = ProbeCounts { missed: 2 * HITS + 1, ..ProbeCounts::default() };
        assert_eq!(machine.counts(inner_id), of_inner);
        assert_eq!((posts(&outer), posts(&inner)), (HITS, 0));
        // What came later has missed only what came after it.
        let late = [AT, ELSEWHERE].map(|address| machine.add(address, &watch(&[], &[], None)));
        hit_on_all_cores(machine);
        assert_eq!(late.map(|id| machine.counts(id).missed), [HITS, 2 * HITS]);
        assert_eq!([outer_id, inner_id].map(|id| machine.counts(id).missed), [2 * HITS, 4 * HITS + 1]);
    });
}

#[test]
fn a_fault_of_what_interrupts_a_handler_is_not_the_handlers() {
    under_seeds(|machine| {
        let probe = watch(&[Do::Interrupted], &[Do::Interrupted], Some(Fix::Fixes));
        let id = machine.add(AT, &probe);
        hit_on_all_cores(machine);
        assert_eq!(machine.counts(id), ProbeCounts { hits: HITS, ..ProbeCounts::default() });
    });
}

#[test]
fn a_probe_is_disabled_after_as_many_faults_as_it_is_allowed() {
    under_seeds(|machine| {
        let pre = Some(vec![Do::Fault]);
        let probe = Arc::new(Watch { pre, limit: 7, ..Watch::default() });
        let (id, other) = (machine.add(AT, &probe), machine.add(AT, &watch(&[], &[], None)));
        hit_on_all_cores(machine);
        assert!(!machine.is_enabled(id) && machine.is_enabled(other));
        let counts = machine.counts(id);
        assert!((7..7 + CORES as u64).contains(&counts.pre_faults), "{counts:?}");
        assert_eq!(machine.counts(other).hits, HITS);
    });
}

#[test]
fn probes_are_called_in_the_order_of_their_registration_whichever_have_gone() {
    under_seeds(|machine| {
        let mut ids: Vec<u64> = (0..5).map(|_| machine.add(AT, &watch(&[], &[], None))).collect();
        machine.remove(ids.remove(3));
        machine.remove(ids.remove(0));
        ids.push(machine.add(AT, &watch(&[], &[], None)));
        hit_on_all_cores(machine);
        let mut journal = machine.journal();
        journal.sort_by_key(|call| (call.cpu, call.trap));
        let wanted: Vec<(Handler, u64)> =
            [Handler::Pre, Handler::Post].iter().flat_map(|one| ids.iter().map(|id| (*one, *id))).collect();
        for hit in journal.chunk_by(|one, next| (one.cpu, one.trap) == (next.cpu, next.trap)) {
            let order: Vec<(Handler, u64)> = hit.iter().map(|call| (call.handler, call.probe)).collect();
            assert_eq!(order, wanted);
        }
        assert_eq!(journal.len() as u64, HITS * wanted.len() as u64);
    });
}

#[test]
fn a_probe_with_only_a_post_handler_is_called_after_each_hit() {
    under_seeds(|machine| {
        let probe = Arc::new(Watch { post: Some(Vec::new()), ..Watch::default() });
        let (first, second) = (machine.add(AT, &watch(&[], &[], None)), machine.add(AT, &probe));
        hit_on_all_cores(machine);
        machine.remove(first);
        hit_on_all_cores(machine);
        assert_eq!(machine.counts(second), ProbeCounts { hits: 2 * HITS, ..ProbeCounts::default() });
        assert_eq!(posts(&probe), 2 * HITS);
    });
}

#[test]
fn a_hit_without_post_handlers_is_over_before_the_step() {
    under_seeds(|machine| {
        machine.add(AT, &Arc::new(Watch { pre: Some(Vec::new()), ..Watch::default() }));
        hit_on_all_cores(machine);
        assert_eq!(machine.phases(), [Phase::IDLE; CORES]);
        assert!(!machine.tells_steps(AT));
    });
}

#[test]
fn a_probe_that_the_platform_refuses_leaves_nothing_behind() {
    under_seeds_of(&[Way::Alone], |machine| {
        let both = || watch(&[], &[], None);
        // To arm the instruction; to tell of its steps.
        for granted in [0, 1] {
            machine.refuse_after(granted);
            assert_eq!(machine.try_add(AT, &both()), None);
            assert_eq!((machine.armed(), machine.points()), (Vec::new(), 0));
        }
        let stays = machine.add(AT, &Arc::new(Watch { pre: Some(Vec::new()), ..Watch::default() }));
        on_all_cores(machine, |machine| {
            machine.refuse_after(0);
            assert_eq!(machine.try_add(AT, &both()), None);
            assert!(!machine.tells_steps(AT));
        });
        assert_eq!(machine.counts(stays), ProbeCounts { hits: HITS, ..ProbeCounts::default() });
        assert_eq!(machine.journal().len() as u64, HITS);
        assert!(machine.try_add(AT, &both()).is_some());
    });
}
