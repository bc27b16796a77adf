//! Lines of the kernel log, from records to every format and back from a file.

use crate::kind::{
    Each, assert_aligned, assert_drawn_and_refused, assert_fields, assert_says, human, lines, merged, report,
    task, through_a_file,
};
use crate::sense::told;
use trapline_abi::{Flags, Kind, LogLength, MAX_LOG_LINE, PortPayload, Record};
use trapline_trace::{Header, Human, LogLine, Logged, Merge, Names, Sink, Source, Totals, What};

fn header() -> Header {
    Header { sources: vec![Source::Log(Logged {})], ..Header::default() }
}

/// A line as the module records it: its first 16 bytes behind its length, the others in records
/// that follow.
fn line(time: u64, length: LogLength, line: &[u8]) -> Vec<Record> {
    let mut words: Vec<u64> = line
        .chunks(8)
        .map(|part| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(word)
        })
        .collect();
    words.resize(words.len().max(2), 0);
    let (first, rest) = words.split_at(2);
    let record = Record {
        time,
        kind: Kind::Log as u8,
        more: rest.len().div_ceil(4) as u8,
        task: 80,
        payload: [length.to_word(), 0, first[0], first[1]],
        ..Record::EMPTY
    };
    let more = rest.chunks(4).map(|part| {
        let mut payload = [0; 4];
        payload[..part.len()].copy_from_slice(part);
        Record { kind: Kind::More as u8, payload, ..Record::EMPTY }
    });
    [record].into_iter().chain(more).collect()
}

/// A line of which nothing was cut off.
fn whole(time: u64, text: &[u8]) -> Vec<Record> {
    let length = text.len() as u32;
    line(time, LogLength { recorded: length, whole: length }, text)
}

const UP: &str = "e1000e 0000:00:05.0 eth0: NIC Link is Up";

const LONG: [u8; MAX_LOG_LINE] = [b'x'; MAX_LOG_LINE];

fn records() -> Vec<Record> {
    let mut records = vec![task("modprobe")];
    let mut push = |number: u64, length: LogLength, text: &[u8], flags| {
        let mut more = line(1_000_000_000 + number * 1000, length, text);
        more[0].flags = flags;
        records.extend(more);
    };
    let whole = |text: &[u8]| LogLength { recorded: text.len() as u32, whole: text.len() as u32 };
    push(0, whole(UP.as_bytes()), UP.as_bytes(), Flags::INTERRUPT | Flags::WRITE);
    push(1, whole(b""), b"", 0);
    push(2, whole(&LONG), &LONG, 0);
    push(3, LogLength { recorded: 480, whole: 1480 }, &LONG, 0);
    push(4, LogLength { recorded: 480, whole: 481 }, &LONG, 0);
    push(5, whole(b"not \xff\xfe UTF-8"), b"not \xff\xfe UTF-8", 0);
    push(6, whole(b"\x1b[31mred\x07\ttab\nnext\n\n"), b"\x1b[31mred\x07\ttab\nnext\n\n", 0);
    records
}

fn events(each: Each<'_>) {
    merged(Merge::new(1), &records(), |event| each(&event));
}

/// The only event of these records.
fn only(records: &[Record]) -> LogLine<'static> {
    let mut found = Vec::new();
    merged(Merge::new(1), records, |event| match event.what {
        What::Log(LogLine { text, cut, flags }) => {
            found.push(LogLine { text: text.into_owned().into(), cut, flags });
        }
        other => panic!("{other:?}"),
    });
    let [line] = &found[..] else { panic!("{found:?}") };
    line.clone()
}

#[test]
fn a_line_is_a_line_with_its_task_and_nothing_that_a_terminal_obeys() {
    let text = human(Names::default(), events);
    let long = "x".repeat(480);
    let expected = [
        format!("1.000000000 0 LOG {UP} modprobe-80 in an interrupt"),
        "1.000001000 0 LOG modprobe-80".into(),
        format!("1.000002000 0 LOG {long} modprobe-80"),
        format!("1.000003000 0 LOG {long} … (1,000 bytes more) modprobe-80"),
        format!("1.000004000 0 LOG {long} … (1 byte more) modprobe-80"),
        "1.000005000 0 LOG not \u{fffd}\u{fffd} UTF-8 modprobe-80".into(),
        "1.000006000 0 LOG ?[31mred??tab?next? modprobe-80".into(),
    ];
    assert_eq!(lines(&text), expected);
    assert!(text.starts_with(&format!("     1.000000000    0  LOG   {UP}  modprobe-80")), "{text}");
    assert!(!text.contains(|char: char| char.is_control() && char != '\n'), "{text:?}");
}

/// An access, whose columns have titles, and a line behind it.
fn mixed(each: Each<'_>) {
    let payload = PortPayload { caller: 0, value: 1, port: 1, is_string: false, is_known: true, ip: 1 };
    let port =
        Record { time: 4, kind: Kind::Port as u8, width: 1, payload: payload.to_words(), ..Record::EMPTY };
    let records: Vec<Record> = [port].into_iter().chain(whole(5, UP.as_bytes())).collect();
    merged(Merge::new(1), &records, |event| each(&event));
}

