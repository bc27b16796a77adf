//! Borders, sizes and numbers of pages.

use super::{assert_agree, assert_agree_by_bytes, device, fill, program_at, record_all, run_one};
use crate::code::{self, Form};
use crate::{Backing, Bus, Machine, ProbeSpec, Program, RecordedAccess, Region};
use trapline_abi::Way;
use trapline_engine::{ErrorCode, PageSize};
use trapline_insn::Registers;

pub(super) fn an_access_across_two_armed_pages_stays_in_one_piece(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 2)?;
    record_all(machine, &region);
    let border = region.start + 0x1000;
    let load_64: &[u8] = &[0x48, 0x8b, 0x07];
    let store_64: &[u8] = &[0x48, 0x89, 0x07];
    for code in [load_64, store_64, &[0xf3, 0x0f, 0x6f, 0x0f], &[0xc5, 0xfe, 0x7f, 0x0f], &[0x01, 0x07]] {
        let outcome = run_one(machine, program_at(code, border - 3));
        assert_eq!(outcome.fault, None);
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        let once = if code == [0x01, 0x07] { 2 } else { 1 };
        assert_eq!(trace.accesses.len(), once, "one event for each access: {trace:#?}");
        assert_agree_by_bytes(machine.profile().bus, &trace, &seen, "across two armed pages");
    }
    assert_eq!(machine.counters().windows, 0);
    Some(())
}

pub(super) fn an_access_across_the_border_of_what_is_armed_reaches_both_sides(
    machine: &mut dyn Machine,
) -> Option<()> {
    let region = device(machine, 3)?;
    let armed = Region { start: region.start + 0x1000, length: 0x1000 };
    let mut before = vec![0; region.length as usize];
    machine.peek(region.start, &mut before);
    record_all(machine, &armed);
    for address in [armed.start - 3, armed.start + 0xffd] {
        let outcome = run_one(machine, program_at(&[0x48, 0x8b, 0x07], address));
        let at = (address - region.start) as usize;
        let expected = u64::from_le_bytes(before[at..at + 8].try_into().expect("eight bytes"));
        assert_eq!(outcome.registers.rax, expected);
        let outcome = run_one(machine, program_at(&[0x48, 0x89, 0x07], address));
        assert_eq!(outcome.fault, None);
        let mut after = [0; 8];
        machine.peek(address, &mut after);
        assert_eq!(u64::from_le_bytes(after), 0x1122_3344_5566_7788);
        let (trace, mut seen) = (machine.take_trace(), machine.take_seen());
        assert!(!trace.accesses.is_empty());
        let inside = |address: u64| address.wrapping_sub(armed.start) < armed.length;
        if machine.profile().bus != Bus::Whole {
            // Words lie on both sides of the border: what they brought was compared above.
            continue;
        }
        seen = seen.iter().flat_map(crate::RecordedAccess::split).filter(|a| inside(a.address)).collect();
        assert!(!seen.is_empty());
        assert_agree_by_bytes(machine.profile().bus, &trace, &seen, "across the border of what is armed");
    }
    Some(())
}

pub(super) fn a_store_that_faults_beyond_an_armed_page_leaves_the_device_alone(
    machine: &mut dyn Machine,
) -> Option<()> {
    let region = device(machine, 1)?;
    record_all(machine, &region);
    // Behind the region nothing is mapped.
    let address = region.start + 0xffd;
    let program = program_at(&[0x48, 0x89, 0x07], address);
    let outcome = run_one(machine, program.clone());
    let tells = machine.profile().tells_replaced_faults;
    let fault = outcome.fault.expect("the system gets the fault of the part that is not there");
    assert_eq!(fault.address.0, if tells { region.start + 0x1000 } else { address });
    assert!(fault.error_code.has(ErrorCode::WRITE) && !fault.error_code.has(ErrorCode::PRESENT));
    let expected = trapline_insn::Registers { rip: 0, ..program.registers };
    let general = |r: trapline_insn::Registers| (r.rip, r.rax, r.rcx, r.rdi, r.rsi);
    assert_eq!(general(outcome.registers), general(expected), "registers as the CPU leaves them");
    assert_eq!(machine.take_seen(), [], "the instruction did not happen");
    assert_eq!(machine.take_trace().accesses, []);

    // A string instruction stops at the element that faulted.
    let mut program =
        Program { registers: code::registers(region.start + 0xff4, region.start + 0x100), ..program };
    program.code = code::REP_MOVSL.to_vec();
    let outcome = run_one(machine, program);
    let fault = outcome.fault.expect("the fourth element is not there");
    assert!(!tells || fault.address.0 == region.start + 0x1000);
    let registers = outcome.registers;
    assert_eq!((registers.rip, registers.rcx, registers.rdi), (0, 2, region.start + 0x1000));
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    assert_agree(machine.profile().bus, &trace, &seen, "three elements, and the read of the fourth");
    assert_eq!(seen.iter().filter(|access| access.write).count(), 3);
    Some(())
}

