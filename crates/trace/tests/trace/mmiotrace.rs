//! mmiotrace's text is read: what Trapline writes of it, what kernels print, and what people kept.

use std::convert::Infallible;

use crate::common::{header, play, totals};
use trapline_trace::{Cut, Ending, Event, FileWriter, Mmiotrace, Place, Sink, TraceReader, What};

/// The text of a small trace with one of everything.
const ALL: &str = include_str!("../data/all.mmiotrace");

/// As kernels print it, and as it is kept: the program counter and the thread filled in, more than
/// one trace, lines of lspci and of ftrace, ends of lines as Windows has them.
const KEPT: &str = "\
# tracer: mmiotrace
#
VERSION 20070824\r
LSPCI 01:00.0 VGA compatible controller: nVidia Corporation NV43 (rev a2)
PCIDEV 0100 10de0141 10 d0000000 c000000c 0 d1000004 0 0 0 1000000 10000000 0 1000000 0 0 20000 nvidia
MAP 2391.456 7 0xd0000000 0xf8a00000 0x1000000 0xf8934a11 2313
W 4 2391.456789 7 0xd0000140 0x0 0xf8934b52 2313
CPU:0 [LOST 12 EVENTS]
R 4 2391.456790 7 0xd0000140 0x1 0xf8934b60 2313
MARK 2391.500000 modeset 1024x768
UNKNOWN 2391.500001 7 0xd0000200 f3,a5,c3 0xf8934c00 2313
R 1 2391.600000 8 0xa0000 0xff
UNMAP 2391.700000 7 0xf8934d00 2313
MARK 0.000000 Lost 3 events.
";

/// Every event of a text, as `each` tells of it, and how it ended.
fn read<T>(text: &[u8], each: impl Fn(&Event<'_>) -> T) -> (Vec<T>, Ending, Option<String>) {
    let mut reader = TraceReader::new(text, "it").unwrap();
    let mut events = Vec::new();
    let Ok(ending) = reader.read(|event| {
        events.push(each(event));
        Ok::<_, Infallible>(())
    });
    (events, ending, reader.strays().map(ToString::to_string))
}

#[test]
fn what_trapline_writes_reads_back_to_the_same_text() {
    let mut reader = TraceReader::new(ALL.as_bytes(), "all").unwrap();
    let mut text = Vec::new();
    let mut sink = Mmiotrace::new(&mut text, reader.header(), false).unwrap();
    let Ok(Ending::Whole(totals)) = reader.read(|event| {
        sink.event(event).unwrap();
        Ok::<_, Infallible>(())
    }) else {
        panic!("it is whole")
    };
    sink.end(&totals).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), ALL);
    assert_eq!(reader.strays(), None);
}

/// What both a trace file and mmiotrace's text tell of an event.
fn shared(event: &Event<'_>) -> String {
    let place =
        |place: Option<Place<'_>>| format!("{:?}", place.map(|at| (at.device.to_owned(), at.bar, at.offset)));
    let what = match &event.what {
        What::Access(access) => format!(
            "{:?} {} {:?} {} {:#x} {:?} {}",
            access.direction,
            access.width,
            access.value,
            access.mapping,
            access.address,
            access.physical,
            place(access.place)
        ),
        What::Map(map) => {
            format!(
                "map {} {:#x} {:#x} {:#x} {}",
                map.mapping,
                map.address,
                map.physical,
                map.length,
                place(map.place)
            )
        }
        other => format!("{other:?}"),
    };
    format!("{} {what}", event.time / 1000)
}

