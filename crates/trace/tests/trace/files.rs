//! Trace files: written, read again, cut off, foreign, on a full disk.

use std::convert::Infallible;
use std::fs;
use std::io::{self, Write};

use crate::common::{header, names, play, totals};
use trapline_trace::{
    Cut, Ending, Event, FileError, FileWriter, Header, Names, ParquetFile, Registers, Sink, Summary,
    TraceReader,
};

/// The trace as a file, flushed after every `every` events.
fn file(every: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = FileWriter::new(&mut out, &header()).unwrap();
    let mut count = 0;
    play(|event| {
        writer.event(event).unwrap();
        count += 1;
        if count % every == 0 {
            writer.flush().unwrap();
        }
    });
    writer.end(&totals()).unwrap();
    out
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<String>, Ending), FileError> {
    let mut reader = TraceReader::new(bytes, "test.trace")?;
    let mut events = Vec::new();
    let Ok(ending) = reader.read(|event| {
        events.push(format!("{event:?}"));
        Ok::<_, Infallible>(())
    });
    Ok((reader.header().clone(), events, ending))
}

fn played() -> Vec<String> {
    let mut events = Vec::new();
    play(|event| events.push(format!("{event:?}")));
    events
}

fn error(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn a_file_gives_back_every_event_its_header_and_its_totals() {
    for every in [1, 7, usize::MAX] {
        let (found, events, ending) = read(&file(every)).unwrap();
        assert_eq!(found, header());
        assert_eq!(ending, Ending::Whole(totals()));
        assert_eq!(events, played());
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_gives_all_whole_batches_and_says_so() {
    let whole = file(10);
    let expected = played();
    let mut most = 0;
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 9]) {
        match read(&whole[..length]) {
            Ok((_, events, Ending::Cut(Cut { events: count, offset, .. }))) => {
                assert_eq!(events.len() as u64, count);
                assert_eq!(events, expected[..events.len()]);
                assert!(offset <= length as u64);
                most = most.max(events.len());
            }
            // Nothing but the mark of the stream's end is missing.
            Ok((_, events, Ending::Whole(_))) => assert!(events == expected && length > whole.len() - 64),
            Err(FileError::Empty { .. }) => assert_eq!(length, 0),
            Err(FileError::NoHeader { offset, .. }) => assert!(most == 0 && offset <= length as u64),
            Err(other) => panic!("cut to {length} bytes: {other}"),
        }
    }
    assert_eq!(most, expected.len(), "all events can be read although the end record is cut off");
}

#[test]
fn where_a_file_was_cut_off_is_told_for_a_person() {
    let mut out = Vec::new();
    let mut writer = FileWriter::new(&mut out, &header()).unwrap();
    play(|event| writer.event(event).unwrap());
    writer.flush().unwrap();
    drop(writer);
    let (_, _, Ending::Cut(cut)) = read(&out).unwrap() else { panic!("there is no end record") };
    let length = out.len();
    assert_eq!(
        cut.to_string(),
        format!(
            "the trace is cut off after {} events, at 12.372851375 s: there is no end record (near byte {length})",
            cut.events
        )
    );
}

#[test]
fn a_file_whose_end_is_zeros_as_after_a_crash_of_the_machine_is_never_taken_for_whole_nor_crashes_the_reader()
{
    let whole = file(10);
    let expected = played();
    for length in (1000..whole.len() - 300).step_by(97) {
        let mut zeroed = whole.clone();
        zeroed[length..].fill(0);
        match read(&zeroed) {
            Ok((_, events, Ending::Cut(_))) => assert!(events.len() <= expected.len()),
            Ok((_, _, Ending::Whole(_))) => panic!("taken for whole with zeros from {length} on"),
            Err(FileError::Foreign { .. } | FileError::NoHeader { .. }) => {}
            Err(other) => panic!("zeros from {length} on: {other}"),
        }
    }
}

#[test]
fn a_damaged_length_is_told_and_not_believed() {
    let whole = file(usize::MAX);
    let damaged = |place: usize| {
        let mut damaged = whole.clone();
        damaged[place..place + 8].copy_from_slice(&(1_u64 << 50).to_le_bytes());
        match read(&damaged) {
            Ok((_, _, Ending::Cut(cut))) => cut.why,
            _ => String::new(),
        }
    };
    // Buffers begin at multiples of 8 bytes, with their length.
    let found = (0..whole.len() - 8).step_by(8).map(damaged);
    let told = found.filter(|why| why.contains("a message says that it has more than 64 MiB")).count();
    assert!(told > 30, "{told}");
}

#[test]
fn an_empty_file_and_foreign_files_are_named_as_what_they_are() {
    let expected = "expected a trace made with `trapline mmio --output`, or mmiotrace's text";
    assert_eq!(error(b""), format!("test.trace is empty: {expected}"));
    for (start, what) in [
        (&b"PAR1...."[..], "it is a Parquet file (DuckDB, Polars and pandas read it)"),
        (b"ARROW1\0\0", "it is an Arrow file, not a stream (pyarrow, Polars and pandas read it)"),
        (b"\x1f\x8b\x08\0", "it is compressed by gzip (zcat FILE | trapline report /dev/stdin)"),
        (b"PERFILE2\0", "it is a recording of perf (perf report -i FILE)"),
        (b"\x17\x08\x44tracing6\0", "it is a recording of trace-cmd (trace-cmd report FILE)"),
        (
            b"{\"kind\":\"header\"}",
            "it is a trace as JSON Lines (jq reads it; `convert` made it from a trace)",
        ),
        (
            b"# tracer: function\n",
            "it is a trace of ftrace (of that, only the text of the tracer mmiotrace is read)",
        ),
        (b"\x7fELF\x02\x01\x01\0rest", "it is a program or an object file"),
        (
            b"\n\xc3\xa9t\xc3\xa9\nmore",
            "it is a text that begins `\u{e9}t\u{e9}` (a kernel's log: trapline explain < FILE; a register file: --registers FILE)",
        ),
        (b"\x0a\x04P\x01h\x01\x0a", "it is a trace in Perfetto's format (https://ui.perfetto.dev opens it)"),
        (b"\x01\x02\xff", "it starts with the bytes [01, 02, ff]"),
    ] {
        assert_eq!(error(start), format!("test.trace is no trace: {what}; {expected}"));
    }
}

#[test]
fn a_file_of_another_format_asks_for_the_trapline_that_made_it() {
    let whole = file(usize::MAX);
    let key = b"trapline.format";
    let place = whole.windows(key.len()).position(|window| window == key).unwrap();
    // The value follows its key within the metadata, or comes before it: it is the only text of two
    // digits.
    let near = place.saturating_sub(64)..place + 64;
    let digit = near.clone().find(|at| whole[*at - 4..*at + 2] == [2, 0, 0, 0, b'1', b'0']).unwrap();
    let mut other = whole.clone();
    other[digit + 1] = b'2';
    assert_eq!(
        error(&other),
        "test.trace is a trace of format 12, this command reads formats 3 to 10: use the Trapline that made it"
    );
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.trace");
    let error = TraceReader::open(&path).err().unwrap().to_string();
    assert_eq!(error, format!("cannot read {}: No such file or directory (os error 2)", path.display()));
}

#[test]
fn a_file_on_disk_is_read_and_may_be_named_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trace");
    fs::write(&path, file(usize::MAX)).unwrap();
    let mut reader = TraceReader::open(&path).unwrap();
    let plain = Names::new(&reader.header().devices, &Registers::none(), None);
    let mut registers = 0;
    let Ok(_) = reader.read(|event| {
        let named = plain.name(event.clone());
        registers += usize::from(format!("{named:?}").contains("register: Some"));
        Ok::<_, Infallible>(())
    });
    assert_eq!(registers, 0, "names come from the register files given");
}

