//! DMA, from records to every format and back from a file.

use crate::kind::{
    Each, assert_aligned, assert_drawn_and_refused, assert_fields, assert_says, human, lines, merged, report,
    task, through_a_file,
};
use crate::sense::told;
use trapline_abi::{
    DMA_FAILED, DmaDirection, DmaOp, DmaPayload, Flags, Kind, MAX_DMA_DATA, MAX_DMA_FRAMES, PciFunction,
    Record,
};
use trapline_trace::{DmaCall, Header, Mapped, Merge, Names, Site, Source, Totals, What};

/// With five levels of page tables, whose kernel begins lower than that of four.
const LINEAR: u64 = 0xff11_0001_0234_5000;

fn header() -> Header {
    let mapped = Mapped {
        devices: vec!["0000:00:02.0".into()],
        data: 20,
        not_followed: vec!["dma_map_phys()".into(), "freeing (dma_free_attrs())".into()],
    };
    Header { sources: vec![Source::Dma(mapped)], ..Header::default() }
}

fn payload(op: DmaOp, direction: DmaDirection, dma: u64, cpu: u64, size: u32) -> DmaPayload {
    let (op, direction) = (op as u8, direction as u8);
    let device = PciFunction::new(0, 0, 2, 0);
    DmaPayload { device, op, direction, dma, cpu, size, piece: 0, pieces: 0 }
}

/// A call as the module records it.
fn call(time: u64, payload: DmaPayload, frames: &[u64], data: &[u8]) -> Vec<Record> {
    let mut stack = [0; MAX_DMA_FRAMES];
    stack[..frames.len()].copy_from_slice(frames);
    let mut words = Vec::new();
    if !frames.is_empty() || !data.is_empty() {
        words.extend(stack);
    }
    for part in data.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        words.push(u64::from_le_bytes(word));
    }
    let first = Record {
        time,
        kind: Kind::Dma as u8,
        width: data.len() as u8,
        more: words.len().div_ceil(4) as u8,
        task: 80,
        payload: payload.to_words(),
        ..Record::EMPTY
    };
    let more = words.chunks(4).map(|part| {
        let mut payload = [0; 4];
        payload[..part.len()].copy_from_slice(part);
        Record { kind: Kind::More as u8, payload, ..Record::EMPTY }
    });
    [first].into_iter().chain(more).collect()
}

const PACKET: [u8; 20] = *b"\x52\x54\x00\x12\x34\x56rest of a fram";

/// Everything that can be done to a buffer; a scatter list, a call that fails, and one that takes
/// back what a failed one returned.
fn records() -> Vec<Record> {
    use DmaDirection::{Both, FromDevice, None, ToDevice};
    use DmaOp::{Alloc, Free, Map, SyncForCpu, SyncForDevice, Unmap};
    let piece = |piece, dma| DmaPayload {
        piece,
        pieces: 2,
        ..payload(Map, FromDevice, dma, 0x9000 + u64::from(piece) * 0x1000, 4096)
    };
    let calls = [
        (payload(Alloc, None, 0x1_0000_0000, LINEAR, 4096), &[0x11, 0x12][..], &[][..]),
        (payload(Map, ToDevice, 0x1234_5000, 0x1234_5000, 1514), &[0x13], &PACKET),
        (payload(SyncForCpu, FromDevice, 0x2000_0000, 0, 2048), &[], &PACKET[..16]),
        (payload(SyncForDevice, Both, 0x2000_0000, 0, 2048), &[], &[]),
        (piece(0, 0xffff_f000), &[0x14, 0x12], &[]),
        (piece(1, 0xffff_e000), &[0x14, 0x12], &[]),
        (payload(Unmap, ToDevice, 0x1234_5000, 0, 1514), &[0x15], &[]),
        (payload(Map, ToDevice, DMA_FAILED, 0x7000, 64), &[0x13], &[]),
        (payload(Free, FromDevice, 0x5000, 0x5000, 8192), &[0x15], &[]),
        (payload(Unmap, ToDevice, DMA_FAILED, 0, 64), &[0x15], &[]),
    ];
    let mut records = vec![task("ping")];
    for ((payload, frames, data), number) in calls.into_iter().zip(0..) {
        records.extend(call(1_000_000_000 + number * 1000, payload, frames, data));
    }
    records
}