#[test]
fn the_events_are_those_of_a_trace_file_as_far_as_the_text_tells() {
    let (from_text, ..) = read(ALL.as_bytes(), shared);
    let mut file = Vec::new();
    let mut writer = FileWriter::new(&mut file, &header()).unwrap();
    play(|event| writer.event(event).unwrap());
    writer.end(&totals()).unwrap();
    drop(writer);
    // Those that the format can't tell as they were: wider than 8 bytes, of unknown value or place,
    // and of lost records, which have no time.
    let told = |event: &Event<'_>| match &event.what {
        What::Access(access) => access.width <= 8 && access.value.is_some() && access.physical.is_some(),
        What::Lost(_) => false,
        _ => true,
    };
    let (from_file, ..) = read(&file, |event| told(event).then(|| shared(event)));
    let from_file: Vec<_> = from_file.into_iter().flatten().collect();
    assert!(from_file.len() > 50, "{}", from_file.len());
    let missing: Vec<_> = from_file.iter().filter(|event| !from_text.contains(event)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn what_kernels_print_and_people_keep_is_read() {
    let (events, ending, strays) = read(KEPT.as_bytes(), |event| {
        let what = match &event.what {
            What::Access(access) => {
                let place =
                    access.place.map(|place| format!("{} {}+{:x}", place.device, place.bar, place.offset));
                let value = access.value.map(|value| value.to_string());
                format!(
                    "{} {value:?} {place:?} at {:#x} by {:#x}",
                    access.direction.letter(),
                    access.address,
                    access.ip
                )
            }
            What::Map(map) => format!("map {} at {:#x} by {:#x}", map.mapping, map.address, map.caller),
            other => format!("{other:?}"),
        };
        format!("{} {} {what}", event.time, event.pid)
    });
    let expected = [
        "2391456000000 2313 map 7 at 0xf8a00000 by 0xf8934a11",
        r#"2391456789000 2313 W Some("0x00000000") Some("0000:01:00.0 0+140") at 0xf8a00140 by 0xf8934b52"#,
        "2391456789000 0 Lost(Lost { count: 12 })",
        r#"2391456790000 2313 R Some("0x00000001") Some("0000:01:00.0 0+140") at 0xf8a00140 by 0xf8934b60"#,
        r#"2391500000000 0 Mark(Mark { text: "modeset 1024x768" })"#,
        r#"2391500001000 2313 R None Some("0000:01:00.0 0+200") at 0xf8a00200 by 0xf8934c00"#,
        r#"2391600000000 0 R Some("0xff") None at 0x0 by 0x0"#,
        "2391700000000 2313 Unmap(Unmap { mapping: 7 })",
        "2391700000000 0 Lost(Lost { count: 3 })",
    ];
    assert_eq!(events, expected);
    assert_eq!((ending, strays), (Ending::Whole(Default::default()), None));
}

#[test]
fn a_text_that_begins_or_ends_anywhere_is_read_as_far_as_it_goes() {
    let (all, ..) = read(KEPT.as_bytes(), |event| format!("{event:?}"));
    for length in 30..KEPT.len() {
        let Ok(mut reader) = TraceReader::new(&KEPT.as_bytes()[..length], "it") else { continue };
        let mut count = 0;
        let Ok(ending) = reader.read(|event| {
            assert_eq!(format!("{event:?}"), all[count], "cut to {length} bytes");
            count += 1;
            Ok::<_, Infallible>(())
        });
        let ends_a_line = KEPT.as_bytes()[length - 1] == b'\n';
        assert_eq!(matches!(ending, Ending::Whole(_)), ends_a_line, "cut to {length} bytes");
        if let Ending::Cut(Cut { events, offset, .. }) = ending {
            assert_eq!((events, offset), (count as u64, length as u64));
        }
    }
    let from = KEPT.find("R 4 2391").unwrap();
    let (events, ..) = read(&KEPT.as_bytes()[from..], |event| format!("{event:?}"));
    assert_eq!(events.len(), 6);
}

#[test]
fn lines_of_others_are_counted_and_left_out_and_the_first_is_told() {
    let text = KEPT
        .replace("MARK 2391.5", "[ 2391.5] nvidia: \x1b[31mloading\nR 4 now 7 0xd0000000 0x1\nMARK 2391.5");
    let (events, ending, strays) = read(text.as_bytes(), |_| ());
    assert_eq!(events.len(), 9);
    let strays = strays.unwrap();
    assert_eq!(
        strays,
        "2 of its lines make no sense and are left out, line 10 the first: `[ 2391.5] nvidia: ?[31mloading`"
    );
    let Ending::Whole(totals) = ending else { panic!("it is whole") };
    assert_eq!(totals.malformed, 2);
}

#[test]
fn a_register_has_its_name_where_the_device_is_known() {
    let (names, ..) = read(ALL.as_bytes(), |event| match &event.what {
        What::Access(access) => access.place.and_then(|place| place.register).map(ToOwned::to_owned),
        _ => None,
    });
    assert_eq!(names.iter().flatten().next().map(String::as_str), Some("STATUS"));
}