/// A disk that holds so many bytes.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.room - self.bytes.len());
        if count == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn on_a_full_disk_the_writer_says_what_is_kept_and_that_can_be_read() {
    let room = file(1).len() / 2;
    let mut disk = Disk { bytes: Vec::new(), room };
    let mut writer = FileWriter::new(&mut disk, &header()).unwrap();
    let mut failure = None;
    play(|event| {
        let result = writer.event(event).and_then(|()| writer.flush());
        if let Err(error) = result {
            failure.get_or_insert((error.kind(), writer.kept()));
        }
    });
    let (kind, kept) = failure.expect("the disk is too small");
    assert_eq!(kind, io::ErrorKind::StorageFull);
    assert!(kept > 0);
    assert_eq!(writer.kept(), kept, "nothing is written after a failed batch");
    assert!(writer.end(&totals()).is_err());
    drop(writer);
    let (_, events, ending) = read(&disk.bytes).unwrap();
    assert_eq!(events.len() as u64, kept);
    assert!(matches!(ending, Ending::Cut(_)));
}

#[test]
fn a_report_of_a_file_is_the_report_of_the_session() {
    let report = |summary: &Summary| {
        let mut out = Vec::new();
        summary.write(&mut out, false, 20).unwrap();
        String::from_utf8(out).unwrap()
    };
    let mut live = Summary::new(&header());
    play(|event: &Event<'_>| live.add(event));
    live.end(&totals());
    let mut later = Summary::new(&header());
    let bytes = file(5);
    let Ok(Ending::Whole(found)) = TraceReader::new(&*bytes, "t").unwrap().read(|event| {
        later.add(event);
        Ok::<_, Infallible>(())
    }) else {
        panic!("the file is whole")
    };
    later.end(&found);
    assert_eq!(report(&later), report(&live));
    assert!(names().place(0xfeb8_0000).is_some());
}

#[test]
fn parquet_holds_every_event_and_the_header() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let mut parquet = ParquetFile::new(fs::File::create(&path).unwrap(), &header()).unwrap();
    play(|event| parquet.event(event).unwrap());
    assert_eq!(parquet.kept(), 0, "without its end it can't be read");
    parquet.end(&totals()).unwrap();
    assert_eq!(parquet.kept(), played().len() as u64);
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
    assert!(builder.schema().metadata()["trapline.header"].contains("6.12.0-1-amd64"));
    let rows: usize = builder.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, played().len() + 1, "all events and the end record");
}

#[test]
fn parquet_of_a_trace_that_was_cut_off_can_be_read_and_has_no_end_record() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let mut written = tempfile::tempfile().unwrap();
    let mut parquet = ParquetFile::new(&mut written, &header()).unwrap();
    play(|event| parquet.event(event).unwrap());
    parquet.cut().unwrap();
    drop(parquet);
    let reader = ParquetRecordBatchReaderBuilder::try_new(written).unwrap().build().unwrap();
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, played().len());
}
