//! Accesses that injection has changed, supplied, dropped or repeated: from records into every
//! format, and back from files.

use std::convert::Infallible;

use expect_test::expect;
use trapline_abi::{AccessPayload, Change, Flags, Kind, MapPayload, Record};
use trapline_trace::{
    Access, Bar, Device, Diff, Event, FileWriter, Header, Human, Injected, JsonLines, Lies, Merge, Mmiotrace,
    Names, Pair, Perfetto, Registers, Side, Sink, Source, Summary, Totals, TraceReader, Value, Watched,
    WatchedRange, What,
};

const LINEAR: u64 = 0xffff_c900_0000_0000;

fn header() -> Header {
    let mut device =
        Device { address: "0000:00:04.0".into(), vendor: 0x1234, device: 0x11e8, ..Device::default() };
    device.bars[0] = Bar { start: 0xfea0_0000, length: 0x10_0000, flags: 0x4_0200 };
    let injected = Injected { rules: vec!["read STATUS = 1".into(), "write IRQ_RAISE drop".into()], seed: 7 };
    Header {
        devices: vec![device],
        sources: vec![Source::Access(Watched {
            ranges: vec![WatchedRange { start: 0xfea0_0000, length: 0x10_0000 }],
            reads: true,
            writes: true,
            injected: Some(injected),
            mapped: Vec::new(),
        })],
        ..Header::default()
    }
}

fn records() -> Vec<Record> {
    let map = MapPayload { address: LINEAR, physical: 0xfea0_0000, length: 0x10_0000, caller: 0 };
    let mut records =
        vec![Record { kind: Kind::Map as u8, mapping: 1, payload: map.to_words(), ..Record::EMPTY }];
    let mut access = |offset: u64, width: u8, value: [u64; 2], flags: u8, change: Change| {
        let payload = AccessPayload { address: LINEAR + offset, ip: 0x10, value }.to_words();
        let record = Record { kind: Kind::Access as u8, mapping: 1, width, flags, payload, ..Record::EMPTY };
        records.push(Record { change: change as u8, ..record });
    };
    access(0x20, 4, [1, 0], 0, Change::Known);
    access(0x20, 4, [1, 0x80], 0, Change::Known);
    access(0x20, 4, [1, 0], 0, Change::None);
    access(0x20, 4, [0xffff_ffff, 0], Flags::SUPPLIED, Change::None);
    access(0x8, 4, [6, 5], Flags::WRITE, Change::Known);
    access(0x8, 4, [6, 0], Flags::WRITE, Change::Repeated);
    access(0x60, 4, [2, 0], Flags::WRITE | Flags::DROPPED, Change::None);
    access(0x80, 16, [3, 4], 0, Change::Unknown);
    let mut time = 0;
    for record in &mut records {
        time += 1000;
        record.time = time;
    }
    records
}

