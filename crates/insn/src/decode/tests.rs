//! What becomes of an instruction of which the decoder says something that cannot be.

use super::*;

/// The method for `bytes` if the decoder told the width of its memory operand as `width`.
fn method_if_told(bytes: &[u8], width: u16) -> Method {
    let instruction = InstDecoder::default().decode_slice(bytes).unwrap();
    let layout = Layout::of(bytes).unwrap();
    let mut reading = Reading::new(&instruction, bytes.len() as u8, layout);
    reading.width = width;
    reading.plan(bytes).method()
}

#[test]
fn what_has_a_width_that_its_operation_cannot_have_is_not_emulated() {
    let cases: [(&str, &[u8], &[u16]); 13] = [
        ("mov (%rax), %ecx", &[0x8b, 0x08], &[1, 2, 4]),
        ("movsbl (%rax), %ecx", &[0x0f, 0xbe, 0x08], &[1, 2, 4]),
        ("mov %ecx, (%rax)", &[0x89, 0x08], &[4]),
        ("add (%rax), %cx", &[0x66, 0x03, 0x08], &[2]),
        ("lock add %rcx, (%rax)", &[0xf0, 0x48, 0x01, 0x08], &[8]),
        ("xchg %cl, (%rax)", &[0x86, 0x08], &[1]),
        ("incl (%rax)", &[0xff, 0x00], &[1, 2, 4, 8]),
        ("shll %cl, (%rax)", &[0xd3, 0x20], &[1, 2, 4, 8]),
        ("shld %cl, %ecx, (%rax)", &[0x0f, 0xa5, 0x08], &[4]),
        ("cmpxchg8b (%rax)", &[0x0f, 0xc7, 0x08], &[8, 16]),
        ("push (%rax)", &[0xff, 0x30], &[8]),
        ("popw (%rax)", &[0x66, 0x8f, 0x00], &[2]),
        ("stosl", &[0xab], &[1, 2, 4, 8]),
    ];
    for (text, bytes, possible) in cases {
        for width in 0..=65 {
            let is_emulated = method_if_told(bytes, width) == Method::Emulate;
            assert_eq!(is_emulated, possible.contains(&width), "{text} of {width} bytes");
        }
    }
}
