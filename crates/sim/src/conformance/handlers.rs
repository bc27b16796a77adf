//! Handlers of probes, and page-fault handlers.

use super::{assert_agree, device, fill, program_at, record_all, run, run_one};
use crate::{Backing, FaultHandlerSpec, HitKind, Machine, ProbeSpec, Program, Reaction, Registrar, code};
use trapline_abi::Flags;
use trapline_engine::{Decision, PageSize};

fn pre(start: u64, reaction: Reaction, label: u32) -> ProbeSpec {
    ProbeSpec { pre: Some(reaction), label, ..ProbeSpec::recording(start, 4) }
}

fn read_u32(machine: &dyn Machine, address: u64) -> u32 {
    let mut bytes = [0; 4];
    machine.peek(address, &mut bytes);
    u32::from_le_bytes(bytes)
}

pub(super) fn several_probes_on_one_byte_are_all_asked(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let at = region.start + 0x400;
    let pass = Reaction::Decide(Decision::Pass);
    let watch = |start, length, label| ProbeSpec { length, post: true, ..pre(start, pass, label) };
    let probes = [
        watch(at, 4, 1),
        watch(at - 8, 9, 2),
        watch(at + 3, 1, 3),
        watch(region.start, 0x1000, 4),
        watch(at + 4, 4, 5),
    ];
    machine.probe(&probes).expect("probes on one byte");
    run_one(machine, program_at(code::LOAD, at));
    for kind in [HitKind::Pre, HitKind::Post] {
        let hits = machine.take_hits();
        let mut labels: Vec<u32> = hits.iter().filter(|hit| hit.kind == kind).map(|hit| hit.label).collect();
        labels.sort_unstable();
        assert_eq!(labels, [1, 2, 3, 4], "each once, {kind:?}");
        run_one(machine, program_at(code::LOAD, at));
    }
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    assert_eq!(trace.accesses.len(), 3, "one event however many probes record");
    assert_agree(machine.profile().bus, &trace, &seen, "several probes");
    Some(())
}

pub(super) fn a_pre_handler_can_supply_drop_and_pass(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let at = region.start + 0x400;
    let was = read_u32(machine, at);
    let given = 0xdead_beef;
    // What the handler decides; what a read gets, what a write leaves; whether each reaches the
    // device.
    let cases = [
        (Decision::Pass, was, 0x5566_7788, (true, true)),
        (Decision::Supply(given), given as u32, given as u32, (false, true)),
        (Decision::Drop, 0, was, (false, false)),
    ];
    for (decision, got, left, (read_arrives, write_arrives)) in cases {
        machine.poke(at, &was.to_le_bytes());
        let ids = machine.probe(&[pre(at, Reaction::Decide(decision), 1)]).expect("probe");
        let outcome = run_one(machine, program_at(code::LOAD, at));
        assert_eq!(outcome.registers.rax, got.into(), "{decision:?} of a read");
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        assert_eq!(seen.len(), usize::from(read_arrives));
        assert_agree(machine.profile().bus, &trace, &seen, "a read");
        let held_back = trace.accesses[0].flags & Flags::SUPPLIED != 0;
        assert_eq!(held_back, !read_arrives, "the trace says so");

        run_one(machine, program_at(code::STORE, at));
        assert_eq!(read_u32(machine, at), left, "{decision:?} of a write");
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        assert_eq!(seen.len(), usize::from(write_arrives));
        assert_eq!(trace.accesses.len(), 1);
        assert_eq!(trace.accesses[0].is_held_back(), !write_arrives);
        assert_agree(machine.profile().bus, &trace, &seen, "a write");
        machine.unprobe(&ids);
    }
    Some(())
}