pub(super) fn mixed_page_sizes_are_armed_and_restored(machine: &mut dyn Machine) -> Option<()> {
    let (small, large) = (PageSize::Small, PageSize::Large);
    // Small pages before large ones are more than some machines offer.
    let layouts = [&[small, small, large, large, small][..], &[large, large, small]];
    let map = |sizes: &&[PageSize]| Some((sizes.to_vec(), machine.map(Backing::Device, sizes)?));
    let (sizes, region) = layouts.iter().find_map(map)?;
    fill(machine, &region);
    let before = machine.entries(&region);
    let ids = record_all(machine, &region);
    let armed = machine.entries(&region);
    assert_eq!(armed.len(), sizes.len());
    assert!(armed.iter().zip(&before).all(|(armed, before)| armed != before), "none is as it was");
    let mut start = region.start;
    let (mut large_start, mut border) = (0, 0);
    for (number, &size) in sizes.iter().enumerate() {
        if size == large {
            large_start = start;
        }
        if number > 0 && sizes[number - 1] != size {
            border = start;
        }
        let end = start + size.bytes();
        // The first bytes, some in the middle, the last.
        for address in [start, start + size.bytes() / 2 + 0x450, end - 16] {
            for code in [code::LOAD, code::STORE, &[0xf3, 0x0f, 0x7f, 0x07]] {
                let outcome = run_one(machine, program_at(code, address));
                assert_eq!(outcome.fault, None, "at {address:#x}");
            }
        }
        start = end;
    }
    // Across the border of two sizes.
    run_one(machine, program_at(&[0x48, 0x8b, 0x07], border - 4));
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    assert!(trace.accesses.len() >= 20);
    assert_agree_by_bytes(machine.profile().bus, &trace, &seen, "mixed sizes");
    machine.unprobe(&ids);
    assert_eq!(machine.entries(&region), before);

    // A probe of one byte arms the one large page it is on.
    let ids = machine.probe(&[ProbeSpec::recording(large_start + 0x1_0000, 1)]).expect("probe");
    let changed = machine.entries(&region).iter().zip(&before).filter(|(now, before)| now != before).count();
    assert_eq!(changed, 1);
    machine.unprobe(&ids);
    assert_eq!(machine.entries(&region), before);
    Some(())
}

pub(super) fn one_instruction_with_two_armed_operands_makes_both_accesses(
    machine: &mut dyn Machine,
) -> Option<()> {
    let (one, other) = (device(machine, 1)?, device(machine, 1)?);
    record_all(machine, &one);
    record_all(machine, &other);
    // `movsl`, `cmpsl`, and `push` and `pop` with a stack that is armed.
    let mut codes = vec![(&[0xa5][..], false), (&[0xa7], false)];
    if machine.profile().separate_stacks {
        codes.extend([(&[0xff, 0x37][..], true), (&[0x8f, 0x07], true)]);
    }
    for &(code, on_stack) in &codes {
        let (first, second) = (one.start + 0x200, other.start + 0x300);
        let mut program = Program { registers: code::registers(first, second), ..Program::new(0, code) };
        if on_stack {
            program.registers.rsp = second + 0x80;
        }
        let outcome = run_one(machine, program);
        assert_eq!(outcome.fault, None);
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        assert_eq!(trace.accesses.len(), 2);
        assert_agree(machine.profile().bus, &trace, &seen, "two armed operands");
    }
    assert_eq!(machine.counters().faults, codes.len() as u64, "one fault each");
    Some(())
}

