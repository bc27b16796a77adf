use super::machine::STACK_SIZE;
use super::words::{Output, Text, WORD};
use super::*;
use proptest::prelude::*;
use std::vec;
use trapline_abi::MAX_STRING;

mod condition;

/// Memory from `START` on, `NAMED`'s task.
struct Memory(Vec<u8>);

const START: u64 = 0xffff_8880_0000_1000;
const USER: u64 = 0x7f00_0000_1000;

impl Reader for Memory {
    fn read(&self, address: u64, width: u8) -> Option<u64> {
        let base = if (address as i64) < 0 { START } else { USER };
        let at = usize::try_from(address.checked_sub(base)?).ok()?;
        let bytes = self.0.get(at..at.checked_add(width.into())?)?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    }

    fn task_name(&self) -> [u64; 2] {
        let name = u128::from_le_bytes(*b"kworker/3:2\0\0\0\0\0");
        [name as u64, (name >> 64) as u64]
    }
}

fn step(op: Op, number: u16, operand: i64) -> Step {
    Step { op: op as u8, width: 0, number, reserved: 0, operand }
}

fn wide(op: Op, width: u8, operand: i64) -> Step {
    Step { width, ..step(op, 0, operand) }
}

fn immediate(value: u64) -> Step {
    step(Op::Immediate, 0, value as i64)
}

fn registers() -> Registers {
    Registers { rdi: 7, rax: 9, rip: 11, rflags: 13, cs: 16, ss: 24, rsp: START, ..Registers::default() }
}

fn run(memory: &[u8], steps: &[Step]) -> (Vec<u64>, u128) {
    let program = Program::check(steps, 0).unwrap();
    let registers = registers();
    let mut words = vec![u64::MAX; program.words()];
    let fetched = program.run(&registers, &Memory(memory.to_vec()), &mut words);
    words.truncate(fetched.words);
    (words, fetched.faults)
}

/// A string as it lies in words.
fn string(text: &[u8]) -> Vec<u64> {
    let bytes = |part: &[u8]| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(word)
    };
    [text.len() as u64].into_iter().chain(text.chunks(8).map(bytes)).collect()
}

#[test]
fn each_source_gives_its_value() {
    let sources = [
        (step(Op::Register, 7, 0), 7),
        (step(Op::Register, 16, 0), 11),
        (step(Op::Register, 17, 0), 13),
        (step(Op::Register, 18, 0), 16),
        (step(Op::Register, 19, 0), 24),
        (step(Op::ReturnValue, 0, 0), 9),
        (step(Op::StackAddress, 0, 0), START),
        (step(Op::Stack, 1, 0), 0x0807_0605_0403_0201),
        (immediate(u64::MAX), u64::MAX),
    ];
    let memory: Vec<u8> = [0; 8].into_iter().chain(1..9).collect();
    for (source, value) in sources {
        assert_eq!(run(&memory, &[source, step(Op::Emit, 0, 0)]), (vec![value], 0), "{source:?}");
    }
}

#[test]
fn an_entry_that_is_not_on_the_stack_is_zero_and_no_fault() {
    let beyond = (STACK_SIZE / WORD) as u16;
    assert_eq!(run(&[], &[step(Op::Stack, beyond, 0), step(Op::Emit, 0, 0)]), (vec![0], 0));
    assert_eq!(run(&[], &[step(Op::Stack, 0, 0), step(Op::Emit, 0, 0)]), (vec![0], 0));
}

#[test]
fn memory_is_read_with_its_width_through_pointers() {
    let mut memory = (START + 16).to_le_bytes().to_vec();
    memory.resize(16, 0);
    memory.extend([0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88]);
    let value = 0x8899_aabb_ccdd_eeff_u64;
    for (width, expected) in [(1, 0xff), (2, 0xeeff), (4, value & 0xffff_ffff), (8, value)] {
        let program = [immediate(START - 8), wide(Op::Load, 8, 8), wide(Op::EmitMemory, width, 0)];
        assert_eq!(run(&memory, &program), (vec![expected], 0));
    }
}

