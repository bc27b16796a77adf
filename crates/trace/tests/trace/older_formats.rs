//! Files as Trapline wrote them in older formats: each reads as the same trace does now. What each
//! format lacked: 4 columns for what injection changes, 5 rows of interrupts, 6 rows of accesses to
//! configuration space and compression, 7 rows of accesses to I/O ports, 8 rows of DMA and of
//! lines of the kernel log, 9 rows of lifecycles. Format 3 has a program of its own.

use std::convert::Infallible;
use std::path::Path;

use crate::common::{header, play, totals};
use trapline_trace::{Ending, Source, TraceReader, Watched};

#[test]
fn files_of_older_formats_give_the_events_that_they_were_made_of() {
    for format in ["format4", "format5", "format6", "format7", "format8", "format9"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format);
        let mut reader = TraceReader::open(&folder.join("accesses.trace")).unwrap();
        let [Source::Access(Watched { injected: None, reads: true, .. })] = &reader.header().sources[..]
        else {
            panic!("{format}: {:?}", reader.header())
        };
        assert_eq!(reader.header().devices, header().devices, "{format}");
        let (mut read, mut played) = (Vec::new(), Vec::new());
        let Ok(ending) = reader.read(|event| {
            read.push(format!("{event:?}"));
            Ok::<_, Infallible>(())
        });
        play(|event| played.push(format!("{event:?}")));
        assert_eq!(read, played, "{format}");
        assert_eq!(ending, Ending::Whole(totals()), "{format}");
    }
}
