//! What the tests of one kind of event each share: its records become events, and those go to every
//! format and come back from a file.

use std::convert::Infallible;

use serde_json::Value as Json;
use trapline_abi::{Kind, Record, TaskPayload};
use trapline_trace::{
    Event, FileWriter, Header, Human, JsonLines, Merge, Mmiotrace, Names, Perfetto, Sink, Summary, Totals,
    TraceReader,
};

/// What takes events.
pub(crate) type Each<'e> = &'e mut dyn FnMut(&Event<'_>);

/// What hands the events of a test to somebody.
pub(crate) type Events = fn(Each<'_>);

/// Thread 80, by this name.
pub(crate) fn task(name: &str) -> Record {
    let mut padded = [0; 16];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    let payload = TaskPayload { name: padded, process: 80 }.to_words();
    Record { time: 1, kind: Kind::Task as u8, task: 80, payload, ..Record::EMPTY }
}

/// Hands what `records` tell of to `each`. All of them make sense.
pub(crate) fn merged(mut merge: Merge, records: &[Record], mut each: impl FnMut(Event<'_>)) {
    merge.push(0, records, true);
    let Ok(()) = merge.finish(|event| {
        each(event);
        Ok::<(), Infallible>(())
    });
    assert_eq!((merge.malformed(), merge.late()), (0, 0));
}

/// What a person reads, with the fields of registers as far as `names` knows them.
pub(crate) fn human(names: Names, events: Events) -> String {
    let mut text = Vec::new();
    let mut human = Human::new(&mut text, false).with_fields(names);
    events(&mut |event| human.event(event).unwrap());
    human.end(&Totals::default()).unwrap();
    String::from_utf8(text).unwrap()
}

/// The lines of a text, with one blank between words.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Asserts that in the second line each of these words stands where the first has its title.
pub(crate) fn assert_aligned(text: &str, words: &[(&str, &str)]) {
    let lines: Vec<&str> = text.lines().collect();
    for (title, word) in words {
        assert_eq!(lines[0].find(title).unwrap(), lines[1].find(word).unwrap(), "{word}\n{text}");
    }
}

/// Asserts that the events and the header's sources come back from a file as they were; the events
/// in JSON.
pub(crate) fn through_a_file(header: &Header, events: Events) -> Vec<Json> {
    let (mut bytes, mut json) = (Vec::new(), Vec::new());
    let mut writer = FileWriter::new(&mut bytes, header).unwrap();
    let mut lines = JsonLines::new(&mut json, header).unwrap();
    let mut written = Vec::new();
    events(&mut |event| {
        writer.event(event).unwrap();
        lines.event(event).unwrap();
        written.push(format!("{event:?}"));
    });
    writer.end(&Totals::default()).unwrap();
    drop(writer);
    let mut reader = TraceReader::new(&bytes[..], "test").unwrap();
    assert_eq!(reader.header().sources, header.sources);
    let mut read = Vec::new();
    let Ok(_) = reader.read(|event| {
        read.push(format!("{event:?}"));
        Ok::<(), Infallible>(())
    });
    assert_eq!(read, written);
    let json = String::from_utf8(json).unwrap();
    json.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asserts that a line of JSON has these fields; `null` is one that is missing.
pub(crate) fn assert_fields(line: &Json, fields: &[(&str, &str)]) {
    for (field, expected) in fields {
        assert_eq!(line[field].to_string(), *expected, "{field} in {line}");
    }
}

/// What is counted, and the report of it, with `totals` at its end.
pub(crate) fn report(header: &Header, totals: &Totals, events: Events) -> (Summary, String) {
    let (mut summary, mut text) = (Summary::new(header), Vec::new());
    events(&mut |event| summary.add(event));
    summary.end(totals);
    summary.write(&mut text, false, 20).unwrap();
    (summary, String::from_utf8(text).unwrap())
}

/// Asserts that a report says all of this, however many blanks there are between the words.
pub(crate) fn assert_says(report: &str, expected: &[&str]) {
    let words = lines(report).join(" ");
    for expected in expected {
        assert!(words.contains(expected), "`{expected}`:\n{report}");
    }
}

/// Asserts that a timeline has all of these words, and that mmiotrace's format has none for it.
pub(crate) fn assert_drawn_and_refused(header: &Header, drawn: &[&str], refused: &str, events: Events) {
    let mut bytes = Vec::new();
    let mut perfetto = Perfetto::new(&mut bytes);
    events(&mut |event| perfetto.event(event).unwrap());
    perfetto.end(&Totals::default()).unwrap();
    drop(perfetto);
    let text = String::from_utf8_lossy(&bytes);
    for words in drawn {
        assert!(text.contains(words), "{words}");
    }
    let mut errors = Vec::new();
    events(&mut |event| {
        let mut mmiotrace = Mmiotrace::new(std::io::sink(), header, false).unwrap();
        errors.extend(mmiotrace.event(event).err().map(|error| error.to_string()));
    });
    assert!(!errors.is_empty() && errors.iter().all(|error| error.contains(refused)), "{errors:?}");
}