/// Names the functions as a kernel would.
fn named(call: &mut DmaCall<'_>) {
    for frame in &mut call.stack {
        let (function, module) = match frame.ip {
            0x11 => ("dma_pool_alloc", None),
            0x12 => ("e1000_probe", Some("e1000e")),
            0x13 => ("e1000_xmit_frame", Some("e1000e")),
            0x14 => ("ata_qc_issue", None),
            _ => ("e1000_clean", Some("e1000e")),
        };
        frame.site = Some(Site { function, offset: 0x5e, module });
    }
}

fn of(records: &[Record], each: Each<'_>) {
    let names = Names::default();
    merged(Merge::new(1), records, |mut event| {
        if let What::Dma(call) = &mut event.what {
            named(call);
        }
        each(&names.name(event));
    });
}

fn events(each: Each<'_>) {
    of(&records(), each);
}

#[test]
fn a_call_is_a_line_in_the_columns_of_accesses() {
    let text = human(Names::default(), events);
    let site = "e1000_clean+0x5e [e1000e]";
    let data = "52 54 00 12 34 56 72 65 73 74 20 6f 66 20 61 20";
    let expected = [
        format!("alloc 4,096 bytes ping-80 e1000_probe+0x5e [e1000e] linear {LINEAR:#x}"),
        format!("map to device 1,514 bytes ping-80 e1000_xmit_frame+0x5e [e1000e] {data} …"),
        format!("sync for cpu 2,048 bytes ping-80 from device {data}"),
        "sync for device 2,048 bytes ping-80 both ways".into(),
        "map from device 4,096 bytes ping-80 ata_qc_issue+0x5e for e1000_probe+0x5e [e1000e] 1/2 phys 0x9000"
            .into(),
        "map from device 4,096 bytes ping-80 ata_qc_issue+0x5e for e1000_probe+0x5e [e1000e] 2/2 phys 0xa000"
            .into(),
        format!("unmap to device 1,514 bytes ping-80 {site}"),
        "map to device 64 bytes ping-80 e1000_xmit_frame+0x5e [e1000e] FAILED: the device was given nothing"
            .into(),
        format!("free 8,192 bytes ping-80 {site} from device"),
        format!(
            "unmap to device 64 bytes ping-80 {site} NEVER GIVEN: this is the address that a failed call returns"
        ),
    ];
    let addresses = [
        " 0x100000000",
        " 0x12345000",
        " 0x20000000",
        " 0x20000000",
        " 0xfffff000",
        " 0xffffe000",
        " 0x12345000",
        "",
        " 0x5000",
        "",
    ];
    let expected: Vec<String> = expected
        .iter()
        .zip(addresses)
        .zip(0..)
        .map(|((line, dma), number)| format!("1.00000{number}000 0 DMA 00:02.0{dma} {line}"))
        .collect();
    assert_eq!(lines(&text)[1..], expected);
    assert_aligned(&text, &[("function", "e1000_probe"), ("register", "alloc"), ("device", "00:02.0")]);
}

