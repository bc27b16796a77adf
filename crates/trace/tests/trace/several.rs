//! One trace with accesses, hits of a code probe and page faults: in one order, and in every format
//! what three traces apart have.

use std::convert::Infallible;

use trapline_abi::{
    AccessPayload, FaultPayload, HitPayload, Kind, MapPayload, Record, ServedPayload, TaskPayload,
};
use trapline_trace::{
    Bounds, Ending, Event, FileWriter, Format, Header, Human, Item, JsonLines, Layout, Merge, Mmiotrace,
    Moment, ParquetFile, Probe, Probed, Sink, Source, Studied, Summary, Totals, TraceReader, Watched,
    WatchedRange, What,
};

const ALL: [Kind; 3] = [Kind::Access, Kind::Hit, Kind::Fault];

fn probe() -> Probe {
    let argument = Layout {
        name: "count".into(),
        form: "u64".into(),
        count: None,
        item: Item::Number(Format::Unsigned(8)),
    };
    Probe {
        id: 7,
        name: "e1000_xmit".into(),
        address: 0xffff_ffff_c040_0000,
        moment: Moment::Before,
        stack: false,
        condition: None,
        arguments: vec![argument],
    }
}

/// The header of a trace that was asked for these kinds.
fn header(kinds: &[Kind]) -> Header {
    let source = |kind: &Kind| match kind {
        Kind::Hit => Source::Hit(Probed { probes: vec![7], process: Some(40), cpu: None }),
        Kind::Fault => {
            Source::Fault(Studied { user: true, kernel: true, latency: true, ..Studied::default() })
        }
        _ => Source::Access(Watched {
            ranges: vec![WatchedRange { start: 0xfeb8_0000, length: 0x1000 }],
            reads: true,
            writes: true,
            injected: None,
            mapped: Vec::new(),
        }),
    };
    let probes = if kinds.contains(&Kind::Hit) { vec![probe()] } else { Vec::new() };
    Header { cpus: 2, probes, sources: kinds.iter().map(source).collect(), ..Header::default() }
}

/// The records of these kinds alone, on two CPUs: what comes from one load that does everything.
fn records(kinds: &[Kind]) -> [Vec<Record>; 2] {
    let task = TaskPayload { name: *b"dd\0\0\0\0\0\0\0\0\0\0\0\0\0\0", process: 40 }.to_words();
    let map = MapPayload { address: 0xffff_c900_0000_0000, physical: 0xfeb8_0000, length: 0x1000, caller: 0 };
    let mut rings = [Vec::new(), Vec::new()];
    for (cpu, ring) in rings.iter_mut().enumerate() {
        ring.push(Record {
            time: 1,
            kind: Kind::Task as u8,
            cpu: cpu as u16,
            task: 41,
            payload: task,
            ..Record::EMPTY
        });
    }
    if kinds.contains(&Kind::Access) {
        rings[0].push(Record {
            time: 2,
            kind: Kind::Map as u8,
            mapping: 1,
            payload: map.to_words(),
            ..Record::EMPTY
        });
    }
    for round in 0..20_u64 {
        let (time, cpu) = (1_000_000 + round * 1_000, (round / 3 % 2) as u16);
        let record = |kind: Kind, time, payload| Record {
            time,
            kind: kind as u8,
            cpu,
            task: 41,
            payload,
            ..Record::EMPTY
        };
        let hit = HitPayload { probe: 7, faults: 0, ip: 0xffff_ffff_c040_0000, words: [round, 0] };
        let access =
            AccessPayload { address: map.address + 8, ip: 0xffff_ffff_c040_0010, value: [round / 4, 0] };
        let fault = FaultPayload {
            address: 0x55_0000 + round * 0x1000,
            ip: 0x40_1000,
            error_code: 6,
            process: 40,
            stack: 0,
        };
        let served = ServedPayload { address: fault.address, result: 0 };
        let all = [
            record(Kind::Hit, time, hit.to_words()),
            Record { width: 4, mapping: 1, ..record(Kind::Access, time + 100, access.to_words()) },
            record(Kind::Fault, time + 200, fault.to_words()),
            record(Kind::Served, time + 250, served.to_words()),
        ];
        let wanted = |record: &Record| {
            let kind = Kind::from_code(record.kind).unwrap();
            kinds.contains(&if kind == Kind::Served { Kind::Fault } else { kind })
        };
        rings[usize::from(cpu)].extend(all.into_iter().filter(wanted));
    }
    rings
}