pub(super) fn a_supplied_write_reaches_a_locked_instruction_on_ram(machine: &mut dyn Machine) -> Option<()> {
    let ram = machine.map(Backing::Ram, &[PageSize::Small])?;
    let at = ram.start + 0x80;
    machine.poke(at, &7u32.to_le_bytes());
    let writes = ProbeSpec { reads: false, ..pre(at, Reaction::Decide(Decision::Supply(100)), 1) };
    machine.probe(&[writes]).expect("probe");
    // `lock xaddl %eax,(%rdi)`
    let outcome = run_one(machine, program_at(&[0xf0, 0x0f, 0xc1, 0x07], at));
    assert_eq!(outcome.registers.rax, 7, "the instruction reads what is there");
    assert_eq!(read_u32(machine, at), 100, "the handler's value is written");
    let trace = machine.take_trace();
    let [write] = trace.accesses[..] else { panic!("only writes were asked for: {trace:#?}") };
    assert!(
        write.write && write.flags & (Flags::SUPPLIED | Flags::LOCKED) == Flags::SUPPLIED | Flags::LOCKED
    );
    Some(())
}

/// Every form that updates memory without a lock prefix is one instruction to whatever interrupts
/// it on its CPU, and so it is performed: a change that comes in between counts as one before it.
pub(super) fn what_interrupts_an_update_of_armed_ram_is_not_lost(machine: &mut dyn Machine) -> Option<()> {
    let ram = machine.map(Backing::Ram, &[PageSize::Small; 2])?;
    // Within a cache line, across two of them, across two pages.
    for offset in [0x400, 0x43e, 0xffe] {
        let at = ram.start + offset;
        let is_aligned = |form: &&code::Form| offset == 0x400 || !form.name.contains("16b");
        for form in code::updates().iter().filter(is_aligned) {
            let mut program = program_at(&form.code, at);
            (form.set)(&mut program.registers);
            let run = |machine: &mut dyn Machine, first: u32| {
                fill(machine, &ram);
                let started = read_u32(machine, at).wrapping_add(first);
                machine.poke(at, &started.to_le_bytes());
                let mut outcome = run_one(machine, program.clone());
                outcome.registers.rflags &= !form.undefined_flags();
                let mut memory = vec![0; ram.length as usize];
                machine.peek(ram.start, &mut memory);
                (outcome, memory)
            };
            // The handler's own update has a handler called as well, and that one's has none.
            let expected = run(machine, 2);
            let react = pre(ram.start, Reaction::Increment(at), 1);
            let writes = ProbeSpec { reads: false, length: ram.length, ..react };
            let ids = machine.probe(&[writes]).expect("probe");
            let got = run(machine, 0);
            machine.unprobe(&ids);
            machine.take_trace();
            let hits = machine.take_hits().len();
            assert_eq!(hits, 2, "{} at {offset:#x}: called before its write", form.name);
            assert_eq!(got.0, expected.0, "{} at {offset:#x}: registers", form.name);
            assert!(got.1 == expected.1, "{} at {offset:#x}: an increment was lost", form.name);
        }
    }
    Some(())
}

/// No second mapping holds both halves in one piece, so the CPU runs the instruction itself.
pub(super) fn an_update_of_partly_armed_ram_is_left_to_the_cpu(machine: &mut dyn Machine) -> Option<()> {
    let ram = machine.map(Backing::Ram, &[PageSize::Small; 2])?;
    let at = ram.start + 0xffe;
    machine.poke(at, &0xffff_ffffu32.to_le_bytes());
    machine.probe(&[ProbeSpec::recording(ram.start, 0x1000)]).expect("probe");
    run_one(machine, program_at(code::INCREMENT, at));
    assert_eq!(read_u32(machine, at), 0);
    let counters = machine.counters();
    assert_eq!((counters.accesses[0], counters.windows), (0, 1), "stepped, and told");
    assert_eq!(machine.take_trace().windows, [ram.start]);
    Some(())
}

