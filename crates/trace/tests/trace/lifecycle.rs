//! What is done with a device as a whole, from records to every format and back from a file.

use crate::kind::{
    Each, assert_drawn_and_refused, assert_fields, assert_says, human, lines, merged, report, task,
    through_a_file,
};
use crate::sense::told;
use trapline_abi::{
    Flags, Kind, LifecycleOp, LifecyclePayload, MAX_LIFECYCLE_NAME, NO_POWER, PciFunction, Record,
};
use trapline_trace::{Header, Lifecycle, Lived, Merge, Names, Site, Source, Totals, What};

fn header() -> Header {
    let lived = Lived { devices: vec!["0000:00:03.0".into()], not_followed: Vec::new() };
    Header { sources: vec![Source::Lifecycle(lived)], ..Header::default() }
}

const CALL: LifecyclePayload = LifecyclePayload {
    device: PciFunction::new(0, 0, 3, 0),
    op: LifecycleOp::Bind as u8,
    ended: false,
    power: 0,
    wanted: NO_POWER,
    result: 0,
    took: 0,
};

/// A call as the module records it: return addresses behind it, then the name.
fn call(time: u64, payload: LifecyclePayload, frames: &[u64], name: &[u8]) -> Vec<Record> {
    let mut words = [0; 4 + MAX_LIFECYCLE_NAME / 8 + 1];
    words[..frames.len()].copy_from_slice(frames);
    for (word, part) in words[4..].iter_mut().zip(name.chunks(8)) {
        let mut bytes = [0; 8];
        bytes[..part.len()].copy_from_slice(part);
        *word = u64::from_le_bytes(bytes);
    }
    let more = 1 + name.len().div_ceil(32);
    let first = Record {
        time,
        kind: Kind::Lifecycle as u8,
        more: more as u8,
        width: name.len() as u8,
        task: 80,
        payload: payload.to_words(),
        ..Record::EMPTY
    };
    let parts = words.chunks(4).take(more).map(|part| {
        let mut payload = [0; 4];
        payload[..part.len()].copy_from_slice(part);
        Record { kind: Kind::More as u8, payload, ..Record::EMPTY }
    });
    [first].into_iter().chain(parts).collect()
}

const PROBE: u64 = 0xffff_ffff_8100_0010;
const DRIVER: u64 = 0xffff_ffff_a000_0010;

/// Names the functions as a kernel would.
fn named(life: &mut Lifecycle<'_>) {
    for frame in &mut life.stack {
        let (function, module) = match frame.ip {
            PROBE => ("really_probe", None),
            DRIVER => ("e1000_suspend", Some("e1000e")),
            _ => continue,
        };
        frame.site = Some(Site { function, offset: 0x10, module });
    }
}

fn records() -> Vec<Record> {
    let mut records = vec![task("modprobe")];
    let mut number = 0;
    let mut push = |payload, frames: &[u64], name: &[u8]| {
        records.extend(call(1_000_000_000 + number * 1000, payload, frames, name));
        number += 1;
    };
    let ended = |payload, result, took| LifecyclePayload { ended: true, result, took, ..payload };
    let power = LifecyclePayload { op: LifecycleOp::Power as u8, wanted: 3, ..CALL };
    let firmware = LifecyclePayload { op: LifecycleOp::Firmware as u8, ..CALL };
    push(CALL, &[PROBE], b"e1000e");
    push(ended(CALL, 0, 12_300_000), &[PROBE], b"e1000e");
    push(CALL, &[], b"");
    push(ended(CALL, -19, 1_000), &[], b"");
    push(power, &[PROBE, DRIVER], b"e1000e");
    push(ended(LifecyclePayload { power: 3, ..power }, 0, 2_000), &[PROBE, DRIVER], b"e1000e");
    push(firmware, &[DRIVER], b"e1000e/\x1bfw.bin");
    push(ended(firmware, -2, 3_000), &[DRIVER], b"e1000e/\x1bfw.bin");
    push(
        ended(LifecyclePayload { op: LifecycleOp::Reset as u8, power: 5, ..CALL }, 7, 9),
        &[1; 4],
        &[b'x'; 64],
    );
    records
}

fn events(each: Each<'_>) {
    let names = Names::default();
    merged(Merge::new(1), &records(), |mut event| {
        if let What::Lifecycle(life) = &mut event.what {
            named(life);
        }
        each(&names.name(event));
    });
}