/// Hands the events of a trace of these kinds to `each`.
fn play(kinds: &[Kind], mut each: impl FnMut(&Event<'_>)) {
    let mut merge = Merge::new(2)
        .with_probes(&[probe()])
        .with_latency()
        .with_bounds(Bounds { ends: std::time::Duration::from_secs(3600), ..Bounds::default() });
    for (cpu, records) in records(kinds).iter().enumerate() {
        merge.push(cpu, records, true);
    }
    let Ok(()) = merge.finish(|event| {
        each(&event);
        Ok::<_, Infallible>(())
    });
    assert_eq!((merge.malformed(), merge.late()), (0, 0));
}

fn run(kinds: &[Kind], mut sink: impl Sink) {
    play(kinds, |event| sink.event(event).unwrap());
    sink.end(&Totals::default()).unwrap();
}

fn lines(write: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

/// The lines of traces apart, put together in the order of time, which is what comes first.
fn together(apart: impl Fn(&[Kind]) -> Vec<String>) -> Vec<String> {
    let mut lines: Vec<_> = ALL.iter().flat_map(|kind| apart(&[*kind])).collect();
    lines.sort();
    lines
}

fn human(kinds: &[Kind]) -> Vec<String> {
    lines(|out| run(kinds, Human::new(out, false)))
}

fn json(kinds: &[Kind]) -> Vec<String> {
    let mut lines = lines(|out| run(kinds, JsonLines::new(out, &header(kinds)).unwrap()));
    assert!(lines.remove(0).contains("\"kind\":\"header\""));
    assert!(lines.pop().unwrap().contains("\"kind\":\"end\""));
    // The time, in front, has as many digits in each but the mapping's.
    lines.iter().map(|line| line.replace("{\"time_ns\":2,", "{\"time_ns\":0000002,")).collect()
}

/// The events as they come back from a file, beside the file.
fn arrow(kinds: &[Kind]) -> (Vec<String>, Vec<u8>) {
    let mut file = Vec::new();
    run(kinds, FileWriter::new(&mut file, &header(kinds)).unwrap());
    let mut reader = TraceReader::new(&*file, "several").unwrap();
    assert_eq!(*reader.header(), header(kinds));
    let mut events = Vec::new();
    let Ok(ending) = reader.read(|event| {
        events.push(format!("{:07} {event:?}", event.time));
        Ok::<_, Infallible>(())
    });
    assert_eq!(ending, Ending::Whole(Totals::default()));
    (events, file)
}

fn report(kinds: &[Kind]) -> Vec<String> {
    let mut summary = Summary::new(&header(kinds));
    play(kinds, |event| summary.add(event));
    summary.end(&Totals::default());
    lines(|out| summary.write(out, false, 5).unwrap())
}

#[test]
fn in_text_each_line_is_that_of_a_trace_apart_below_the_title_of_its_kind() {
    let all = human(&ALL);
    // Reads that are equal are folded apart, and not with hits and faults in between.
    let unfolded = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !line.contains(" R 4 ")).cloned().collect()
    };
    let mut sorted = unfolded(&all);
    sorted.sort();
    assert_eq!(sorted, unfolded(&together(human)));
    assert_eq!(all.iter().filter(|line| line.contains(" R 4 ")).count(), 20);
    assert_eq!(all.iter().filter(|line| line.contains("seconds")).count(), 3);
    let times: Vec<_> = all.iter().filter(|line| !line.contains("seconds")).map(|line| &line[..16]).collect();
    assert!(times.is_sorted(), "{all:#?}");
}