pub(super) fn a_post_handler_sees_the_value(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let at = region.start + 0x400;
    machine
        .probe(&[ProbeSpec { post: true, ..pre(at, Reaction::Decide(Decision::Pass), 1) }])
        .expect("probe");
    let was = read_u32(machine, at).to_le_bytes().to_vec();
    let written = 0x5566_7788u32.to_le_bytes().to_vec();
    run_one(machine, program_at(code::LOAD, at));
    run_one(machine, program_at(code::STORE, at));
    let hits = machine.take_hits();
    let told: Vec<_> = hits.iter().map(|hit| (hit.kind, hit.write, hit.value.clone())).collect();
    let expected = [
        (HitKind::Pre, false, Vec::new()),
        (HitKind::Post, false, was),
        (HitKind::Pre, true, written.clone()),
        (HitKind::Post, true, written),
    ];
    assert_eq!(told, expected);
    Some(())
}

pub(super) fn handlers_of_a_stepped_access_are_told(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let at = region.start + 0x400;
    machine
        .probe(&[ProbeSpec { post: true, ..pre(at, Reaction::Decide(Decision::Pass), 1) }])
        .expect("probe");
    run_one(machine, program_at(code::DIVIDE, at).with(|registers| registers.rdx = 0));
    let hits = machine.take_hits();
    let told: Vec<_> = hits.iter().map(|hit| (hit.kind, hit.address, hit.write, hit.value.len())).collect();
    assert_eq!(told, [(HitKind::Pre, at, false, 0), (HitKind::Post, at, false, 0)]);
    Some(())
}

pub(super) fn a_probe_of_reads_only_ignores_writes_and_the_other_way_round(
    machine: &mut dyn Machine,
) -> Option<()> {
    let region = device(machine, 1)?;
    let at = region.start + 0x400;
    for (reads, writes) in [(true, false), (false, true), (true, true)] {
        let probe = ProbeSpec { reads, writes, ..pre(at, Reaction::Decide(Decision::Pass), 1) };
        let ids = machine.probe(&[probe]).expect("probe");
        run_one(machine, program_at(code::LOAD, at));
        run_one(machine, program_at(code::STORE, at));
        run_one(machine, program_at(&[0x01, 0x07], at));
        let seen = machine.take_seen();
        assert_eq!(seen.len(), 4, "all were performed");
        let wanted: Vec<_> = seen.into_iter().filter(|a| if a.write { writes } else { reads }).collect();
        assert_agree(machine.profile().bus, &machine.take_trace(), &wanted, "one direction");
        assert_eq!(machine.take_hits().len(), wanted.len());
        machine.unprobe(&ids);
    }
    Some(())
}

pub(super) fn a_handler_that_hits_another_armed_page_loses_nothing(machine: &mut dyn Machine) -> Option<()> {
    let (one, other) = (device(machine, 1)?, device(machine, 1)?);
    let (at, touched) = (one.start + 0x400, other.start + 0x200);
    machine.probe(&[pre(at, Reaction::Touch(touched), 1)]).expect("probe");
    machine
        .probe(&[pre(touched, Reaction::Touch(at + 0x100), 2)])
        .expect("probe of what the handler touches");
    machine.probe(&[pre(at + 0x100, Reaction::Touch(touched), 3)]).expect("a circle of handlers");
    // Emulated, redirected, stepped.
    for code in [code::LOAD, code::STORE, &[0xf3, 0x0f, 0x6f, 0x07], code::DIVIDE] {
        let outcome = run_one(machine, program_at(code, at).with(|registers| registers.rdx = 0));
        assert_eq!(outcome.fault, None);
        assert_eq!(outcome.registers.rip, code.len() as u64);
        let (trace, mut seen) = (machine.take_trace(), machine.take_seen());
        let mut told = trace.accesses.clone();
        assert!(told.len() >= 3, "the access, and what its handlers touched: {told:#?}");
        // A handler's accesses come before or after the one it is called for, by the way that one
        // is performed.
        told.sort_by_key(|access| access.address);
        seen.sort_by_key(|access| access.address);
        assert_agree(machine.profile().bus, &crate::Trace { accesses: told, ..trace }, &seen, "nested hits");
    }
    assert!(machine.counters().nested > 0, "the circle ends where handlers are no longer called");
    Some(())
}

