//! Each form of instruction under rules does what it does without them on a device that says what
//! the rules make of it.

use trapline_abi::{Flags, InjectAction, InjectRule};
use trapline_sim::{Machine, RecordedAccess, Simulated, code};

use super::{at, device, of_reads, of_writes, rule, run};

const BYTES: &[u8] = &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x18];
const FLIPPED: u64 = 0x0180_0001_4002_8110;

fn forms() -> Vec<code::Form> {
    [code::moves(), code::arithmetic(), code::locked(), code::updates(), code::strings(), code::vectors()]
        .concat()
}

/// Where the operands of a form lie in the device.
const AT: u64 = 0x400;

fn flipping(start: u64) -> InjectRule {
    InjectRule { xor: FLIPPED, size: 8, ..rule(InjectAction::Change, start, 0x2000) }
}

fn bytes_flipped() -> Vec<u8> {
    BYTES.iter().zip(FLIPPED.to_le_bytes()).map(|(byte, flipped)| byte ^ flipped).collect()
}

/// Runs a form; what its registers are then, and all of the device.
fn run_form(form: &code::Form, machine: &mut Simulated, start: u64) -> (Vec<u64>, Vec<u8>) {
    let mut program = at(&form.code, 0, start + AT);
    (form.set)(&mut program.registers);
    let outcome = run(machine, program);
    assert_eq!(outcome.fault, None, "{}", form.name);
    let registers = outcome.registers;
    let flags = registers.rflags & !form.undefined_flags();
    let all =
        vec![registers.rax, registers.rbx, registers.rcx, registers.rdx, registers.rsi, registers.rdi, flags];
    let mut memory = vec![0; 0x2000];
    machine.peek(start, &mut memory);
    (all, memory)
}

fn seen(machine: &mut Simulated) -> (Vec<RecordedAccess>, Vec<RecordedAccess>) {
    (machine.take_trace().accesses, machine.take_seen())
}

fn assert_tells(form: &code::Form, told: &[RecordedAccess], seen: &[RecordedAccess]) {
    assert_eq!(told.len(), seen.len(), "{}: told {told:#?} seen {seen:#?}", form.name);
    for (told, seen) in told.iter().zip(seen) {
        // Of a value of more than 8 bytes it is not told what it was.
        let told = RecordedAccess { value: told.value.filter(|_| told.width <= 8 || told.write), ..*told };
        assert!(told.tells_of(seen), "{}: told {told:?} seen {seen:?}", form.name);
    }
}

#[test]
fn what_is_read_is_changed_in_each_form_as_if_the_device_had_said_it() {
    for form in forms() {
        let (mut told_lies, region, _) = device(1, BYTES, |start| vec![of_reads(flipping(start))]);
        let (mut honest, other, _) = device(1, &bytes_flipped(), |_| vec![]);
        assert_eq!(region.start, other.start, "addresses are compared too");
        let (got, _) = run_form(&form, &mut told_lies, region.start);
        let (expected, _) = run_form(&form, &mut honest, region.start);
        assert_eq!(got, expected, "{}", form.name);
        let (told, seen) = seen(&mut told_lies);
        assert_tells(&form, &told, &seen);
        for access in told.iter().filter(|access| !access.write && access.width <= 8) {
            assert!(access.original.is_some(), "{}: {access:?} tells what the device said", form.name);
        }
    }
}

#[test]
fn what_is_written_is_changed_in_each_form() {
    for form in forms() {
        let (mut told_lies, region, _) = device(1, BYTES, |start| vec![of_writes(flipping(start))]);
        let (mut honest, ..) = device(1, BYTES, |_| vec![]);
        run_form(&form, &mut told_lies, region.start);
        run_form(&form, &mut honest, region.start);
        let (told, seen_lies) = seen(&mut told_lies);
        assert_tells(&form, &told, &seen_lies);
        let (_, seen_honest) = seen(&mut honest);
        let flip = |access: &RecordedAccess, bytes: &[u8]| -> Vec<u8> {
            let from = (access.address - region.start) as usize;
            let flipped = FLIPPED.to_le_bytes();
            bytes.iter().enumerate().map(|(n, byte)| byte ^ flipped[(from + n) % 8]).collect()
        };
        // A string's second operand may be what its first wrote: only single writes compare.
        let writes =
            |all: &[RecordedAccess]| all.iter().filter(|access| access.write).copied().collect::<Vec<_>>();
        let (lies, honest) = (writes(&seen_lies), writes(&seen_honest));
        assert_eq!(lies.len(), honest.len(), "{}", form.name);
        if let ([lie], [honest]) = (&lies[..], &honest[..]) {
            let (lie, honest) = (lie.value.unwrap(), honest.value.unwrap());
            assert_eq!(lie.bytes(), flip(&lies[0], honest.bytes()), "{}", form.name);
        }
    }
}

#[test]
fn a_device_that_has_gone_reads_as_ones_in_each_form_and_sees_nothing() {
    for form in forms() {
        let (mut gone, region, _) = device(1, BYTES, |start| vec![rule(InjectAction::Gone, start, 0x2000)]);
        let mut before = vec![0; 0x2000];
        gone.peek(region.start, &mut before);
        let (got, after) = run_form(&form, &mut gone, region.start);
        assert!(before == after, "{}: nothing of the device has changed", form.name);
        let (told, seen) = seen(&mut gone);
        assert!(seen.is_empty(), "{}: {seen:#?}", form.name);
        assert!(told.iter().all(RecordedAccess::is_held_back), "{}", form.name);
        assert_eq!(told.is_empty(), form.name.contains("no element"), "{}", form.name);
        for read in told.iter().filter(|access| !access.write) {
            assert_ne!(read.flags & Flags::SUPPLIED, 0, "{}", form.name);
            assert!(read.value.unwrap().bytes().iter().all(|&byte| byte == 0xff), "{}: {read:?}", form.name);
        }
        // What a device full of ones makes of it, where nothing that was written is read again.
        if told.iter().all(|access| !access.write) {
            let (mut ones, ..) = device(1, &[0xff], |_| vec![]);
            assert_eq!(got, run_form(&form, &mut ones, region.start).0, "{}", form.name);
        }
    }
}

#[test]
fn what_the_cpu_does_by_itself_is_not_changed_and_counted() {
    let mut tried = 0;
    for form in code::stepped() {
        let (mut honest, region, _) = device(1, BYTES, |_| vec![]);
        let expected = run_form(&form, &mut honest, region.start);
        // Some step to one access and have others that can be changed: a return address, say.
        if honest.take_trace().accesses.iter().any(|access| access.value.is_some()) {
            continue;
        }
        tried += 1;
        let (mut machine, region, rules) = device(1, BYTES, |start| vec![flipping(start)]);
        assert!(run_form(&form, &mut machine, region.start) == expected, "{}", form.name);
        let told = machine.take_trace().accesses;
        let counts = rules.counts(0).unwrap();
        assert!(told.iter().all(|access| access.original.is_none()), "{}", form.name);
        let all = told.len() as u64;
        assert_eq!((counts.matched, counts.impossible, counts.applied), (all, all, 0), "{}", form.name);
        assert!(!told.is_empty(), "{}", form.name);
    }
    assert!(tried > 0);
}
