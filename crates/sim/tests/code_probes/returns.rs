//! Return probes: a function's entries and returns, beside probes of its first instruction.

use crate::ways::*;
use std::sync::Arc;
use trapline_abi::ProbeCounts;
use trapline_sim::{Called, CodeMachine, Do, Fix, Handler, Loop, Watch};

/// Calls of the function inside of each other, each of which executes its first instruction.
const NESTED: u64 = 4;
const CALLS: u64 = HITS * NESTED;

fn recursive(machine: &mut CodeMachine) {
    machine.function(AT, &[ELSEWHERE, AT, ELSEWHERE]);
}

/// Each return that a probe was told of has an entry that it was told of, and the innermost call
/// returns first.
fn assert_paired(machine: &CodeMachine, probe: u64) {
    let mut open: Vec<Vec<Called>> = vec![Vec::new(); CORES];
    for call in machine.journal().into_iter().filter(|call| call.probe == probe) {
        let open = &mut open[call.cpu];
        match call.handler {
            Handler::Pre => open.push(call),
            Handler::Post => {
                // Those that nothing was told of have returned before, or were entered before an
                // outer one returned.
                let of = |entry: &Called| (entry.number, entry.depth) == (call.number, call.depth);
                let at = open.iter().rposition(of);
                open.truncate(at.unwrap_or_else(|| panic!("a return without an entry: {call:?}")));
            }
            Handler::Fix => {}
        }
    }
}

#[test]
fn a_recursive_functions_entries_and_returns_come_with_what_they_carry_beside_hits() {
    under_seeds(|machine| {
        recursive(machine);
        let probes = [(); 5].map(|()| watch(&[], &[], None));
        let hit = machine.add(AT, &probes[0]);
        let returns = [1, 2].map(|at| machine.add_return(AT, &probes[at]));
        let inner = machine.add(ELSEWHERE, &probes[3]);
        let last = machine.add(AT, &probes[4]);
        let end = Arc::new(Watch { post: Some(Vec::new()), ..Watch::default() });
        let end_id = machine.add_return(AT, &end);
        hit_on_all_cores(machine);
        let counts = ProbeCounts { hits: CALLS, ..ProbeCounts::default() };
        assert_eq!([hit, returns[0], returns[1], last].map(|id| machine.counts(id)), [counts; 4]);
        assert_eq!([0, 1, 2, 4].map(|at: usize| posts(&probes[at])), [CALLS; 4]);
        assert_eq!(
            (machine.counts(inner).hits, posts(&probes[3])),
            (2 * HITS * (NESTED - 1), 2 * HITS * (NESTED - 1))
        );
        assert_eq!((machine.counts(end_id), posts(&end)), (counts, CALLS));
        assert_orderly(machine, &[returns[0], returns[1], end_id]);
        returns.into_iter().for_each(|id| assert_paired(machine, id));
    });
}

#[test]
fn return_probes_come_and_go_while_their_function_runs() {
    under_seeds(|machine| {
        recursive(machine);
        let (stays, hit) = (watch(&[], &[], None), watch(&[], &[], None));
        let (id, hit_id) = (machine.add_return(AT, &stays), machine.add(AT, &hit));
        let mut returns = vec![id];
        on_all_cores(machine, |machine| {
            for _ in 0..6 {
                let comes = machine.add_return(AT, &watch(&[], &[], None));
                let other = machine.add(AT, &watch(&[], &[], None));
                let only_return = Arc::new(Watch { post: Some(Vec::new()), ..Watch::default() });
                let only_return = machine.add_return(AT, &only_return);
                machine.remove(comes);
                machine.remove(other);
                machine.remove(only_return);
                returns.extend([comes, only_return]);
                assert_paired(machine, comes);
            }
        });
        assert_orderly(machine, &returns);
        assert_paired(machine, id);
        let counts = ProbeCounts { hits: CALLS, ..ProbeCounts::default() };
        assert_eq!([id, hit_id].map(|id| machine.counts(id)), [counts; 2]);
        assert_eq!([posts(&stays), posts(&hit)], [CALLS; 2]);
        [id, hit_id].into_iter().for_each(|id| machine.remove(id));
        assert!(machine.armed().is_empty());
    });
}