pub(super) fn the_newest_page_fault_handler_is_asked_first_and_the_first_claim_wins(
    machine: &mut dyn Machine,
) -> Option<()> {
    let region = device(machine, 1)?;
    record_all(machine, &region);
    let at = region.start + 0x400;
    let nothing = FaultHandlerSpec { start: 0, length: 0, label: 1 };
    let claiming = |label| FaultHandlerSpec { start: at, length: 4, label };
    let handlers: Vec<_> = [nothing, claiming(2), FaultHandlerSpec { label: 3, ..nothing }]
        .map(|spec| machine.register(spec))
        .into();
    let labels =
        |machine: &mut dyn Machine| machine.take_hits().iter().map(|hit| hit.label).collect::<Vec<_>>();

    let outcome = run_one(machine, program_at(code::LOAD, at));
    assert_eq!(labels(machine), [3, 2], "newest first, and none after the one that claims");
    assert_eq!(outcome.registers.rax, 0x1122_3344_5566_7788, "the claimed access did not happen");
    assert_eq!(machine.take_seen(), []);

    assert!(machine.unregister(handlers[1]));
    assert!(!machine.unregister(handlers[1]), "a handler is removed once");
    let outcome = run_one(machine, program_at(code::LOAD, at));
    assert_eq!(labels(machine), [3, 1], "nobody claims: all are asked");
    assert_eq!(outcome.fault, None, "then the access probes");
    assert_eq!(machine.take_seen().len(), 1);

    assert!(machine.unregister(handlers[2]));
    assert!(machine.unregister(handlers[0]));
    run_one(machine, program_at(code::LOAD, at));
    assert_eq!(labels(machine), [0u32; 0]);

    // An address that no probe has: a handler may claim it, else it is the system's.
    let unmapped = region.start + 0x1000;
    assert!(run_one(machine, program_at(code::LOAD, unmapped)).fault.is_some());
    let handler = machine.register(FaultHandlerSpec { start: unmapped, length: 4, label: 9 });
    assert_eq!(run_one(machine, program_at(code::LOAD, unmapped)).fault, None);
    assert!(machine.unregister(handler));
    Some(())
}

pub(super) fn page_fault_handlers_leave_while_others_walk_the_list(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    record_all(machine, &region);
    let times = 20 * machine.profile().patience;
    let program = |cpu| Program { cpu, ..program_at(code::LOAD, region.start + 0x400) }.times(times);
    let programs: Vec<Program> = (0..4).map(program).collect();
    let stays = machine.register(FaultHandlerSpec { start: 0, length: 0, label: 100 });
    let outcomes = machine.run(&programs, &mut |registrar: &mut dyn Registrar| {
        for round in 0..6 {
            let make = |label| FaultHandlerSpec { start: 0, length: 0, label };
            let three: Vec<_> = (0..3).map(|number| registrar.register(make(3 * round + number))).collect();
            registrar.linger();
            // The middle, the newest, the oldest of them.
            for number in [1, 2, 0] {
                assert!(registrar.unregister(three[number]));
            }
        }
    });
    assert!(outcomes.iter().all(|outcome| outcome.fault.is_none()));
    let hits = machine.take_hits();
    assert_eq!(hits.iter().filter(|hit| hit.late).count(), 0, "none is called after its removal");
    let always = hits.iter().filter(|hit| hit.label == 100).count() as u64;
    assert_eq!(always, machine.counters().faults, "the one that stays is asked each time");
    assert!(machine.unregister(stays));
    assert_agree(
        machine.profile().bus,
        &machine.take_trace(),
        &machine.take_seen(),
        "while handlers come and go",
    );
    run(machine, &[]);
    Some(())
}
