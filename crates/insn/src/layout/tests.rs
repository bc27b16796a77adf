//! Where the parts lie, of each way to encode an instruction.

use super::*;

#[test]
fn each_encoding_has_its_map_its_opcode_and_its_operand_where_the_manual_says() {
    use Encoding::{Evex, Legacy, Vex2, Vex3};
    // Bytes, encoding, map, opcode, offset after the address.
    let cases: [(&[u8], Encoding, u8, u8, usize); 12] = [
        (&[0x8b, 0x07], Legacy, 0, 0x8b, 2),
        (&[0x66, 0x48, 0x0f, 0x6e, 0x40, 0x10], Legacy, 1, 0x6e, 6),
        (&[0x0f, 0x38, 0xf0, 0x04, 0x24], Legacy, 2, 0xf0, 5),
        (&[0x66, 0x0f, 0x3a, 0x16, 0x07, 0x01], Legacy, 3, 0x16, 5),
        (&[0xc5, 0xfe, 0x6f, 0x46, 0x20], Vex2, 1, 0x6f, 5),
        (&[0xc4, 0xe2, 0x7d, 0x2e, 0x07], Vex3, 2, 0x2e, 5),
        (&[0xc4, 0x21, 0x7c, 0x11, 0x3c, 0xb8], Vex3, 1, 0x11, 6),
        (&[0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x46, 0x01], Evex, 1, 0x6f, 7),
        (&[0x62, 0xf2, 0x7d, 0x48, 0x18, 0x05, 0, 0, 0, 0], Evex, 2, 0x18, 10),
        (&[0x62, 0xf3, 0xfd, 0x48, 0x05, 0x04, 0x25, 0, 0, 0, 0, 0x1b], Evex, 3, 0x05, 11),
        (&[0x62, 0xf5, 0x7c, 0x48, 0x58, 0x07], Evex, 5, 0x58, 6),
        (&[0x62, 0xf6, 0x7d, 0x48, 0x98, 0x87, 0, 0, 0, 0], Evex, 6, 0x98, 10),
    ];
    for (bytes, encoding, map, opcode, after) in cases {
        let layout = Layout::of(bytes).unwrap();
        assert_eq!((layout.encoding, layout.map, layout.opcode), (encoding, map, opcode), "{bytes:02x?}");
        assert_eq!(layout.after_address(bytes), Some(after), "{bytes:02x?}");
    }
}

#[test]
fn a_register_is_no_address() {
    for modrm in 0..=0xff {
        let bytes = [0x8b, modrm, 0x05, 0, 0, 0, 0];
        let after = Layout::of(&bytes).unwrap().after_address(&bytes);
        assert_eq!(after.is_none(), modrm >= 0xc0, "{modrm:#x}");
    }
}