#[test]
fn an_argument_that_faults_is_zeros_and_an_empty_string_and_leaves_the_others() {
    let program = [
        immediate(START),
        wide(Op::Load, 8, 4096),
        step(Op::Emit, 0, 0),
        wide(Op::EmitMemory, 4, 0),
        step(Op::EmitString, 20, 0),
        immediate(5),
        step(Op::Emit, 0, 0),
        immediate(1),
        wide(Op::EmitMemory, 1, 0),
    ];
    assert_eq!(run(&[0; 64], &program), (vec![0, 0, 0, 5, 0], 0b101));
}

#[test]
fn a_string_that_faults_in_the_middle_is_empty() {
    let program = [immediate(START + 3), step(Op::EmitString, 64, 0), step(Op::Emit, 0, 0)];
    assert_eq!(run(&[b'x'; 16], &program), (vec![0, 0], 1));
}

#[test]
fn a_name_is_as_long_as_it_is() {
    assert_eq!(run(&[], &[step(Op::Comm, 0, 0)]), (string(b"kworker/3:2"), 0));
    let mut words = [0; 3];
    let mut output = Output::new(&mut words, 0);
    output.name([u64::from_le_bytes(*b"fullname"), u64::from_le_bytes(*b"sixteen!")]);
    assert_eq!(words.to_vec(), string(b"fullnamesixteen!"));
    let mut output = Output::new(&mut words, 0);
    output.name([0, 0]);
    assert_eq!(output.at(), 1);
}

#[test]
fn user_space_is_the_lower_half_whatever_lies_in_the_upper() {
    let memory = b"hello, world\0\0\0\0";
    let read = |base, op| run(memory, &[immediate(base), step(op, 64, 0)]);
    assert_eq!(read(USER, Op::EmitUserString), (string(b"hello, world"), 0));
    assert_eq!(read(USER, Op::EmitString), (string(b"hello, world"), 0));
    assert_eq!(read(START, Op::EmitUserString), (vec![0], 1));
    let pointed = |base, op| run(memory, &[immediate(base), wide(op, 8, 0), step(Op::Emit, 0, 0)]);
    assert_eq!(pointed(USER, Op::LoadUser).1, 0);
    assert_eq!(pointed(START, Op::LoadUser), (vec![0], 1));
    assert_eq!(run(memory, &[immediate(START), wide(Op::EmitUser, 1, 0)]), (vec![0], 1));
}

#[test]
fn what_is_malformed_is_refused_with_its_step() {
    let at = |step| Err(ProgramError::Malformed { step });
    let check = |steps: &[Step]| Program::check(steps, 0).map(|program| program.words());
    assert_eq!(check(&[]), Ok(0));
    assert_eq!(check(&[step(Op::Emit, 0, 0)]), at(0));
    assert_eq!(check(&[Step { op: 0, ..immediate(0) }]), at(0));
    assert_eq!(check(&[Step { reserved: 1, ..immediate(0) }]), at(0));
    assert_eq!(check(&[immediate(0), step(Op::Register, 20, 0)]), at(1));
    assert_eq!(check(&[immediate(0), wide(Op::EmitMemory, 3, 0)]), at(1));
    assert_eq!(check(&[immediate(0), wide(Op::EmitUser, 0, 0)]), at(1));
    assert_eq!(check(&[immediate(0), wide(Op::Load, 16, 0)]), at(1));
    for (width, number, operand) in [(0, 0, 0), (65, 0, 0), (64, 1, 0), (1, 64, 0), (1, 256, 0), (8, 0, 2)] {
        let narrow = Step { width, ..step(Op::Narrow, number, operand) };
        assert_eq!(check(&[immediate(0), narrow]), at(1), "{narrow:?}");
    }
    // These are of conditions.
    for code in 16..=24 {
        assert_eq!(check(&[immediate(0), immediate(0), Step { op: code, ..immediate(0) }]), at(2), "{code}");
    }
    assert_eq!(check(&[immediate(0), step(Op::EmitString, MAX_STRING as u16 + 1, 0)]), at(1));
    // The name is no address.
    assert_eq!(check(&[step(Op::Comm, 0, 0), step(Op::Emit, 0, 0)]), at(1));
}

