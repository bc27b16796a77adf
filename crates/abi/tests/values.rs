//! What files and the two sides of the device agree on: a new value may come, and none may change.

use trapline_abi::{Flags, RECORD_SIZE, RING_CONTROL_SIZE, RingGeometry};

#[test]
fn each_flag_of_a_record_keeps_its_bit() {
    let of_accesses = [
        Flags::WRITE,
        Flags::MODIFY,
        Flags::LOCKED,
        Flags::STRING,
        Flags::SUPPLIED,
        Flags::DROPPED,
        Flags::UNKNOWN,
        Flags::INTERRUPT,
    ];
    assert_eq!(of_accesses, [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80]);
    assert_eq!(Flags::CLOSED, 0x04, "of faults, which are never locked");
}

#[test]
fn rings_lie_one_behind_the_other_each_after_its_control_page() {
    let geometry = RingGeometry { rings: 4, reserved: 0, capacity: 512 };
    let one = RING_CONTROL_SIZE + 512 * RECORD_SIZE;
    assert_eq!([0, 1, 3, 4].map(|ring| geometry.offset(ring)), [0, one, 3 * one, 4 * one]);
}
