//! What is left where an instruction stops before its end: at a fault, or at the limit of elements.

use trapline_insn::{Memory, Progress, Registers, Segment, decode};

/// 64 bytes at 0x1000, read-only from 0x1020; other addresses fault with their address.
struct Small([u8; 64]);

impl Memory for Small {
    type Fault = u64;

    fn read(&mut self, address: u64, width: u8) -> Result<u64, u64> {
        let at = address.wrapping_sub(0x1000) as usize;
        let bytes = self.0.get(at..at.wrapping_add(width.into())).ok_or(address)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn write(&mut self, address: u64, width: u8, value: u64) -> Result<(), u64> {
        let at = address.wrapping_sub(0x1000) as usize;
        let bytes = self.0[..32].get_mut(at..at.wrapping_add(width.into())).ok_or(address)?;
        bytes.copy_from_slice(&value.to_le_bytes()[..width.into()]);
        Ok(())
    }

    fn update(
        &mut self,
        address: u64,
        width: u8,
        _: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, u64> {
        let old = self.read(address, width)?.into();
        self.write(address, width, compute(old) as u64)?;
        Ok(old)
    }

    fn segment_base(&self, _: Segment) -> u64 {
        0
    }
}

fn registers() -> Registers {
    Registers { rip: 0x40_0000, rflags: 2, ..Registers::default() }
}

#[test]
fn a_fault_in_a_repeated_string_leaves_the_elements_before_it_done() {
    // rep stosl into the last two writable words and the first read-only one.
    let plan = decode(&[0xf3, 0xab]).unwrap();
    let mut memory = Small([0; 64]);
    let mut at = Registers { rax: 0x1234_5678, rcx: 5, rdi: 0x1018, ..registers() };
    assert_eq!(plan.execute(&mut at, &mut memory, 100), Err(0x1020));
    assert_eq!((at.rcx, at.rdi, at.rip), (3, 0x1020, 0x40_0000));
    assert_eq!(memory.0[0x18..0x24], [0x78, 0x56, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0]);
}

#[test]
fn a_fault_in_a_comparing_string_leaves_the_flags_of_before() {
    // repe scasb over equal bytes to beyond the end.
    let plan = decode(&[0xf3, 0xae]).unwrap();
    let mut at = Registers { rcx: 9, rdi: 0x103e, rflags: 0x803, ..registers() };
    assert_eq!(plan.execute(&mut at, &mut Small([0; 64]), 100), Err(0x1040));
    assert_eq!((at.rcx, at.rdi, at.rflags), (7, 0x1040, 0x803));
}

#[test]
fn a_fault_while_popping_leaves_the_stack_pointer() {
    // pop (%rdi), to where nothing can be written.
    let plan = decode(&[0x8f, 0x07]).unwrap();
    let mut at = Registers { rsp: 0x1000, rdi: 0x1028, ..registers() };
    let before = at;
    assert_eq!(plan.execute(&mut at, &mut Small([0; 64]), 1), Err(0x1028));
    assert_eq!(at, before);
}

#[test]
fn the_limit_stops_a_repeated_string_on_its_own_address() {
    let plan = decode(&[0xf3, 0xa4]).unwrap();
    let mut memory = Small([7; 64]);
    let mut at = Registers { rcx: 10, rsi: 0x1020, rdi: 0x1000, ..registers() };
    assert_eq!(plan.execute(&mut at, &mut memory, 4), Ok(Progress::More));
    assert_eq!((at.rcx, at.rsi, at.rdi, at.rip), (6, 0x1024, 0x1004, 0x40_0000));
    assert_eq!(plan.execute(&mut at, &mut memory, 0), Ok(Progress::More));
    assert_eq!(plan.execute(&mut at, &mut memory, 6), Ok(Progress::Done));
    assert_eq!((at.rcx, at.rip), (0, 0x40_0002));
    // With nothing left to do it is done, whatever the limit.
    at.rip = 0x40_0000;
    assert_eq!(plan.execute(&mut at, &mut memory, 0), Ok(Progress::Done));
}

#[test]
fn the_resume_flag_ends_with_the_instruction_and_not_before() {
    const RF: u64 = 1 << 16;
    let mut memory = Small([0; 64]);
    let mut at = Registers { rcx: 2, rsi: 0x1000, rdi: 0x1000, rflags: 2 | RF, ..registers() };
    let movs = decode(&[0xf3, 0xa4]).unwrap();
    assert_eq!(movs.execute(&mut at, &mut memory, 1), Ok(Progress::More));
    assert_eq!(at.rflags, 2 | RF);
    assert_eq!(movs.execute(&mut at, &mut memory, 1), Ok(Progress::Done));
    assert_eq!(at.rflags, 2);
}
