//! Code probes on the simulated machine, each scenario under many seeds: every path of the state machine, with other cores and the writer in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use trapline_abi::ProbeCounts;
use trapline_sim::{CodeMachine, Do, Fix, Loop, Watch};

const AT: u64 = 0x1000;
const ELSEWHERE: u64 = 0x2000;
const CORES: usize = 4;
const TIMES: u64 = 20;
const HITS: u64 = CORES as u64 * TIMES;

fn under_seeds(scenario: impl Fn(&mut CodeMachine)) {
    for seed in 0..25 {
        let mut machine = CodeMachine::new(CORES, seed);
        scenario(&mut machine);
        assert!(machine.is_idle(), "seed {seed} leaves a core inside of a hit");
    }
}

fn hit_on_all_cores(machine: &mut CodeMachine) {
    machine.run(&[Loop { address: AT, times: TIMES }; CORES], |_| {});
    for cpu in 0..CORES {
        assert!(machine.executed(cpu) >= TIMES, "the original instruction is executed, whatever handlers do");
    }
}

fn watch(pre: &[Do], post: &[Do], fix: Option<Fix>) -> Arc<Watch> {
    Arc::new(Watch { pre: Some(pre.to_vec()), post: Some(post.to_vec()), fix, ..Watch::default() })
}

fn posts(watch: &Watch) -> u64 {
    watch.posts.load(Ordering::Relaxed)
}

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
            assert_eq!((posts(&probe), probe.asked.load(Ordering::Relaxed)), (after, HITS), "{fix:?}");
        });
    }
}

#[test]
fn a_fault_of_the_stepped_instruction_goes_to_the_system_and_the_hit_begins_anew() {
    under_seeds(|machine| {
        let probe = watch(&[], &[], Some(Fix::Fixes));
        let id = machine.add(AT, &probe);
        machine.fault_once(AT);
        hit_on_all_cores(machine);
        assert_eq!(machine.counts(id).hits, HITS + 1, "once more, for the execution that faulted");
        assert_eq!((posts(&probe), probe.asked.load(Ordering::Relaxed)), (HITS, 0));
    });
}

#[test]
fn a_hit_inside_of_a_handler_is_missed_and_the_interrupted_hit_goes_on() {
    under_seeds(|machine| {
        let outer = watch(&[Do::Execute(ELSEWHERE), Do::Execute(AT)], &[Do::Execute(ELSEWHERE)], None);
        let inner = watch(&[], &[], None);
        let (outer_id, inner_id) = (machine.add(AT, &outer), machine.add(ELSEWHERE, &inner));
        machine.fault_once(ELSEWHERE);
        hit_on_all_cores(machine);
        let of_outer = ProbeCounts { hits: HITS, missed: HITS, ..ProbeCounts::default() };
        assert_eq!(machine.counts(outer_id), of_outer);
        // One of them faulted in its step, and was hit again.
        let of_inner = ProbeCounts { missed: 2 * HITS + 1, ..ProbeCounts::default() };
        assert_eq!(machine.counts(inner_id), of_inner);
        assert_eq!((posts(&outer), posts(&inner)), (HITS, 0));
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
fn probes_come_and_go_while_all_cores_hit_and_each_sees_every_hit_in_between() {
    under_seeds(|machine| {
        let stays = watch(&[], &[], None);
        let id = machine.add(AT, &stays);
        machine.run(&[Loop { address: AT, times: TIMES }; CORES], |machine| {
            for round in 0..6 {
                let faults: &[Do] = if round % 2 == 0 { &[Do::Fault] } else { &[] };
                let probes = [watch(faults, &[], None), watch(&[], &[], None)];
                let ids = [&probes[0], &probes[1]].map(|probe| machine.add(AT, probe));
                machine.remove(ids[0]);
                machine.remove(ids[1]);
                for probe in &probes {
                    assert_contiguous(probe);
                }
            }
        });
        assert_eq!(machine.counts(id).hits, HITS);
        assert_eq!(posts(&stays), HITS);
        machine.remove(id);
        assert!(machine.armed().is_empty());
    });
}

/// The calls that it saw of each core follow each other without a gap.
fn assert_contiguous(probe: &Watch) {
    let seen = probe.seen.lock().unwrap();
    for cpu in 0..CORES {
        let calls: Vec<u64> = seen.iter().filter(|(on, _)| *on == cpu).map(|(_, number)| *number).collect();
        assert!(calls.windows(2).all(|two| two[1] == two[0] + 1), "cpu {cpu}: {calls:?}");
    }
}