pub(super) fn a_stepped_instruction_with_two_armed_pages_opens_and_records_both(
    machine: &mut dyn Machine,
) -> Option<()> {
    if !machine.executes(code::MOVE_64) {
        return None;
    }
    let region = device(machine, 2)?;
    let before = machine.entries(&region);
    let ids = record_all(machine, &region);
    let mut program = Program::new(0, code::MOVE_64);
    program.registers.rsi = region.start + 0x100;
    program.registers.r8 = region.start + 0x1100;
    let outcome = run_one(machine, program);
    assert_eq!(outcome.fault, None);
    assert_eq!(outcome.registers.rflags & (1 << 8), 0, "the trap flag is gone");
    assert_ne!(outcome.registers.rflags & (1 << 9), 0, "interrupts are as they were");
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    assert_eq!(seen.len(), 2);
    assert_agree(machine.profile().bus, &trace, &seen, "movdir64b");
    assert_eq!(trace.windows.len(), 2, "a window for each page: {trace:#?}");
    machine.unprobe(&ids);
    assert_eq!(machine.entries(&region), before);
    Some(())
}

pub(super) fn accesses_beside_the_probe_are_performed_silently_and_counted(
    machine: &mut dyn Machine,
) -> Option<()> {
    let region = device(machine, 1)?;
    machine.probe(&[ProbeSpec::recording(region.start + 0x100, 8)]).expect("probe");
    // (offset, width, whether a byte of it is covered)
    let accesses = [
        (0xfc, 4, false),
        (0xfd, 4, true),
        (0x104, 4, true),
        (0x107, 4, true),
        (0x108, 4, false),
        (0x800, 4, false),
    ];
    for (offset, _, _) in accesses {
        let outcome = run_one(machine, program_at(code::LOAD, region.start + offset));
        assert_eq!(outcome.fault, None);
    }
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    let read = |&(offset, width, _): &(u64, u8, bool)| {
        let address = region.start + offset;
        RecordedAccess {
            cpu: 0,
            address,
            width,
            write: false,
            value: None,
            original: None,
            flags: 0,
            way: None,
            ip: 0,
        }
    };
    let all: Vec<RecordedAccess> = accesses.iter().map(read).collect();
    assert_eq!(machine.profile().bus.difference(&all, &seen), None, "each was performed");
    let covered: Vec<u64> = accesses.iter().filter(|a| a.2).map(|a| region.start + a.0).collect();
    assert_eq!(trace.accesses.iter().map(|access| access.address).collect::<Vec<_>>(), covered);
    assert_eq!(machine.counters().beside, 3);
    Some(())
}

pub(super) fn ten_thousand_probes_are_found(machine: &mut dyn Machine) -> Option<()> {
    const PROBES: u64 = 10_000;
    let region = device(machine, 40)?;
    let probes: Vec<ProbeSpec> =
        (0..PROBES).map(|number| ProbeSpec::recording(region.start + 16 * number, 8)).collect();
    let ids = machine.probe(&probes).expect("10,000 probes");
    assert_eq!(ids.len() as u64, PROBES);
    for number in [0, 1, 17, 255, 256, 4711, PROBES - 1] {
        for (offset, expected) in [(0, 1), (8, 0), (5, 1), (12, 1)] {
            let last = number == PROBES - 1 && offset == 12;
            let at = region.start + 16 * number + offset;
            let outcome = run_one(machine, program_at(code::LOAD, at));
            assert_eq!(outcome.fault, None);
            let told = machine.take_trace().accesses.len();
            // From offset 12 on it reaches the last byte before the next probe only.
            let expected = if offset == 12 || last { 0 } else { expected };
            assert_eq!(told, expected, "probe {number}, offset {offset}");
        }
    }
    machine.unprobe(&ids);
    run_one(machine, program_at(code::LOAD, region.start));
    assert_eq!(machine.take_trace().accesses, []);
    Some(())
}