fn play(mut each: impl FnMut(&Event<'_>)) {
    let header = header();
    let names = Names::new(&header.devices, &Registers::shipped(), None);
    let mut merge = Merge::new(1);
    merge.push(0, &records(), true);
    let Ok(()) = merge.finish(|event| {
        each(&names.name(event));
        Ok::<_, Infallible>(())
    });
    assert_eq!(merge.malformed(), 0);
}

fn text(sink: impl FnOnce(&mut Vec<u8>) -> Box<dyn Sink + '_>) -> String {
    let mut out = Vec::new();
    let mut sink = sink(&mut out);
    play(|event| sink.event(event).unwrap());
    sink.end(&Totals::default()).unwrap();
    drop(sink);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_change_of_a_record_is_one_of_the_access_and_no_part_of_its_value() {
    let mut found = Vec::new();
    play(|event| {
        if let What::Access(Access { value, change, original, .. }) = event.what {
            found.push((value.map(|value| value.low()), change, original));
        }
    });
    let four = |value| Value::from_u64(value, 4);
    assert_eq!(
        found,
        [
            (Some(1), Change::Known, four(0)),
            (Some(1), Change::Known, four(0x80)),
            (Some(1), Change::None, None),
            (Some(0xffff_ffff), Change::None, None),
            (Some(6), Change::Known, four(5)),
            (Some(6), Change::Repeated, None),
            (Some(2), Change::None, None),
            (Some(3), Change::Unknown, None),
        ]
    );
}

#[test]
fn a_change_that_nobody_knows_is_a_malformed_record() {
    let mut records = records();
    records[1].change = 4;
    let mut merge = Merge::new(1);
    merge.push(0, &records, true);
    let Ok(()) = merge.finish(|_| Ok::<_, Infallible>(()));
    assert_eq!(merge.malformed(), 1);
}

#[test]
fn a_person_reads_what_the_device_had_said_and_what_the_driver_wrote() {
    let text = text(|out| Box::new(Human::new(out, false)));
    let remarks: Vec<_> =
        text.lines().skip(2).map(|line| line.split("0x10").last().unwrap().trim()).collect();
    assert_eq!(
        remarks,
        [
            "changed, the device said 0x00000000",
            "changed, the device said 0x00000080",
            "",
            "supplied, the device was not read",
            "changed, the driver wrote 0x00000005",
            "repeated",
            "dropped, the device was not written",
            "changed",
        ],
        "{text}"
    );
}

#[test]
fn json_has_the_change_and_the_original() {
    let text = text(|out| Box::new(JsonLines::new(out, &header()).unwrap()));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains(r#""injected":{"rules":["read STATUS = 1","write IRQ_RAISE drop"],"seed":7}"#));
    assert!(
        lines[2].contains(r#""value":"0x00000001","change":"changed","original":"0x00000000""#),
        "{text}"
    );
    assert!(lines[7].contains(r#""change":"repeated","mapping""#), "{text}");
    assert_eq!(text.matches(r#""change""#).count(), 5);
}

#[test]
fn mmiotrace_has_a_marker_behind_the_line_of_what_the_driver_saw() {
    let text = text(|out| Box::new(Mmiotrace::new(out, &header(), false).unwrap()));
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(['V', 'P'])).collect();
    assert_eq!(lines[1], "R 4 0.000002 1 0xfea00020 0x1 0x0 0");
    assert_eq!(lines[2], "MARK 0.000002 access of 0xfea00020 was changed, the device said 0x00000000");
    assert_eq!(lines.iter().filter(|line| line.starts_with("MARK")).count(), 7, "{text}");
}

#[test]
fn a_timeline_tells_of_it() {
    let mut out = Vec::new();
    let mut sink = Perfetto::new(&mut out);
    play(|event| sink.event(event).unwrap());
    sink.end(&Totals::default()).unwrap();
    drop(sink);
    let has = |text: &str| out.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("changed, the device said 0x00000080") && has("repeated"));
}

#[test]
fn a_file_gives_it_back() {
    let mut out = Vec::new();
    let mut writer = FileWriter::new(&mut out, &header()).unwrap();
    let mut written = Vec::new();
    play(|event| {
        writer.event(event).unwrap();
        written.push(format!("{event:?}"));
    });
    writer.end(&Totals::default()).unwrap();
    let mut reader = TraceReader::new(out.as_slice(), "it").unwrap();
    assert_eq!(*reader.header(), header());
    let mut read = Vec::new();
    let Ok(_) = reader.read(|event| {
        read.push(format!("{event:?}"));
        Ok::<_, Infallible>(())
    });
    assert_eq!(read, written);
}

#[test]
fn a_report_has_the_rules_and_a_table_of_lies() {
    let mut summary = Summary::new(&header());
    play(|event| summary.add(event));
    let mut out = Vec::new();
    summary.write(&mut out, false, 8).unwrap();
    let text = String::from_utf8(out).unwrap();
    let part = text.split("\n\n").filter(|part| part.contains("seed") || part.contains("reads supplied"));
    expect![[r#"
        rules, seed 7
                   1  read STATUS = 1
                   2  write IRQ_RAISE drop

        reads changed reads supplied writes changed writes dropped writes repeated  device bar+offset        register
                    2              1              0              0               0  0000:00:04.0 0+00020     STATUS
                    0              0              1              0               1  0000:00:04.0 0+00008     FACTORIAL
                    0              0              0              1               0  0000:00:04.0 0+00060     IRQ_RAISE
                    1              0              0              0               0  0000:00:04.0 0+00080     DMA_SRC"#]].assert_eq(&part.collect::<Vec<_>>().join("\n\n"));
    let status = summary.registers().into_iter().find(|row| row.register == Some("STATUS")).unwrap();
    assert_eq!(status.lies, Lies { reads_changed: 2, reads_supplied: 1, ..Lies::default() });
}

/// How two traces differ, the second with what `change` makes of each access.
fn differ(change: impl Fn(&mut Access<'_>)) -> String {
    let mut pair = Pair::new(&header(), &header());
    play(|event| {
        let mut plain = event.clone();
        if let What::Access(access) = &mut plain.what {
            (access.change, access.original, access.flags) = (Change::None, None, Flags(access.flags.0 & 1));
        }
        pair.add(Side::A, &plain);
        if let What::Access(access) = &mut plain.what {
            change(access);
        }
        pair.add(Side::B, &plain);
    });
    let mut out = Vec::new();
    Diff::new(&pair).write(&mut out, ["a", "b"], false, 20).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn two_traces_differ_in_what_the_driver_did_and_got() {
    let four = |value| Value::from_u64(value, 4);
    // What the driver wrote is the same, whatever the device was given.
    let same = differ(|access| {
        if access.value == four(2) {
            (access.value, access.change, access.original) = (four(0x33), Change::Known, four(2));
        }
    });
    assert!(!same.contains("injected"), "{same}");
    let got = differ(|access| {
        if access.value == four(0xffff_ffff) {
            (access.value, access.change, access.original) = (four(9), Change::Known, access.value);
        }
    });
    assert!(got.contains("0xffffffff -> 0x00000009") && got.contains("injected"), "{got}");
    let less = differ(|access| {
        if access.value == four(2) {
            access.change = Change::Repeated;
        }
    });
    assert!(less.contains("\n- "), "the second has one write less of the driver's: {less}");
}
