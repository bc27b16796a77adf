//! Direct branches lead where the second decoder says, and nothing else is taken for one.

use iced_x86::{Decoder, DecoderOptions, FlowControl, OpKind};
use trapline_insn::branch;

use crate::forms::{self, Place};

/// What the second decoder says, of a displacement of 32 bits.
fn expected(bytes: &[u8], at: u64) -> Option<u64> {
    let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let is_branch = matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
    );
    let is_near = instruction.op_count() == 1 && instruction.op_kind(0) == OpKind::NearBranch64;
    let size = decoder.get_constant_offsets(&instruction).immediate_size();
    (is_branch && is_near && size == 4).then(|| instruction.near_branch_target())
}

#[test]
fn a_direct_branch_leads_where_the_second_decoder_says_and_nothing_else_is_one() {
    let mut rng = fastrand::Rng::with_seed(crate::seed());
    let at = 0xffff_ffff_8100_0000;
    let mut found = 0;
    let mut check = |bytes: &[u8]| {
        let Ok((length, target)) = branch(bytes, at) else { return };
        let wanted = expected(bytes, at);
        assert_eq!(target, wanted, "{bytes:02x?}");
        assert!(wanted.is_none() || usize::from(length) <= bytes.len(), "{bytes:02x?}");
        found += usize::from(wanted.is_some());
    };
    for code in forms::all() {
        for _ in 0..5 {
            if let Some((_, bytes)) = forms::random(code, &mut rng, Place { rip: at, target: at + 0x1000 }) {
                check(&bytes);
            }
        }
    }
    // The generator makes no branches.
    for opcode in [&[0xe8][..], &[0xe9], &[0xeb], &[0xff, 0xd0], &[0xc3], &[0x48, 0xe8], &[0x2e, 0xe9]] {
        for _ in 0..100 {
            let rest: [u8; 8] = rng.u64(..).to_le_bytes();
            check(&[opcode, &rest].concat());
        }
    }
    for condition in 0x70..=0x8f {
        let rest: [u8; 8] = rng.u64(..).to_le_bytes();
        check(&[&[0x0f, condition][..], &rest].concat());
        check(&[&[condition][..], &rest].concat());
    }
    assert!(found >= 4 * 100 + 16, "only {found}");
}
