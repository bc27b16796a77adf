//! Each form of instruction does on an armed device what it does on one that is not armed.

use super::{assert_agree, device, fill, record_all, run_one};
use crate::code::{self, Form};
use crate::{Backing, Bus, Machine, Program, Region, Vectors};
use trapline_abi::{Flags, Way};
use trapline_engine::PageSize;

const VECTORS: Vectors = {
    let mut vectors = [[0; 32]; 16];
    let mut number = 0;
    while number < 16 * 32 {
        vectors[number / 32][number % 32] = (number * 5 + 3) as u8;
        number += 1;
    }
    vectors
};

/// Where the operands lie: on plain memory of the first and the second page.
fn program(form: &Form, first: u64, second: u64) -> Program {
    let mut program = Program { registers: code::registers(first, second), ..Program::new(0, &form.code) };
    (form.set)(&mut program.registers);
    program.vectors = VECTORS;
    program
}

/// Runs each form untraced and traced, on memory with the same content, and compares all that can
/// be compared.
fn compare(machine: &mut dyn Machine, regions: [&Region; 2], offset: u64, forms: &[Form], way: Option<Way>) {
    for form in forms {
        let what = form.name;
        if !machine.executes(&form.code) {
            continue;
        }
        let program = program(form, regions[0].start + offset, regions[1].start + offset);
        let mut sides = Vec::new();
        for armed in [false, true] {
            regions.iter().for_each(|region| fill(machine, region));
            let before = machine.counters();
            let ids =
                if armed { regions.map(|region| record_all(machine, region)).concat() } else { Vec::new() };
            let mut outcome = run_one(machine, program.clone());
            outcome.registers.rflags &= !form.undefined_flags();
            machine.unprobe(&ids);
            let memory = regions.map(|region| {
                let mut bytes = vec![0; region.length as usize];
                machine.peek(region.start, &mut bytes);
                bytes
            });
            let (trace, seen) = (machine.take_trace(), machine.take_seen());
            if armed {
                assert_agree(machine.profile().bus, &trace, &seen, what);
                let after = machine.counters();
                let performed: u64 = after.accesses.iter().sum::<u64>() - before.accesses.iter().sum::<u64>();
                assert_eq!(performed, trace.accesses.len() as u64, "{what}: counted as performed");
                if let Some(way) = way.filter(|_| !is_stepped(machine, form)) {
                    assert!(trace.accesses.iter().all(|a| a.way == Some(way)), "{what}: not all {way:?}");
                }
            } else {
                assert_eq!(trace.accesses, [], "{what}: traced though nothing is armed");
            }
            let mut seen: Vec<_> = seen.iter().map(|a| (a.address, a.width, a.write, a.value)).collect();
            if machine.profile().bus == Bus::Words {
                // QEMU reads the second operand of `cmps` first; the order was compared with the
                // trace's above.
                seen.sort_by_key(|&(address, _, write, _)| (address, write));
            }
            sides.push((outcome, memory, seen));
        }
        assert_eq!(sides[0].0, sides[1].0, "{what}: registers");
        assert_eq!(sides[0].0.fault, None, "{what}: faulted");
        assert!(sides[0].1 == sides[1].1, "{what}: memory differs");
        assert_eq!(sides[0].2, sides[1].2, "{what}: the device saw other accesses");
    }
}

/// Whether it has to be stepped here, though not everywhere.
fn is_stepped(machine: &dyn Machine, form: &Form) -> bool {
    !machine.profile().separate_stacks && form.name.starts_with("push (")
}

fn on_device(machine: &mut dyn Machine, forms: &[Form], way: Option<Way>) -> Option<()> {
    let region = device(machine, 2)?;
    let second = Region { start: region.start + 0x1000, length: 0x1000 };
    let first = Region { length: 0x1000, ..region };
    compare(machine, [&first, &second], 0x400, forms, way);
    let is_aligned =
        |form: &Form| ["16b", "dqa", "movaps", "paddd"].iter().any(|name| form.name.contains(name));
    // How wide a stepped access is the trace does not tell, so nor into what such a bus takes one
    // apart that is not aligned.
    let is_words = machine.profile().bus == Bus::Words;
    let hides_width = |form: &Form| is_words && (way.is_none() || is_stepped(machine, form));
    let plain = |form: &&Form| !is_aligned(form) && !hides_width(form);
    let plain: Vec<Form> = forms.iter().filter(plain).cloned().collect();
    compare(machine, [&first, &second], 0x403, &plain, way);
    Some(())
}

pub(super) fn every_form_of_move_acts_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    on_device(machine, &code::moves(), Some(Way::Emulate))?;
    let region = device(machine, 1)?;
    let address = region.start + 0x400;
    compare(machine, [&region, &region], 0x400, &code::absolute(address), Some(Way::Emulate));
    Some(())
}

pub(super) fn every_form_of_arithmetic_acts_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    on_device(machine, &code::arithmetic(), Some(Way::Emulate))
}

pub(super) fn every_locked_form_acts_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    on_device(machine, &code::locked(), Some(Way::Emulate))
}

pub(super) fn every_string_form_acts_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    on_device(machine, &code::strings(), Some(Way::Emulate))
}

pub(super) fn every_redirected_form_acts_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    on_device(machine, &code::vectors(), Some(Way::Redirect))
}

pub(super) fn every_stepped_form_acts_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    on_device(machine, &code::stepped(), None)
}

