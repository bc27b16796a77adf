//! Redirected copies do what their originals do: vector and x87 state, general registers, flags and
//! memory.

use std::collections::BTreeMap;

use fastrand::Rng;
use iced_x86::{Code, CpuidFeature, Instruction, Mnemonic};
use trapline_insn::{Direction, Gpr, Registers, decode};

use crate::cpu::interesting;
use crate::forms::{self, Place};
use crate::machine::{ARENA, Machine, STATE};
use crate::steer::steer;

const STATUS: u64 = 0x8d5;
const ALIGNMENT: u64 = 64;

#[test]
fn redirected_copies_equal_their_originals_on_the_cpu() {
    if !is_x86_feature_detected!("avx") {
        println!("no AVX, hence no xsave of vector state: nothing compared");
        return;
    }
    // Each takes longer than an emulated case, and there are fewer ways to be wrong.
    let cases = crate::cases() / 4;
    let mut rng = Rng::with_seed(crate::seed());
    let mut machine = Machine::new(true);
    let codes: Vec<_> = forms::all().filter(|code| can_run(*code)).collect();
    let mut done = BTreeMap::new();
    let mut wrong = BTreeMap::new();
    let (mut tried, mut run) = (0u64, 0u64);
    while run < cases {
        let code = codes[(tried % codes.len() as u64) as usize];
        tried += 1;
        let target = machine.arena() + 1024 + rng.u64(..ARENA as u64 - 2048);
        let place = Place { rip: machine.rip(), target: target & !(ALIGNMENT - 1) };
        let Some((instruction, bytes)) = forms::random(code, &mut rng, place) else { continue };
        match compare(&instruction, &bytes, &mut machine, &mut rng) {
            Ok(false) => {}
            Ok(true) => {
                run += 1;
                *done.entry(format!("{code:?}")).or_insert(0u64) += 1;
            }
            Err(why) => {
                run += 1;
                wrong
                    .entry(format!("{code:?}"))
                    .or_insert_with(|| format!("{instruction} {bytes:02x?}: {why}"));
            }
        }
    }
    println!("{run} copies of {} forms", done.len());
    for (code, why) in &wrong {
        println!("{code}: {why}");
    }
    assert!(wrong.is_empty(), "{} forms differ from their originals", wrong.len());
    assert!(done.len() > 700, "{} forms", done.len());
}

/// Runs original and copy and compares; false where this instruction is not one to redirect or
/// cannot be steered.
fn compare(
    instruction: &Instruction,
    bytes: &[u8],
    machine: &mut Machine,
    rng: &mut Rng,
) -> Result<bool, String> {
    // What the decoder does not know is stepped.
    let Ok(plan) = decode(bytes) else { return Ok(false) };
    let Some(redirect) = plan.redirect(bytes) else { return Ok(false) };
    let mut before = Registers { rip: machine.rip(), ..Registers::default() };
    for register in Gpr::ALL {
        before.set(register, interesting(rng));
    }
    before.rflags = rng.u64(..) & STATUS | 2;
    let Some(steered) = steer(instruction, &mut before, machine, ALIGNMENT, rng) else { return Ok(false) };
    let at = (steered.target - machine.arena()) as usize;
    // The copy's operand lies somewhere else in the arena.
    let elsewhere = (at + 2048 + 64 * rng.usize(..32)) % (ARENA - 1024);
    let width = usize::from(redirect.width);
    rng.fill(machine.arena_bytes());
    machine.randomise_state(rng);
    let image = calm_image(instruction, machine);
    machine.arena_bytes()[at..at + image.len()].copy_from_slice(&image);
    let start = *machine.arena_bytes();

    let mut original = before;
    // SAFETY: forms of vector, x87 and bit instructions with exceptions masked and one operand in
    // the arena, aligned; none changes control flow.
    unsafe { machine.run(bytes, &mut original) };
    let original_state = *machine.state_out();
    let original_arena = *machine.arena_bytes();

    *machine.arena_bytes() = start;
    let (from, to) = (at..at + width, elsewhere..elsewhere + width);
    machine.arena_bytes().copy_within(from.clone(), to.start);
    let copied = *machine.arena_bytes();
    machine.state_out().fill(0);
    let mut copy = before;
    copy.set(redirect.scratch, machine.arena() + elsewhere as u64);
    // SAFETY: the same instruction with its operand elsewhere in the arena, if the copy is right;
    // that is what is tested.
    unsafe { machine.run(&redirect.code[..redirect.length.into()], &mut copy) };

    let mut expected_arena = copied;
    expected_arena[to.clone()].copy_from_slice(&original_arena[from.clone()]);
    let mut expected_original = start;
    expected_original[from.clone()].copy_from_slice(&original_arena[from.clone()]);
    let mut differences = String::new();
    if original_arena != expected_original {
        differences += &format!("the original writes beyond the {width} bytes; ");
    }
    if redirect.direction == Direction::Read && original_arena != start {
        differences += "the original writes what is said to be read; ";
    }
    if !stores_pointers(instruction) && *machine.arena_bytes() != expected_arena {
        differences += "memory differs; ";
    }
    if original.get(redirect.scratch) != before.get(redirect.scratch) {
        differences += "the original changes the scratch register; ";
    }
    for register in Gpr::ALL.into_iter().filter(|register| *register != redirect.scratch) {
        if original.get(register) != copy.get(register) {
            differences += &format!("{register:?} differs; ");
        }
    }
    if (original.rflags ^ copy.rflags) & STATUS != 0 {
        differences += "flags differ; ";
    }
    if let Some(at) = differing_state(&original_state, machine.state_out()) {
        differences += &format!("state differs at {at}; ");
    }
    if differences.is_empty() { Ok(true) } else { Err(format!("{differences}{redirect:02x?}")) }
}