#[test]
fn the_text_begins_in_the_column_where_accesses_have_the_device() {
    let text = human(Names::default(), mixed);
    let [titles, _, line] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert_aligned(&format!("{titles}\n{line}"), &[("device", UP)]);
}

#[test]
fn in_colours_the_task_is_dim_and_the_line_still_holds_no_escapes_of_its_own() {
    let mut text = Vec::new();
    let mut human = Human::new(&mut text, true);
    events(&mut |event| human.event(event).unwrap());
    human.end(&Totals::default()).unwrap();
    drop(human);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(&format!("\u{1b}[35mLOG   {UP}\u{1b}[0m  \u{1b}[2mmodprobe-80")), "{text:?}");
    assert!(!text.contains("\u{1b}[31m"), "{text:?}");
}

#[test]
fn a_line_is_the_same_in_a_file_and_in_json_says_what_it_is() {
    let json = through_a_file(&header(), events);
    let up = format!("{UP:?}");
    let first = [("kind", "\"log\""), ("text", &up), ("cut", "null"), ("flags", "[\"interrupt\"]")];
    assert_fields(&json[0], &first);
    assert_fields(&json[0], &[("comm", "\"modprobe\""), ("pid", "80")]);
    assert_fields(&json[1], &[("text", "\"\""), ("cut", "null"), ("flags", "[]")]);
    assert_eq!((json[2]["text"].as_str().unwrap().len(), json[2].get("cut")), (480, None));
    assert_fields(&json[3], &[("cut", "1000")]);
    assert_fields(&json[4], &[("cut", "1")]);
    assert_eq!(json[5]["text"], "not \u{fffd}\u{fffd} UTF-8");
    assert_eq!(json[6]["text"], "\u{1b}[31mred\u{7}\ttab\nnext\n");
}

#[test]
fn a_report_counts_lines_by_task() {
    let (summary, text) = report(&header(), &Totals::default(), events);
    assert_eq!(summary.log_lines(), 7);
    let expected = ["7 lines of the kernel log in 6.0 us on 1 CPU", "lines task 7 modprobe-80", "0 dropped"];
    assert_says(&text, &expected);
    assert!(!text.contains("function") && !text.contains("NIC Link"), "{text}");
    let none = report(&header(), &Totals::default(), |_| {}).1;
    assert_says(&none, &["0 lines of the kernel log in 0 ns on 0 CPUs"]);
}

#[test]
fn on_a_timeline_a_line_is_named_by_how_it_begins_and_mmiotrace_has_no_words_for_it() {
    let short = format!("{}…", "x".repeat(80));
    let long = "x".repeat(480);
    let drawn = [UP, &short, &long, "text", "modprobe-80", "?[31mred??tab?next?"];
    assert_drawn_and_refused(&header(), &drawn, "lines of the kernel log", events);
}

#[test]
fn a_line_of_every_length_is_understood_and_one_line_end_is_taken_off() {
    let text: Vec<u8> = (0..MAX_LOG_LINE).map(|at| b'a' + (at % 26) as u8).collect();
    for length in 0..=MAX_LOG_LINE {
        let found = only(&whole(5, &text[..length]));
        assert_eq!((found.text.as_bytes(), found.cut), (&text[..length], 0));
        if length > 0 {
            let mut ended = text[..length].to_vec();
            ended[length - 1] = b'\n';
            assert_eq!(only(&whole(5, &ended)).text.as_bytes(), &text[..length - 1]);
        }
    }
    assert_eq!(only(&whole(5, b"a\n\n")).text, "a\n");
    let none = only(&line(5, LogLength { recorded: 0, whole: u32::MAX }, b""));
    assert_eq!((&*none.text, none.cut), ("", u32::MAX));
}

#[test]
fn a_record_of_too_long_a_line_or_with_less_behind_it_than_it_says_makes_no_sense() {
    let good = LogLength { recorded: 480, whole: 480 };
    let records = line(5, good, &LONG);
    assert_eq!((records.len(), told(&records)), (16, (1, 0)));
    let wrong = [
        LogLength { recorded: 481, whole: 481 },
        LogLength { recorded: u32::MAX, whole: u32::MAX },
        LogLength { recorded: 480, whole: 479 },
        LogLength { recorded: 1, whole: 0 },
    ];
    for length in wrong {
        assert_eq!(told(&line(5, length, &[b'x'; 488])), (0, 1), "{length:?}");
    }
    // The last is missing, or the first counts one too few, or all of them are missing.
    assert_eq!(told(&records[..15]), (0, 1));
    assert_eq!(told(&records[..1]), (0, 1));
    for more in [0, 14] {
        let mut few = records[..=usize::from(more)].to_vec();
        few[0].more = more;
        assert_eq!(told(&few), (0, 1), "{more}");
    }
}

#[test]
fn a_header_says_that_lines_were_asked_for_and_reads_as_it_was() {
    let told = serde_json::to_string(&Source::Log(Logged {})).unwrap();
    assert_eq!(told, "{\"kind\":\"log\"}");
    assert_eq!(serde_json::from_str::<Source>(&told).unwrap(), Source::Log(Logged {}));
}
