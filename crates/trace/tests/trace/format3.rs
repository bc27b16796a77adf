//! Files as Trapline 0.1.0 wrote them, of format 3, read as they were then: what that Trapline made
//! of them in the other formats is beside them in `tests/data`.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use trapline_trace::{Ending, FileWriter, Human, JsonLines, Mmiotrace, Sink, Summary, TraceReader};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What was made of the same trace when the file was.
fn then(name: &str) -> String {
    fs::read_to_string(data(name)).unwrap()
}

/// Reads the file into a sink made for it, and ends that.
fn convert(file: &str, sink: impl FnOnce(&TraceReader<std::io::BufReader<fs::File>>) -> Box<dyn Sink>) {
    let mut reader = TraceReader::open(&data(file)).unwrap();
    let mut sink = sink(&reader);
    match reader.read(|event| sink.event(event)).unwrap() {
        Ending::Whole(totals) => sink.end(&totals).unwrap(),
        Ending::Cut(cut) => panic!("{file}: {cut}"),
    }
}

fn temporary() -> (tempfile::NamedTempFile, fs::File) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let out = file.reopen().unwrap();
    (file, out)
}

fn human(file: &str) -> String {
    let (text, out) = temporary();
    convert(file, |_| Box::new(Human::new(out, false)));
    fs::read_to_string(text.path()).unwrap()
}

fn json(file: &str) -> String {
    let (text, out) = temporary();
    convert(file, |reader| Box::new(JsonLines::new(out, reader.header()).unwrap()));
    fs::read_to_string(text.path()).unwrap()
}

fn report(file: &str) -> String {
    let mut reader = TraceReader::open(&data(file)).unwrap();
    let mut summary = Summary::new(reader.header());
    let Ok(ending) = reader.read(|event| {
        summary.add(event);
        Ok::<_, Infallible>(())
    });
    let Ending::Whole(totals) = ending else { panic!("{file} is whole") };
    summary.end(&totals);
    let mut out = Vec::new();
    summary.write(&mut out, false, 8).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn accesses_read_as_they_did() {
    let file = "format3/accesses.trace";
    assert_eq!(human(file), then("all.human"));
    assert_eq!(json(file), then("all.jsonl"));
    assert_eq!(report(file), then("all.report"));
    let (text, out) = temporary();
    convert(file, |reader| Box::new(Mmiotrace::new(out, reader.header(), false).unwrap()));
    assert_eq!(fs::read_to_string(text.path()).unwrap(), then("all.mmiotrace"));
}

#[test]
fn hits_read_as_they_did() {
    let file = "format3/hits.trace";
    assert_eq!(human(file), then("hits.human"));
    assert_eq!(json(file), then("format3/hits.jsonl"));
    assert_eq!(report(file), then("format3/hits.report"));
}

#[test]
fn page_faults_read_as_they_did() {
    let file = "format3/faults.trace";
    assert_eq!(human(file), then("format3/faults.human"));
    assert_eq!(json(file), then("format3/faults.jsonl"));
    assert_eq!(report(file), then("format3/faults.report"));
}

#[test]
fn a_marker_of_the_module_tells_that_accesses_are_missing_as_it_did() {
    let file = "format3/not_watched.trace";
    let text = human(file);
    for line in ["mark: before", "mark: after"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("NOT WATCHED, accesses are missing: new mapping of phys 0x140000000\n"), "{text}");
    assert!(report(file).contains("THIS TRACE IS NOT COMPLETE: 1 new mapping could not be watched"));
}

#[test]
fn a_file_is_written_again_with_the_same_rows() {
    for file in ["format3/accesses.trace", "format3/hits.trace", "format3/faults.trace"] {
        let (copy, out) = temporary();
        convert(file, |reader| Box::new(FileWriter::new(out, reader.header()).unwrap()));
        let events = |path: &Path| {
            let mut events = Vec::new();
            let Ok(ending) = TraceReader::open(path).unwrap().read(|event| {
                events.push(format!("{event:?}"));
                Ok::<_, Infallible>(())
            });
            (events, ending)
        };
        assert_eq!(events(copy.path()), events(&data(file)));
    }
}
