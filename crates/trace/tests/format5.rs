//! A file as Trapline wrote them in format 5, which had no rows of interrupts: it reads as the same
//! trace does now.

mod common;

use std::convert::Infallible;
use std::path::Path;

use common::{header, play, totals};
use trapline_trace::{Ending, Source, TraceReader, Watched};

#[test]
fn a_file_of_format_5_gives_the_events_that_it_was_made_of() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format5/accesses.trace");
    let mut reader = TraceReader::open(&path).unwrap();
    let [Source::Access(Watched { injected: None, reads: true, .. })] = &reader.header().sources[..] else {
        panic!("{:?}", reader.header())
    };
    assert_eq!(reader.header().devices, header().devices);
    let (mut read, mut played) = (Vec::new(), Vec::new());
    let Ok(ending) = reader.read(|event| {
        read.push(format!("{event:?}"));
        Ok::<_, Infallible>(())
    });
    play(|event| played.push(format!("{event:?}")));
    assert_eq!(read, played);
    assert_eq!(ending, Ending::Whole(totals()));
}
