//! The property of mmiotrace's text that tests and the fuzz target share.

use std::convert::Infallible;

use trapline_trace::{Ending, Event, Mmiotrace, Sink, Summary, TraceReader};

/// What makes any bytes a text of the format.
const VERSION: &[u8] = b"VERSION 20070824\n";

/// Bytes of a line that are looked at.
const LONGEST: usize = 8192;

/// Reads `bytes` as mmiotrace's text, and what is written of that once more.
///
/// # Panics
///
/// If a line is neither read nor told to be left out, or what is written reads back otherwise.
pub(crate) fn check(bytes: &[u8]) {
    let text = [VERSION, bytes].concat();
    let first = Read::new(&text);
    let (events, left_out) = (first.events, first.left_out);
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // What is behind the last end of a line.
    let is_cut = lines.pop().is_some_and(|rest| !rest.is_empty());
    assert_eq!(first.is_cut, is_cut, "a text without an end of its last line is cut off");
    let (all, silent) = (lines.len() as u64, lines.iter().filter(|line| may_be_silent(line)).count() as u64);
    assert!(events + left_out <= all, "{events} events, {left_out} left out, of {all} lines");
    assert!(events + left_out + silent >= all, "{events} events, {left_out} left out, of {all} lines");

    let second = Read::new(&first.written);
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!((second.left_out, second.is_cut), (0, false), "{}", shown(&first.written));
    assert_eq!(second.events, events, "{}", shown(&first.written));
    assert_eq!(shown(&second.written), shown(&first.written));
}

/// Whether a line may tell of nothing that happened and be no line of others either.
fn may_be_silent(line: &[u8]) -> bool {
    let line = line[..line.len().min(LONGEST)].trim_ascii();
    let starts = [&b"#"[..], b"PCIDEV", b"VERSION", b"LSPCI"];
    line.is_empty() || starts.iter().any(|start| line.starts_with(start))
}

/// What was read of a text.
struct Read {
    events: u64,
    left_out: u64,
    is_cut: bool,
    /// It, as Trapline writes it.
    written: Vec<u8>,
}

impl Read {
    fn new(text: &[u8]) -> Self {
        let mut reader = TraceReader::new(text, "it").expect("it begins with its version");
        let mut kept = Vec::<u8>::new();
        let mut lines = Mmiotrace::new(&mut kept, &trapline_trace::Header::default(), false).unwrap();
        let (mut events, mut summary) = (0, Summary::new(reader.header()));
        let Ok(ending) = reader.read(|event: &Event<'_>| {
            events += 1;
            summary.add(event);
            lines.event(event).expect("the format can tell what it has told");
            Ok::<_, Infallible>(())
        });
        summary.write(&mut std::io::sink(), false, 20).unwrap();
        // All devices are known by now, also those that the text tells of in its middle.
        let mut written = Vec::new();
        Mmiotrace::new(&mut written, reader.header(), false).unwrap();
        written.extend_from_slice(&kept[VERSION.len()..]);
        if let Ending::Cut(cut) = &ending {
            assert_eq!((cut.events, cut.offset), (events, text.len() as u64));
        }
        let left_out = reader.strays().map_or(0, |strays| strays.count);
        Self { events, left_out, is_cut: matches!(ending, Ending::Cut(_)), written }
    }
}
