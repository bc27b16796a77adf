//! Emulated instructions equal the CPU's: all registers, flags and memory.

use std::collections::BTreeMap;

use fastrand::Rng;
use iced_x86::{Instruction, Mnemonic};
use trapline_insn::{Gpr, Memory, Method, Progress, Registers, Segment, decode};

use crate::forms::{self, Place};
use crate::machine::{ARENA, Machine};
use crate::steer::{Steered, steer};
use crate::undefined;

/// A copy of the arena, for the emulated run.
struct Copy {
    base: u64,
    bytes: Box<[u8; ARENA]>,
    fs_base: u64,
    gs_base: u64,
}

impl Copy {
    fn span(&mut self, address: u64, width: u8) -> Result<&mut [u8], String> {
        let offset = address.wrapping_sub(self.base) as usize;
        let end = offset.wrapping_add(width.into());
        self.bytes.get_mut(offset..end).ok_or_else(|| format!("access of {width} bytes at {address:#x}"))
    }
}

impl Memory for Copy {
    type Fault = String;

    fn read(&mut self, address: u64, width: u8) -> Result<u64, String> {
        let mut value = [0; 8];
        value[..width.into()].copy_from_slice(self.span(address, width)?);
        Ok(u64::from_le_bytes(value))
    }

    fn write(&mut self, address: u64, width: u8, value: u64) -> Result<(), String> {
        self.span(address, width)?.copy_from_slice(&value.to_le_bytes()[..width.into()]);
        Ok(())
    }

    fn update(
        &mut self,
        address: u64,
        width: u8,
        _locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, String> {
        let span = self.span(address, width)?;
        let mut value = [0; 16];
        value[..width.into()].copy_from_slice(span);
        let old = u128::from_le_bytes(value);
        span.copy_from_slice(&compute(old).to_le_bytes()[..width.into()]);
        Ok(old)
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Fs => self.fs_base,
            Segment::Gs => self.gs_base,
        }
    }
}

const STATUS: u64 = 0x8d5;
const DIRECTION: u64 = 0x400;

#[test]
fn emulated_instructions_equal_the_cpu() {
    let cases = crate::cases();
    let mut rng = Rng::with_seed(crate::seed());
    let mut machine = Machine::new(false);
    let codes: Vec<_> = forms::all().filter(|code| emulated(*code, &mut rng)).collect();
    let mut done = BTreeMap::new();
    let mut wrong = BTreeMap::new();
    let mut copy = Copy {
        base: machine.arena(),
        bytes: Box::new([0; ARENA]),
        fs_base: machine.segment_base(Segment::Fs),
        gs_base: machine.segment_base(Segment::Gs),
    };
    rng.fill(machine.arena_bytes());
    let mut run = 0;
    while run < cases {
        let code = codes[(run % codes.len() as u64) as usize];
        // Now and then a prefix without meaning comes first.
        let prefix = [0x2e, 0x3e, 0x26, 0x36].get(rng.usize(..32));
        let target = machine.arena() + 1024 + rng.u64(..ARENA as u64 - 2048);
        let place = Place { rip: machine.rip() + u64::from(prefix.is_some()), target };
        let Some((instruction, mut bytes)) = forms::random(code, &mut rng, place) else { continue };
        if let Some(prefix) = prefix {
            bytes.insert(0, *prefix);
        }
        if bytes.len() > 15 {
            continue;
        }
        let Some((registers, _)) = prepare(&instruction, &mut machine, &mut rng) else { continue };
        copy.bytes.copy_from_slice(machine.arena_bytes());
        run += 1;
        match compare(&instruction, &bytes, registers, &mut machine, &mut copy, &mut rng) {
            Ok(()) => *done.entry(format!("{:?}", instruction.mnemonic())).or_insert(0u64) += 1,
            Err(why) => {
                wrong
                    .entry(format!("{code:?}"))
                    .or_insert_with(|| format!("{instruction} {bytes:02x?} on {registers:x?}: {why}"));
            }
        }
    }
    println!("{run} cases of {} forms: {done:?}", codes.len());
    for (code, why) in &wrong {
        println!("{code}: {why}");
    }
    assert!(wrong.is_empty(), "{} forms differ from the CPU", wrong.len());
    assert!(codes.len() > 400 && done.len() > 80, "{} forms, {} instructions", codes.len(), done.len());
}

/// Whether this crate emulates that form.
fn emulated(code: iced_x86::Code, rng: &mut Rng) -> bool {
    let place = Place { rip: 0x1000, target: 0x2000 };
    (0..64).any(|_| {
        forms::random(code, rng, place)
            .is_some_and(|(_, bytes)| decode(&bytes).is_ok_and(|plan| plan.method() == Method::Emulate))
    })
}

