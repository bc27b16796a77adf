//! How probes come and go, and what is left behind: nothing.

use super::{assert_agree, device, program_at, record_all, run_one};
use crate::{Backing, Machine, ProbeSpec, Program, Reaction, RecordedAccess, Region, Registrar, Trace, code};
use trapline_engine::{ControlError, Decision, PageSize, ProbeId};

pub(super) fn removing_a_probe_twice_changes_nothing(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 2)?;
    let before = machine.entries(&region);
    let ids = record_all(machine, &region);
    machine.unprobe(&ids);
    machine.unprobe(&ids);
    machine.unprobe(&[ProbeId(u64::MAX)]);
    assert_eq!(machine.entries(&region), before);
    let again = record_all(machine, &region);
    machine.unprobe(&ids);
    assert_ne!(machine.entries(&region), before, "the new probe is another one");
    machine.unprobe(&again);
    assert_eq!(machine.entries(&region), before);
    Some(())
}

pub(super) fn a_page_stays_armed_until_its_last_user_leaves(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 2)?;
    let before = machine.entries(&region);
    let at = |offset, length| ProbeSpec::recording(region.start + offset, length);
    let probes = [at(0x100, 4), at(0xffe, 4), at(0x1800, 4), at(0x100, 4)];
    let ids = machine.probe(&probes).expect("probes");
    let armed = |machine: &dyn Machine| {
        machine.entries(&region).iter().zip(&before).map(|(now, before)| now != before).collect::<Vec<_>>()
    };
    assert_eq!(armed(machine), [true, true]);
    for (id, expected) in ids.iter().zip([[true, true], [true, true], [true, false], [false, false]]) {
        machine.unprobe(&[*id]);
        assert_eq!(armed(machine), expected);
    }
    Some(())
}

pub(super) fn entries_are_bit_for_bit_as_before(machine: &mut dyn Machine) -> Option<()> {
    let (small, large) = (PageSize::Small, PageSize::Large);
    let mut regions = Vec::new();
    for sizes in [&[small][..], &[small, small, small], &[large], &[large, small], &[small, large]] {
        for backing in [Backing::Device, Backing::Ram] {
            // Pages of 2 MiB in any place are more than some machines offer.
            let region = machine.map(backing, sizes);
            assert!(region.is_some() || sizes.contains(&large), "{backing:?} of small pages");
            regions.extend(region);
        }
    }
    let all = |machine: &dyn Machine| regions.iter().map(|r| machine.entries(r)).collect::<Vec<_>>();
    let before = all(machine);
    let ids: Vec<ProbeId> = regions.iter().flat_map(|region| record_all(machine, region)).collect();
    for region in &regions {
        for code in [code::LOAD, code::STORE, code::DIVIDE] {
            machine.poke(region.start + 0x40, &[1; 8]);
            let program = program_at(code, region.start + 0x40).with(|registers| registers.rdx = 0);
            assert_eq!(run_one(machine, program).fault, None);
        }
    }
    machine.unprobe(&ids);
    assert_eq!(all(machine), before);
    Some(())
}

pub(super) fn a_refused_probe_changes_nothing(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let before = machine.entries(&region);
    let good = ProbeSpec::recording(region.start, 4);
    let end = region.start + region.length;
    let cases = [
        ProbeSpec { length: 0, ..good },
        ProbeSpec { length: u64::MAX, ..good },
        ProbeSpec { start: end - 2, ..good },
        ProbeSpec { start: end, ..good },
        ProbeSpec { start: 0, ..good },
    ];
    for bad in cases {
        let error = machine.probe(&[good, bad]).expect_err("one of the two is bad");
        assert!(matches!(error, ControlError::BadRange { .. } | ControlError::NoMapping { .. }), "{error:?}");
        assert_eq!(machine.entries(&region), before, "the good one was not armed either");
    }
    run_one(machine, program_at(code::LOAD, region.start));
    assert_eq!(machine.take_trace().accesses, []);
    Some(())
}

/// What all CPUs do to `region` while probes come and go.
fn busy(machine: &dyn Machine, region: &Region, code: &[u8]) -> Vec<Program> {
    let times = 30 * machine.profile().patience;
    let program = |cpu| {
        let at = region.start + 0x400 + 0x100 * cpu as u64;
        Program { cpu, ..program_at(code, at) }.with(|registers| registers.rdx = 0).times(times)
    };
    (0..4).map(program).collect()
}