#[test]
fn what_is_too_long_is_refused() {
    let check = |steps: &[Step]| Program::check(steps, 0).map(|program| program.words());
    assert_eq!(check(&[immediate(0); MAX_ARGUMENTS]), Ok(2), "the bits of the arguments from the 33rd on");
    assert_eq!(check(&[immediate(0); MAX_ARGUMENTS + 1]), Err(ProgramError::TooLong));
    assert_eq!(check(&[immediate(0); MAX_STEPS + 1]), Err(ProgramError::TooLong));
    let long = step(Op::EmitString, MAX_STRING as u16, 0);
    let each = 1 + MAX_STRING as usize / 8;
    assert_eq!(check(&[immediate(0), long]), Ok(each));
    let mut many = vec![immediate(0)];
    many.extend(std::iter::repeat_n(long, MAX_WORDS / each + 1));
    assert_eq!(check(&many), Err(ProgramError::TooLong));
}

#[test]
fn bits_of_more_arguments_than_a_payload_has_bits_for_are_the_first_words() {
    let mut steps = Vec::new();
    for number in 0..100 {
        let address = if matches!(number, 3 | 32 | 95 | 96 | 99) { 0 } else { START };
        steps.extend([immediate(address), wide(Op::EmitMemory, 1, 0)]);
    }
    let program = Program::check(&steps, 0).unwrap();
    let mut words = vec![0; program.words()];
    let fetched = program.run(&registers(), &Memory(vec![1; 8]), &mut words);
    assert_eq!(fetched.words, 102);
    assert_eq!(fetched.faults, 1 << 3 | 1 << 32 | 1 << 95 | 1 << 96 | 1 << 99);
    assert_eq!(words[..2], [1 | 1 << 63, 1 | 1 << 3]);
    let fetched: Vec<usize> = (0..100).filter(|number| words[2 + number] == 0).collect();
    assert_eq!(fetched, [3, 32, 95, 96, 99]);
}

#[test]
fn a_buffer_that_is_too_small_is_filled_and_no_more() {
    let program = Program::check(&[immediate(1), step(Op::Emit, 0, 0), step(Op::Emit, 0, 0)], 0).unwrap();
    let mut words = [0];
    let fetched = program.run(&Registers::default(), &Memory(Vec::new()), &mut words);
    assert_eq!((fetched.words, words), (1, [1]));
}

/// Steps of any kind. Few of the long programs make sense, so half of them are short.
fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let operand = prop_oneof![-64..4096_i64, 0..2_i64];
    let step = (1..=24_u8, prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)], 0..30_u16, operand)
        .prop_map(|(op, width, number, operand)| Step { op, width, number, reserved: 0, operand });
    prop_oneof![proptest::collection::vec(step.clone(), 0..4), proptest::collection::vec(step, 0..40),]
}

proptest! {
    #[test]
    fn a_string_is_what_a_byte_by_byte_reading_gives(
        bytes in proptest::collection::vec(prop_oneof![4 => 1..=255_u8, 1 => Just(0_u8)], 0..80),
        offset in 0..20_usize,
        limit in 0..70_u16,
    ) {
        let (words, faults) = run(&bytes, &[immediate(START + offset as u64), step(Op::EmitString, limit, 0)]);
        // The memory ends within an aligned word only if its length is no multiple of 8.
        let there = bytes.get(offset..bytes.len() / 8 * 8).unwrap_or(&[]);
        let text: Vec<u8> = there.iter().copied().take(limit.into()).take_while(|&byte| byte != 0).collect();
        let is_whole = text.len() == usize::from(limit) || there.get(text.len()) == Some(&0);
        if is_whole {
            prop_assert_eq!((words, faults), (string(&text), 0));
        } else {
            prop_assert_eq!((words, faults), (vec![0], 1));
        }
    }

    #[test]
    fn no_program_appends_more_than_it_says_or_panics(
        steps in any_steps(),
        condition in prop_oneof![Just(0_usize), 0..40_usize],
    ) {
        if let Ok(program) = Program::check(&steps, condition) {
            let mut words = vec![0; program.words() + 1];
            let registers = Registers { rsp: START, rdi: START + 40, ..Registers::default() };
            let memory = Memory(vec![0x41; 256]);
            program.condition(&registers, &memory, &mut words);
            prop_assert!(program.run(&registers, &memory, &mut words).words <= program.words());
        }
    }
}
