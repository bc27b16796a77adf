//! What holds for every instruction in every state of the registers. The fuzz target uses this file
//! too.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};
use trapline_insn::{
    Direction, Gpr, Memory, Method, Operand, Plan, Progress, Redirect, Registers, Segment, decode,
};

use crate::agreement::segment_base;

/// Memory that is everywhere, holds arbitrary values, records what is done to it, and may fault.
struct Everywhere {
    accesses: Vec<Operand>,
    value: u64,
    /// Which access faults.
    faulty: usize,
}

impl Everywhere {
    fn access(&mut self, address: u64, width: u8, direction: Direction) -> Result<u64, ()> {
        if self.accesses.len() == self.faulty {
            return Err(());
        }
        self.accesses.push(Operand { address, width: width.into(), direction });
        self.value = self.value.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        Ok(self.value.rotate_left(17))
    }
}

impl Memory for Everywhere {
    type Fault = ();

    fn read(&mut self, address: u64, width: u8) -> Result<u64, ()> {
        let value = self.access(address, width, Direction::Read)?;
        Ok(if width == 8 { value } else { value & ((1 << (width * 8)) - 1) })
    }

    fn write(&mut self, address: u64, width: u8, value: u64) -> Result<(), ()> {
        assert!(width == 8 || value >> (width * 8) == 0, "{value:#x} in {width} bytes");
        self.access(address, width, Direction::Write).map(drop)
    }

    fn update(
        &mut self,
        address: u64,
        width: u8,
        _locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, ()> {
        let value = self.access(address, width, Direction::ReadWrite)?;
        let mask = if width == 16 { u128::MAX } else { (1 << (width * 8)) - 1 };
        let old = (u128::from(value) << 64 | u128::from(value)) & mask;
        let new = compute(old);
        assert!(new & !mask == 0, "{new:#x} in {width} bytes");
        // Memory with atomic steps may ask again.
        assert_eq!(compute(old), new);
        Ok(old)
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        segment_base(segment)
    }
}

/// Checks all that must hold of the instruction at the start of `bytes`; panics where it does not.
pub(crate) fn check(bytes: &[u8], before: &Registers, value: u64) {
    let Ok(plan) = decode(bytes) else { return };
    let bytes = &bytes[..plan.length().into()];
    let operands = plan.operands(before, segment_base);
    assert!(plan.method() == Method::Step || operands.is_complete());
    match plan.method() {
        Method::Emulate => check_emulated(&plan, before, &operands, value),
        Method::Redirect => {
            let redirect = plan.redirect(bytes).expect("a plan to redirect has a copy");
            check_copy(&redirect, bytes);
        }
        Method::Step => {}
    }
    if plan.method() != Method::Emulate {
        let mut after = *before;
        let mut memory = Everywhere { accesses: Vec::new(), value, faulty: usize::MAX };
        assert_eq!(plan.execute(&mut after, &mut memory, 8), Ok(Progress::Refused));
        assert_eq!((after, memory.accesses.len()), (*before, 0));
    }
    if plan.method() != Method::Redirect {
        assert_eq!(plan.redirect(bytes), None);
    }
}

fn check_emulated(plan: &Plan, before: &Registers, operands: &[Operand], value: u64) {
    // The accesses are those announced, in that order.
    let mut after = *before;
    let mut memory = Everywhere { accesses: Vec::new(), value, faulty: usize::MAX };
    let progress = plan.execute(&mut after, &mut memory, 1).expect("nothing faults");
    assert_eq!(memory.accesses, operands);
    match progress {
        Progress::Done => assert_eq!(after.rip, before.rip.wrapping_add(plan.length().into())),
        Progress::More => assert_eq!(after.rip, before.rip),
        Progress::Refused => panic!("refused what is to be emulated"),
    }
    // A fault at any of them changes nothing.
    for faulty in 0..operands.len() {
        let mut after = *before;
        let mut memory = Everywhere { accesses: Vec::new(), value, faulty };
        assert_eq!(plan.execute(&mut after, &mut memory, 1), Err(()));
        assert_eq!(after, *before);
    }
    // A run of elements cut in pieces is the run in one piece.
    let mut whole = *before;
    let mut in_one = Everywhere { accesses: Vec::new(), value, faulty: usize::MAX };
    let _ = plan.execute(&mut whole, &mut in_one, 6);
    let mut pieces = *before;
    let mut memory = Everywhere { accesses: Vec::new(), value, faulty: usize::MAX };
    for _ in 0..3 {
        if plan.execute(&mut pieces, &mut memory, 2) != Ok(Progress::More) {
            break;
        }
    }
    assert_eq!((whole, in_one.accesses), (pieces, memory.accesses));
}

/// The other decoder must see the same instruction with its operand at `(scratch)`, and no other
/// use of the scratch register.
fn check_copy(redirect: &Redirect, bytes: &[u8]) {
    let read = |bytes| Decoder::new(64, bytes, DecoderOptions::NONE).decode();
    let original: Instruction = read(bytes);
    if original.is_invalid() {
        return;
    }
    let code = &redirect.code[..redirect.length.into()];
    let copy: Instruction = read(code);
    let shown = || format!("{original} {bytes:02x?} as {copy} {code:02x?}");
    assert_eq!(copy.code(), original.code(), "{}", shown());
    assert_eq!(copy.len(), code.len(), "{}", shown());
    let base = copy.memory_base();
    assert!(base.is_gpr64() && base.number() == redirect.scratch as usize, "{}", shown());
    assert!(!matches!(redirect.scratch, Gpr::Rsp | Gpr::Rbp), "{}", shown());
    assert!(copy.memory_index() == Register::None && copy.memory_displacement64() == 0, "{}", shown());
    assert_eq!(copy.segment_prefix(), Register::None, "{}", shown());
    assert_eq!(copy.op_mask(), original.op_mask(), "{}", shown());
    assert_eq!(copy.is_broadcast(), original.is_broadcast(), "{}", shown());
    for operand in 0..copy.op_count() {
        match copy.op_kind(operand) {
            OpKind::Register => {
                let register = copy.op_register(operand);
                assert_eq!(register, original.op_register(operand), "{}", shown());
                let clash = register.is_gpr() && register.full_register() == base;
                assert!(!clash && register.full_register() != Register::RSP, "{}", shown());
            }
            OpKind::Memory => assert_eq!(original.op_kind(operand), OpKind::Memory, "{}", shown()),
            _ => assert_eq!(copy.immediate(operand), original.immediate(operand), "{}", shown()),
        }
    }
}