#[test]
fn a_call_is_the_same_in_a_file_and_in_json_says_what_it_is() {
    let json = through_a_file(&header(), events);
    let ops = ["alloc", "map", "sync_cpu", "sync_device", "map", "map", "unmap", "map", "free", "unmap"];
    assert!(json.iter().zip(ops).all(|(line, op)| line["op"] == op), "{json:?}");
    let ways = ["none", "to_device", "from_device", "both"];
    assert!(json.iter().zip(ways).all(|(line, way)| line["direction"] == way), "{json:?}");
    let map = [
        ("kind", "\"dma\""),
        ("device", "\"0000:00:02.0\""),
        ("dma", "\"0x12345000\""),
        ("failed", "null"),
        ("physical", "\"0x12345000\""),
        ("address", "null"),
        ("size", "1514"),
        ("piece", "null"),
        ("pieces", "null"),
        ("data", "\"5254001234567265737420 6f6620612066 72616d\""),
        ("flags", "[]"),
        ("ip", "\"0x13\""),
        ("function", "\"e1000_xmit_frame\""),
        ("module", "\"e1000e\""),
    ]
    .map(|(field, value)| (field, value.replace(' ', "")));
    assert_fields(&json[1], &map.each_ref().map(|(field, value)| (*field, value.as_str())));
    let linear = format!("\"{LINEAR:#x}\"");
    assert_fields(&json[0], &[("address", &linear), ("physical", "null"), ("function", "\"e1000_probe\"")]);
    assert_eq!(json[0]["stack"][0]["function"], "dma_pool_alloc");
    assert_fields(&json[2], &[("physical", "null"), ("function", "null"), ("ip", "null"), ("stack", "[]")]);
    assert_fields(&json[5], &[("piece", "1"), ("pieces", "2"), ("physical", "\"0xa000\"")]);
    assert_fields(&json[7], &[("dma", "null"), ("failed", "true"), ("physical", "\"0x7000\"")]);
    assert_fields(&json[8], &[("physical", "\"0x5000\""), ("address", "null")]);
    assert_fields(&json[9], &[("dma", "null"), ("failed", "true")]);
}

#[test]
fn a_report_tells_who_did_what_what_is_left_what_was_wrong_and_what_is_missing() {
    let totals = Totals { dma_missed: 3, dma_pieces_missed: 2, ..Totals::default() };
    let (summary, text) = report(&header(), &totals, events);
    assert_eq!(summary.dma_buffers(), 10);
    let expected = [
        "10 buffers for DMA (4 maps, 2 unmaps, 2 syncs, 1 alloc, 1 free) in 9.0 us on 1 CPU",
        "buffers bytes smallest largest what by",
        "2 8,192 4,096 4,096 map from device ata_qc_issue",
        "2 1,578 64 1,514 map to device e1000_xmit_frame [e1000e], FAILED 1",
        "1 2,048 2,048 2,048 sync for device both ways unknown",
        "STILL MAPPED at the end of the trace: 2 buffers, 8,192 bytes, by ata_qc_issue 2",
        "STILL ALLOCATED at the end of the trace: 1 buffer, 4,096 bytes, by e1000_probe [e1000e] 1",
        "1 buffer could not be mapped or allocated: FAILED",
        "1 buffer unmapped, freed or synchronised by the address that a FAILED call returns",
        "1 buffer unmapped or freed that had been mapped or allocated before the trace began",
        "not recorded, since no function for it could be followed: dma_map_phys(); freeing (dma_free_attrs())",
        "3 calls of the DMA interface missed",
        "THIS TRACE IS NOT COMPLETE: calls of the DMA interface",
        "2 pieces of scatter lists missed",
        "THIS TRACE IS NOT COMPLETE: pieces of a scatter list behind the first 256",
        "may be those of calls that are missing",
    ];
    assert_says(&text, &expected);
}

/// A driver that takes one buffer back twice and another one with a wrong size, and keeps two.
fn faulty(each: Each<'_>) {
    use DmaOp::{Map, SyncForCpu, Unmap};
    let calls = [
        (Map, 0x1000, 100),
        (Map, 0x2000, 200),
        (Map, 0x3000, 300),
        (Map, 0x4000, 400),
        (Unmap, 0x1000, 100),
        (SyncForCpu, 0x1000, 100),
        (Unmap, 0x1000, 100),
        (Unmap, 0x2000, 128),
    ];
    let records: Vec<Record> = calls
        .iter()
        .zip(1..)
        .flat_map(|((op, dma, size), time)| {
            let function = if *op == Map { 0x13 } else { 0x15 };
            call(time, payload(*op, DmaDirection::Both, *dma, 0, *size), &[function], &[])
        })
        .collect();
    of(&records, each);
}

/// A driver that gives back what it was given.
fn fair(each: Each<'_>) {
    let one = |time, op| call(time, payload(op, DmaDirection::Both, 0x1000, 0, 64), &[0x13], &[]);
    of(&[one(1, DmaOp::Map), one(2, DmaOp::Unmap)].concat(), each);
}