/// RAM keeps no record, but its content tells.
pub(super) fn every_locked_form_on_ram_acts_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    let ram = machine.map(Backing::Ram, &[PageSize::Small])?;
    for form in code::locked() {
        let program = program(&form, ram.start + 0x400, ram.start + 0x800);
        let mut sides = Vec::new();
        for armed in [false, true] {
            fill(machine, &ram);
            let ids = if armed { record_all(machine, &ram) } else { Vec::new() };
            let mut outcome = run_one(machine, program.clone());
            outcome.registers.rflags &= !form.undefined_flags();
            machine.unprobe(&ids);
            let mut memory = vec![0; ram.length as usize];
            machine.peek(ram.start, &mut memory);
            let trace = machine.take_trace();
            assert_eq!(trace.accesses.len(), if armed { 2 } else { 0 }, "{}: {trace:#?}", form.name);
            sides.push((outcome, memory));
        }
        assert!(sides[0] == sides[1], "{}: registers or memory differ", form.name);
    }
    Some(())
}

pub(super) fn a_masked_vector_access_is_recorded_with_unknown_value(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    record_all(machine, &region);
    let mut mask = [0; 32];
    (mask[3], mask[11]) = (0x80, 0x80);
    for code in [code::MASKED_LOAD, code::MASKED_STORE] {
        let mut program = super::program_at(code, region.start + 0x400);
        program.vectors = VECTORS;
        program.vectors[2] = mask;
        let outcome = run_one(machine, program);
        assert_eq!(outcome.fault, None);
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        assert_eq!(seen.len(), 2, "two of the four elements were accessed, and nothing else: {seen:?}");
        let [told] = trace.accesses[..] else { panic!("one record for the whole operand: {trace:#?}") };
        assert!(told.flags & Flags::UNKNOWN != 0 && told.value.is_none() && told.width == 16);
        assert!(seen.iter().all(|a| a.write == told.write && a.address - told.address < 16));
    }
    assert_eq!(machine.counters().windows, 0, "a copy did it, with no page open");
    Some(())
}

pub(super) fn strings_between_ram_and_device_act_as_untraced(machine: &mut dyn Machine) -> Option<()> {
    let region = device(machine, 1)?;
    let ram = machine.map(Backing::Ram, &[PageSize::Small])?;
    for (number, down) in [(3, false), (64, false), (65, false), (150, true)] {
        for to_device in [false, true] {
            fill(machine, &region);
            let pattern: Vec<u8> = (0..ram.length).map(|offset| (offset % 239) as u8).collect();
            machine.poke(ram.start, &pattern);
            let ids = record_all(machine, &region);
            let (device_at, ram_at) = (region.start + 0x800, ram.start + 0x800);
            let (to, from) = if to_device { (device_at, ram_at) } else { (ram_at, device_at) };
            let mut program =
                Program { registers: code::registers(to, from), ..Program::new(0, code::REP_MOVSL) };
            program.registers.rcx = number;
            program.registers.rflags = if down { code::DIRECTION_FLAG } else { 0 };
            let outcome = run_one(machine, program);
            machine.unprobe(&ids);
            let step = if down { number.wrapping_mul(4).wrapping_neg() } else { number * 4 };
            let registers = outcome.registers;
            let moved = (to.wrapping_add(step), from.wrapping_add(step));
            assert_eq!((registers.rdi, registers.rsi, registers.rcx), (moved.0, moved.1, 0));
            let first = if down { 0x804 - 4 * number } else { 0x800 };
            let (mut theirs, mut ours) = (vec![0; 4 * number as usize], vec![0; 4 * number as usize]);
            machine.peek(region.start + first, &mut theirs);
            machine.peek(ram.start + first, &mut ours);
            assert_eq!(theirs, ours, "{number} elements copied");
            let (trace, seen) = (machine.take_trace(), machine.take_seen());
            assert_eq!(seen.len() as u64, number, "one access for each element");
            assert!(trace.accesses.iter().all(|access| access.flags & Flags::STRING != 0));
            assert_agree(machine.profile().bus, &trace, &seen, "rep movsl");
        }
    }
    Some(())
}

pub(super) fn registers_with_side_effects_are_accessed_once(machine: &mut dyn Machine) -> Option<()> {
    if !machine.profile().side_effects {
        return None;
    }
    let region = device(machine, 1)?;
    let offsets = [0x10, 0x18, 0x20];
    let forms: Vec<Form> = code::moves()
        .into_iter()
        .chain(code::arithmetic())
        .chain(code::vectors())
        .chain(code::stepped())
        .collect();
    for offset in offsets {
        // A divisor or a target read from such a register would be an exception of its own;
        // `movdir64b`, whose operands no plan describes, is told of once for each page, and here
        // both are on one.
        let able =
            |form: &&Form| !["div", "jmp", "call", "movdir64b"].iter().any(|no| form.name.contains(no));
        let forms: Vec<Form> = forms.iter().filter(able).cloned().collect();
        compare(machine, [&region, &Region { ..region.clone() }], offset, &forms, None);
    }
    Some(())
}

pub(super) fn changed_instruction_bytes_at_one_address_are_decoded_anew(
    machine: &mut dyn Machine,
) -> Option<()> {
    let region = device(machine, 1)?;
    record_all(machine, &region);
    for code in [code::LOAD, code::STORE, &[0x8a, 0x07], code::LOAD, &[0x66, 0x8b, 0x07], code::STORE] {
        // Each program of a CPU begins at the same address.
        let outcome = run_one(machine, super::program_at(code, region.start + 0x400));
        assert_eq!(outcome.registers.rip, code.len() as u64);
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        assert_eq!(trace.accesses.len(), 1);
        assert_agree(machine.profile().bus, &trace, &seen, "changed code");
    }
    Some(())
}
