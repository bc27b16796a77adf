use super::*;
use crate::record::Record;

fn read(address: u64, width: usize, value: u64) -> Access {
    Access::new(0, false, address, width, value)
}

fn write(address: u64, width: usize, value: u64) -> Access {
    Access::new(0, true, address, width, value)
}

/// Takes 4 to 8 bytes, as edu does.
fn whole(trace: &[Access], record: &[Access]) -> Comparison {
    compare(trace, record, Device::EDU, Span::Whole)
}

/// Takes 4 bytes, as e1000e does.
fn words(trace: &[Access], record: &[Access]) -> Comparison {
    compare(trace, record, Device::E1000E, Span::Whole)
}

/// Takes 1 to 8 bytes.
fn any(trace: &[Access], record: &[Access]) -> Comparison {
    compare(trace, record, Device { narrowest: 1, widest: 8 }, Span::Whole)
}

#[test]
fn a_real_record_equals_itself_however_its_cpus_are_interleaved() {
    let text = include_str!("../../tests/records/edu-4-cpus.record");
    let record = Record::parse(text.as_bytes(), |name| name == "edu-mmio").unwrap();
    let mut other: Vec<&Access> = record.accesses().collect();
    // Stable: the order within a CPU stays.
    other.sort_by_key(|access| std::cmp::Reverse(access.cpu));
    let comparison = compare(other, record.accesses(), Device::EDU, Span::Whole);
    assert!(comparison.is_equal(), "{comparison}");
    assert_eq!((comparison.equal, comparison.reshaped), (16, 0));
}

#[test]
fn every_field_counts() {
    let truth = [read(0x1000, 4, 7)];
    for lie in
        [read(0x1004, 4, 7), read(0x1000, 2, 7), read(0x1000, 8, 7), read(0x1000, 4, 8), write(0x1000, 4, 7)]
    {
        assert!(!any(std::slice::from_ref(&lie), &truth).is_equal(), "{lie}");
    }
    let elsewhere = Access { cpu: 1, ..truth[0].clone() };
    assert!(!whole(&[elsewhere], &truth).is_equal());
}

#[test]
fn order_within_a_cpu_counts() {
    let (a, b) = (write(0x1000, 4, 1), write(0x1004, 4, 2));
    assert!(!whole(&[b.clone(), a.clone()], &[a, b]).is_equal());
}

#[test]
fn a_lost_and_an_invented_access_are_found() {
    let record = [read(0, 4, 1), read(4, 4, 2), read(8, 4, 3)];
    let lost = whole(&[record[0].clone(), record[2].clone()], &record);
    assert_eq!(lost.differences[0].after, 1);
    assert!(!whole(&record[..2], &record).is_equal());
    assert!(!whole(&record, &record[..2]).is_equal());
    assert!(whole(&record[..2], &record).to_string().contains("(nothing more)"));
}

#[test]
fn a_wide_access_equals_the_pieces_that_the_device_takes() {
    let trace = [write(0x1000, 8, 0x2222_2222_1111_1111)];
    let record = [write(0x1000, 4, 0x1111_1111), write(0x1004, 4, 0x2222_2222)];
    let comparison = words(&trace, &record);
    assert!(comparison.is_equal(), "{comparison}");
    assert_eq!(comparison.reshaped, 1);
    let wrong = [record[0].clone(), write(0x1004, 4, 0x3333_3333)];
    assert!(!words(&trace, &wrong).is_equal());
    assert!(!words(&trace, &record[..1]).is_equal());
}

#[test]
fn two_accesses_traced_as_one_are_found_if_the_device_takes_the_whole() {
    let trace = [write(0x1000, 8, 0x2222_2222_1111_1111)];
    let record = [write(0x1000, 4, 0x1111_1111), write(0x1004, 4, 0x2222_2222)];
    assert!(!whole(&trace, &record).is_equal());
}