/// CF, PF, AF, ZF, SF and OF.
const ARITHMETIC: u64 = 0x8d5;

/// Every way to write to a page that may not be written, by one instruction.
fn writes() -> impl Iterator<Item = Form> {
    let is_write = |form: &Form| form.name.starts_with("mov") && form.name.ends_with(",(%rdi)");
    let stores = [code::moves(), code::vectors()].concat().into_iter().filter(is_write);
    // The last one has to be stepped.
    let last = code::stepped().into_iter().filter(|form| form.name.starts_with("movdir64b"));
    stores
        .chain(code::strings().into_iter().filter(|form| form.name.contains("stos")))
        .chain(code::updates())
        .chain(code::locked())
        .chain(last)
}

/// As if nothing were armed: the second mapping, which can be written, does not lend its rights.
pub(super) fn a_write_that_a_page_forbids_is_the_systems_and_recorded_as_forbidden(
    machine: &mut dyn Machine,
) -> Option<()> {
    let ram = machine.map_read_only(&[PageSize::Small; 2])?;
    fill(machine, &ram);
    let entries = machine.entries(&ram);
    let mut before = vec![0; ram.length as usize];
    machine.peek(ram.start, &mut before);
    for form in writes().filter(|form| machine.executes(&form.code)).collect::<Vec<_>>() {
        // What it reads, if anything, beside the probe or under it: then a step opens the page
        // before it turns out that the instruction writes there as well.
        for second in [0x1400, 0x440] {
            let mut program = program_at(&form.code, ram.start + 0x400);
            program.registers.rsi = ram.start + second;
            (form.set)(&mut program.registers);
            let (what, started) = (form.name, program.registers.rflags & ARITHMETIC);
            let untraced = run_one(machine, program.clone());
            assert!(untraced.fault.is_some(), "{what}: forbidden");
            let ids = machine.probe(&[ProbeSpec::recording(ram.start, 0x1000)]).expect("probe");
            let windows = machine.counters().windows;
            let traced = run_one(machine, program);
            machine.unprobe(&ids);
            // A fault leaves the flags alone, even where QEMU's emulation does not (`rcl`).
            let flags = |registers: &Registers| registers.rflags & ARITHMETIC;
            assert_eq!(flags(&traced.registers), started, "{what}: flags");
            let but_flags = |registers: Registers| Registers { rflags: 0, ..registers };
            assert_eq!(but_flags(traced.registers), but_flags(untraced.registers), "{what}: registers");
            if machine.profile().tells_replaced_faults {
                assert_eq!(traced.fault, untraced.fault, "{what}: not another fault");
            }
            assert!(traced.fault.is_some(), "{what}: the system deals with it");
            let opened = machine.counters().windows - windows;
            assert_eq!(
                opened,
                u64::from(second == 0x440 && what.starts_with("movdir64b")),
                "{what}: pages opened"
            );
            let trace = machine.take_trace();
            let [told] = trace.accesses[..] else { panic!("{what}: told once: {trace:#?}") };
            let expected = (Some(Way::Forbidden), true, None);
            assert_eq!((told.way, told.write, told.value), expected, "{what}: {told:?}");
            let mut after = vec![0; ram.length as usize];
            machine.peek(ram.start, &mut after);
            assert!(before == after, "{what}: memory is as it was");
        }
    }
    // What may be done is done.
    record_all(machine, &ram);
    let outcome = run_one(machine, program_at(code::LOAD, ram.start + 0x400));
    assert_eq!(outcome.fault, None);
    let trace = machine.take_trace();
    assert!(trace.accesses.iter().all(|access| access.way == Some(Way::Emulate)), "{trace:#?}");
    assert!(machine.entries(&ram) != entries, "armed now");
    Some(())
}
