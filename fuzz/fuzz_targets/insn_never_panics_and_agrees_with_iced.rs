//! Any bytes, any registers: nothing panics, both decoders agree on length and operands, what runs
//! accesses what was announced, and a redirected copy is the same instruction. `cargo +nightly fuzz
//! run insn_never_panics_and_agrees_with_iced`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_insn::{Gpr, Registers};

#[path = "../../crates/insn/tests/insn/agreement.rs"]
mod agreement;
#[path = "../../crates/insn/tests/insn/anything.rs"]
mod anything;

fuzz_target!(|data: &[u8]| {
    let (bytes, rest) = data.split_at(data.len().min(15));
    // One byte of input makes each register: small, negative, or anything.
    let mut rest = rest.iter().copied().chain(std::iter::repeat(0x5a));
    let mut word = || match rest.next().unwrap_or(0) {
        small @ 0..=63 => u64::from(small),
        negative @ 64..=95 => u64::from(negative - 64).wrapping_neg(),
        seed => u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    };
    let mut registers = Registers { rip: 0xffff_ffff_8100_0000, rflags: word() & 0xcd5 | 2, ..Registers::default() };
    for register in Gpr::ALL {
        registers.set(register, word());
    }
    anything::check(bytes, &registers, word());
    if let Err(why) = agreement::compare(bytes, &registers) {
        panic!("{bytes:02x?} {why}");
    }
});
