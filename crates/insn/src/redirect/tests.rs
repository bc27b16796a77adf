//! What may be copied, whatever the decoder says of its accesses.

use super::*;

fn may_be_copied(bytes: &[u8]) -> bool {
    is_redirectable(&Layout::of(bytes).unwrap(), bytes)
}

#[test]
fn of_group_15_only_what_loads_and_stores_vector_and_control_state_may_be_copied() {
    for modrm in 0..=0xff {
        let group = (modrm & 0x38) / 8;
        assert_eq!(may_be_copied(&[0x0f, 0xae, modrm, 0, 0, 0, 0]), group < 4, "{modrm:#x}");
    }
}

#[test]
fn tiles_may_not_be_copied() {
    // ldtilecfg and tileloadd, and a neighbour of theirs.
    assert!(!may_be_copied(&[0xc4, 0xe2, 0x78, 0x49, 0x00]));
    assert!(!may_be_copied(&[0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0x00]));
    assert!(may_be_copied(&[0xc4, 0xe2, 0x79, 0x47, 0x00]));
}