/// The first byte of state that differs, but for the x87 opcode and pointers (bytes 6 to 23), which
/// hold addresses of code and operand.
fn differing_state(one: &[u8; STATE], other: &[u8; STATE]) -> Option<usize> {
    (0..STATE).filter(|at| !(6..24).contains(at)).find(|at| one[*at] != other[*at])
}

/// Instructions that store those pointers.
fn stores_pointers(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Fxsave | Mnemonic::Fxsave64 | Mnemonic::Fnsave | Mnemonic::Fnstenv
    )
}

/// What instructions that load control state find: nothing that unmasks an exception.
fn calm_image(instruction: &Instruction, machine: &mut Machine) -> Vec<u8> {
    match instruction.mnemonic() {
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => machine.state_in()[..512].to_vec(),
        Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => 0x5f80_u32.to_le_bytes().to_vec(),
        Mnemonic::Fldcw | Mnemonic::Fldenv | Mnemonic::Frstor => {
            let mut image = vec![0; 28];
            image[..2].copy_from_slice(&0x037f_u16.to_le_bytes());
            image
        }
        _ => Vec::new(),
    }
}

/// Whether this CPU has the form; only features listed here count as known.
fn can_run(code: Code) -> bool {
    macro_rules! has {
        ($feature:tt) => {
            is_x86_feature_detected!($feature)
        };
    }
    code.cpuid_features().iter().all(|feature| match feature {
        CpuidFeature::INTEL8086
        | CpuidFeature::INTEL386
        | CpuidFeature::X64
        | CpuidFeature::FPU
        | CpuidFeature::FPU287
        | CpuidFeature::FPU387
        | CpuidFeature::CMOV
        | CpuidFeature::MMX
        | CpuidFeature::SSE
        | CpuidFeature::SSE2
        | CpuidFeature::FXSR => true,
        CpuidFeature::SSE3 => has!("sse3"),
        CpuidFeature::SSSE3 => has!("ssse3"),
        CpuidFeature::SSE4_1 => has!("sse4.1"),
        CpuidFeature::SSE4_2 => has!("sse4.2"),
        CpuidFeature::POPCNT => has!("popcnt"),
        CpuidFeature::LZCNT => has!("lzcnt"),
        CpuidFeature::BMI1 => has!("bmi1"),
        CpuidFeature::BMI2 => has!("bmi2"),
        CpuidFeature::ADX => has!("adx"),
        CpuidFeature::AES => has!("aes"),
        CpuidFeature::PCLMULQDQ => has!("pclmulqdq"),
        CpuidFeature::SHA => has!("sha"),
        CpuidFeature::AVX => has!("avx"),
        CpuidFeature::AVX2 => has!("avx2"),
        CpuidFeature::FMA => has!("fma"),
        CpuidFeature::F16C => has!("f16c"),
        CpuidFeature::GFNI => has!("gfni"),
        CpuidFeature::VAES => has!("vaes"),
        CpuidFeature::VPCLMULQDQ => has!("vpclmulqdq"),
        CpuidFeature::AVX512F => has!("avx512f"),
        CpuidFeature::AVX512BW => has!("avx512bw"),
        CpuidFeature::AVX512CD => has!("avx512cd"),
        CpuidFeature::AVX512DQ => has!("avx512dq"),
        CpuidFeature::AVX512VL => has!("avx512vl"),
        CpuidFeature::AVX512_IFMA => has!("avx512ifma"),
        CpuidFeature::AVX512_VBMI => has!("avx512vbmi"),
        CpuidFeature::AVX512_VBMI2 => has!("avx512vbmi2"),
        CpuidFeature::AVX512_VNNI => has!("avx512vnni"),
        CpuidFeature::AVX512_BITALG => has!("avx512bitalg"),
        CpuidFeature::AVX512_VPOPCNTDQ => has!("avx512vpopcntdq"),
        CpuidFeature::AVX512_BF16 => has!("avx512bf16"),
        _ => false,
    })
}