#[test]
fn an_entry_handler_that_faults_has_no_return_and_others_have_theirs() {
    under_seeds(|machine| {
        recursive(machine);
        let (faulty, good) = (watch(&[Do::Fault], &[], Some(Fix::Declines)), watch(&[], &[], None));
        let fixed = watch(&[Do::Fault], &[Do::Fault], Some(Fix::Fixes));
        let hit = watch(&[], &[], None);
        let ids = [&faulty, &good, &fixed].map(|probe| machine.add_return(AT, probe));
        let hit_id = machine.add(AT, &hit);
        hit_on_all_cores(machine);
        let hits = ProbeCounts { hits: CALLS, ..ProbeCounts::default() };
        let wanted =
            [ProbeCounts { pre_faults: CALLS, ..hits }, hits, ProbeCounts { fixed: 2 * CALLS, ..hits }];
        assert_eq!(ids.map(|id| machine.counts(id)), wanted);
        assert_eq!([&faulty, &good, &fixed, &hit].map(|probe| posts(probe)), [0, CALLS, CALLS, CALLS]);
        assert_eq!(calls(machine, ids[0], Handler::Post), 0);
        assert_eq!(machine.counts(hit_id), hits);
    });
}

#[test]
fn a_return_handler_that_faults_is_counted_as_a_post_handler_and_disables_its_probe_in_the_end() {
    under_seeds(|machine| {
        recursive(machine);
        let faulty = watch(&[], &[Do::Fault], Some(Fix::Faults));
        let (pre, post, limit) = (Some(Vec::new()), Some(vec![Do::Fault]), 3);
        let limited = Arc::new(Watch { pre, post, limit, ..Watch::default() });
        let ids = [&faulty, &limited].map(|probe| machine.add_return(AT, probe));
        hit_on_all_cores(machine);
        let hits = ProbeCounts { hits: CALLS, ..ProbeCounts::default() };
        assert_eq!(machine.counts(ids[0]), ProbeCounts { post_faults: CALLS, ..hits });
        assert_eq!((posts(&faulty), asked(&faulty)), (0, CALLS));
        let counts = machine.counts(ids[1]);
        assert!(!machine.is_enabled(ids[1]));
        assert!((limit..limit + CORES as u64).contains(&counts.post_faults), "{counts:?}");
    });
}

#[test]
fn a_return_whose_probe_was_disabled_since_the_entry_is_told_of_no_more() {
    under_seeds(|machine| {
        machine.function(AT, &[ELSEWHERE; 8]);
        let hit = watch(&[], &[], None);
        let (id, hit_id) = (machine.add_return(AT, &watch(&[], &[], None)), machine.add(AT, &hit));
        let told = |machine: &CodeMachine| [Handler::Pre, Handler::Post].map(|one| calls(machine, id, one));
        for round in 0..4 {
            let mut before = [0; 2];
            machine.run(&[Loop { address: AT, times: 1 }], |machine| {
                machine.wait_until(|machine| told(machine)[0] > round);
                machine.set_enabled(id, false);
                before = told(machine);
            });
            machine.run(&[Loop { address: AT, times: 1 }; CORES], |_| {});
            assert_eq!(told(machine), before, "none is called once it is disabled");
            machine.set_enabled(id, true);
        }
        assert_eq!((machine.counts(hit_id).hits, posts(&hit)), (4 + 4 * CORES as u64, 4 + 4 * CORES as u64));
        assert_eq!(machine.counts(id).hits, 4);
    });
}

#[test]
fn hits_and_entries_inside_of_entry_and_return_handlers_are_missed() {
    under_seeds(|machine| {
        let both = [Do::Execute(ELSEWHERE), Do::Execute(AT)];
        let outer = watch(&both, &both, None);
        let hit = watch(&[], &[], None);
        let (id, hit_id) = (machine.add_return(AT, &outer), machine.add(AT, &hit));
        let inner = [
            machine.add(ELSEWHERE, &watch(&[], &[], None)),
            machine.add_return(ELSEWHERE, &watch(&[], &[], None)),
        ];
        hit_on_all_cores(machine);
        let counts = ProbeCounts { hits: HITS, missed: 2 * HITS, ..ProbeCounts::default() };
        assert_eq!([id, hit_id].map(|id| machine.counts(id)), [counts; 2]);
        assert_eq!([posts(&outer), posts(&hit)], [HITS; 2]);
        let counts = ProbeCounts { missed: 2 * HITS, ..ProbeCounts::default() };
        assert_eq!(inner.map(|id| machine.counts(id)), [counts; 2]);
    });
}

#[test]
fn an_entry_whose_step_faults_is_entered_and_returned_from_twice() {
    under_seeds_of(&STEPPED, |machine| {
        recursive(machine);
        let probe = watch(&[], &[], None);
        let (id, hit) = (machine.add_return(AT, &probe), machine.add(AT, &watch(&[], &[], None)));
        machine.execute_on_fault(ELSEWHERE);
        machine.fault(AT, 3);
        hit_on_all_cores(machine);
        assert_eq!([id, hit].map(|id| machine.counts(id).hits), [CALLS + 3; 2]);
        assert_eq!((posts(&probe), calls(machine, hit, Handler::Post)), (CALLS + 3, CALLS));
    });
}
