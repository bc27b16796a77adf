//! Instructions that access ports are found, and nothing else is taken for one.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind, Register};
use trapline_insn::{PortAccess, PortText, port_access};

use crate::forms::{self, Place};

/// What the second decoder says.
fn expected(bytes: &[u8]) -> Option<PortAccess> {
    let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
    let (is_write, is_text) = match instruction.mnemonic() {
        Mnemonic::In => (false, false),
        Mnemonic::Out => (true, false),
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => (false, true),
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => (true, true),
        _ => return None,
    };
    let width = match instruction.mnemonic() {
        Mnemonic::Insb | Mnemonic::Outsb => 1,
        Mnemonic::Insw | Mnemonic::Outsw => 2,
        Mnemonic::Insd | Mnemonic::Outsd => 4,
        _ => instruction.op_register(u32::from(is_write)).size() as u8,
    };
    let names_port =
        (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Immediate8);
    let memory = u32::from(is_write);
    Some(PortAccess {
        is_write,
        width,
        port: names_port.then(|| instruction.immediate8()),
        text: is_text.then(|| PortText {
            is_repeated: instruction.has_rep_prefix() || instruction.has_repne_prefix(),
            is_plain: matches!(instruction.op_kind(memory), OpKind::MemorySegRSI)
                && !matches!(instruction.memory_segment(), Register::FS | Register::GS)
                || matches!(instruction.op_kind(0), OpKind::MemoryESRDI),
        }),
    })
}

#[test]
fn every_form_that_accesses_a_port_is_known_and_no_other() {
    let mut rng = fastrand::Rng::with_seed(crate::seed());
    let place = Place { rip: 0x10_0000, target: 0x20_0000 };
    let mut found = 0;
    for code in forms::all() {
        for _ in 0..20 {
            let Some((_, bytes)) = forms::random(code, &mut rng, place) else { continue };
            let Ok((length, access)) = port_access(&bytes) else { continue };
            let wanted = expected(&bytes);
            assert_eq!(access, wanted, "{bytes:02x?}");
            assert!(wanted.is_none() || usize::from(length) == bytes.len(), "{bytes:02x?}");
            found += usize::from(wanted.is_some());
        }
    }
    // Three forms each of INS and OUTS. The generator makes none of IN and OUT, whose operands are
    // fixed.
    assert!(found >= 6 * 10, "only {found}");
    for opcode in [0xe4..=0xe7u8, 0xec..=0xef].into_iter().flatten() {
        for prefix in [&[][..], &[0x66], &[0x48], &[0x66, 0x48], &[0x66, 0x41]] {
            let names_port = opcode < 0xe8;
            let mut bytes = prefix.to_vec();
            bytes.push(opcode);
            bytes.extend(names_port.then_some(0x8f));
            let (length, access) = port_access(&bytes).expect("an instruction");
            assert_eq!(usize::from(length), bytes.len(), "{bytes:02x?}");
            assert!(access.is_some() && access == expected(&bytes), "{bytes:02x?}: {access:?}");
        }
    }
}

#[test]
fn prefixes_are_read() {
    for (bytes, is_repeated, is_plain, width) in [
        (&[0xf3, 0x6c][..], true, true, 1),
        (&[0xf3, 0x66, 0x6d], true, true, 2),
        (&[0xf3, 0x48, 0x6f], true, true, 4),
        (&[0x6e], false, true, 1),
        (&[0x65, 0xf3, 0x6f], true, false, 4),
        (&[0x67, 0x6d], false, false, 4),
    ] {
        let (length, access) = port_access(bytes).expect("an instruction");
        let access = access.expect("a port");
        assert_eq!(usize::from(length), bytes.len());
        assert_eq!((access.text, access.width), (Some(PortText { is_repeated, is_plain }), width));
        assert_eq!(Some(access), expected(bytes), "{bytes:02x?}");
    }
    let of = |bytes: &[u8]| port_access(bytes).map(|(_, access)| access.and_then(|access| access.port));
    assert_eq!(of(&[0xe6, 0x80]), Ok(Some(0x80)));
    assert_eq!(of(&[0x66, 0xe5, 0xff]), Ok(Some(0xff)));
    assert_eq!(of(&[0xec]), Ok(None));
}