/// The trace tells of nothing that did not happen: its accesses are among those seen, in order.
fn assert_among(trace: &Trace, seen: &[RecordedAccess]) {
    for cpu in 0..4 {
        let mut seen = seen.iter().filter(|access| access.cpu == cpu);
        for told in trace.accesses.iter().filter(|access| access.cpu == cpu) {
            assert!(
                seen.any(|seen| told.tells_of(seen)),
                "{told:?} was not seen by the device in this order"
            );
        }
    }
}

fn come_and_go(machine: &mut dyn Machine, code: &[u8]) -> Option<()> {
    let region = device(machine, 1)?;
    let before = machine.entries(&region);
    let outcomes = machine.run(&busy(machine, &region, code), &mut |registrar: &mut dyn Registrar| {
        for _ in 0..8 {
            let ids = record_all(registrar, &region);
            registrar.linger();
            registrar.unprobe(&ids);
        }
    });
    for outcome in outcomes {
        assert_eq!(outcome.fault, None, "a fault in flight at a removal is tried again");
        assert_eq!(outcome.registers.rflags & 0x300, 0x200, "neither stepped nor with interrupts off");
    }
    assert_eq!(machine.entries(&region), before, "page tables as before");
    let trace = machine.take_trace();
    assert!(!trace.accesses.is_empty(), "not one access was traced");
    assert_among(&trace, &machine.take_seen());
    Some(())
}

pub(super) fn probes_come_and_go_while_all_cpus_fault(machine: &mut dyn Machine) -> Option<()> {
    come_and_go(machine, code::LOAD)
}

pub(super) fn probes_come_and_go_while_all_cpus_step(machine: &mut dyn Machine) -> Option<()> {
    come_and_go(machine, code::DIVIDE)
}

pub(super) fn once_a_page_is_armed_every_cpu_faults_on_it(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let programs = busy(machine, &region, code::LOAD);
    machine.run(&programs, &mut |registrar: &mut dyn Registrar| {
        // Each CPU has looked the page up by then.
        registrar.linger();
        record_all(registrar, &region);
        registrar.linger();
    });
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    for cpu in 0..4 {
        let of_cpu =
            |all: &[RecordedAccess]| all.iter().filter(|a| a.cpu == cpu).copied().collect::<Vec<_>>();
        let (told, seen) = (of_cpu(&trace.accesses), of_cpu(&seen));
        let untraced = seen.len().checked_sub(told.len()).expect("nothing is told that was not seen");
        // From the first that was traced on, all were.
        let difference = machine.profile().bus.difference(&told, &seen[untraced..]);
        assert_eq!(difference, None, "CPU {cpu}: {} of {} accesses were traced", told.len(), seen.len());
        // Where programs run long, none has ended before the page was armed.
        let is_long = machine.profile().patience > 1;
        assert!(!is_long || !told.is_empty(), "CPU {cpu} went on with what it had looked up");
    }
    Some(())
}

pub(super) fn no_handler_runs_after_its_removal(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let stays = record_all(machine, &region);
    machine.run(&busy(machine, &region, code::LOAD), &mut |registrar: &mut dyn Registrar| {
        for label in 0..8 {
            let pre = Some(Reaction::Decide(Decision::Pass));
            let probe = ProbeSpec { pre, post: true, label, ..ProbeSpec::recording(region.start, 0x1000) };
            let ids = registrar.probe(&[probe]).expect("probe");
            registrar.linger();
            registrar.unprobe(&ids);
        }
    });
    let hits = machine.take_hits();
    assert!(!hits.is_empty());
    let late: Vec<_> = hits.iter().filter(|hit| hit.late).collect();
    assert!(late.is_empty(), "called after their removal had returned: {late:?}");
    // The page was armed throughout, so nothing was missed.
    assert_agree(
        machine.profile().bus,
        &machine.take_trace(),
        &machine.take_seen(),
        "a second probe comes and goes",
    );
    machine.unprobe(&stays);
    Some(())
}
