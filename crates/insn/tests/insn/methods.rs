//! In which way each instruction is performed: what is emulated, what is stepped though it names
//! memory, and that a copy performs all the rest.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use trapline_insn::{Method, decode};

use crate::forms::{self, Place};

/// With memory, but for the forms in [`method`]; pushes and pops also without.
const EMULATED: &str = "
    Adc Add And Bt Btc Btr Bts Cmova Cmovae Cmovb Cmovbe Cmove Cmovg Cmovge Cmovl Cmovle Cmovne
    Cmovno Cmovnp Cmovns Cmovo Cmovp Cmovs Cmp Cmpsb Cmpsd Cmpsq Cmpsw Cmpxchg Cmpxchg16b
    Cmpxchg8b Dec Imul Inc Lodsb Lodsd Lodsq Lodsw Mov Movbe Movnti Movsb Movsd Movsq Movsw
    Movsx Movsxd Movzx Mul Neg Not Or Pop Push Rcl Rcr Rol Ror Sal Sar Sbb Scasb Scasd Scasq
    Scasw Seta Setae Setb Setbe Sete Setg Setge Setl Setle Setne Setno Setnp Setns Seto Setp
    Sets Shl Shld Shr Shrd Stosb Stosd Stosq Stosw Sub Test Xadd Xchg Xor";

/// Though they name memory: they may fault on their own, transfer control, are the system's, are
/// hints, or access more than is described; or nobody uses them any more.
const STEPPED: &str = "
    Aesdecwide128kl Aesdecwide256kl Aesencwide128kl Aesencwide256kl Call Cldemote Clflush
    Clflushopt Clrssbsy Clwb Div Idiv Invept Invlpg Invpcid Invvpid Jmp Lar Lea Lfs Lgdt Lgs
    Lidt Lldt Lmsw Lsl Lss Ltr Nop Pavgusb Pf2id Pf2iw Pfacc Pfadd Pfcmpeq Pfcmpge Pfcmpgt Pfmax
    Pfmin Pfmul Pfnacc Pfpnacc Pfrcp Pfrcpit1 Pfrcpit2 Pfrsqit1 Pfrsqrt Pfsub Pfsubr Pi2fd Pi2fw
    Pmulhrw Prefetch Prefetchit0 Prefetchit1 Prefetchnta Prefetcht0 Prefetcht1 Prefetcht2
    Prefetchw Prefetchwt1 Pswapd Ptwrite Reservednop Rstorssp Sgdt Sidt Sldt Smsw Str Ud0 Ud1
    Verr Verw Vmclear Vmptrld Vmptrst Vmread Vmwrite Vmxon Wrssd Wrssq Wrussd Wrussq Xrstor
    Xrstor64 Xrstors Xrstors64 Xsave Xsave64 Xsavec Xsavec64 Xsaveopt Xsaveopt64 Xsaves Xsaves64";

/// The way in which `instruction` is to be performed.
fn method(instruction: &Instruction, emulated: &BTreeSet<&str>, stepped: &BTreeSet<&str>) -> Method {
    match instruction.code() {
        // The CPU's business: what a count above 16 makes of two bytes.
        Code::Shld_rm16_r16_imm8
        | Code::Shld_rm16_r16_CL
        | Code::Shrd_rm16_r16_imm8
        | Code::Shrd_rm16_r16_CL => {
            return by_copy(instruction);
        }
        // Vector instructions of the same name as a string instruction.
        Code::Cmpsd_xmm_xmmm64_imm8 | Code::Movsd_xmm_xmmm64 | Code::Movsd_xmmm64_xmm => {
            return by_copy(instruction);
        }
        // Segment registers.
        Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg => return by_copy(instruction),
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 => return Method::Step,
        // Makers differ on its width.
        Code::Movsxd_r16_rm16 => return Method::Step,
        _ => {}
    }
    let names_memory = (0..instruction.op_count()).any(|operand| is_memory(instruction.op_kind(operand)));
    let names_segment = instruction.op0_register().is_segment_register();
    let is_stack = matches!(instruction.mnemonic(), Mnemonic::Push | Mnemonic::Pop) && !names_segment;
    let name = format!("{:?}", instruction.mnemonic());
    if !names_memory && !is_stack || stepped.contains(name.as_str()) {
        Method::Step
    } else if emulated.contains(name.as_str()) {
        Method::Emulate
    } else {
        by_copy(instruction)
    }
}

