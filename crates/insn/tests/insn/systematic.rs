//! Both decoders on every form of instruction there is, and on random bytes.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use trapline_insn::{Gpr, Method, Registers};

use crate::agreement::{Agreement, compare};
use crate::anything;
use crate::forms::{self, Place};

pub(crate) fn random_registers(rng: &mut Rng) -> Registers {
    let mut registers = Registers { rip: 0x40_1000, rflags: 2, ..Registers::default() };
    for register in Gpr::ALL {
        registers.set(register, rng.u64(..));
    }
    // Repeated strings of no element, under 32-bit addressing or always.
    match rng.u8(..8) {
        0 => registers.rcx = 0,
        1 => registers.rcx &= !0xffff_ffff,
        _ => {}
    }
    registers
}

#[test]
fn both_decoders_agree_on_every_form_of_instruction() {
    let mut rng = Rng::with_seed(crate::seed());
    let mut wrong = BTreeMap::new();
    let mut tally = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for code in forms::all() {
        for _ in 0..64 {
            let registers = random_registers(&mut rng);
            let place = Place { rip: registers.rip, target: 0x50_0000 + u64::from(rng.u32(..0x10_0000)) };
            let Some((_, bytes)) = forms::random(code, &mut rng, place) else { continue };
            anything::check(&bytes, &registers, rng.u64(..));
            match compare(&bytes, &registers) {
                Ok(Agreement::Unknown) => {
                    unknown.insert(format!("{:?}", code.cpuid_features()));
                }
                Ok(agreement) => *tally.entry(format!("{agreement:?}")).or_insert(0u32) += 1,
                Err(why) => {
                    let (count, _) =
                        wrong.entry(format!("{code:?}")).or_insert((0, format!("{bytes:02x?} {why}")));
                    *count += 1;
                }
            }
        }
    }
    println!("{tally:?}\nunknown to yaxpeax-x86, so stepped: {unknown:?}");
    for (code, (count, first)) in &wrong {
        println!("{code}: {count} times, first {first}");
    }
    assert!(wrong.is_empty(), "{} forms disagree", wrong.len());
    // That the comparison compared: both ways of performing, tens of thousands of times.
    assert!(tally[&format!("{:?}", Agreement::Full(Method::Emulate))] > 20_000);
    assert!(tally[&format!("{:?}", Agreement::Full(Method::Redirect))] > 100_000);
}

#[test]
fn random_bytes_never_panic_and_both_decoders_agree_on_them() {
    const PREFIXES: [u8; 12] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x64, 0x65, 0x2e, 0x3e, 0x40, 0x48, 0x4f];
    let mut rng = Rng::with_seed(crate::seed());
    let mut wrong = Vec::new();
    for _ in 0..crate::cases() {
        let mut bytes = [0; 15];
        rng.fill(&mut bytes);
        for byte in bytes.iter_mut().take(rng.usize(..4)) {
            *byte = PREFIXES[rng.usize(..PREFIXES.len())];
        }
        let registers = random_registers(&mut rng);
        anything::check(&bytes, &registers, rng.u64(..));
        if let Err(why) = compare(&bytes, &registers) {
            wrong.push(format!("{bytes:02x?} {why}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} disagreements, the first: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}