#[test]
fn a_report_alarms_of_buffers_that_are_taken_back_twice_or_with_another_size_and_of_no_others() {
    let text = report(&Header::default(), &Totals::default(), faulty).1;
    let expected = [
        "STILL MAPPED at the end of the trace: 2 buffers, 700 bytes, by e1000_xmit_frame [e1000e] 2",
        "1 buffer unmapped or freed TWICE",
        "1 buffer unmapped or freed with ANOTHER SIZE than mapped or allocated with",
    ];
    assert_says(&text, &expected);
    let wrong = ["STILL", "TWICE", "SIZE", "FAILED", "before the trace", "missing", "NOT COMPLETE"];
    for word in &wrong[3..] {
        assert!(!text.contains(word), "{word}\n{text}");
    }
    let text = report(&Header::default(), &Totals::default(), fair).1;
    for word in wrong {
        assert!(!text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn on_a_timeline_a_call_is_named_and_mmiotrace_has_no_words_for_it() {
    let drawn = ["DMA map", "DMA sync for cpu", "0000:00:02.0", "from_device", "failed", "52 54 00 12"];
    assert_drawn_and_refused(&header(), &drawn, "DMA", events);
}

#[test]
fn every_number_of_return_addresses_and_every_length_of_data_is_understood() {
    let buffer: Vec<u8> = (1..=MAX_DMA_DATA as u8).collect();
    let addresses = [0x11, 0x12, 0x13, 0x14];
    for frames in 0..=MAX_DMA_FRAMES {
        for length in 0..=MAX_DMA_DATA {
            let payload = payload(DmaOp::Map, DmaDirection::Both, 1, 1, 4096);
            let records = call(5, payload, &addresses[..frames], &buffer[..length]);
            let mut seen = 0;
            of(&records, &mut |event| {
                let What::Dma(call) = &event.what else { panic!("{event:?}") };
                let stack: Vec<u64> = call.stack.iter().map(|frame| frame.ip).collect();
                assert_eq!((&stack[..], &*call.data), (&addresses[..frames], &buffer[..length]));
                seen += 1;
            });
            assert_eq!(seen, 1, "{frames} addresses, {length} bytes");
        }
    }
}

#[test]
fn a_record_of_no_operation_or_direction_or_with_less_behind_it_than_it_says_makes_no_sense() {
    let good = payload(DmaOp::Map, DmaDirection::Both, 1, 1, 4096);
    let whole = call(5, good, &[0x11], &[7; 33]);
    assert_eq!((whole.len(), told(&whole)), (4, (1, 0)));
    for wrong in [DmaPayload { op: 9, ..good }, DmaPayload { direction: 4, ..good }] {
        assert_eq!(told(&call(5, wrong, &[0x11], &[])), (0, 1), "{wrong:?}");
    }
    // Nothing of its return addresses is there.
    assert_eq!(told(&call(5, good, &[0x11], &[])[..1]), (0, 1));
    // The last is missing, or the first counts one too few.
    assert_eq!(told(&whole[..3]), (0, 1));
    let mut few = whole[..3].to_vec();
    few[0].more -= 1;
    assert_eq!(told(&few), (0, 1));
}

#[test]
fn of_a_call_only_what_it_tells_is_known() {
    let piece_of_nothing = DmaPayload { piece: 5, ..payload(DmaOp::Free, DmaDirection::None, 8, 0, 1) };
    let mut records = call(5, piece_of_nothing, &[], &[]);
    records[0].flags = Flags::INTERRUPT;
    of(&records, &mut |event| {
        let What::Dma(DmaCall { piece, pieces, physical, address, flags, ip, .. }) = &event.what else {
            panic!("{event:?}")
        };
        assert_eq!((piece, pieces, physical, address, ip), (&0, &0, &None, &None, &0));
        assert!(flags.has(Flags::INTERRUPT));
    });
}

#[test]
fn a_header_leaves_out_what_was_not_asked_for_and_reads_as_it_was() {
    let told = serde_json::to_string(&Mapped::default()).unwrap();
    assert_eq!(told, "{\"devices\":[]}");
    assert_eq!(serde_json::from_str::<Mapped>(&told).unwrap(), Mapped::default());
}