/// No copy can have the original's %rsp.
fn by_copy(instruction: &Instruction) -> Method {
    let names_rsp = (0..instruction.op_count())
        .any(|operand| instruction.op_register(operand).full_register() == Register::RSP);
    if names_rsp { Method::Step } else { Method::Redirect }
}

const fn is_memory(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Memory
            | OpKind::MemorySegRSI
            | OpKind::MemorySegESI
            | OpKind::MemoryESRDI
            | OpKind::MemoryESEDI
            | OpKind::MemorySegRDI
            | OpKind::MemorySegEDI
    )
}

#[test]
fn every_form_is_performed_in_the_best_way_there_is_for_it() {
    let emulated: BTreeSet<_> = EMULATED.split_whitespace().collect();
    let stepped: BTreeSet<_> = STEPPED.split_whitespace().collect();
    let mut rng = fastrand::Rng::with_seed(crate::seed());
    let mut met = BTreeMap::new();
    let mut wrong = BTreeMap::new();
    let mut names = BTreeSet::new();
    for code in forms::all() {
        for _ in 0..64 {
            let place = Place { rip: 0x40_1000, target: 0x50_0000 };
            let Some((_, bytes)) = forms::random(code, &mut rng, place) else { continue };
            let Ok(plan) = decode(&bytes) else { continue };
            let instruction = Decoder::with_ip(64, &bytes, place.rip, DecoderOptions::NONE).decode();
            let expected = method(&instruction, &emulated, &stepped);
            if plan.method() != expected {
                wrong.entry(code_name(code)).or_insert_with(|| {
                    format!("{instruction} {bytes:02x?}: {:?}, not {expected:?}", plan.method())
                });
            }
            met.entry(format!("{expected:?}")).or_insert_with(BTreeSet::new).insert(code_name(code));
            names.insert(format!("{:?}", instruction.mnemonic()));
        }
    }
    for (code, why) in &wrong {
        println!("{code}: {why}");
    }
    assert!(wrong.is_empty(), "{} forms", wrong.len());
    // Each name in the lists is one of an instruction.
    let unknown: Vec<_> = emulated.union(&stepped).filter(|name| !names.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let count = |method| met[&format!("{method:?}")].len();
    let counts = (count(Method::Emulate), count(Method::Redirect));
    assert!(counts.0 > 400 && counts.1 > 1500, "{counts:?}");
}

fn code_name(code: Code) -> String {
    format!("{code:?}")
}

#[test]
fn exactly_what_a_mask_chooses_the_bytes_of_is_partial() {
    let mut rng = fastrand::Rng::with_seed(crate::seed());
    let mut partial = BTreeSet::new();
    let mut whole = BTreeSet::new();
    for code in forms::all() {
        for _ in 0..16 {
            let place = Place { rip: 0x40_1000, target: 0x50_0000 };
            let Some((instruction, bytes)) = forms::random(code, &mut rng, place) else { continue };
            let Ok(plan) = decode(&bytes) else { continue };
            if plan.method() == Method::Step {
                continue;
            }
            let expected = instruction.has_op_mask()
                || matches!(
                    instruction.mnemonic(),
                    Mnemonic::Vmaskmovps | Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovd | Mnemonic::Vpmaskmovq
                );
            assert_eq!(plan.partial(), expected, "{instruction} {bytes:02x?}");
            if expected { &mut partial } else { &mut whole }.insert(code_name(code));
        }
    }
    let counts = (partial.len(), whole.len());
    assert!(counts.0 > 500 && counts.1 > 1500, "{counts:?}");
}

#[test]
fn a_plan_tells_pushes_and_strings_that_are_emulated() {
    let mut rng = fastrand::Rng::with_seed(crate::seed());
    for code in forms::all() {
        for _ in 0..16 {
            let place = Place { rip: 0x40_1000, target: 0x50_0000 };
            let Some((instruction, bytes)) = forms::random(code, &mut rng, place) else { continue };
            let Ok(plan) = decode(&bytes) else { continue };
            let is_emulated = plan.method() == Method::Emulate;
            let pushes = is_emulated && instruction.mnemonic() == Mnemonic::Push;
            assert_eq!(plan.pushes(), pushes, "{instruction} {bytes:02x?}");
            let is_string = is_emulated && instruction.is_string_instruction();
            assert_eq!(plan.is_string(), is_string, "{instruction} {bytes:02x?}");
        }
    }
    // Whatever the generator made.
    assert!(decode(&[0x53]).unwrap().pushes() && decode(&[0xff, 0x30]).unwrap().pushes());
    assert!(decode(&[0xa4]).unwrap().is_string() && decode(&[0xf3, 0xab]).unwrap().is_string());
}