#[test]
fn a_person_reads_what_is_done_how_it_ends_for_how_long_and_the_power_state() {
    let text = human(Names::default(), events);
    let told = lines(&text);
    let x = "x".repeat(64);
    let expected = [
        "1.000000000 0 LIFE 00:03.0 e1000e bind begins modprobe-80 really_probe+0x10 in D0",
        "1.000001000 0 LIFE 00:03.0 e1000e bind done modprobe-80 really_probe+0x10 12.3 ms, in D0",
        "1.000002000 0 LIFE 00:03.0 bind begins modprobe-80 in D0",
        "1.000003000 0 LIFE 00:03.0 bind No such device modprobe-80 1.0 us, in D0",
        "1.000004000 0 LIFE 00:03.0 e1000e power D3hot begins modprobe-80 e1000_suspend+0x10 [e1000e] in D0",
        "1.000005000 0 LIFE 00:03.0 e1000e power D3hot done modprobe-80 e1000_suspend+0x10 [e1000e] 2.0 us, in D3hot",
        "1.000006000 0 LIFE 00:03.0 firmware begins modprobe-80 e1000_suspend+0x10 [e1000e] e1000e/?fw.bin, in D0",
        "1.000007000 0 LIFE 00:03.0 firmware No such file or directory modprobe-80 e1000_suspend+0x10 [e1000e] e1000e/?fw.bin, 3.0 us, in D0",
        &format!("1.000008000 0 LIFE 00:03.0 {x} reset done: 7 modprobe-80 0x1 9 ns, power state not known"),
    ];
    assert_eq!(
        told.iter().filter(|line| line.contains("LIFE")).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
}

#[test]
fn an_event_is_the_same_in_a_file_and_in_json_says_what_it_is() {
    let json = through_a_file(&header(), events);
    let fields = [
        ("kind", "\"lifecycle\""),
        ("op", "\"bind\""),
        ("phase", "\"begin\""),
        ("device", "\"0000:00:03.0\""),
        ("driver", "\"e1000e\""),
        ("firmware", "null"),
        ("power", "\"D0\""),
        ("wanted", "null"),
        ("result", "null"),
        ("took_ns", "null"),
        ("function", "\"really_probe\""),
    ];
    assert_fields(&json[0], &fields);
    assert_fields(&json[1], &[("phase", "\"end\""), ("result", "0"), ("took_ns", "12300000")]);
    assert_fields(&json[2], &[("driver", "null"), ("ip", "null"), ("stack", "[]")]);
    assert_fields(&json[3], &[("result", "-19")]);
    assert_fields(&json[5], &[("op", "\"power\""), ("wanted", "\"D3hot\""), ("power", "\"D3hot\"")]);
    assert_fields(&json[7], &[("op", "\"firmware\""), ("driver", "null"), ("result", "-2")]);
    assert_eq!(json[7]["firmware"], "e1000e/\u{1b}fw.bin");
}

#[test]
fn a_report_counts_by_device_and_driver_and_tells_what_failed_and_what_has_no_end() {
    let text = report(&header(), &Totals::default(), events).1;
    let expected = [
        "5 steps of devices' lifecycles in 8.0 us on 1 CPU",
        "1 00:03.0 bind 12.3 ms e1000e",
        "1 00:03.0 bind 1.0 us 1 FAILED, the last: No such device",
        "1 00:03.0 firmware 3.0 us e1000e/?fw.bin 1 FAILED, the last: No such file or directory",
    ];
    assert_says(&text, &expected);
    let begun = |each: Each<'_>| merged(Merge::new(1), &call(5, CALL, &[], b""), |event| each(&event));
    assert_says(&report(&header(), &Totals::default(), begun).1, &["1 00:03.0 bind - 1 without an end"]);
    let missed = Totals { lifecycle_missed: 2, ..Totals::default() };
    let text = report(&header(), &missed, |_| {}).1;
    assert_says(&text, &["2 calls of devices' lifecycles missed", "NOT COMPLETE"]);
    let lived = Lived { devices: Vec::new(), not_followed: vec!["re\u{1b}[msets".into()] };
    let header = Header { sources: vec![Source::Lifecycle(lived)], ..Header::default() };
    assert_says(&report(&header, &Totals::default(), |_| {}).1, &["could be followed: re?[msets"]);
}

#[test]
fn on_a_timeline_both_ends_are_named_and_mmiotrace_has_no_words_for_them() {
    let drawn = ["bind begins", "bind ends", "power D3hot ends", "No such device", "firmware", "D3hot"];
    assert_drawn_and_refused(&header(), &drawn, "lifecycles of devices", events);
}

#[test]
fn a_record_without_sense_is_counted() {
    let good = call(5, CALL, &[1], &[b'x'; 64]);
    assert_eq!((good.len(), told(&good)), (4, (1, 0)));
    let unknown = LifecyclePayload { op: LifecycleOp::COUNT, ..CALL };
    assert_eq!(told(&call(5, unknown, &[1], b"x")), (0, 1));
    let mut long = good.clone();
    long[0].width = 65;
    assert_eq!(told(&long), (0, 1));
    // The last is missing, or the first counts one too few, or all of them are missing.
    assert_eq!(told(&good[..3]), (0, 1));
    for more in [0, 1, 2] {
        let mut few = good[..=more].to_vec();
        few[0].more = more as u8;
        assert_eq!(told(&few), (0, 1), "{more}");
    }
}

#[test]
fn flags_of_other_kinds_are_left_out() {
    let mut records = call(5, CALL, &[], b"");
    records[0].flags = u8::MAX;
    merged(Merge::new(1), &records, |event| match event.what {
        What::Lifecycle(life) => assert_eq!(life.flags, Flags(Flags::INTERRUPT)),
        other => panic!("{other:?}"),
    });
}

#[test]
fn of_more_names_than_are_told_apart_the_others_are_counted() {
    let many = |each: Each<'_>| {
        for number in 0..4106_u64 {
            let name = format!("driver{number}");
            merged(Merge::new(1), &call(5 + number, CALL, &[], name.as_bytes()), |event| each(&event));
        }
    };
    let text = report(&header(), &Totals::default(), many).1;
    assert_says(&text, &["4,106 steps of devices' lifecycles", "and 10 steps of other names"]);
}
