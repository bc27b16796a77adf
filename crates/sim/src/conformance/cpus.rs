//! Several CPUs on one page.

use super::{assert_agree, device, program_at, record_all, run, run_one};
use crate::{Backing, Machine, Program, Registrar, code};
use trapline_engine::PageSize;

fn on_each(code: &[u8], times: u32, address: impl Fn(u64) -> u64) -> Vec<Program> {
    (0..4)
        .map(|cpu| Program { cpu, ..program_at(code, address(cpu as u64)) }.times(times))
        .map(|program| program.with(|registers| registers.rdx = 0))
        .collect()
}

pub(super) fn four_cpus_on_one_page_lose_no_access(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    record_all(machine, &region);
    // A load, a store, `addl`, a vector store and a short string, one after the other.
    let code =
        [&[0x8b, 0x07][..], &[0x89, 0x07], &[0x01, 0x07], &[0xf3, 0x0f, 0x7f, 0x07], &[0xf3, 0xa5]].concat();
    run(machine, &on_each(&code, 4, |_| region.start + 0x400));
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    assert_eq!(trace.accesses.len(), 4 * 4 * (5 + 10), "one event for each access");
    assert_agree(machine.profile().bus, &trace, &seen, "four CPUs");
    let counters = machine.counters();
    assert_eq!((counters.windows, counters.accesses[2]), (0, 0), "no page was opened");
    Some(())
}

fn increments(machine: &mut dyn Machine, meanwhile: &mut dyn FnMut(&mut dyn Registrar)) -> Option<u64> {
    let ram = machine.map(Backing::Ram, &[PageSize::Small])?;
    let at = ram.start + 0x100;
    record_all(machine, &ram);
    machine.run(&on_each(code::LOCKED_INCREMENT, 25, |_| at), meanwhile);
    let mut bytes = [0; 4];
    machine.peek(at, &mut bytes);
    assert_eq!(u32::from_le_bytes(bytes), 100, "an increment was lost");
    Some(ram.start)
}

pub(super) fn locked_increments_of_armed_ram_lose_none(machine: &mut dyn Machine) -> Option<()> {
    increments(machine, &mut |_| {})?;
    let trace = machine.take_trace();
    assert_eq!(trace.accesses.len(), 200, "a read and a write for each");
    // What was written is one more than what was read, on the whole each number once.
    let mut written: Vec<_> =
        trace.accesses.iter().filter(|a| a.write).map(|a| a.value.expect("known")).collect();
    written
        .sort_by_key(|value| value.bytes().iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte)));
    let expected: Vec<_> = (1..=100).map(|number| crate::Value::of(number, 4)).collect();
    assert_eq!(written, expected);
    Some(())
}

pub(super) fn locked_increments_while_ram_is_armed_and_disarmed_lose_none(
    machine: &mut dyn Machine,
) -> Option<()> {
    let ram = machine.map(Backing::Ram, &[PageSize::Small])?;
    let before = machine.entries(&ram);
    let at = ram.start + 0x100;
    let times = 25 * machine.profile().patience;
    machine.run(&on_each(code::LOCKED_INCREMENT, times, |_| at), &mut |registrar| {
        for _ in 0..6 {
            let ids = record_all(registrar, &ram);
            registrar.linger();
            registrar.unprobe(&ids);
        }
    });
    let mut bytes = [0; 4];
    machine.peek(at, &mut bytes);
    assert_eq!(u32::from_le_bytes(bytes), 4 * times, "an increment was lost");
    assert_eq!(machine.entries(&ram), before);
    Some(())
}

pub(super) fn steps_of_several_cpus_on_one_page_all_end(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let before = machine.entries(&region);
    let ids = record_all(machine, &region);
    let outcomes = run(machine, &on_each(code::DIVIDE, 10, |cpu| region.start + 0x400 + 16 * cpu));
    for outcome in &outcomes {
        assert_eq!(
            outcome.fault, None,
            "one CPU's step closes the page on another's: no fault for the system"
        );
        assert_eq!(outcome.registers.rflags & 0x300, 0x200);
    }
    let seen = machine.take_seen();
    assert_eq!(seen.len(), 40, "each access was made once");
    let trace = machine.take_trace();
    assert!(!trace.windows.is_empty());
    machine.unprobe(&ids);
    assert_eq!(machine.entries(&region), before);
    Some(())
}

pub(super) fn a_step_window_is_counted_told_and_closed(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    record_all(machine, &region);
    let armed = machine.entries(&region);
    let step = on_each(code::DIVIDE, 3, |_| region.start + 0x400).swap_remove(0);
    let other = Program { cpu: 1, ..program_at(code::LOAD, region.start + 0x600) }.times(20);
    run(machine, &[step, other]);
    let trace = machine.take_trace();
    assert_eq!(machine.counters().windows, 3);
    assert_eq!(trace.windows, [region.start; 3], "the trace says that it may be incomplete");
    let steps = trace.accesses.iter().filter(|access| access.value.is_none()).count();
    assert_eq!(steps, 3);
    assert_eq!(machine.entries(&region), armed, "armed again");
    machine.take_seen();
    // Nobody keeps a translation of the window.
    for cpu in 0..2 {
        run(machine, &[Program { cpu, ..program_at(code::LOAD, region.start + 0x600) }]);
    }
    assert_agree(machine.profile().bus, &machine.take_trace(), &machine.take_seen(), "after the windows");
    run_one(machine, program_at(code::LOAD, region.start + 0x400));
    Some(())
}
