//! A mapping that could not be watched: from its record to every format and back from a file; and a
//! marker that says the same.

use std::convert::Infallible;

use trapline_abi::{Kind, NotWatchedPayload, Record, WatchError};
use trapline_trace::{
    Bar, Device, Event, FileWriter, Header, Human, JsonLines, Merge, Mmiotrace, Names, Registers, Sink,
    Summary, Totals, TraceReader,
};

/// Of a machine with one device.
fn header() -> Header {
    let mut network = Device { address: "0000:00:03.0".into(), ..Device::default() };
    network.bars[0] = Bar { start: 0xfeb8_0000, length: 0x2_0000, flags: 0x200 };
    Header { devices: vec![network], ..Header::default() }
}

/// What the module wrote in place of a record of its own until format 3.
const FORGED: &str = "trapline: NOT WATCHED, accesses are missing: new mapping of 0x00000000feb80000";

fn not_watched() -> Vec<Record> {
    let reason = WatchError::HugePage as u32;
    let payload =
        NotWatchedPayload { address: 0xffff_c900_0000_0000, physical: 0xfeb8_0000, length: 0x2_0000, reason };
    vec![Record { time: 1_500, kind: Kind::NotWatched as u8, payload: payload.to_words(), ..Record::EMPTY }]
}

/// A marker as `trapline mark` makes it.
fn mark(text: &str) -> Vec<Record> {
    let payload = |text: &[u8]| {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(text.chunks(8)) {
            let mut all = [0; 8];
            all[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(all);
        }
        words
    };
    let mut parts = text.as_bytes().chunks(32).map(payload);
    let (width, more) = (text.len() as u8, (parts.len() - 1) as u8);
    let first = Record {
        time: 1_500,
        kind: Kind::Mark as u8,
        width,
        more,
        payload: parts.next().unwrap(),
        ..Record::EMPTY
    };
    let rest = parts.map(|payload| Record { time: 1_500, kind: Kind::More as u8, payload, ..Record::EMPTY });
    [first].into_iter().chain(rest).collect()
}

fn play(records: &[Record], mut each: impl FnMut(&Event<'_>)) {
    let names = Names::new(&header().devices, &Registers::none(), None);
    let mut merge = Merge::new(1);
    merge.push(0, records, true);
    let Ok(()) = merge.finish(|event| {
        each(&names.name(event));
        Ok::<_, Infallible>(())
    });
    assert_eq!(merge.malformed(), 0);
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn run(records: &[Record], mut sink: impl Sink) {
    play(records, |event| sink.event(event).unwrap());
    sink.end(&Totals::default()).unwrap();
}

fn summary(records: &[Record]) -> Summary {
    let mut summary = Summary::default();
    play(records, |event| summary.add(event));
    summary
}

#[test]
fn every_format_tells_which_mapping_and_why() {
    let records = not_watched();
    let human = text(|out| run(&records, Human::new(out, false)));
    let sentence = "NOT WATCHED, accesses are missing: new mapping of 00:03.0 0+00000, 0x20000 bytes at \
                    0xffffc90000000000: it uses a page larger than 2 MiB\n";
    assert!(human.ends_with(sentence), "{human}");
    let json = text(|out| run(&records, JsonLines::new(out, &header()).unwrap()));
    let object = "\"kind\":\"not_watched\",\"device\":\"0000:00:03.0\",\"bar\":0,\"offset\":0,\"physical\":\"0xfeb80000\",\
                  \"address\":\"0xffffc90000000000\",\"length\":131072,\"reason\":\"huge-page\"}";
    assert!(json.contains(object), "{json}");
    let mmiotrace = text(|out| run(&records, Mmiotrace::new(out, &header(), false).unwrap()));
    // Without a place: what reads it back names it anew.
    let sentence = sentence.replace("00:03.0 0+00000", "phys 0xfeb80000");
    assert!(mmiotrace.ends_with(&format!("MARK 0.000001 {sentence}")), "{mmiotrace}");
}

#[test]
fn it_comes_back_from_mmiotraces_text_too() {
    let text = text(|out| run(&not_watched(), Mmiotrace::new(out, &header(), false).unwrap()));
    let mut written = Vec::new();
    play(&not_watched(), |event| written.push(format!("{:?}", event.what)));
    let mut read = Vec::new();
    let Ok(_) = TraceReader::new(text.as_bytes(), "t").unwrap().read(|event| {
        read.push(format!("{:?}", event.what));
        Ok::<_, Infallible>(())
    });
    assert_eq!(read, written);
}

#[test]
fn it_comes_back_from_a_file_and_makes_a_report_incomplete() {
    let mut file = Vec::new();
    run(&not_watched(), FileWriter::new(&mut file, &header()).unwrap());
    let mut written = Vec::new();
    play(&not_watched(), |event| written.push(format!("{event:?}")));
    let mut read = Vec::new();
    let mut later = Summary::default();
    let Ok(_) = TraceReader::new(&*file, "t").unwrap().read(|event| {
        read.push(format!("{event:?}"));
        later.add(event);
        Ok::<_, Infallible>(())
    });
    assert_eq!(read, written);
    assert_eq!((later.not_watched(), summary(&not_watched()).not_watched()), (1, 1));
    let report = text(|out| later.write(out, false, 8).unwrap());
    assert!(report.contains("THIS TRACE IS NOT COMPLETE: 1 new mapping could not be watched"), "{report}");
}

#[test]
fn a_marker_that_says_the_same_is_a_marker_also_when_it_comes_from_a_file() {
    assert_eq!(summary(&mark(FORGED)).not_watched(), 0);
    let human = text(|out| run(&mark(FORGED), Human::new(out, false)));
    assert!(human.ends_with(&format!("mark: {FORGED}\n")), "{human}");
    let mut file = Vec::new();
    run(&mark(FORGED), FileWriter::new(&mut file, &header()).unwrap());
    let mut later = Summary::default();
    let Ok(_) = TraceReader::new(&*file, "t").unwrap().read(|event| {
        later.add(event);
        Ok::<_, Infallible>(())
    });
    assert_eq!((later.events(), later.not_watched()), (1, 0));
}
