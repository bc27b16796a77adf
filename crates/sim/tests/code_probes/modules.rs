//! Instructions that go away with their module.

use crate::ways::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trapline_sim::{Handler, Watch};

#[test]
fn probes_of_an_unloaded_module_are_called_no_more_and_the_address_can_be_probed_anew() {
    under_seeds(|machine| {
        let no_post = Arc::new(Watch { pre: Some(Vec::new()), ..Watch::default() });
        let old = [watch(&[], &[], None), no_post];
        let ids = [&old[0], &old[1]].map(|probe| machine.add(AT, probe));
        let elsewhere = machine.add(ELSEWHERE, &watch(&[], &[], None));
        let new = watch(&[], &[], None);
        let mut added = Vec::new();
        on_all_cores(machine, |machine| {
            machine.wait_until(|machine| calls(machine, ids[1], Handler::Pre) > 5);
            machine.unload(AT);
            old.iter().for_each(|probe| probe.open.store(false, Ordering::Relaxed));
            assert_eq!((machine.armed(), machine.points()), (vec![ELSEWHERE], 2));
            // Still registered: removed before and after others come to the same address.
            machine.remove(ids[0]);
            added = [&new, &watch(&[], &[], None)].map(|probe| machine.add(AT, probe)).to_vec();
            assert_eq!(machine.points(), 3);
            machine.remove(ids[1]);
            assert_eq!((machine.armed(), machine.points()), (vec![AT, ELSEWHERE], 2));
            machine.remove(added[1]);
        });
        let before = calls(machine, added[0], Handler::Pre);
        hit_on_all_cores(machine);
        assert_eq!(calls(machine, added[0], Handler::Pre), before + HITS);
        assert_orderly(machine, &[]);
        assert_complete(machine, added[1]);
        [added[0], elsewhere].into_iter().for_each(|id| machine.remove(id));
        assert_eq!((machine.armed(), machine.points()), (Vec::new(), 0));
    });
}

#[test]
fn a_return_probe_of_an_unloaded_module_is_called_no_more() {
    under_seeds(|machine| {
        let probe = watch(&[], &[], None);
        let id = machine.add_return(AT, &probe);
        on_all_cores(machine, |machine| {
            machine.wait_until(|machine| calls(machine, id, Handler::Pre) > 5);
            machine.unload(AT);
        });
        let seen = machine.counts(id).hits;
        assert_eq!(posts(&probe), seen, "calls under way return");
        hit_on_all_cores(machine);
        assert_eq!(machine.counts(id).hits, seen);
        machine.remove(id);
        assert!(machine.armed().is_empty());
    });
}