/// Registers and memory under which `instruction` stays inside the arena.
fn prepare(instruction: &Instruction, machine: &mut Machine, rng: &mut Rng) -> Option<(Registers, Steered)> {
    let mut registers = Registers { rip: machine.rip(), ..Registers::default() };
    for register in Gpr::ALL {
        registers.set(register, interesting(rng));
    }
    registers.rflags = rng.u64(..) & STATUS | 2 | if rng.bool() { DIRECTION } else { 0 };
    let alignment = if instruction.mnemonic() == Mnemonic::Cmpxchg16b { 16 } else { 1 };
    let steered = steer(instruction, &mut registers, machine, alignment, rng)?;
    let at = (steered.target - machine.arena()) as usize;
    let (low, high) = (registers.get(Gpr::Rax), registers.get(Gpr::Rdx));
    let arena = machine.arena_bytes();
    for byte in &mut arena[at - 16..at + 32] {
        *byte = rng.u8(..);
    }
    if rng.bool() {
        let value = interesting(rng).to_le_bytes();
        arena[at..at + 8].copy_from_slice(&value);
    }
    // Half of the compare-and-exchanges succeed.
    if rng.bool() {
        match instruction.mnemonic() {
            Mnemonic::Cmpxchg8b => {
                arena[at..at + 4].copy_from_slice(&low.to_le_bytes()[..4]);
                arena[at + 4..at + 8].copy_from_slice(&high.to_le_bytes()[..4]);
            }
            Mnemonic::Cmpxchg | Mnemonic::Cmpxchg16b => {
                arena[at..at + 8].copy_from_slice(&low.to_le_bytes());
                arena[at + 8..at + 16].copy_from_slice(&high.to_le_bytes());
            }
            _ => {}
        }
    }
    // Strings of few different bytes, so that comparisons go on for a while.
    if instruction.is_string_instruction() {
        let other = (steered.other - machine.arena()) as usize;
        let alphabet = rng.u8(1..4);
        let arena = machine.arena_bytes();
        for from in [at, other] {
            for byte in &mut arena[from - 512..from + 512] {
                *byte = rng.u8(..alphabet) / (alphabet - 1).max(1) * 0x81;
            }
        }
        if rng.bool() {
            registers.set(Gpr::Rax, [0, 0x81, 0x8181, 0x8181_8181, 0x8181_8181_8181_8181][rng.usize(..5)]);
        }
    }
    Some((registers, steered))
}

fn compare(
    instruction: &Instruction,
    bytes: &[u8],
    before: Registers,
    machine: &mut Machine,
    copy: &mut Copy,
    rng: &mut Rng,
) -> Result<(), String> {
    let plan = decode(bytes).map_err(|error| error.to_string())?;
    let mut native = before;
    // SAFETY: only forms that this crate emulates come here: they compute and access memory, all of
    // it in the arena as `steer` saw to; divisions, which may fault, are not among them. Flags are
    // status flags and DF.
    unsafe { machine.run(bytes, &mut native) };
    if plan.method() != Method::Emulate {
        return Err(format!("{:?}", plan.method()));
    }
    let mut emulated = before;
    let limit = rng.u32(1..9);
    let mut rounds = 0;
    loop {
        rounds += 1;
        match plan.execute(&mut emulated, copy, limit)? {
            Progress::Done => break,
            Progress::More if rounds < 1000 && emulated.rip == before.rip => {}
            progress => return Err(format!("{progress:?} after {rounds} rounds")),
        }
    }
    let mut differences = String::new();
    // A repeated string with a 32-bit count of 0 does nothing; whether it clears the upper halves
    // of its registers the manual does not say, and CPUs differ.
    let halves = has_rep_prefix(instruction) && bytes.contains(&0x67) && before.get(Gpr::Rcx) as u32 == 0;
    let unspecified = |register| halves && matches!(register, Gpr::Rcx | Gpr::Rsi | Gpr::Rdi);
    for register in Gpr::ALL {
        let (ours, theirs) = (emulated.get(register), native.get(register));
        let same = if unspecified(register) { ours as u32 == theirs as u32 } else { ours == theirs };
        if !same {
            differences += &format!("{register:?} {ours:#x}, the CPU says {theirs:#x}; ");
        }
    }
    let defined = (STATUS | DIRECTION) & !undefined::flags(instruction, &before);
    let (ours, theirs) = (emulated.rflags & defined, native.rflags & defined);
    if ours != theirs {
        differences += &format!("flags {ours:#x}, the CPU says {theirs:#x}; ");
    }
    if emulated.rip != native.rip {
        differences += &format!("rip {:#x}, not {:#x}; ", emulated.rip, native.rip);
    }
    let theirs = machine.arena_bytes();
    if copy.bytes.as_slice() != theirs {
        let at = copy.bytes.iter().zip(theirs.iter()).position(|(ours, theirs)| ours != theirs).unwrap_or(0);
        let end = (at + 16).min(ARENA);
        differences += &format!(
            "memory at {at:#x} {:02x?}, the CPU says {:02x?}; ",
            &copy.bytes[at..end],
            &theirs[at..end]
        );
    }
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

fn has_rep_prefix(instruction: &Instruction) -> bool {
    instruction.is_string_instruction() && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
}

pub(crate) fn interesting(rng: &mut Rng) -> u64 {
    match rng.u8(..8) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << rng.u32(..64),
        3 => (1 << rng.u32(..64)) - 1,
        4 => rng.u64(..256),
        5 => rng.i8(..) as u64,
        _ => rng.u64(..),
    }
}

#[test]
fn the_harness_runs_instructions_and_sees_their_effects() {
    let mut machine = Machine::new(false);
    let mut registers = Registers { rip: machine.rip(), rflags: 2, ..Registers::default() };
    registers.set(Gpr::R9, machine.arena() + 64);
    registers.set(Gpr::Rcx, 5);
    machine.arena_bytes()[64] = 0xff;
    // SAFETY: `add %cl, (%r9)` with %r9 in the arena.
    unsafe { machine.run(&[0x41, 0x00, 0x09], &mut registers) };
    assert_eq!(machine.arena_bytes()[64], 4);
    assert_eq!(registers.rflags & STATUS, 0x11, "carry and auxiliary carry");
    assert_eq!(registers.rip, machine.rip() + 3);
}