#[test]
fn a_vector_equals_its_words() {
    let bytes: Vec<u8> = (0..32).collect();
    let vector = Access { cpu: 0, write: false, address: 0x2000, bytes: bytes.clone() };
    for (widest, width) in [(8, 8), (4, 4)] {
        let piece = |(index, part): (usize, &[u8])| Access {
            address: 0x2000 + (index * width) as u64,
            bytes: part.to_vec(),
            ..vector.clone()
        };
        let record: Vec<Access> = bytes.chunks(width).enumerate().map(piece).collect();
        let device = Device { narrowest: 1, widest };
        assert!(compare([&vector], &record, device, Span::Whole).is_equal(), "pieces of {width}");
    }
}

#[test]
fn ten_bytes_of_the_floating_point_unit_are_eight_and_two() {
    let bytes: Vec<u8> = (0..10).collect();
    let trace = [Access { cpu: 0, write: true, address: 0x2000, bytes }];
    let record = [write(0x2000, 8, 0x0706_0504_0302_0100), write(0x2008, 2, 0x0908)];
    assert!(any(&trace, &record).is_equal());
}

#[test]
fn an_unaligned_access_equals_the_aligned_pieces_that_it_is_made_of() {
    let halves = [(0x1002, 2, 0x2211), (0x1004, 2, 0x4433)];
    let bytes = [(0x1001, 1, 0x11), (0x1002, 1, 0x22), (0x1003, 1, 0x33), (0x1004, 1, 0x44)];
    for make in [read, write] {
        let [halves, bytes] = [&halves[..], &bytes]
            .map(|of| of.iter().map(|&(at, width, value)| make(at, width, value)).collect::<Vec<_>>());
        assert!(any(&[make(0x1002, 4, 0x4433_2211)], &halves).is_equal());
        assert!(any(&[make(0x1001, 4, 0x4433_2211)], &bytes).is_equal());
        assert!(!any(&[make(0x1002, 4, 0x4433_2212)], &halves).is_equal());
        assert!(!any(&[make(0x1001, 4, 0x4533_2211)], &bytes).is_equal());
    }
    assert!(
        !any(&[write(0x1002, 4, 0x4433_2211)], &[read(0x1002, 2, 0x2211), read(0x1004, 2, 0x4433)])
            .is_equal()
    );
}

#[test]
fn an_access_across_pages_is_split_there_first() {
    let parts = [
        write(0x1ffb, 1, 0x11),
        write(0x1ffc, 4, 0x5544_3322),
        write(0x2000, 1, 0x66),
        write(0x2001, 1, 0x77),
        write(0x2002, 1, 0x88),
    ];
    assert!(any(&[write(0x1ffb, 8, 0x8877_6655_4433_2211)], &parts).is_equal());
}

#[test]
fn a_narrow_access_equals_the_widened_one_that_the_device_sees() {
    assert!(words(&[read(0x1000, 1, 0xed)], &[read(0x1000, 4, 0x0100_00ed)]).is_equal());
    assert!(words(&[write(0x1000, 1, 0xed)], &[write(0x1000, 4, 0xed)]).is_equal());
    assert!(!words(&[write(0x1000, 1, 0xed)], &[write(0x1000, 4, 0x01ed)]).is_equal());
    assert!(!any(&[read(0x1000, 1, 0xed)], &[read(0x1000, 4, 0x0100_00ed)]).is_equal());
}

#[test]
fn a_run_may_begin_late_and_end_early_but_has_no_hole() {
    let record: Vec<Access> = (0..10).map(|n| read(n * 4, 4, n)).collect();
    let inside = compare(&record[3..7], &record, Device::EDU, Span::Run);
    assert!(inside.is_equal(), "{inside}");
    assert_eq!((inside.equal, inside.outside), (4, 6));
    let holed: Vec<Access> = record.iter().filter(|access| access.address != 20).cloned().collect();
    assert!(!compare(&holed[3..7], &record, Device::EDU, Span::Run).is_equal());
}