#[test]
fn in_json_and_in_a_file_the_events_are_those_of_traces_apart_in_the_order_of_time() {
    assert_eq!(json(&ALL), together(json));
    assert_eq!(arrow(&ALL).0, together(|kinds| arrow(kinds).0));
    assert_eq!(arrow(&ALL).0.len(), 1 + 3 * 20);
}

#[test]
fn in_parquet_are_the_rows_of_the_file() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let path = tempfile::NamedTempFile::new().unwrap();
    run(&ALL, ParquetFile::new(path.reopen().unwrap(), &header(&ALL)).unwrap());
    let rows = ParquetRecordBatchReaderBuilder::try_new(path.reopen().unwrap()).unwrap().build().unwrap();
    let rows: Vec<_> = rows.map(Result::unwrap).collect();
    let (_, file) = arrow(&ALL);
    let batches: Vec<_> =
        arrow_ipc::reader::StreamReader::try_new(&*file, None).unwrap().map(Result::unwrap).collect();
    let ([rows], [events, end]) = (&rows[..], &batches[..]) else { panic!("the end is a batch of its own") };
    assert_eq!(events.num_rows(), 1 + 3 * 20);
    assert_eq!(rows.slice(0, events.num_rows()).columns(), events.columns());
    assert_eq!(rows.slice(events.num_rows(), 1).columns(), end.columns());
}

#[test]
fn a_report_has_the_tables_of_each_kind_that_a_report_apart_has() {
    let all = report(&ALL);
    assert!(
        all[0].starts_with("20 accesses (20 reads, 0 writes), 20 hits, 20 page faults in "),
        "{}",
        all[0]
    );
    for kind in ALL {
        let apart = report(&[kind]);
        // All between the title and what was performed or lost.
        let end = apart.iter().rposition(|line| line.contains(" by CPU: ")).unwrap();
        // Reads that are equal are no loop with hits and faults in between.
        for line in apart[1..=end].iter().filter(|line| !line.contains(" equal reads folded")) {
            assert!(all.contains(line), "{line}\n{all:#?}");
        }
    }
    assert!(all.contains(&"0 dropped, 0 possibly missed, 0 missed".to_owned()), "{all:#?}");
}

#[test]
fn what_was_asked_for_and_did_not_occur_is_told_and_nothing_else() {
    for (kind, told) in [
        (Kind::Access, "0 accesses (0 reads, 0 writes) in 0 ns on 0 CPUs\n0 dropped, 0 possibly missed"),
        (Kind::Hit, "0 hits in 0 ns on 0 CPUs\n0 dropped, 0 missed"),
        (Kind::Fault, "0 page faults in 0 ns on 0 CPUs\n0 dropped"),
    ] {
        let mut out = Vec::new();
        Summary::new(&header(&[kind])).write(&mut out, false, 5).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().trim_end(), told);
    }
}

#[test]
fn a_hit_between_two_equal_reads_of_a_cpu_ends_the_polling_loop() {
    let folded = |kinds: &[Kind]| {
        let mut summary = Summary::default();
        play(kinds, |event| summary.add(event));
        summary.registers()[0].folded
    };
    assert!(folded(&[Kind::Access]) > 0);
    assert_eq!(folded(&[Kind::Access, Kind::Hit]), 0);
}

#[test]
fn mmiotraces_format_refuses_the_first_event_that_is_no_access() {
    let mut sink = Mmiotrace::new(Vec::new(), &header(&ALL), false).unwrap();
    play(&ALL, |event| {
        let is_other = matches!(event.what, What::Hit(_) | What::Fault(_));
        assert_eq!(sink.event(event).is_err(), is_other, "{event:?}");
    });
}

#[test]
fn who_has_what_is_traced_mapped_is_in_the_report_without_what_a_terminal_obeys() {
    let mut header = header(&[Kind::Access]);
    let [Source::Access(watched)] = &mut header.sources[..] else { panic!("{header:?}") };
    watched.mapped = vec!["process 7 (po\u{1b}[mker) has it mapped".into()];
    let mut text = Vec::new();
    Summary::new(&header).write(&mut text, false, 20).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\nprocess 7 (po?[mker) has it mapped\n"), "{text}");
}
